//! What goes wrong with releases, as the problems that commands show.

use debark_ledger::policy::Refusal;
use debark_ledger::{AppendError, LedgerError};
use debark_order::sshsig::SignatureError;
use debark_release::Trouble;

use super::context::Problem;
use crate::exit;

fn said(message: String, hint: Option<String>, code: u8) -> Problem {
    Problem::Said { message, hint, code }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let code = match error {
            LedgerError::RemoteDown { .. } => exit::UNREACHABLE,
            _ if error.is_refusal() => exit::REFUSED,
            _ => exit::BAD_INPUT,
        };
        said(error.to_string(), error.hint(), code)
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let code = if error.is_refusal() {
            exit::REFUSED
        } else if error.is_remote_down() {
            exit::UNREACHABLE
        } else {
            exit::BAD_INPUT
        };
        said(error.to_string(), error.hint(), code)
    }
}

impl From<SignatureError> for Problem {
    fn from(error: SignatureError) -> Self {
        Self::input(error.to_string())
            .hint("give the key by --key or DEBARK_KEY; a passphrase comes from ssh-agent")
    }
}

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Append(error) => error.into(),
            Trouble::Signature(error) => error.into(),
            Trouble::Input(message) => Self::input(message),
            Trouble::Superseded(_) => Self::refused(trouble.to_string())
                .hint("nothing more was done; `debark status` and `debark history` show how things are"),
        }
    }
}

/// Rules that say no: all of them, each with its remedy.
pub fn refused(refusals: &[Refusal], json: bool) -> Problem {
    if json {
        anstream::println!("{}", serde_json::json!({"event": "refused", "refusals": refusals}));
    }
    let words = |refusal: &Refusal| format!("refused ({}): {}", refusal.rule.name(), refusal.message);
    let Some((last, others)) = refusals.split_last() else { return Problem::refused("refused") };
    for refusal in others {
        exit::usage(&words(refusal), Some(&refusal.hint));
    }
    Problem::refused(words(last)).hint(last.hint.clone())
}

/// What is wrong with the artifact store.
pub fn store(error: debark_repository::Error) -> Problem {
    let code = match error.kind {
        debark_repository::ErrorKind::Unreachable => exit::UNREACHABLE,
        debark_repository::ErrorKind::Refused => exit::REFUSED,
        _ => exit::BAD_INPUT,
    };
    said(error.to_string(), error.hint, code)
}

/// The artifact store that is meant, and whom it trusts.
pub fn store_of<'a>(
    project: &'a debark_project::Project,
    environment: Option<&debark_order::Environment>,
) -> Result<(&'a debark_project::Store, &'a debark_project::Trust), Problem> {
    match environment {
        None => Ok((&project.store, &project.trust)),
        Some(name) => match project.environments.get(name) {
            Some(environment) => Ok((&environment.store, &environment.trust)),
            None => Err(Problem::input(format!("{} has no environment `{name}`", project.file.display()))),
        },
    }
}
