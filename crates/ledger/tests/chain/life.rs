//! What happens to an environment, and what is told of it afterwards.

use debark_ledger::{AppendError, DeployAction, Filter, Kind, Offline, Outcome};

use crate::{Team, deploy, digest, env, finished, git, start, start_draft};

#[test]
fn deployments_are_on_record_and_plain_git_verifies_them() {
    let team = Team::new();
    let ledger = team.ledger("alice", "ledger.git");
    let (staging, shop) = (env("staging"), "shop".parse().unwrap());
    deploy(&ledger, "staging", DeployAction::Deploy, "1.0", Outcome::Succeeded);
    deploy(&ledger, "staging", DeployAction::Deploy, "1.1", Outcome::Succeeded);
    deploy(&ledger, "staging", DeployAction::Deploy, "1.2", Outcome::Reverted);

    let state = ledger.state(&staging).unwrap();
    assert_eq!((state.sequence, state.open.is_none()), (6, true));
    let live = state.live(&shop).unwrap();
    assert_eq!((live.version.as_str(), live.digest, live.sequence), ("1.1", digest("1.1"), 3));
    assert_eq!(state.last_good(&shop).unwrap().version.as_str(), "1.0");
    assert!(state.bad(&shop, &digest("1.2")).is_some());
    // web2 was behind after 1.0 and 1.1, and the last deployment did not touch it.
    assert_eq!(state.behind(&shop).map(|(host, _)| host.as_str()).collect::<Vec<_>>(), ["web1", "web2"]);

    // A rollback: what was live is bad from its start on.
    let of = start(&ledger, "staging", DeployAction::Rollback, "1.0").unwrap().entry.sequence;
    assert!(ledger.state(&staging).unwrap().bad(&shop, &digest("1.1")).is_some());
    ledger.record(&staging, None, finished(of, Outcome::Succeeded, "1.0"), Offline::Allow).unwrap();
    let state = ledger.state(&staging).unwrap();
    assert_eq!(state.live(&shop).unwrap().version.as_str(), "1.0");
    assert_eq!(state.last_good(&shop), None);
    let release =
        Kind::Released { package: Some(shop.clone()), version: Some("1.1".parse().unwrap()), digest: None };
    ledger.record(&staging, Some("it was the network".into()), release, Offline::Refuse).unwrap();
    assert!(ledger.state(&staging).unwrap().bad(&shop, &digest("1.1")).is_none());

    assert_eq!(ledger.environments().unwrap(), std::slice::from_ref(&staging));
    let newest = ledger.entries(&staging, &Filter { limit: Some(2), package: Some(shop) }).unwrap();
    assert_eq!(newest.iter().map(|one| one.entry.sequence).collect::<Vec<_>>(), [9, 8]);
    assert_eq!(ledger.entry(&staging, 1).unwrap().entry.reason.as_deref(), Some("tickets 1 and 2"));
    ledger.entry(&staging, 0).unwrap_err();
    ledger.entry(&staging, 10).unwrap_err();

    let verified = ledger.verify(&staging, false).unwrap();
    assert_eq!(
        (verified.entries, verified.known, verified.faults),
        (9, 9, vec![]),
        "one's own entries are known"
    );
    assert_eq!(ledger.verify(&staging, true).unwrap().known, 0);

    let repository = team.path("ledger.git");
    let allowed = format!("gpg.ssh.allowedSignersFile={}", team.path("signers").display());
    let log = git(&repository, &["-c", &allowed, "log", "--format=%G? %GS %s", "env/staging"]);
    assert_eq!(log.lines().filter(|line| line.starts_with("G alice@example.org ")).count(), 9, "{log}");
    assert!(log.contains("deploy shop 1.2 to staging: reverted"), "{log}");
    let message = git(&repository, &["log", "-1", "--format=%B", "env/staging~8"]);
    assert_eq!(
        message.trim(),
        format!(
            "deploy shop 1.0 to staging (started)\n\ntickets 1 and 2\n\nEnvironment: staging\nSequence: 1\n\
             Actor: alice@example.org\nDigest: {}\nCommit: 0123456789abcdef0123456789abcdef01234567\nHosts: 2",
            digest("1.0")
        )
    );
    git(&repository, &["fsck", "--strict"]);
}

#[test]
fn a_lease_keeps_others_out_until_it_ends() {
    let team = Team::new();
    let (alice, prod) = (team.ledger("alice", "ledger.git"), env("prod"));
    // Another process's ledger: it does not have alice's lock.
    let bob = team.ledger("bob", "ledger.git");
    let of = start(&alice, "prod", DeployAction::Deploy, "1.0").unwrap().entry.sequence;
    match start(&bob, "prod", DeployAction::Deploy, "1.1") {
        Err(AppendError::Leased { by, sequence, .. }) => {
            assert_eq!((by.as_str(), sequence), ("alice@example.org", of))
        }
        other => panic!("{other:?}"),
    }
    // Approvals and the like go on.
    let approve = Kind::Approved {
        package: "shop".parse().unwrap(),
        version: "1.1".parse().unwrap(),
        digest: digest("1.1"),
    };
    bob.record(&prod, None, approve, Offline::Refuse).unwrap();
    assert!(matches!(bob.renew(&prod, of), Err(AppendError::LeaseLost { .. })));
    let (lease, unpushed) = alice.renew(&prod, of).unwrap();
    assert_eq!(unpushed, None);
    let open = bob.state(&prod).unwrap().open.unwrap();
    assert_eq!((open.lease_until(), open.renewed), (lease.until, Some(lease.renewed)));
    assert!(!open.is_over(lease.until - 1) && open.is_over(lease.until));
    let (again, _) = alice.renew(&prod, of).unwrap();
    assert!(again.until >= lease.until);

    // Its deployer is gone without a word: bob need not wait, on this machine.
    assert!(!bob.state(&prod).unwrap().open.unwrap().abandoned);
    let lock = std::fs::read(team.path("ledger.git/leases/prod-1")).unwrap();
    drop(alice);
    // A process that was killed leaves its file, unlocked.
    std::fs::write(team.path("ledger.git/leases/prod-1"), lock).unwrap();
    assert!(bob.state(&prod).unwrap().open.unwrap().abandoned);
    let next = start(&bob, "prod", DeployAction::Deploy, "1.1").unwrap().entry.sequence;

    // The first one wakes up.
    let alice = team.ledger("alice", "ledger.git");
    assert!(matches!(alice.renew(&prod, of), Err(AppendError::LeaseLost { .. })));
    let late = alice.record(&prod, None, finished(of, Outcome::Succeeded, "1.0"), Offline::Allow);
    assert!(matches!(late, Err(AppendError::Inconsistent(_))), "{late:?}");
    bob.record(&prod, None, finished(next, Outcome::Succeeded, "1.1"), Offline::Allow).unwrap();
    assert!(matches!(bob.renew(&prod, next), Err(AppendError::LeaseLost { .. })));
    assert_eq!(bob.verify(&prod, false).unwrap().faults, []);
    assert_eq!(
        git(&team.path("ledger.git"), &["rev-parse", "lease/prod^"]),
        git(&team.path("ledger.git"), &["rev-parse", "env/prod~3"])
    );
}

#[test]
fn a_lease_of_no_time_is_over_at_once() {
    let team = Team::new();
    let (ledger, prod) = (team.ledger("alice", "ledger.git"), env("prod"));
    let state = ledger.state(&prod).unwrap();
    ledger
        .append(&prod, &state, start_draft(&ledger, &state, DeployAction::Deploy, "1.0", 0), Offline::Refuse)
        .unwrap();
    assert!(matches!(ledger.renew(&prod, 1), Err(AppendError::LeaseLost { .. })));
    start(&ledger, "prod", DeployAction::Deploy, "1.1").unwrap();
    assert_eq!(ledger.state(&prod).unwrap().open.unwrap().sequence, 2);
}

#[test]
fn orders_are_of_their_entry_and_keys_of_their_actor() {
    let team = Team::new();
    let (ledger, prod) = (team.ledger("alice", "ledger.git"), env("prod"));
    let state = ledger.state(&prod).unwrap();
    let mut draft = start_draft(&ledger, &state, DeployAction::Deploy, "1.0", 180);
    if let Kind::Started(started) = &mut draft.kind {
        started.digest = digest("other");
    }
    assert!(matches!(
        ledger.append(&prod, &state, draft, Offline::Refuse),
        Err(AppendError::Inconsistent(_))
    ));
    let mallory = team.ledger("mallory", "ledger.git");
    assert!(matches!(mallory.record(&prod, None, Kind::Note, Offline::Refuse), Err(AppendError::Ledger(_))));
    assert_eq!(ledger.state(&prod).unwrap().sequence, 0);
}
