//! Projects, packages and keys from the command line, on this machine alone.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

struct Desk {
    _home: tempfile::TempDir,
    home: PathBuf,
    root: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().canonicalize().unwrap();
        let root = path.join("shop");
        fs::create_dir(&root).unwrap();
        let desk = Self { _home: home, home: path, root };
        fs::write(desk.home.join(".gitconfig"), "[user]\nname = Alice\nemail = alice@example.org\n").unwrap();
        desk.git(&["init", "-q", "-b", "main"]);
        desk
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.root)
            .env("HOME", &self.home)
            .env("NO_COLOR", "1")
            .stdin(std::process::Stdio::null());
        command.env("GIT_CONFIG_SYSTEM", "/dev/null").env("GNUPGHOME", self.home.join("gnupg"));
        for name in [
            "DEBARK_KEY",
            "DEBARK_BUILD_KEY",
            "DEBARK_BUILD_KEY_PASSPHRASE",
            "DEBARK_BUILD_KEY_PASSPHRASE_FILE",
            "DEBARK_PROJECT",
            "XDG_CONFIG_HOME",
        ] {
            command.env_remove(name);
        }
        command
    }

    fn git(&self, words: &[&str]) {
        let output = self.command("git").args(words).output().unwrap();
        assert!(output.status.success(), "git {words:?}: {output:?}");
    }

    fn debark(&self, words: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_debark")).args(words).output().unwrap()
    }

    /// Standard output of what ends with this code.
    #[track_caller]
    fn ends(&self, code: i32, words: &[&str]) -> String {
        let output = self.debark(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, code: i32, words: &[&str]) -> Value {
        serde_json::from_str(&self.ends(code, words)).unwrap()
    }

    /// Standard error of what is refused as bad input.
    #[track_caller]
    fn refused(&self, words: &[&str]) -> String {
        let output = self.debark(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn key(&self) -> String {
        self.home.join("build.asc").display().to_string()
    }

    /// A project with a key, committed and tagged.
    fn ready() -> Self {
        let desk = Self::new();
        desk.ends(0, &["init"]);
        let key = desk.key();
        desk.ends(0, &["keys", "new", &key, "--user", "Builds <builds@example.org>", "--no-passphrase"]);
        desk.git(&["add", "."]);
        desk.git(&["commit", "-q", "-m", "one"]);
        desk.git(&["tag", "v1.0.0"]);
        desk
    }
}

#[test]
fn what_init_writes_is_built_signed_and_inspected() {
    let desk = Desk::ready();
    let key = desk.key();
    let built = desk.json(0, &["build", "--build-key", &key, "--json"]);
    assert_eq!((&built["package"], &built["version"]), (&"shop".into(), &"1.0.0".into()));
    assert_eq!(built["tests"][0]["passed"], true);
    let file = built["file"].as_str().unwrap();
    let shown = desk.json(0, &["inspect", file, "--json"]);
    assert_eq!(shown["digest"], built["digest"]);
    assert_eq!(shown["signature"]["key"], built["key"]);
    assert_eq!(shown["provenance"]["commit"], built["commit"]);
    assert_eq!(shown["conffiles"][0], "/etc/shop.conf");
    // The same from the artifact store, by its version.
    desk.ends(0, &["publish", file, "--build-key", &key]);
    for what in ["shop@1.0.0", "1.0.0", "shop"] {
        let there = desk.json(0, &["inspect", what, "--json"]);
        assert_eq!(there["digest"], built["digest"]);
        assert_eq!(there["provenance"]["commit"], built["commit"]);
    }
    assert!(desk.refused(&["inspect", "shop@9.9"]).contains("there is no shop 9.9 in the store"));
    assert!(desk.refused(&["inspect", "what?"]).contains("neither a file nor a version of a package"));
    // What was built is no change of the source: the next build goes on.
    desk.ends(0, &["build", "--build-key", &key]);
    // Unsigned, it is not trusted.
    let plain = desk.json(0, &["build", "--no-sign", "--output", "plain", "--json"]);
    let plain = plain["file"].as_str().unwrap();
    assert_eq!(desk.json(3, &["inspect", plain, "--json"])["signature"]["trusted"], false);
    desk.ends(0, &["sign", plain, "--build-key", &key]);
    let shown = desk.json(0, &["inspect", plain, "--json"]);
    assert_eq!(
        (&shown["signature"]["trusted"], &shown["provenance"]["trusted"]),
        (&true.into(), &true.into())
    );
    // One byte of provenance.
    let provenance = format!("{}/{file}.intoto.json", desk.root.display());
    let text = fs::read_to_string(&provenance).unwrap();
    fs::write(&provenance, text.replacen("\"payload\":\"ey", "\"payload\":\"ez", 1)).unwrap();
    assert_eq!(desk.json(3, &["inspect", file, "--json"])["provenance"]["trusted"], false);
}

#[test]
fn pipelines_are_made_of_commands_that_exist() {
    for (ci, file) in [
        ("circleci", ".circleci/config.yml"),
        ("github", ".github/workflows/release.yml"),
        ("gitlab", ".gitlab-ci.yml"),
    ] {
        let desk = Desk::new();
        let said = desk.ends(0, &["init", "--ci", ci]);
        for text in ["name a bucket", "the ledger has no remote", "secrets"] {
            assert!(said.contains(text), "{text:?} is missing in {said}");
        }
        let text = fs::read_to_string(desk.root.join(file)).unwrap();
        let calls: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once("debark "))
            .filter(|(before, _)| !before.contains('#') && before.trim_end().ends_with([':', '-']))
            .map(|(_, words)| words)
            .collect();
        // That they do what they should is shown on a lab: tests/tests/pipeline.rs.
        let names: Vec<&str> = calls.iter().map(|call| call.split(' ').next().unwrap()).collect();
        assert_eq!(names, ["build", "publish", "deploy", "promote"], "{text}");
        // `publish` has a test of its own.
        for call in calls.iter().filter(|call| !call.starts_with("publish")) {
            let words: Vec<&str> =
                call.split(' ').filter(|word| !word.contains('@')).chain(["--help"]).collect();
            desk.ends(0, &words);
        }
    }
}

#[test]
fn keys_rotate_and_are_revoked() {
    let desk = Desk::ready();
    let first = desk.key();
    let second = desk.home.join("second.asc").display().to_string();
    let built = desk.json(0, &["build", "--build-key", &first, "--json"]);
    let (file, old) = (built["file"].as_str().unwrap(), built["key"].as_str().unwrap());
    desk.ends(0, &["keys", "new", &second, "--user", "Builds <builds@example.org>", "--no-passphrase"]);
    let listed = desk.json(0, &["keys", "list", "--json"]);
    assert_eq!(listed["build_keys"].as_array().unwrap().len(), 2);
    desk.ends(0, &["inspect", file]);
    desk.ends(0, &["keys", "revoke", old, "--reason", "rotated"]);
    let shown = desk.json(3, &["inspect", file, "--json"]);
    assert!(shown["signature"]["problem"].as_str().unwrap().contains("revoked"), "{shown}");
    let public = desk.root.join(format!(".debark/build-keys/{old}.asc"));
    assert!(desk.debark(&["keys", "trust", public.to_str().unwrap()]).status.code() == Some(3));
    // Secrets are neither replaced nor readable for others, nor taken for public keys.
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        desk.refused(&["keys", "new", &first, "--user", "B <b@example.org>", "--no-passphrase"])
            .contains("is there already")
    );
    assert!(desk.refused(&["keys", "trust", &first]).contains("is no OpenPGP public key"));
    let listed = desk.json(0, &["keys", "list", "--json"]);
    assert!(listed["build_keys"].as_array().unwrap().iter().any(|key| key["state"] == "revoked"), "{listed}");
}

#[test]
fn a_key_in_gpg_agent_signs() {
    let desk = Desk::ready();
    let gnupg = desk.home.join("gnupg");
    fs::create_dir(&gnupg).unwrap();
    fs::set_permissions(&gnupg, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let imported =
        desk.command("gpg").args(["--batch", "--quiet", "--import", &desk.key()]).output().unwrap();
    assert!(imported.status.success(), "{imported:?}");
    let built = desk.json(0, &["build", "--build-key", "gpg:builds@example.org", "--json"]);
    let shown = desk.json(0, &["inspect", built["file"].as_str().unwrap(), "--json"]);
    assert_eq!((&shown["signature"]["key"], &shown["provenance"]["trusted"]), (&built["key"], &true.into()));
    // The agent that gpg started goes with its directory.
    let _ = desk.command("gpgconf").args(["--kill", "all"]).status();
}

#[test]
fn what_goes_wrong_is_told_with_what_to_do() {
    let desk = Desk::new();
    assert!(desk.refused(&["build"]).contains("there is no debark.yml in"));
    let desk = Desk::ready();
    assert!(desk.refused(&["build"]).contains("DEBARK_BUILD_KEY"));
    assert!(desk.refused(&["build", "shpo", "--no-sign"]).contains("hint: did you mean `shop`?"));
    assert!(desk.refused(&["init"]).contains("is there already"));
    for words in [
        &["build", "--no-sign", "--version", "1.0 beta"][..],
        &["deploy", "shop@1:2:3;x", "--to", "staging"],
        &["rollback", "shop", "--env", "staging", "--to", "1 0"],
    ] {
        let said = desk.refused(words);
        assert!(said.contains("version"), "{words:?}: {said}");
    }
    fs::write(desk.root.join("bin/shop"), "#!/bin/sh\nif\n").unwrap();
    let said = desk.refused(&["build", "--no-sign"]);
    assert!(
        said.contains("a file differs from the commit: bin/shop") && said.contains("--allow-dirty"),
        "{said}"
    );
    desk.git(&["commit", "-qam", "broken"]);
    let output = desk.debark(&["build", "--no-sign"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(!Path::new(&desk.root).join("dist/shop_1.0.0_all.deb").exists());
    fs::write(desk.home.join("secret"), "hunter2").unwrap();
    let secret = desk.home.join("secret").display().to_string();
    let output = desk.debark(&["build", "--build-key", &secret, "--json"]);
    assert!(!format!("{output:?}").contains("hunter2"), "{output:?}");
    let file = desk.root.join("no.deb");
    fs::write(&file, "!<arch>\nrubbish").unwrap();
    assert!(desk.refused(&["inspect", "no.deb"]).contains("no Debian package"));
}
