//! `debark releases`: what the artifact store has.

use std::process::ExitCode;

use debark_artifact::Keyring;
use debark_order::{Environment, PackageName};
use debark_repository::Store;

use super::context::{Problem, ProjectArgs, finish};
use super::problem;

/// Shows what the artifact store has
#[derive(clap::Args)]
pub struct ReleasesArgs {
    /// Only this package
    #[arg(value_name = "PACKAGE")]
    package: Option<PackageName>,
    /// The store of this environment [default: the project's]
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<Environment>,
    #[command(flatten)]
    project: ProjectArgs,
}

/// Runs the command.
pub fn run(args: &ReleasesArgs) -> ExitCode {
    finish(args.project.json, |sources| {
        let project = args.project.load(sources)?;
        let (place, trust) = problem::store_of(&project, args.env.as_ref())?;
        let keyring = Keyring::load(&trust.build_keys, &trust.revoked)
            .map_err(|error| Problem::input(error.message).maybe_hint(error.hint))?;
        let store = Store::open(&place.location, &place.suite).map_err(problem::store)?;
        let index = store.index(&keyring).map_err(problem::store)?;
        let wanted = |package: &PackageName| args.package.as_ref().is_none_or(|only| only == package);
        let entries: Vec<_> = index.entries.iter().rev().filter(|entry| wanted(&entry.package)).collect();
        if args.project.json {
            for entry in entries {
                anstream::println!(
                    "{}",
                    serde_json::json!({
                        "package": entry.package, "version": entry.version, "architecture": entry.architecture,
                        "digest": entry.digest, "size": entry.size, "commit": entry.commit, "built": entry.built,
                        "published": entry.published, "key": entry.key,
                    })
                );
            }
            return Ok(ExitCode::SUCCESS);
        }
        if entries.is_empty() {
            anstream::println!("nothing is published in {}", store.name());
        }
        for entry in entries {
            let commit = entry.commit.as_deref().and_then(|commit| commit.get(..12)).unwrap_or("-");
            let published = entry.published.get(..16).unwrap_or(&entry.published).replace('T', " ");
            anstream::println!(
                "{} {} {}  {}  commit {commit}  published {published}  key {}",
                entry.package,
                entry.version,
                entry.architecture,
                entry.digest.short(),
                entry.key.get(..16).unwrap_or(&entry.key)
            );
        }
        Ok(ExitCode::SUCCESS)
    })
}
