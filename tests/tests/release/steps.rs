//! `kill -9` of the deployer at each of its steps: the next command converges.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use debark_e2e::Releases;
use serde_json::Value;

/// What a line of `--json` is, whatever the version.
fn step(line: &str, version: &str) -> String {
    let event: Value = serde_json::from_str(line).unwrap();
    let text = event["text"].as_str().filter(|_| event["event"] == "progress").unwrap_or_default();
    format!("{} {}", event["event"].as_str().unwrap(), text.replace(version, "VERSION"))
}

/// Deploys until a step is reached, and is killed there; whether it was reached.
fn killed_at(shop: &Releases<'_>, version: &str, at: &str) -> bool {
    let what = format!("shop@{version}");
    let mut command = shop.command("alice", &["deploy", &what, "--to", "staging", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in lines.map(Result::unwrap) {
        if step(&line, version) == at {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
    }
    child.wait().unwrap();
    false
}

/// Of each kind the first: what is said again while a host works is the same step, and what apt says is none.
fn steps(out: &str, version: &str) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    for step in out.lines().map(|line| step(line, version)) {
        let is_step =
            ["started", "preparing", "wave", "progress installing", "healthy", "reverting", "reverted"]
                .iter()
                .any(|kind| step.starts_with(kind));
        if is_step && !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps
}

fn is_live(shop: &Releases<'_>, version: &str, at: &str) {
    assert_eq!(shop.version("h1"), version, "killed at {at}");
    assert_eq!(shop.dpkg("h1"), format!("install ok installed {version}"), "killed at {at}");
    let _ = shop.debark("alice", &["status", "--env", "staging"]).ends(0);
}

/// At every step twice: it is undone, and it is finished. `live` is what is live, versions are 2.N.0 and 3.N.0.
pub fn killed_at_every_step(shop: &Releases<'_>, live: &str) {
    shop.publish("2.0.0", true);
    let whole = shop.debark("alice", &["deploy", "shop@2.0.0", "--to", "staging", "--json"]).ends(0).out;
    let of_success = steps(&whole, "2.0.0");
    for wanted in ["started ", "preparing ", "wave ", "progress installing shop VERSION", "healthy "] {
        assert!(of_success.iter().any(|step| step == wanted), "{wanted:?} is missing in {of_success:?}");
    }
    assert_ne!(live, "2.0.0");
    let mut live = "2.0.0".to_owned();
    for (number, at) in of_success.iter().enumerate() {
        let version = format!("2.{}.0", number + 1);
        shop.publish(&version, true);
        assert!(killed_at(shop, &version, at), "{at}");
        let _ = shop.debark("bob", &["deploy", "--abort", "--to", "staging"]).ends(0);
        is_live(shop, &live, at);
        // What was aborted is not bad: somebody changed their mind.
        assert!(killed_at(shop, &version, at), "{at}");
        let _ = shop.debark("bob", &["deploy", "--resume", "--to", "staging"]).ends(0);
        live = version;
        is_live(shop, &live, at);
    }
    // On the way back.
    shop.publish("3.0.0", false);
    let whole = shop.debark("alice", &["deploy", "shop@3.0.0", "--to", "staging", "--json"]).ends(2).out;
    let of_failure: Vec<String> =
        steps(&whole, "3.0.0").into_iter().filter(|step| !of_success.contains(step)).collect();
    assert!(of_failure.iter().any(|step| step == "reverting "), "{of_failure:?}");
    for (number, at) in of_failure.iter().enumerate() {
        let version = format!("3.{}.0", number + 1);
        shop.publish(&version, false);
        assert!(killed_at(shop, &version, at), "{at}");
        let _ = shop.debark("bob", &["deploy", "--abort", "--to", "staging"]).ends(0);
        is_live(shop, &live, at);
        assert!(killed_at(shop, &version, at), "{at}");
        // It is as unhealthy as before.
        let _ = shop.debark("bob", &["deploy", "--resume", "--to", "staging"]).ends(2);
        is_live(shop, &live, at);
    }
    let _ = shop.debark("alice", &["ledger", "verify", "--anew"]).ends(0);
}
