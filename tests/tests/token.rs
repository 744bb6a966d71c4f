//! Keys on FIDO tokens: to log in with, to sign orders with, which hosts verify, and to sign the record with, which plain git does.
//!
//! The token is software (`token/token.c`), which OpenSSH loads as it loads the library for those of USB; all else is OpenSSH's own.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use debark_e2e::{Ended, Releases, lab, workspace};

struct Token {
    library: PathBuf,
    touches: PathBuf,
}

impl Token {
    /// Compiles it.
    fn new(home: &Path) -> Self {
        let token = Self { library: home.join("token.so"), touches: home.join("touches") };
        let source = workspace().join("tests/tests/token/token.c");
        let mut compiler = Command::new("gcc");
        compiler.args(["-shared", "-fPIC", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-o"]);
        // The library is where ssh is; the link to it by its short name comes with headers.
        compiler.arg(&token.library).arg(source).arg("-l:libcrypto.so.3");
        assert!(compiler.status().unwrap().success());
        token
    }

    fn plug<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        self.missing(command).env("TOKEN_TOUCHES", &self.touches)
    }

    /// Not plugged in.
    fn missing<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("SSH_SK_PROVIDER", &self.library).env_remove("TOKEN_TOUCHES")
    }

    /// How often it was touched since it was asked last.
    fn touched(&self) -> usize {
        let touches = fs::read(&self.touches).map_or(0, |bytes| bytes.len());
        let _ = fs::remove_file(&self.touches);
        touches
    }
}

#[test]
fn keys_on_tokens_log_in_and_sign() {
    let lab = lab("token", 1, &[]);
    let shop = Releases::new(&lab, "");
    let token = Token::new(&shop.home);
    let key = shop.key("carol");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519-sk", "-N", "", "-C", "carol", "-f"]).arg(&key);
    assert!(token.plug(&mut keygen).status().unwrap().success());
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    assert!(public.starts_with("sk-ssh-ed25519@openssh.com "), "{public}");
    assert_eq!(token.touched(), 1);

    // It is the only key of everything that follows: of the host, and of the project.
    let inventory = shop.dir.join("staging.ini");
    let text = fs::read_to_string(&inventory).unwrap();
    let lab_key = lab.path().join("id_ed25519").display().to_string();
    assert!(text.contains(&lab_key), "{text}");
    // As people with a library of their own do; those with a token on USB need no option.
    let option = format!("-o SecurityKeyProvider={} -o IdentitiesOnly=yes", token.library.display());
    let text = text.replace(&lab_key, &key.display().to_string()).replace("-o IdentitiesOnly=yes", &option);
    assert!(text.contains(&option), "{text}");
    fs::write(&inventory, text).unwrap();
    let authorized = lab.host("h1").unwrap().rootfs_path().join("root/.ssh/authorized_keys");
    fs::write(authorized, &public).unwrap();
    let signers = shop.dir.join(".debark/signers");
    let others = fs::read_to_string(&signers).unwrap();
    fs::write(&signers, format!("{others}carol@example.org namespaces=\"git,order@debark\" {public}"))
        .unwrap();
    shop.edit("allow: [alice@example.org, bob@example.org]", "allow: [carol@example.org]");

    logs_in(&shop, &token);
    deploys(&shop, &token);
    git_verifies(&shop, &signers);
    says_what_is_missing(&shop, &token);
}

fn carol(shop: &Releases<'_>, token: &Token, args: &[&str]) -> Ended {
    Ended::of(&token.plug(&mut shop.command("carol", args)).output().unwrap())
}

fn logs_in(shop: &Releases<'_>, token: &Token) {
    fs::write(shop.home.join("site.yml"), "- hosts: all\n  tasks:\n    - {command: id -un}\n").unwrap();
    let site = shop.home.join("site.yml");
    let run = ["run", "-i", "staging.ini", site.to_str().unwrap()];
    let _ = carol(shop, token, &run).ends(0);
    assert_eq!(token.touched(), 1, "one connection, one touch");
    let log = shop.on("h1", "journalctl -u ssh -o cat | grep 'Accepted publickey for root' | tail -n 1").out;
    assert!(log.contains("ED25519-SK"), "{log}");
    let gone = Ended::of(&token.missing(&mut shop.command("carol", &run)).output().unwrap());
    let why = format!(
        "takes a key that cannot sign: ED25519-SK \"{}\": device not found",
        shop.key("carol").display()
    );
    let _ = gone.ends(20).says(&why).says("plug the token in");
}

/// The host verifies what the token has signed.
fn deploys(shop: &Releases<'_>, token: &Token) {
    let _ = carol(shop, token, &["enroll", "--env", "staging"]).ends(0);
    shop.publish("1.0.0", true);
    token.touched();
    let said = carol(shop, token, &["deploy", "shop", "--to", "staging"]).ends(0);
    // Who signs, the order, both entries; and two connections.
    assert_eq!(
        (token.touched(), said.err.matches("Confirm user presence for key ED25519-SK ").count()),
        (6, 4)
    );
    assert_eq!(shop.version("h1"), "1.0.0");
    let history = carol(shop, token, &["history", "--env", "staging"]).ends(0);
    let _ = history.says("carol@example.org");
    let _ = carol(shop, token, &["ledger", "verify", "--anew"]).ends(0).says(" entries, whole");
}

fn git_verifies(shop: &Releases<'_>, signers: &Path) {
    let mut git = Command::new("git");
    git.args(["-c", &format!("gpg.ssh.allowedSignersFile={}", signers.display()), "--git-dir"]);
    git.arg(shop.ledger()).args(["log", "--show-signature", "env/staging"]).env("LC_ALL", "C");
    let output = git.output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let good = "Good \"git\" signature for carol@example.org with ED25519-SK key";
    assert_eq!((output.status.success(), said.matches(good).count()), (true, 2), "{said}");
}

/// Without the token nothing is signed, and it is said which key wants what.
fn says_what_is_missing(shop: &Releases<'_>, token: &Token) {
    let freeze = ["freeze", "staging", "--reason", "audit"];
    let gone = Ended::of(&token.missing(&mut shop.command("carol", &freeze)).output().unwrap());
    let key = shop.key("carol").display().to_string();
    let _ = gone.ends(1).says(&key).says("device not found").says("a token has to be plugged in");
    let _ = carol(shop, token, &freeze).ends(0).says("freeze (carol@example.org)");
}
