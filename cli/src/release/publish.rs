//! `debark publish`: packages for everybody to install.

use std::path::PathBuf;
use std::process::ExitCode;

use debark_artifact::Keyring;
use debark_order::Environment;
use debark_repository::{Store, Upload};

use super::context::{BuildKeyArgs, Problem, ProjectArgs, finish};
use super::problem;

/// Puts packages into the artifact store, which is an apt repository
///
/// A package has to be signed by a key that the project trusts; the provenance beside it goes with it. A version is published once: the
/// same file again is fine, another one of that version is refused. Without files the index is signed anew, so that it stays valid.
///
/// Exit codes: 0 published, 1 bad input, 3 refused, 4 the store could not be reached.
#[derive(clap::Args)]
pub struct PublishArgs {
    /// Packages
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// To the store of this environment [default: the project's]
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<Environment>,
    #[command(flatten)]
    key: BuildKeyArgs,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
pub fn run(args: &PublishArgs) -> ExitCode {
    finish(args.project.json, |sources| {
        let project = args.project.load(sources)?;
        let (place, trust) = problem::store_of(&project, args.env.as_ref())?;
        let keyring = Keyring::load(&trust.build_keys, &trust.revoked)
            .map_err(|error| Problem::input(error.message).maybe_hint(error.hint))?;
        let store = Store::open(&place.location, &place.suite).map_err(problem::store)?;
        let uploads: Result<Vec<Upload>, _> =
            args.files.iter().map(|file| Upload::read(file, &keyring)).collect();
        let uploads = uploads.map_err(problem::store)?;
        let key = args.key.open()?;
        let outcomes = store.publish(&uploads, &keyring, &key, place.valid_for).map_err(problem::store)?;
        for outcome in &outcomes {
            let entry = &outcome.entry;
            if args.project.json {
                anstream::println!(
                    "{}",
                    serde_json::json!({
                        "event": "published", "package": entry.package, "version": entry.version, "digest": entry.digest,
                        "architecture": entry.architecture, "path": entry.path, "already": outcome.already,
                    })
                );
            } else {
                let already = if outcome.already { "was there already" } else { "is published" };
                anstream::println!(
                    "{} {} ({}) {already} in {}",
                    entry.package,
                    entry.version,
                    entry.digest.short(),
                    store.name()
                );
            }
        }
        if outcomes.is_empty() && !args.project.json {
            anstream::println!("the index of {} is signed anew", store.name());
        }
        Ok(ExitCode::SUCCESS)
    })
}
