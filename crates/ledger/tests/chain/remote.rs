//! A team: the remote is a second bare repository.

use debark_ledger::{AppendError, BranchNews, DeployAction, Kind, Offline, Outcome, Standing};

use crate::{Team, deploy, env, finished, git, start, start_draft};

fn standing(news: &[BranchNews]) -> Standing {
    assert_eq!(news.len(), 1, "{news:?}");
    news[0].standing.clone()
}

fn team() -> Team {
    let team = Team::new();
    git(&team.path("remote.git"), &["init", "--quiet", "--bare"]);
    team
}

#[test]
fn the_remote_decides_and_everybody_has_all_entries() {
    let team = team();
    let (alice, bob, prod) = (team.shared("alice", "a.git"), team.shared("bob", "b.git"), env("prod"));
    deploy(&alice, "prod", DeployAction::Deploy, "1.0", Outcome::Succeeded);
    // Bob does not know of that yet: his first attempt is refused, and what he lacked is fetched.
    assert!(matches!(start(&bob, "prod", DeployAction::Deploy, "1.1"), Err(AppendError::Conflict { .. })));
    assert_eq!(bob.state(&prod).unwrap(), alice.state(&prod).unwrap());
    let of = start(&bob, "prod", DeployAction::Deploy, "1.1").unwrap().entry.sequence;
    assert_eq!(of, 3);
    bob.renew(&prod, of).unwrap();
    assert!(matches!(start(&alice, "prod", DeployAction::Deploy, "1.2"), Err(AppendError::Conflict { .. })));
    assert!(matches!(start(&alice, "prod", DeployAction::Deploy, "1.2"), Err(AppendError::Leased { .. })));
    let renewed = bob.state(&prod).unwrap().open.unwrap().renewed;
    assert!(renewed.is_some());
    assert_eq!(alice.state(&prod).unwrap().open.unwrap().renewed, renewed);
    bob.record(&prod, None, finished(of, Outcome::Succeeded, "1.1"), Offline::Allow).unwrap();
    assert_eq!(standing(&alice.fetch().unwrap()), Standing::Fetched { entries: 1 });
    assert_eq!(standing(&alice.fetch().unwrap()), Standing::Same);
    for ledger in [&alice, &bob] {
        assert_eq!(
            (ledger.verify(&prod, false).unwrap().faults, ledger.unpushed(&prod).unwrap()),
            (vec![], 0)
        );
    }
}

#[test]
fn a_rollback_needs_no_remote_and_is_pushed_later() {
    let team = team();
    let (alice, prod) = (team.shared("alice", "a.git"), env("prod"));
    deploy(&alice, "prod", DeployAction::Deploy, "1.0", Outcome::Succeeded);
    deploy(&alice, "prod", DeployAction::Deploy, "1.1", Outcome::Succeeded);
    std::fs::rename(team.path("remote.git"), team.path("away.git")).unwrap();

    let refused = start(&alice, "prod", DeployAction::Deploy, "1.2").unwrap_err();
    assert!(refused.is_remote_down(), "{refused}");
    let rollback = start(&alice, "prod", DeployAction::Rollback, "1.0").unwrap();
    assert!(rollback.unpushed.is_some());
    let (_, unpushed) = alice.renew(&prod, 5).unwrap();
    assert!(unpushed.is_some());
    alice.record(&prod, None, finished(5, Outcome::Succeeded, "1.0"), Offline::Allow).unwrap();
    assert_eq!(alice.unpushed(&prod).unwrap(), 2);
    assert!(matches!(alice.push(false), Err(debark_ledger::LedgerError::RemoteDown { .. })));

    std::fs::rename(team.path("away.git"), team.path("remote.git")).unwrap();
    assert_eq!(standing(&alice.push(false).unwrap()), Standing::Pushed { entries: 2 });
    assert_eq!(alice.unpushed(&prod).unwrap(), 0);
    let bob = team.shared("bob", "b.git");
    assert_eq!(standing(&bob.fetch().unwrap()), Standing::Fetched { entries: 6 });
    assert_eq!(bob.state(&prod).unwrap(), alice.state(&prod).unwrap());
}

#[test]
fn divergence_is_told_and_nothing_overwritten() {
    let team = team();
    let (alice, bob, prod) = (team.shared("alice", "a.git"), team.shared("bob", "b.git"), env("prod"));
    deploy(&alice, "prod", DeployAction::Deploy, "1.0", Outcome::Succeeded);
    deploy(&alice, "prod", DeployAction::Deploy, "1.1", Outcome::Succeeded);
    bob.fetch().unwrap();
    std::fs::rename(team.path("remote.git"), team.path("away.git")).unwrap();
    let rollback = deploy(&alice, "prod", DeployAction::Rollback, "1.0", Outcome::Succeeded);
    std::fs::rename(team.path("away.git"), team.path("remote.git")).unwrap();
    bob.record(&prod, Some("meanwhile".into()), Kind::Note, Offline::Refuse).unwrap();

    let there = git(&team.path("remote.git"), &["rev-parse", "env/prod"]);
    let here = git(&team.path("a.git"), &["rev-parse", "env/prod"]);
    let diverged = Standing::Diverged { local: 2, remote: 1 };
    assert_eq!(standing(&alice.fetch().unwrap()), diverged);
    assert_eq!(standing(&alice.push(false).unwrap()), diverged);
    assert!(matches!(
        start(&alice, "prod", DeployAction::Deploy, "1.2"),
        Err(AppendError::Diverged { local: 2, remote: 1, .. })
    ));
    assert_eq!(git(&team.path("remote.git"), &["rev-parse", "env/prod"]), there);
    assert_eq!(git(&team.path("a.git"), &["rev-parse", "env/prod"]), here);
    // A rollback goes ahead all the same.
    deploy(&alice, "prod", DeployAction::Rollback, "1.0", Outcome::Succeeded);

    let moved = alice.reconcile(&prod, "the remote was down").unwrap();
    assert_eq!(moved, 4);
    let state = alice.state(&prod).unwrap();
    assert_eq!(state.live(&"shop".parse().unwrap()).unwrap().version.as_str(), "1.0");
    assert!(state.sequence > rollback + 3);
    assert_eq!(alice.verify(&prod, true).unwrap().faults, []);
    assert_eq!(standing(&bob.fetch().unwrap()), Standing::Fetched { entries: 4 });
    assert_eq!(bob.state(&prod).unwrap(), state);
    // What was there before is kept under a name of its own.
    assert!(git(&team.path("a.git"), &["branch", "--list", "diverged/*"]).contains("diverged/prod-"));
}

#[test]
fn what_the_remote_loses_or_forges_is_not_taken_over() {
    let team = team();
    let (alice, prod) = (team.shared("alice", "a.git"), env("prod"));
    deploy(&alice, "prod", DeployAction::Deploy, "1.0", Outcome::Succeeded);
    let remote = team.path("remote.git");
    git(&remote, &["update-ref", "refs/heads/env/prod", "env/prod~1"]);
    assert_eq!(standing(&alice.fetch().unwrap()), Standing::Rewound { lost: 1 });
    assert_eq!(standing(&alice.push(false).unwrap()), Standing::Rewound { lost: 1 });
    let error = alice.record(&prod, None, Kind::Note, Offline::Refuse).unwrap_err();
    assert!(matches!(error, AppendError::Rewound { lost: 1, .. }), "{error}");
    assert_eq!(standing(&alice.push(true).unwrap()), Standing::Pushed { entries: 1 });

    // Somebody who can push but may not sign.
    let tree = git(&remote, &["rev-parse", "env/prod^{tree}"]);
    let commit = git(
        &remote,
        &[
            "-c",
            "user.name=m",
            "-c",
            "user.email=m@example.org",
            "commit-tree",
            "-p",
            "env/prod",
            "-m",
            "x",
            tree.trim(),
        ],
    );
    git(&remote, &["update-ref", "refs/heads/env/prod", commit.trim()]);
    let before = alice.state(&prod).unwrap();
    assert!(matches!(standing(&alice.fetch().unwrap()), Standing::Untrusted { .. }));
    assert_eq!(alice.state(&prod).unwrap(), before);
    // Nothing begins on it; a rollback goes by what was verified here, and takes nothing over.
    assert!(start(&alice, "prod", DeployAction::Deploy, "1.1").unwrap_err().is_refusal());
    let rollback = start(&alice, "prod", DeployAction::Rollback, "1.0").unwrap();
    assert_eq!((rollback.entry.sequence, rollback.unpushed.is_some()), (3, true));
    assert_eq!(git(&remote, &["rev-parse", "env/prod"]).trim(), commit.trim());
}

#[test]
fn a_hook_may_refuse() {
    use std::os::unix::fs::PermissionsExt as _;
    let team = team();
    let hook = team.path("remote.git/hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\necho not on fridays >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let alice = team.shared("alice", "a.git");
    let state = alice.state(&env("prod")).unwrap();
    let draft = start_draft(&alice, &state, DeployAction::Deploy, "1.0", 180);
    match alice.append(&env("prod"), &state, draft, Offline::Allow) {
        Err(AppendError::Rejected(why)) => assert!(why.contains("not on fridays"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(alice.state(&env("prod")).unwrap().sequence, 0);
}
