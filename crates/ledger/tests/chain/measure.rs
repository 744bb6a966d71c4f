//! How long things take with a long chain. Run by hand: `cargo test --release -p debark-ledger --test chain -- --ignored --nocapture`.

use std::time::Instant;

use debark_ledger::{DeployAction, Kind, Offline, Outcome};

use crate::{Team, deploy, digest, env};

#[test]
#[ignore = "takes minutes; prints times"]
fn ten_thousand_entries() {
    let entries: u64 =
        std::env::var("LEDGER_ENTRIES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    let team = Team::new();
    drop(team.ledger("alice", "ledger.git"));
    // What is measured is reading: the disk need not be waited for while it is written.
    std::fs::remove_file(team.path("ledger.git/config.libgit2")).unwrap();
    let (ledger, prod) = (team.ledger("alice", "ledger.git"), env("prod"));
    let begun = Instant::now();
    let mut made = 0;
    while made < entries {
        let version = format!("1.{made}");
        let approve = Kind::Approved {
            package: "shop".parse().unwrap(),
            version: version.parse().unwrap(),
            digest: digest(&version),
        };
        ledger.record(&prod, None, approve, Offline::Refuse).unwrap();
        let result = if made % 30 == 0 { Outcome::Reverted } else { Outcome::Succeeded };
        deploy(&ledger, "prod", DeployAction::Deploy, &version, result);
        made += 3;
    }
    println!("{made} entries appended: {:?} each", begun.elapsed() / u32::try_from(made).unwrap());
    let mut states: Vec<_> = (0..20)
        .map(|_| {
            let begun = Instant::now();
            // As a command does it: opened anew.
            let state = team.ledger("bob", "ledger.git").state(&prod).unwrap();
            assert_eq!(state.sequence, made);
            begun.elapsed()
        })
        .collect();
    states.sort();
    println!("state: {:?}, at worst {:?}", states[10], states[19]);
    for anew in [true, false] {
        let begun = Instant::now();
        assert_eq!(ledger.verify(&prod, anew).unwrap().faults, []);
        println!(
            "verified, {}: {:?}",
            if anew { "all signatures" } else { "signatures known" },
            begun.elapsed()
        );
    }
    let begun = Instant::now();
    ledger.entry(&prod, 1).unwrap();
    println!("the first entry found: {:?}", begun.elapsed());
}
