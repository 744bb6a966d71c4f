//! The ledger's commands, with real git and ssh-keygen. What only deployments put on record is tested with hosts.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

const PROJECT: &str = "\
packages: {shop: {build: cargo-deb}}
environments:
  staging: {inventory: 'h,', allow: [alice@example.org]}
  prod:
    inventory: 'h,'
    allow: [alice@example.org]
    promote_from: staging
    gates: {approvals: {count: 1, by: [bob@example.org]}}
";

/// A project of alice, who may deploy, and bob, who may approve.
fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".debark")).unwrap();
    std::fs::write(dir.path().join("debark.yml"), PROJECT).unwrap();
    let mut signers = String::new();
    for who in ["alice", "bob"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.path().join(who));
        assert!(keygen.status().unwrap().success());
        let public = std::fs::read_to_string(dir.path().join(format!("{who}.pub"))).unwrap();
        signers += &format!("{who}@example.org {public}");
    }
    std::fs::write(dir.path().join(".debark/signers"), signers).unwrap();
    dir
}

/// Exit code, standard output and standard error.
fn debark(dir: &Path, who: &str, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_debark"));
    command.args(args).current_dir(dir).env("NO_COLOR", "1").env("DEBARK_KEY", dir.join(who));
    for name in ["CIRCLECI", "GITHUB_ACTIONS", "GITLAB_CI", "DEBARK_PROJECT"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn rules_are_put_on_record_and_lifted() {
    let dir = project();
    let alice = |args: &[&str]| debark(dir.path(), "alice", args);
    let bob = |args: &[&str]| debark(dir.path(), "bob", args);

    assert_eq!(alice(&["history"]).0, 0);
    let (code, out, err) = alice(&["hold", "shop@1.0", "--env", "prod", "--reason", "ticket 7"]);
    assert_eq!((code, out.as_str()), (0, "prod #1: hold shop 1.0 (alice@example.org)\n"), "{err}");
    assert_eq!(alice(&["hold", "--env", "prod"]).0, 1, "a reason is needed");
    assert_eq!(alice(&["hold", "shpo", "--env", "prod", "--reason", "x"]).0, 1);
    // Bob may not deploy to prod, so he may not lift what keeps others from it either.
    let (code, _, err) = bob(&["unhold", "shop", "--env", "prod", "--reason", "x"]);
    assert_eq!(code, 3, "{err}");
    assert_eq!(alice(&["unhold", "shop@1.1", "--env", "prod", "--reason", "x"]).0, 1, "that is not held");
    assert_eq!(alice(&["unhold", "shop", "--env", "prod", "--reason", "fixed"]).0, 0);
    assert_eq!(alice(&["thaw", "prod", "--reason", "x"]).0, 1, "nothing is frozen");
    assert_eq!(alice(&["freeze", "prod", "--for", "2h", "--reason", "audit"]).0, 0);
    assert_eq!(alice(&["thaw", "prod", "--reason", "over"]).0, 0);

    let digest = "a".repeat(64);
    let approve = ["approve", "shop@1.0", "--env", "prod", "--digest", &digest];
    let (code, _, err) = alice(&approve);
    assert!(code == 3 && err.contains("bob@example.org"), "{err}");
    let (code, out, err) = bob(&[&approve[..], &["--json"]].concat());
    assert_eq!(code, 0, "{err}");
    let entry: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&entry["event"], &entry["kind"], &entry["sequence"]),
        (&"recorded".into(), &"approved".into(), &5.into())
    );
    assert_eq!(bob(&approve).0, 1, "once is enough");

    let (code, out, _) = alice(&["history", "--env", "prod"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, lines.len()), (0, 5), "{out}");
    assert!(lines[0].contains("#5    approve shop 1.0  bob@example.org"), "{out}");
    assert!(lines[4].ends_with("hold shop 1.0  alice@example.org  \"ticket 7\""), "{out}");
    let (_, out, _) = alice(&["history", "--package", "shop", "-n", "2", "--json"]);
    let kinds: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (kinds.len(), &kinds[0]["kind"], &kinds[1]["kind"]),
        (2, &"approved".into(), &"released".into())
    );
    let (code, out, _) = alice(&["show", "5", "--env", "prod"]);
    assert!(code == 0 && out.contains(&format!("sha256:{digest}")), "{out}");
    assert_eq!(alice(&["show", "6", "--env", "prod"]).0, 1);
    assert_eq!(alice(&["diff", "staging", "prod"]).0, 0);
    assert_eq!(alice(&["ledger", "push"]).0, 1, "there is no remote");

    let (code, out, _) = alice(&["ledger", "verify"]);
    assert_eq!((code, out.as_str()), (0, "staging: 0 entries, whole\nprod: 5 entries, whole\n"));
    let (code, out, _) = alice(&["ledger", "log", "--env", "prod"]);
    assert_eq!((code, out.matches("Good \"git\" signature for").count()), (0, 5), "{out}");
    let (code, _, err) = alice(&["report", "-o", "page.html"]);
    assert_eq!(code, 0, "{err}");
    let page = std::fs::read_to_string(dir.path().join("page.html")).unwrap();
    assert!(page.contains("All 5 entries are verified") && page.contains("ticket 7"), "{page}");
}

#[test]
fn a_forged_entry_is_named() {
    let dir = project();
    let alice = |args: &[&str]| debark(dir.path(), "alice", args);
    assert_eq!(alice(&["freeze", "prod", "--reason", "audit"]).0, 0);
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.arg("--git-dir").arg(dir.path().join(".debark/ledger.git")).args(args);
        let output = git
            .env("GIT_AUTHOR_NAME", "m")
            .env("GIT_AUTHOR_EMAIL", "m@example.org")
            .env("GIT_COMMITTER_NAME", "m")
            .env("GIT_COMMITTER_EMAIL", "m@example.org")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let forged = git(&[
        "-c",
        "commit.gpgSign=false",
        "commit-tree",
        "-p",
        "env/prod",
        "-m",
        "thaw prod",
        "env/prod^{tree}",
    ]);
    git(&["update-ref", "refs/heads/env/prod", &forged]);
    let (code, out, _) = alice(&["ledger", "verify", "--env", "prod"]);
    assert_eq!(code, 3, "{out}");
    assert!(out.contains(&forged[..12]) && out.contains("no signature"), "{out}");
    assert!(out.ends_with("faults\n"), "{out}");
    let (code, out, _) = alice(&["ledger", "verify", "--env", "prod", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &found["entries"]), (3, &2.into()));
}
