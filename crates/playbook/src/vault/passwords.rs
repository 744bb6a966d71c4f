//! Where vault passwords come from: files, scripts, the terminal.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::{Identities, Password, Vault, is_vault};
use crate::Diagnostic;
use crate::command::{Limits, run};

/// A password script may ask the user, so it has as long as a user may need.
const SCRIPT: Limits = Limits { timeout: Duration::from_secs(300), output: 1 << 20, interactive: true };

/// How to ask for a password: gets the prompt, gives what was typed.
pub type Prompt<'a> = &'a mut dyn FnMut(&str) -> std::io::Result<String>;

/// Which vault passwords a run has.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--vault-id`: `label@source` or `source`; a source is a file, a script, or `prompt`. Tried in order.
    pub ids: Vec<String>,
    /// `--vault-password-file`, `ANSIBLE_VAULT_PASSWORD_FILE`, `vault_password_file`: under the label `default`.
    pub files: Vec<PathBuf>,
    /// `--ask-vault-pass`.
    pub ask: bool,
    /// `vault_id_match`: only a password with the text's own label is tried.
    pub match_id: bool,
}

impl Vault {
    /// Reads all passwords.
    ///
    /// # Errors
    /// A file is missing or empty, a script fails, or nothing was typed.
    pub fn open(sources: &Sources, prompt: Prompt<'_>) -> Result<Self, Diagnostic> {
        Self::open_with(sources, prompt, Identities::default())
    }

    /// As [`Vault::open`], with what opens texts that age sealed; password files may be such texts.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn open_with(sources: &Sources, prompt: Prompt<'_>, age: Identities) -> Result<Self, Diagnostic> {
        let mut vault = Self { match_id: sources.match_id, age, ..Self::default() };
        let files = sources.files.iter().map(|path| ("default", path.to_string_lossy().into_owned()));
        let ids = sources.ids.iter().map(|id| match id.split_once('@') {
            Some((label, source)) => (label, source.to_owned()),
            None => ("default", id.clone()),
        });
        let ask = sources.ask.then(|| ("default", "prompt_ask_vault_pass".to_owned()));
        let all: Vec<_> = ids.chain(files).chain(ask).collect();
        for (label, source) in all {
            let label = if label.is_empty() { "default" } else { label };
            let password = match source.as_str() {
                "prompt" => asked(&format!("Vault password ({label}): "), prompt)?,
                "prompt_ask_vault_pass" => asked("Vault password: ", prompt)?,
                path => vault.read_password(&expand(path), label)?,
            };
            vault.add(label, password);
        }
        Ok(vault)
    }

    fn read_password(&self, path: &Path, label: &str) -> Result<Password, Diagnostic> {
        let name = path.display();
        let metadata = std::fs::metadata(path).map_err(|error| {
            let why = match error.kind() {
                std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
                _ => error.to_string(),
            };
            Diagnostic::error(format!("cannot read the vault password file {name}: {why}"))
        })?;
        if metadata.is_dir() {
            return Err(Diagnostic::error(format!("the vault password file {name} is a directory")));
        }
        let bytes = if metadata.permissions().mode() & 0o111 != 0 {
            from_script(path, label)?
        } else {
            Zeroizing::new(crate::source::read_bytes(path, 1 << 20)?)
        };
        let password = if is_vault(&bytes) {
            Zeroizing::new(self.open_quietly(&bytes, &name.to_string())?.trim_ascii_end().to_vec())
        } else {
            Zeroizing::new(bytes.trim_ascii().to_vec())
        };
        if password.is_empty() {
            return Err(Diagnostic::error(format!("the vault password file {name} gives an empty password")));
        }
        Ok(password)
    }
}

fn from_script(path: &Path, label: &str) -> Result<Zeroizing<Vec<u8>>, Diagnostic> {
    let name = path.display();
    // Ansible's rule: a script named `...-client` is told which password is wanted.
    let client = path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("-client"));
    let args: &[&str] = if client { &["--vault-id", label] } else { &[] };
    let output = run(path, args, SCRIPT).map_err(|failure| {
        let hint = "a password file that is no script must not be executable: chmod a-x";
        Diagnostic::error(format!("the vault password script {name} {}", failure.describe())).hint(hint)
    })?;
    let stdout = Zeroizing::new(output.stdout);
    if output.status.success() {
        return Ok(stdout);
    }
    let why = match output.status.code() {
        Some(2) if client => format!("has no password for vault id {label}"),
        Some(code) => format!("ended with exit code {code}"),
        None => format!("ended by {}", output.status),
    };
    Err(Diagnostic::error(format!("the vault password script {name} {why}")))
}

fn asked(text: &str, prompt: Prompt<'_>) -> Result<Password, Diagnostic> {
    let typed = Zeroizing::new(
        prompt(text)
            .map_err(|error| Diagnostic::error(format!("cannot ask for the vault password: {error}")))?,
    );
    match typed.trim() {
        "" => Err(Diagnostic::error("the vault password is empty")),
        typed => Ok(Zeroizing::new(typed.as_bytes().to_vec())),
    }
}

fn expand(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}
