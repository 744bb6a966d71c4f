//! Several at once: exactly one wins each sequence.

use std::process::Command;
use std::sync::Barrier;

use debark_ledger::{AppendError, DeployAction, Draft, Filter, Kind, Ledger, Offline};

use crate::{Team, env, start};

fn all_sequences(ledger: &Ledger) -> Vec<u64> {
    let entries = ledger.entries(&env("prod"), &Filter::default()).unwrap();
    entries.iter().rev().map(|one| one.entry.sequence).collect()
}

#[test]
fn of_threads_that_append_to_the_same_state_one_wins() {
    let team = Team::new();
    let ledgers: Vec<_> = ["alice", "bob", "alice", "bob"].map(|who| team.ledger(who, "ledger.git")).into();
    for round in 0..5 {
        let barrier = Barrier::new(ledgers.len());
        let results: Vec<_> = std::thread::scope(|scope| {
            let appends: Vec<_> = ledgers
                .iter()
                .map(|ledger| {
                    scope.spawn(|| {
                        let state = ledger.state(&env("prod")).unwrap();
                        barrier.wait();
                        let draft = Draft { sequence: state.sequence + 1, reason: None, kind: Kind::Note };
                        ledger.append(&env("prod"), &state, draft, Offline::Refuse)
                    })
                })
                .collect();
            appends.into_iter().map(|append| append.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{round}: {results:?}");
        assert!(
            results.iter().all(|result| matches!(result, Ok(_) | Err(AppendError::Conflict { .. }))),
            "{results:?}"
        );
    }
    assert_eq!(all_sequences(&ledgers[0]), (1..=5).collect::<Vec<_>>());
    assert_eq!(ledgers[0].verify(&env("prod"), true).unwrap().faults, []);
}

#[test]
fn two_deployments_cannot_both_start() {
    let team = Team::new();
    let ledgers = ["alice", "bob", "alice"].map(|who| team.ledger(who, "ledger.git"));
    let barrier = Barrier::new(ledgers.len());
    let won: usize = std::thread::scope(|scope| {
        let starts: Vec<_> = ledgers
            .iter()
            .map(|ledger| {
                scope.spawn(|| {
                    barrier.wait();
                    start(ledger, "prod", DeployAction::Deploy, "1.0").is_ok()
                })
            })
            .collect();
        starts.into_iter().map(|start| usize::from(start.join().unwrap())).sum()
    });
    assert_eq!(won, 1);
    assert_eq!(all_sequences(&ledgers[0]), [1]);
}

/// Not a test of its own: the other process of the next one.
#[test]
fn appender_of_another_process() {
    let (Ok(repository), Ok(key)) =
        (std::env::var("LEDGER_TEST_REPOSITORY"), std::env::var("LEDGER_TEST_KEY"))
    else {
        return;
    };
    let settings = debark_ledger::Settings {
        allowed: std::path::Path::new(&repository).with_file_name("signers"),
        memory: Some(std::path::Path::new(&repository).with_file_name("memory")),
        path: repository.into(),
        remote: None,
        signer: Some(debark_order::sshsig::Signer { key: key.into() }),
    };
    let ledger = Ledger::open(settings).unwrap();
    for _ in 0..4 {
        // Others may be faster a dozen times in a row: then once more.
        while let Err(error) = ledger.record(&env("prod"), None, Kind::Note, Offline::Refuse) {
            assert!(matches!(error, AppendError::Conflict { .. }), "{error}");
        }
    }
}

#[test]
fn no_entry_of_several_processes_is_lost() {
    let team = Team::new();
    let children: Vec<_> = ["alice", "bob", "bob"]
        .iter()
        .map(|who| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "race::appender_of_another_process"])
                .env("LEDGER_TEST_REPOSITORY", team.path("ledger.git"))
                .env("LEDGER_TEST_KEY", team.path(who))
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let ledger = team.ledger("alice", "ledger.git");
    assert_eq!(all_sequences(&ledger), (1..=12).collect::<Vec<_>>());
    assert_eq!(ledger.verify(&env("prod"), true).unwrap().faults, []);
}
