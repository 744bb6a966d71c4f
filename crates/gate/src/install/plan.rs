//! What installing a package would do.

use std::cmp::Ordering;
use std::time::Duration;

use debark_order::PackageName;
use debark_order::gate::FailureKind;

use super::apt::apt_get;
use super::said::{explained, sentences};
use crate::dpkg::{self, Database};
use crate::failure::{Result, fail};
use crate::store::{self, Kept};
use crate::{command, relations};

/// What apt would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Sentences.
    pub steps: Vec<String>,
    /// No other package changes, nor would one if apt knew its sources.
    pub alone: bool,
}

/// What apt would do.
///
/// # Errors
/// [`FailureKind::Dependencies`].
pub fn plan(package: &PackageName, kept: &Kept, down: bool) -> Result<Plan> {
    let database = Database::read()?;
    let from = database.version(package);
    let own = match &from {
        Some(from) if *from == kept.version => format!("installs {package} {from} again"),
        Some(from) if dpkg::compare(from, &kept.version) == Ordering::Greater => {
            format!("downgrades {package} from {from} to {}", kept.version)
        }
        Some(from) => format!("upgrades {package} from {from} to {}", kept.version),
        None => format!("installs {package} {}", kept.version),
    };
    if let Some(trouble) = database.package(package).and_then(dpkg::Stanza::trouble) {
        // apt says nothing while a package wants to be reinstalled.
        let steps = vec![format!("repairs {package}, which is {trouble}"), own];
        return Ok(Plan { steps, alone: false });
    }
    if relations::can_replace(&database, package, &kept.relations)
        && (down || relations::stays_whole(&database, package, kept))
    {
        return Ok(Plan { steps: vec![own], alone: true });
    }
    let mut words = Vec::new();
    if down {
        words.push("--allow-downgrades".to_owned());
    }
    if from.as_ref() == Some(&kept.version) {
        words.push("--reinstall".into());
    }
    words.extend(["install".into(), store::path(&kept.digest).to_string_lossy().into_owned()]);
    // With the sources apt finds the same, only later, if all that is depended on is there. What is recommended and is not
    // there might come from them.
    let near = simulated(&words, true)?;
    if near.is_fine()
        && !near.stdout.contains("\nRecommended packages:\n")
        && sentences(&near.stdout, package).is_empty()
    {
        return Ok(Plan { steps: vec![own], alone: true });
    }
    let ended = simulated(&words, false)?;
    if !ended.is_fine() {
        return Err(explained(package, "apt-get", &format!("{}\n{}", ended.stdout, ended.stderr)));
    }
    let mut steps = sentences(&ended.stdout, package);
    steps.push(own);
    Ok(Plan { steps, alone: false })
}

fn simulated(words: &[String], alone: bool) -> Result<command::Ended> {
    let mut argv = apt_get(alone);
    argv.push("--simulate".into());
    argv.extend_from_slice(words);
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    command::output(&argv, None, Duration::from_secs(300))
        .map_err(|error| fail(FailureKind::Internal, format!("cannot run apt-get: {error}")))
}
