//! What commands about releases share: the project file, keys, what is shown and with which exit code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use debark_order::sshsig::Signer;
use debark_playbook::diagnostic::Diagnostic;
use debark_playbook::source::SourceMap;
use debark_project::Project;

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
