//! The state as files of a tree, and back. Verification compares trees by their ids, so the same state makes the same bytes.

use std::collections::BTreeMap;

use debark_order::{Environment, PackageName, Sequence};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::state::{Frozen, Hold, OpenDeployment, Package, Release, State};

/// Name of the entry's file.
pub(crate) const ENTRY: &str = "entry.json";
const STATE: &str = "state.json";
const PACKAGES: &str = "packages";
/// The longest file of a state that is read, in bytes.
pub(crate) const MAX_FILE: usize = 16 << 20;

/// Gives the bytes of a file, or nothing if there is none.
pub(crate) type Reader<'a> = dyn FnMut(&str) -> Result<Option<Vec<u8>>, String> + 'a;

/// `state.json`: what belongs to no package.
#[derive(Serialize, Deserialize)]
struct Top {
    format: u32,
    environment: Environment,
    sequence: Sequence,
    time: u64,
    #[serde(default)]
    open: Option<OpenDeployment>,
    #[serde(default)]
    holds: Vec<Hold>,
    #[serde(default)]
    freezes: Vec<Frozen>,
}

/// `packages/NAME/releases.json`.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Releases {
    live: Option<Release>,
    good: Vec<Release>,
}

/// The bytes of a value's file.
pub(crate) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    // Plain data with text as keys: there is nothing in it that JSON has no way to say.
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// The files of a state, by path. What grows and seldom changes has files of its own, which the next commits share.
pub(crate) fn write(state: &State) -> BTreeMap<String, Vec<u8>> {
    let mut open = state.open.clone();
    if let Some(open) = &mut open {
        open.renewed = None;
        open.abandoned = false;
    }
    let top = Top {
        format: crate::entry::FORMAT,
        environment: state.environment.clone(),
        sequence: state.sequence,
        time: state.time,
        open,
        holds: state.holds.clone(),
        freezes: state.freezes.clone(),
    };
    let mut files = BTreeMap::from([(STATE.to_owned(), json(&top))]);
    for (name, package) in &state.packages {
        let mut add = |file: &str, bytes| files.insert(format!("{PACKAGES}/{name}/{file}"), bytes);
        add("releases.json", json(&Releases { live: package.live.clone(), good: package.good.clone() }));
        if !package.bad.is_empty() {
            add("bad.json", json(&package.bad));
        }
        if !package.approvals.is_empty() {
            add("approvals.json", json(&package.approvals));
        }
        if !package.hosts.is_empty() {
            add("hosts.json", json(&package.hosts));
        }
    }
    files
}

/// Reads a state. `file` gives a file's bytes, or nothing if there is none; `packages` are the names below `packages`.
pub(crate) fn read(
    environment: &Environment,
    packages: &[String],
    file: &mut Reader<'_>,
) -> Result<State, String> {
    let top: Top = parse(STATE, file)?.ok_or("it has no state.json")?;
    if top.format != crate::entry::FORMAT {
        return Err(format!(
            "a state of format {}, and this reads format {}",
            top.format,
            crate::entry::FORMAT
        ));
    }
    if top.environment != *environment {
        return Err(format!("it is a state of {}", top.environment));
    }
    let mut state = State {
        sequence: top.sequence,
        time: top.time,
        open: top.open,
        holds: top.holds,
        freezes: top.freezes,
        ..State::empty(top.environment)
    };
    for name in packages {
        let package: PackageName = name.parse().map_err(|error| format!("below {PACKAGES}: {error}"))?;
        let path = |file: &str| format!("{PACKAGES}/{name}/{file}");
        let releases: Releases = parse(&path("releases.json"), file)?.unwrap_or_default();
        let package_state = Package {
            live: releases.live,
            good: releases.good,
            bad: parse(&path("bad.json"), file)?.unwrap_or_default(),
            approvals: parse(&path("approvals.json"), file)?.unwrap_or_default(),
            hosts: parse(&path("hosts.json"), file)?.unwrap_or_default(),
        };
        state.packages.insert(package, package_state);
    }
    Ok(state)
}

fn parse<T: DeserializeOwned>(path: &str, file: &mut Reader<'_>) -> Result<Option<T>, String> {
    let Some(bytes) = file(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("{path}: {error}"))
}
