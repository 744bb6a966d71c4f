//! What was verified is remembered where nobody but the user can write, and counts for what it says.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use debark_ledger::{DeployAction, Ledger, Outcome};

use crate::{Team, deploy, env};

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// How many signatures are believed without a look.
fn known(ledger: &Ledger) -> u64 {
    let found = ledger.verify(&env("prod"), false).unwrap();
    assert_eq!((found.entries, found.faults), (2, vec![]));
    found.known
}

fn made() -> (Team, PathBuf) {
    let team = Team::new();
    let ledger = team.ledger("alice", "ledger.git");
    deploy(&ledger, "prod", DeployAction::Deploy, "1.0", Outcome::Succeeded);
    let memory = team.path("memory/verified");
    (team, memory)
}

#[test]
fn it_is_the_users_alone() {
    let (team, memory) = made();
    assert_eq!(memory.metadata().unwrap().mode() & 0o7777, 0o700);
    let files: Vec<_> = memory.read_dir().unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 1, "one chain, one content of the signers file");
    assert_eq!(files[0].metadata().unwrap().mode() & 0o7777, 0o600);
    // By whatever way one comes to the ledger.
    symlink(team.path("ledger.git"), team.path("link.git")).unwrap();
    let ledger = team.ledger("bob", "link.git");
    assert_eq!((known(&ledger), ledger.distrusts_memory()), (2, None));
}

#[test]
fn a_directory_that_others_can_write_to_is_not_believed() {
    let (team, memory) = made();
    let ledger = team.ledger("alice", "ledger.git");
    let whole = std::fs::read_to_string(only(&memory)).unwrap();
    for loose in [0o722, 0o720, 0o702] {
        mode(&memory, loose);
        std::fs::write(only(&memory), "").unwrap();
        assert_eq!(known(&ledger), 0);
        let why = ledger.distrusts_memory().unwrap();
        assert_eq!(why, format!("{} can be written to by others", memory.display()));
        assert_eq!(std::fs::read_to_string(only(&memory)).unwrap(), "", "and nothing is written there");
        std::fs::write(only(&memory), &whole).unwrap();
        assert_eq!(known(&ledger), 0);
        mode(&memory, 0o700);
        assert_eq!((known(&ledger), ledger.distrusts_memory()), (2, None));
    }
}

#[test]
fn a_link_is_not_followed() {
    let (team, memory) = made();
    let ledger = team.ledger("alice", "ledger.git");
    let elsewhere = team.path("elsewhere");
    std::fs::rename(&memory, &elsewhere).unwrap();
    symlink(&elsewhere, &memory).unwrap();
    assert_eq!(known(&ledger), 0);
    assert!(ledger.distrusts_memory().unwrap().ends_with("is no directory"));
    std::fs::remove_file(&memory).unwrap();
    std::fs::create_dir(&memory).unwrap();
    mode(&memory, 0o700);
    let file = only(&elsewhere);
    symlink(&file, memory.join(file.file_name().unwrap())).unwrap();
    assert_eq!(known(&ledger), 0);
}

#[test]
fn a_directory_of_somebody_else_is_not_believed() {
    let (team, memory) = made();
    let mut settings = team.settings("alice", "ledger.git", None);
    if memory.metadata().unwrap().uid() == 0 {
        chown(&memory, Some(65534), None).unwrap();
    } else {
        settings.memory = Some("/usr".into());
    }
    let ledger = Ledger::open(settings).unwrap();
    assert_eq!(known(&ledger), 0);
    assert!(ledger.distrusts_memory().unwrap().ends_with("belongs to another user"));
}

#[test]
fn it_counts_for_one_chain_and_one_content_of_the_signers_file() {
    let (team, memory) = made();
    let ledger = team.ledger("alice", "ledger.git");
    let said = std::fs::read_to_string(only(&memory)).unwrap();
    let tip = ledger.state(&env("prod")).unwrap().tip.unwrap();
    assert!(said.ends_with(&format!("\nenvironment prod\ntip {tip}\n")), "{said}");
    for other in [
        said.replace("environment prod", "environment staging"),
        said.replace("signers ", "signers 0"),
        said.trim_end().to_owned(),
        format!("{}\n", &said[..said.len() - 20]),
        said.repeat(100),
        String::new(),
    ] {
        std::fs::write(only(&memory), other).unwrap();
        assert_eq!(known(&ledger), 0);
        assert_eq!(
            std::fs::read_to_string(only(&memory)).unwrap(),
            said,
            "it was verified, and is known again"
        );
    }
    // Another ledger of the same people, and the same one with another content of the file.
    deploy(&team.ledger("bob", "other.git"), "prod", DeployAction::Deploy, "2.0", Outcome::Succeeded);
    assert_eq!(known(&ledger), 2);
    let signers = std::fs::read_to_string(team.path("signers")).unwrap();
    std::fs::write(team.path("signers"), format!("{signers}# nobody else\n")).unwrap();
    assert_eq!([known(&ledger), known(&ledger)], [0, 2]);
    assert_eq!(memory.read_dir().unwrap().count(), 3);
}

#[test]
fn without_a_place_nothing_is_remembered() {
    let (team, _) = made();
    let mut settings = team.settings("alice", "ledger.git", None);
    settings.memory = None;
    let ledger = Ledger::open(settings.clone()).unwrap();
    assert_eq!([known(&ledger), known(&ledger)], [0, 0]);
    // A place that cannot be made is none; there is nothing to warn of.
    settings.memory = Some(team.path("signers/verified"));
    let ledger = Ledger::open(settings).unwrap();
    assert_eq!([known(&ledger), known(&ledger)], [0, 0]);
}

/// The only file there.
fn only(directory: &Path) -> PathBuf {
    directory.read_dir().unwrap().next().unwrap().unwrap().path()
}
