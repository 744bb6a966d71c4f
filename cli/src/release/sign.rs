//! `debark sign`: signs a package that something else made.

use std::path::PathBuf;
use std::process::ExitCode;

use debark_artifact::Deb;
use debark_artifact::deb::sign::{self, SignError};
use debark_artifact::provenance::{Envelope, Provenance};
use serde_json::json;

use super::context::{self, BuildKeyArgs, Problem};

/// Signs a package; a signature that it has is replaced
///
/// Provenance that lies beside it is signed as well.
#[derive(Debug, clap::Args)]
pub struct SignArgs {
    /// The package
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    key: BuildKeyArgs,
}

/// Runs the command.
pub fn run(args: &SignArgs) -> ExitCode {
    context::finish(args.json, |_| {
        let before = Deb::open(&args.file).map_err(|error| Problem::input(error.to_string()))?;
        let key = args.key.open()?;
        let provenance = match Provenance::path_of(&args.file) {
            path if path.exists() => {
                let said = Envelope::read(&path).and_then(|envelope| envelope.open());
                let said = said.map_err(|error| Problem::input(error.to_string()))?;
                // What is said of another package must not become what is said of this one.
                said.is_of(&before).map_err(|error| Problem::input(error.to_string()))?;
                Some((path, said))
            }
            _ => None,
        };
        let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        sign::sign(&before, &key, now).map_err(problem)?;
        let after = Deb::open(&args.file).map_err(|error| Problem::input(error.to_string()))?;
        if let Some((path, said)) = provenance {
            let said = Provenance { digest: after.digest, ..said };
            let sealed = said
                .seal(Some(&key))
                .map_err(|error| Problem::input(error.message).maybe_hint(error.hint))?;
            std::fs::write(&path, sealed.to_json())
                .map_err(|error| Problem::input(format!("{}: {error}", path.display())))?;
        }
        if args.json {
            anstream::println!(
                "{}",
                json!({ "file": after.path, "digest": after.digest, "key": key.fingerprint() })
            );
        } else {
            anstream::eprintln!("{} signed by {}, {}", after.path.display(), key.fingerprint(), after.digest);
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn problem(error: SignError) -> Problem {
    let hint = match &error {
        SignError::Key(error) => error.hint.clone(),
        SignError::Deb(_) => None,
    };
    Problem::input(error.to_string()).maybe_hint(hint)
}
