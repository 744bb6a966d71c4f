//! `debark diff ENV ENV`: what one environment has that another has not.

use std::collections::BTreeSet;
use std::process::ExitCode;

use debark_ledger::policy::time;
use debark_ledger::state::Release;
use debark_order::{Environment, PackageName};
use serde_json::json;

use super::desk::{DeskArgs, at_desk};

/// Compares what is meant to be live in two environments
///
/// Exit codes: 0 the same digests, 1 bad input, 2 they differ.
#[derive(clap::Args)]
pub struct DiffArgs {
    /// One environment
    #[arg(value_name = "ENVIRONMENT")]
    one: Environment,
    /// The other
    #[arg(value_name = "ENVIRONMENT")]
    other: Environment,
    #[command(flatten)]
    desk: DeskArgs,
}

/// Runs the command.
pub fn run(args: &DiffArgs) -> ExitCode {
    at_desk(&args.desk, |desk| {
        desk.environment(&args.other)?;
        let ledger = desk.ledger(&args.one)?;
        let one = desk.look(&ledger, &args.one)?;
        let other = ledger.state(&args.other)?;
        let packages: BTreeSet<&PackageName> = one.packages.keys().chain(other.packages.keys()).collect();
        let mut differ = false;
        for package in packages {
            let (left, right) = (one.live(package), other.live(package));
            let same = left.map(|live| live.digest) == right.map(|live| live.digest);
            differ |= !same;
            if desk.json {
                anstream::println!(
                    "{}",
                    json!({"event": "diff", "package": package, "same": same, args.one.as_str(): left, args.other.as_str(): right})
                );
            } else {
                let mark = if same { "=" } else { "!" };
                anstream::println!(
                    "{mark} {package}: {} {}; {} {}",
                    args.one,
                    told(left),
                    args.other,
                    told(right)
                );
                if let (Some(left), Some(right)) = (left, right)
                    && !same
                    && left.version == right.version
                {
                    anstream::println!(
                        "  the same version, and not the same file: {} and {}",
                        left.digest,
                        right.digest
                    );
                }
            }
        }
        Ok(ExitCode::from(if differ { crate::exit::FAILED } else { 0 }))
    })
}

fn told(live: Option<&Release>) -> String {
    live.map_or_else(
        || "has none".into(),
        |live| {
            let commit = live.commit.as_ref().map_or_else(String::new, |commit| {
                format!(
                    ", commit {}",
                    commit.chars().filter(char::is_ascii_alphanumeric).take(12).collect::<String>()
                )
            });
            format!(
                "has {} ({}{commit}) since {} by {}",
                live.version,
                live.digest.short(),
                time(live.since),
                live.by
            )
        },
    )
}
