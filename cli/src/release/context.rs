//! What commands about releases share: the project file, keys, what is shown and with which exit code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use debark_artifact::key::{BuildKey, Unlock};
use debark_order::sshsig::Signer;
use debark_playbook::diagnostic::Diagnostic;
use debark_playbook::source::SourceMap;
use debark_project::Project;
use zeroize::Zeroizing;

use crate::{common, exit};

/// Options of every command about releases.
#[derive(Debug, Clone, clap::Args)]
pub struct ProjectArgs {
    /// The project file [default: debark.yml, here or in a directory above]
    #[arg(long, value_name = "FILE", env = "DEBARK_PROJECT", global = true)]
    pub project: Option<PathBuf>,
    /// JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
}

/// Who acts: for commands that sign orders or entries of the ledger.
#[derive(Debug, Clone, clap::Args)]
pub struct KeyArgs {
    /// The SSH key to sign with: a private key, or a public one whose private half is in the agent [default: git's
    /// user.signingkey]
    #[arg(long, value_name = "FILE", env = "DEBARK_KEY")]
    pub key: Option<PathBuf>,
}

/// Why a command ends early.
#[derive(Debug)]
pub enum Problem {
    /// Something is wrong with files of the user's; shown with their places.
    Input(Vec<Diagnostic>),
    /// One sentence, with what to do, and the exit code.
    Said {
        /// The sentence.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// See `exit.rs`.
        code: u8,
    },
}

impl Problem {
    /// Bad input or a bad environment.
    pub fn input(message: impl Into<String>) -> Self {
        Self::Said { message: message.into(), hint: None, code: exit::BAD_INPUT }
    }

    /// It was begun, and failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Said { message: message.into(), hint: None, code: exit::FAILED }
    }

    /// A rule forbids it.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Said { message: message.into(), hint: None, code: exit::REFUSED }
    }

    /// What is wrong, in one sentence.
    pub fn message(&self) -> String {
        match self {
            Self::Input(errors) => errors
                .iter()
                .find(|error| error.is_error())
                .map_or_else(String::new, |error| error.message.clone()),
            Self::Said { message, .. } => message.clone(),
        }
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Said { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }

    /// With advice, if there is any.
    #[must_use]
    pub fn maybe_hint(self, text: Option<String>) -> Self {
        match text {
            Some(text) => self.hint(text),
            None => self,
        }
    }
}

impl From<Vec<Diagnostic>> for Problem {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self::Input(diagnostics)
    }
}

impl From<Diagnostic> for Problem {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Input(vec![diagnostic])
    }
}

/// Runs a command; shows why it ended early, with `--json` as an object `{"error", "hint", "code"}` on standard output
/// as well.
pub fn finish(json: bool, run: impl FnOnce(&Arc<SourceMap>) -> Result<ExitCode, Problem>) -> ExitCode {
    let sources = Arc::new(SourceMap::default());
    let problem = match run(&sources) {
        Ok(code) => return code,
        Err(problem) => problem,
    };
    let (message, hint, code) = match problem {
        Problem::Input(diagnostics) => {
            common::show(&diagnostics, &sources);
            let first = diagnostics.iter().find(|diagnostic| diagnostic.is_error());
            let message = first.map_or_else(String::new, |first| first.one_line(&sources));
            (message, first.and_then(|first| first.hint.as_deref().map(str::to_owned)), exit::BAD_INPUT)
        }
        Problem::Said { message, hint, code } => {
            exit::usage(&message, hint.as_deref());
            (message, hint, code)
        }
    };
    if json {
        anstream::println!("{}", serde_json::json!({ "error": message, "hint": hint, "code": code }));
    }
    ExitCode::from(code)
}

impl ProjectArgs {
    /// Where the project file is.
    ///
    /// # Errors
    /// There is none.
    pub fn file(&self) -> Result<PathBuf, Problem> {
        match &self.project {
            Some(path) => Ok(path.clone()),
            None => Ok(debark_project::find(std::path::Path::new("."))?),
        }
    }

    /// Reads the project file and shows its warnings.
    ///
    /// # Errors
    /// There is none, or it is wrong.
    pub fn load(&self, sources: &SourceMap) -> Result<Project, Problem> {
        let project = Project::load(&self.file()?, sources)?;
        common::show(&project.warnings, sources);
        Ok(project)
    }
}

/// Says no if a project has no packages: one that only audits need not have any.
///
/// # Errors
/// It has none.
pub fn need_packages(project: &Project) -> Result<(), Problem> {
    if !project.packages.is_empty() {
        return Ok(());
    }
    let message =
        format!("{} has no `packages`: there is nothing to build or deploy", project.file.display());
    Err(Problem::input(message)
        .hint("add them, as docs/reference/project-file.md says; `debark init` elsewhere writes an example"))
}

impl KeyArgs {
    /// The key to sign with.
    ///
    /// # Errors
    /// None is named, neither here nor to git.
    pub fn signer(&self) -> Result<Signer, Problem> {
        let hint = "name one with `--key FILE`, `DEBARK_KEY`, or `git config user.signingkey FILE`";
        let key = match &self.key {
            Some(key) => key.clone(),
            None => {
                let output = std::process::Command::new("git")
                    .args(["config", "--type=path", "user.signingkey"])
                    .output();
                let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
                let text = text.and_then(|text| String::from_utf8(text).ok()).unwrap_or_default();
                match text.trim() {
                    "" => return Err(Problem::input("there is no key to sign with").hint(hint)),
                    // `key::ssh-ed25519 AAAA...` names no file (git-config(1)).
                    text if text.starts_with("key::") || text.starts_with("ssh-") => {
                        return Err(
                            Problem::input("git's user.signingkey is a literal key, and no file").hint(hint)
                        );
                    }
                    text => PathBuf::from(text),
                }
            }
        };
        if key.is_file() {
            Ok(Signer { key })
        } else {
            Err(Problem::input(format!("{} is no key file", key.display())).hint(hint))
        }
    }
}

/// The key that packages are signed with.
#[derive(Debug, Clone, clap::Args)]
pub struct BuildKeyArgs {
    /// The OpenPGP key that packages are signed with: a file (may be locked by a passphrase, or encrypted by age), or
    /// gpg:KEYID for one in gpg-agent
    #[arg(long = "build-key", value_name = "FILE", env = "DEBARK_BUILD_KEY", hide_env_values = true)]
    build_key: Option<String>,
}

/// Where a passphrase of a build key may be: in a file's first line.
const PASSPHRASE_FILE: &str = "DEBARK_BUILD_KEY_PASSPHRASE_FILE";
/// The passphrase itself; a file is better.
const PASSPHRASE: &str = "DEBARK_BUILD_KEY_PASSPHRASE";

impl BuildKeyArgs {
    /// Opens the key; asks for its passphrase on a terminal.
    ///
    /// # Errors
    /// None is named, or it does not open.
    pub fn open(&self) -> Result<BuildKey, Problem> {
        let spec = self.build_key.as_deref().filter(|spec| !spec.is_empty()).ok_or_else(|| {
            Problem::input("there is no key to sign packages with")
                .hint("name one with `--build-key` or DEBARK_BUILD_KEY; `debark keys new` makes one; `--no-sign` builds without")
        })?;
        let mut unlock = Unlock {
            passphrase_file: std::env::var_os(PASSPHRASE_FILE).map(PathBuf::from),
            passphrase: std::env::var(PASSPHRASE).ok().map(Zeroizing::new),
            age_identity: std::env::var_os("DEBARK_AGE_IDENTITY").map(PathBuf::from),
            ask: &mut ask,
        };
        BuildKey::open(spec, &mut unlock)
            .map_err(|error| Problem::input(error.message).maybe_hint(error.hint))
    }

    /// A passphrase for a new key.
    ///
    /// # Errors
    /// Nobody can be asked, or it is empty.
    pub fn new_passphrase() -> Result<Zeroizing<String>, Problem> {
        let hint = format!("name a file with it in {PASSPHRASE_FILE}, or use `--no-passphrase`");
        let given = match (std::env::var(PASSPHRASE), std::env::var_os(PASSPHRASE_FILE)) {
            (Ok(text), _) => Zeroizing::new(text),
            (_, Some(file)) => {
                let text = std::fs::read_to_string(&file).map(Zeroizing::new);
                let text = text.map_err(|error| {
                    Problem::input(format!("{}: {error}", PathBuf::from(&file).display()))
                })?;
                Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
            }
            _ => {
                let first = ask("passphrase for the new key: ").map_err(|error| {
                    Problem::input(format!("cannot ask for a passphrase: {error}")).hint(&hint)
                })?;
                let again = ask("the same again: ").map_err(|error| {
                    Problem::input(format!("cannot ask for a passphrase: {error}")).hint(&hint)
                })?;
                if first != again {
                    return Err(Problem::input("the two passphrases differ"));
                }
                first
            }
        };
        if given.is_empty() { Err(Problem::input("the passphrase is empty").hint(hint)) } else { Ok(given) }
    }
}

fn ask(question: &str) -> std::io::Result<Zeroizing<String>> {
    debark_controller::ask(question, false).map(Zeroizing::new).map_err(std::io::Error::other)
}

/// Who builds and acts, and in which job of a pipeline, by what CircleCI, GitHub and GitLab say of it.
pub fn builder() -> (String, Option<String>) {
    let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(url) = get("CIRCLE_BUILD_URL") {
        return ("https://circleci.com".into(), Some(url));
    }
    if let (Some(server), Some(repository), Some(run)) =
        (get("GITHUB_SERVER_URL"), get("GITHUB_REPOSITORY"), get("GITHUB_RUN_ID"))
    {
        return (format!("{server}/actions"), Some(format!("{server}/{repository}/actions/runs/{run}")));
    }
    if let Some(url) = get("CI_JOB_URL") {
        return (get("CI_SERVER_URL").unwrap_or_else(|| "gitlab".into()), Some(url));
    }
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let user = get("USER").or_else(|| get("LOGNAME")).unwrap_or_else(|| "unknown".into());
    (format!("{user}@{}", host.trim()), None)
}
