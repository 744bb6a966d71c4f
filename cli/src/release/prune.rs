//! `debark prune`: old versions go from the artifact store.

use std::collections::BTreeMap;
use std::process::ExitCode;

use debark_artifact::Keyring;
use debark_order::{Digest, Environment};
use debark_repository::{Prune, Store};

use super::context::{BuildKeyArgs, Problem};
use super::desk::{Desk, DeskArgs, Remote, at_desk};
use super::problem;

/// Removes versions from the artifact store that nobody needs
///
/// What the ledger knows as deployed anywhere is never removed, nor the versions published last. Each one that is kept is shown with the
/// reason.
#[derive(clap::Args)]
pub struct PruneArgs {
    /// Of each package, keep as many as were published last [default: the store's `keep`]
    #[arg(long, value_name = "N")]
    keep: Option<u32>,
    /// Change nothing; say what would go
    #[arg(long)]
    dry_run: bool,
    /// The store of this environment [default: the project's]
    #[arg(long, value_name = "ENVIRONMENT")]
    env: Option<Environment>,
    #[command(flatten)]
    key: BuildKeyArgs,
    #[command(flatten)]
    desk: DeskArgs,
}

/// Runs the command.
pub fn run(args: &PruneArgs) -> ExitCode {
    at_desk(&args.desk, |desk| {
        let (place, trust) = problem::store_of(&desk.project, args.env.as_ref())?;
        let keyring = Keyring::load(&trust.build_keys, &trust.revoked)
            .map_err(|error| Problem::input(error.message).maybe_hint(error.hint))?;
        let store = Store::open(&place.location, &place.suite).map_err(problem::store)?;
        let prune = Prune {
            keep: args.keep.unwrap_or(place.keep).max(1),
            pinned: deployed(desk)?,
            dry_run: args.dry_run,
        };
        let key = args.key.open()?;
        let pruned = store.prune(&prune, &keyring, &key, place.valid_for).map_err(problem::store)?;
        if desk.json {
            let kept: Vec<_> = pruned
                .kept
                .iter()
                .map(|(entry, why)| {
                    let why: Vec<String> = why.iter().map(ToString::to_string).collect();
                    serde_json::json!({"package": entry.package, "version": entry.version, "digest": entry.digest, "why": why})
                })
                .collect();
            let removed: Vec<_> = pruned
                .removed
                .iter()
                .map(|entry| serde_json::json!({"package": entry.package, "version": entry.version, "digest": entry.digest}))
                .collect();
            anstream::println!(
                "{}",
                serde_json::json!({"event": "pruned", "dry_run": args.dry_run, "kept": kept, "removed": removed, "freed": pruned.freed})
            );
            return Ok(ExitCode::SUCCESS);
        }
        for (entry, why) in &pruned.kept {
            let why: Vec<String> = why.iter().map(ToString::to_string).collect();
            anstream::println!("keeps    {} {}: {}", entry.package, entry.version, why.join(", "));
        }
        let word = if args.dry_run { "would go " } else { "removed  " };
        for entry in &pruned.removed {
            anstream::println!("{word}{} {}", entry.package, entry.version);
        }
        let bytes = pruned.freed;
        anstream::println!("{bytes} bytes {}", if args.dry_run { "would be freed" } else { "freed" });
        Ok(ExitCode::SUCCESS)
    })
}

/// What is or was deployed anywhere, and where.
fn deployed(desk: &Desk) -> Result<BTreeMap<Digest, String>, Problem> {
    let mut pinned = BTreeMap::new();
    for name in desk.project.environments.keys() {
        let ledger = desk.ledger(name)?;
        let state = desk.state(&ledger, name, Remote::Welcome)?;
        for package in state.packages.values() {
            for good in &package.good {
                pinned.entry(good.digest).or_insert_with(|| format!("was live in {name}"));
            }
            if let Some(live) = &package.live {
                pinned.insert(live.digest, format!("live in {name}"));
            }
        }
        if let Some(open) = &state.open {
            pinned.insert(open.digest, format!("being deployed to {name}"));
        }
    }
    Ok(pinned)
}
