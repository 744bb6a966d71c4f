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
    command.env("XDG_CACHE_HOME", dir.join("cache"));
    for name in ["CIRCLECI", "GITHUB_ACTIONS", "GITLAB_CI", "DEBARK_PROJECT"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn git(repository: &Path, args: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("--git-dir").arg(repository).args(args);
    for (name, value) in [("NAME", "m"), ("EMAIL", "m@example.org")] {
        git.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    let output = git.output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whoever can write to the repository puts a commit with that tree on top, without a signature; which.
fn forge(repository: &Path, environment: &str, tree: &str) -> String {
    let branch = format!("env/{environment}");
    let words = ["-c", "commit.gpgSign=false", "commit-tree", "-p", &branch, "-m", "forged", tree];
    let forged = git(repository, &words);
    git(repository, &["update-ref", &format!("refs/heads/{branch}"), &forged]);
    forged
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
    let forged = forge(&dir.path().join(".debark/ledger.git"), "prod", "env/prod^{tree}");
    let (code, out, _) = alice(&["ledger", "verify", "--env", "prod"]);
    assert_eq!(code, 3, "{out}");
    assert!(out.contains(&forged[..12]) && out.contains("no signature"), "{out}");
    assert!(out.ends_with("faults\n"), "{out}");
    let (code, out, _) = alice(&["ledger", "verify", "--env", "prod", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &found["entries"]), (3, &2.into()));
}

#[test]
fn what_others_can_write_to_is_told_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = project();
    let alice = |args: &[&str]| debark(dir.path(), "alice", args);
    for environment in ["staging", "prod"] {
        let (code, _, err) = alice(&["freeze", environment, "--for", "2h", "--reason", "audit"]);
        assert_eq!((code, err.as_str()), (0, ""));
    }
    let memory = dir.path().join("cache/debark/verified");
    let known = || {
        let (code, out, err) = alice(&["ledger", "verify", "--json"]);
        let of = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["known"].as_u64().unwrap();
        (code, out.lines().map(of).collect::<Vec<_>>(), err)
    };
    assert_eq!(known(), (0, vec![1, 1], String::new()));
    std::fs::set_permissions(&memory, std::fs::Permissions::from_mode(0o777)).unwrap();
    let (code, known, err) = known();
    assert_eq!((code, known), (0, vec![0, 0]));
    let told = format!("{} can be written to by others", memory.display());
    assert_eq!((err.matches("warning: ").count(), err.matches(&told).count()), (1, 1), "{err}");
}

#[test]
fn nothing_is_decided_by_a_forged_entry() {
    let dir = project();
    let ledger = dir.path().join(".debark/ledger.git");
    let alice = |args: &[&str]| debark(dir.path(), "alice", args);
    for environment in ["staging", "prod"] {
        assert_eq!(alice(&["freeze", environment, "--for", "2h", "--reason", "audit"]).0, 0);
        assert_eq!(alice(&["hold", "shop", "--env", environment, "--reason", "ticket 7"]).0, 0);
    }
    let whole = git(&ledger, &["rev-parse", "env/prod"]);
    // The state of before, without the hold.
    let forged = forge(&ledger, "prod", "env/prod~1^{tree}");
    let hold = ["hold", "shop", "--env", "prod", "--reason", "again"];
    let unhold = ["unhold", "shop", "--env", "prod", "--reason", "x"];
    let digest = "a".repeat(64);
    let approve = ["approve", "shop@1.0", "--env", "prod", "--digest", &digest];
    for command in [
        &["deploy", "shop@1.0", "--to", "prod"][..],
        &["deploy", "shop@1.0", "--to", "prod", "--plan"],
        &["deploy", "--resume", "--to", "prod"],
        &["promote", "shop", "--to", "prod"],
        &["rollback", "shop", "--env", "prod"],
        &["prune"],
        &hold,
        &unhold,
        &approve,
    ] {
        let (code, out, err) = alice(command);
        let named = err.contains(&forged[..12]) && err.contains("is not to be trusted");
        assert!(code == 3 && named, "{command:?}: {code} {out}{err}");
    }
    // Nobody has signed anything on top of it.
    assert_eq!(git(&ledger, &["rev-parse", "env/prod"]), forged);
    git(&ledger, &["update-ref", "refs/heads/env/prod", &whole]);
    assert_eq!(alice(&hold).0, 0);

    // What is promoted has to have proved itself on a chain that holds.
    let forged = forge(&ledger, "staging", "env/staging~1^{tree}");
    let (code, _, err) = alice(&["promote", "shop", "--to", "prod"]);
    assert!(code == 3 && err.contains(&forged[..12]), "{err}");
    // Entries that were verified and are gone are missed.
    git(&ledger, &["update-ref", "refs/heads/env/prod", &format!("{whole}~1")]);
    let (code, _, err) = alice(&["rollback", "shop", "--env", "prod"]);
    assert!(code == 3 && err.contains("is lost"), "{err}");
}

#[test]
fn a_team_shares_its_ledger() {
    let (one, two) = (project(), tempfile::tempdir().unwrap());
    let remote = one.path().join("remote.git");
    git(&remote, &["init", "--quiet", "--bare"]);
    let text = format!("{PROJECT}ledger: {{remote: {}}}\n", remote.display());
    std::fs::write(one.path().join("debark.yml"), text).unwrap();
    // Bob's project is a copy: the same signers, a ledger of its own.
    let copied =
        Command::new("cp").arg("-a").arg(format!("{}/.", one.path().display())).arg(two.path()).status();
    assert!(copied.unwrap().success());
    let alice = |args: &[&str]| debark(one.path(), "alice", args);
    let bob = |args: &[&str]| debark(two.path(), "bob", args);
    let hold = ["hold", "shop", "--env", "prod", "--reason", "ticket 7"];

    assert_eq!(alice(&["freeze", "prod", "--for", "2h", "--reason", "audit"]).0, 0);
    let (code, out, err) = bob(&hold);
    assert_eq!((code, out.as_str()), (0, "prod #2: hold shop (bob@example.org)\n"), "{err}");

    let away = one.path().join("away.git");
    std::fs::rename(&remote, &away).unwrap();
    assert_eq!(alice(&hold).0, 4, "what others do not see does not count");
    assert_eq!(alice(&["deploy", "shop@1.0", "--to", "prod"]).0, 4);
    let (code, _, err) = alice(&["rollback", "shop", "--env", "prod"]);
    assert!(
        code == 3 && err.contains("going by what is known here") && err.contains("no earlier good"),
        "{err}"
    );
    // A stolen key is revoked whether the remote answers or not.
    let key = "0123456789ABCDEF0123456789ABCDEF01234567";
    let (code, _, err) = alice(&["keys", "revoke", key, "--reason", "stolen"]);
    assert!(code == 0 && err.contains("later: debark ledger push"), "{err}");
    assert_eq!(alice(&["ledger", "push"]).0, 4);
    std::fs::rename(&away, &remote).unwrap();

    // Alice did not know of Bob's entry: both have happened, and neither is overwritten.
    let there = git(&remote, &["rev-parse", "env/prod"]);
    for command in
        [&hold[..], &["deploy", "shop@1.0", "--to", "prod"], &["ledger", "push"], &["ledger", "fetch"]]
    {
        let (code, out, err) = alice(command);
        assert!(code == 3 && format!("{out}{err}").contains("diverged"), "{command:?}: {code} {out}{err}");
    }
    let (code, _, err) = alice(&["rollback", "shop", "--env", "prod"]);
    assert!(code == 3 && err.contains("warning: ") && err.contains("no earlier good"), "{err}");
    assert_eq!(git(&remote, &["rev-parse", "env/prod"]), there);
    assert_eq!(alice(&["ledger", "reconcile", "--env", "prod", "--reason", "it was down"]).0, 0);
    let (_, out, _) = bob(&["history", "--env", "prod"]);
    assert!(out.contains("moved: revoke key") && out.contains("hold shop"), "{out}");
    for who in [&alice as &dyn Fn(&[&str]) -> (i32, String, String), &bob] {
        assert_eq!(who(&["ledger", "verify", "--anew"]).0, 0);
    }

    // The remote forgets; nobody believes it, and it is put back.
    git(&remote, &["update-ref", "refs/heads/env/prod", "env/prod~1"]);
    let (code, _, err) = bob(&["deploy", "shop@1.0", "--to", "prod"]);
    assert!(code == 3 && err.contains("has lost 1 entries"), "{err}");
    assert_eq!(alice(&["ledger", "push"]).0, 3);
    assert_eq!(alice(&["ledger", "push", "--restore"]).0, 0);
    // Somebody pushes who may not sign.
    forge(&remote, "prod", "env/prod~2^{tree}");
    let (code, _, err) = bob(&["deploy", "shop@1.0", "--to", "prod"]);
    assert!(code == 3 && err.contains("at the remote is not to be trusted"), "{err}");
    assert_eq!(bob(&["ledger", "verify"]).0, 0, "nothing of it is here");
}

#[test]
fn key_changes_are_on_record() {
    let dir = project();
    let alice = |args: &[&str]| debark(dir.path(), "alice", args);
    let new = ["keys", "new", "build.asc", "--user", "B <b@example.org>", "--no-passphrase", "--json"];
    let (code, out, err) = alice(&new);
    assert_eq!(code, 0, "{err}");
    let made: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    let key = made["key"].as_str().unwrap();
    let file = made["public"].as_str().unwrap();
    assert_eq!(alice(&["keys", "trust", file]).0, 0, "it is on record already");
    assert_eq!(alice(&["keys", "revoke", key, "--reason", "rotated"]).0, 0);
    assert_eq!(alice(&["keys", "revoke", key]).0, 0);
    for environment in ["staging", "prod"] {
        let (_, out, _) = alice(&["history", "--env", environment]);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 2, "{out}");
        assert!(lines[0].contains(&format!("revoke key {key}")) && lines[0].contains("rotated"), "{out}");
        assert!(lines[1].contains(&format!("trust key {key}")), "{out}");
    }
    // Without a key to sign with, the files change all the same; and it is said.
    let mut command = Command::new(env!("CARGO_BIN_EXE_debark"));
    command.args(["keys", "revoke", &"A".repeat(40)]).current_dir(dir.path()).env_remove("DEBARK_KEY");
    command.env("HOME", dir.path()).env("GIT_CONFIG_SYSTEM", "/dev/null").env_remove("DEBARK_PROJECT");
    let output = command.output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && err.contains("not on record"), "{err}");
}

#[test]
fn approvals_and_holds_are_told() {
    let dir = project();
    let heard = dir.path().join("heard");
    let notify = format!(
        "notify:\n  - {{command: \"cat >> {0}; echo >> {0}\", on: [approved, held, released]}}\n",
        heard.display()
    );
    std::fs::write(dir.path().join("debark.yml"), format!("{PROJECT}{notify}")).unwrap();
    let alice = |args: &[&str]| debark(dir.path(), "alice", args);
    assert_eq!(alice(&["hold", "shop@1.0", "--env", "prod", "--reason", "ticket 7"]).0, 0);
    assert_eq!(alice(&["unhold", "shop@1.0", "--env", "prod", "--reason", "fixed"]).0, 0);
    assert_eq!(alice(&["freeze", "prod", "--reason", "nobody wants to know"]).0, 0);
    let digest = "a".repeat(64);
    let approve = ["approve", "shop@1.0", "--env", "prod", "--digest", &digest];
    assert_eq!(debark(dir.path(), "bob", &approve).0, 0);
    let text = std::fs::read_to_string(&heard).unwrap();
    let told: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let fields =
        |at: usize| ["event", "actor", "package", "version", "reason"].map(|name| told[at][name].clone());
    assert_eq!(told.len(), 3, "{text}");
    assert_eq!(fields(0), ["held", "alice@example.org", "shop", "1.0", "ticket 7"]);
    assert_eq!(fields(1), ["released", "alice@example.org", "shop", "1.0", "fixed"]);
    assert_eq!(
        (&told[2]["event"], &told[2]["digest"]),
        (&"approved".into(), &format!("sha256:{digest}").into())
    );
}

/// An agent that ends with the test.
struct Agent(std::process::Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn agents_and_certificates_sign_the_record() {
    let dir = project();
    let path = |name: &str| dir.path().join(name);
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).current_dir(dir.path()).env("SSH_AUTH_SOCK", path("agent"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
    };
    let mut agent = Command::new("ssh-agent");
    agent.args(["-D", "-a"]).arg(path("agent")).stdout(std::process::Stdio::null());
    let _agent = Agent(agent.spawn().unwrap());
    let begin = std::time::Instant::now();
    while !path("agent").exists() {
        assert!(begin.elapsed().as_secs() < 60, "there is no agent");
        std::thread::yield_now();
    }
    // Bob's key is certified by the team's, which is the one that the project knows.
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "ca"]);
    run("ssh-keygen", &["-q", "-s", "ca", "-I", "bob", "-n", "bob@example.org", "-V", "-1d:+1d", "bob.pub"]);
    let public = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    let signers =
        format!("alice@example.org {}*@example.org cert-authority {}", public("alice.pub"), public("ca.pub"));
    std::fs::write(path(".debark/signers"), signers).unwrap();
    // Both are in the agent, and nowhere else.
    run("ssh-add", &["-q", "alice", "bob"]);
    for name in ["alice", "bob"] {
        std::fs::remove_file(path(name)).unwrap();
    }
    let debark = |key: &str, args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_debark"));
        command.args(args).current_dir(dir.path()).env("NO_COLOR", "1").env("SSH_AUTH_SOCK", path("agent"));
        command
            .env("DEBARK_KEY", path(key))
            .env("XDG_CACHE_HOME", path("cache"))
            .env_remove("DEBARK_PROJECT");
        let output = command.output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), text)
    };
    let (code, said) = debark("alice.pub", &["hold", "shop", "--env", "prod", "--reason", "ticket 7"]);
    assert!(code == 0 && said.contains("(alice@example.org)"), "{said}");
    let digest = "a".repeat(64);
    let (code, said) = debark("bob-cert.pub", &["approve", "shop@1.0", "--env", "prod", "--digest", &digest]);
    assert!(code == 0 && said.contains("bob@example.org"), "{said}");
    // The key alone, without the team's word for it, is nobody's.
    let (code, said) = debark("bob.pub", &["approve", "shop@1.1", "--env", "prod", "--digest", &digest]);
    assert!(code != 0, "{said}");
    let (code, said) = debark("alice.pub", &["ledger", "verify", "--anew"]);
    assert!(code == 0 && said.contains("prod: 2 entries, whole"), "{said}");
    let (code, said) = debark("alice.pub", &["ledger", "log", "--env", "prod"]);
    assert_eq!((code, said.matches("Good \"git\" signature for").count()), (0, 2), "{said}");
}

#[test]
fn a_project_that_only_audits_says_what_other_commands_want() {
    let dir = project();
    std::fs::write(dir.path().join("debark.yml"), "environments:\n  prod: {inventory: 'h,'}\n").unwrap();
    let alice = |args: &[&str]| debark(dir.path(), "alice", args);
    assert_eq!(alice(&["history"]).0, 0);
    for args in [&["build"][..], &["deploy", "shop@1.0", "--to", "prod"], &["status"]] {
        let (code, _, err) = alice(args);
        assert!(code == 1 && err.contains("debark.yml has no `packages`"), "{args:?}: {code} {err}");
    }
    let (code, _, err) = alice(&["enroll", "--env", "prod"]);
    assert!(code == 1 && err.contains("`prod` has no `allow`"), "{code} {err}");
    let (code, _, err) = alice(&["thaw", "prod", "--reason", "x"]);
    assert!(code == 3 && err.contains("nobody may deploy to prod"), "{code} {err}");
    assert!(err.contains("allow: [alice@example.org]"), "{err}");
}
