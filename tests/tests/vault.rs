//! `debark vault` beside the real `ansible-vault` and the real `age`: what one writes the others read.

// Helpers outside of the test functions fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use debark_e2e::{Ended, debark_program, on_terminal, peers};
use rustix::process::{Pid, Signal, kill_process};

const PLAIN: &str = "db_password: c4n@ry \"q\" %+/=$é'\nlist: [1, 2]\n";

struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        // The user's own configuration has no say.
        desk.write("ansible.cfg", "");
        desk.write("pw", "correct horse\n");
        desk.write("pw2", "battery staple\n");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.write(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir.path()).env("HOME", self.dir.path()).env("LC_ALL", "C.UTF-8");
        command
            .env("ANSIBLE_CONFIG", self.path("ansible.cfg"))
            .env_remove("DEBARK_AGE_IDENTITY")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, program: &Path, args: &[&str], input: &str) -> Ended {
        let mut command = self.command(program, args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ended::of(&child.wait_with_output().unwrap())
    }

    fn debark(&self, args: &[&str]) -> Ended {
        self.run(&debark_program(), args, "")
    }

    fn vault(&self, args: &str) -> Ended {
        self.debark(&[&["vault"], args.split(' ').collect::<Vec<_>>().as_slice()].concat())
    }
}

#[test]
fn ansible_vault_reads_what_debark_writes_and_the_reverse() {
    let desk = Desk::new();
    let bin = peers();
    let theirs = |args: &str| {
        let args: Vec<&str> = args.split(' ').collect();
        desk.run(&bin.join("ansible-vault"), &args, "").ends(0).out
    };
    for (open, header) in [
        ("--vault-password-file pw", "$ANSIBLE_VAULT;1.1;AES256\n"),
        ("--vault-id prod@pw", "$ANSIBLE_VAULT;1.2;AES256;prod\n"),
    ] {
        desk.write("ours.yml", PLAIN);
        let _ = desk.vault(&format!("encrypt ours.yml {open}")).ends(0);
        assert!(desk.read("ours.yml").starts_with(header), "{}", desk.read("ours.yml"));
        assert_eq!(theirs(&format!("view {open} ours.yml")), PLAIN);
        desk.write("theirs.yml", PLAIN);
        theirs(&format!("encrypt {open} theirs.yml"));
        assert_eq!(desk.vault(&format!("view theirs.yml {open}")).ends(0).out, PLAIN);
    }
    // Each reads what the other has given a new password.
    let _ = desk.vault("rekey ours.yml --vault-id prod@pw --new-vault-id qa@pw2").ends(0);
    assert!(desk.read("ours.yml").starts_with("$ANSIBLE_VAULT;1.2;AES256;qa\n"));
    assert_eq!(theirs("view --vault-id qa@pw2 ours.yml"), PLAIN);
    theirs("rekey --vault-id prod@pw --new-vault-password-file pw2 theirs.yml");
    assert_eq!(desk.vault("view theirs.yml --vault-password-file pw2").ends(0).out, PLAIN);
    // Single values, named like their variables.
    let args = ["vault", "encrypt-string", "--vault-id", "prod@pw", "--stdin-name", "ours"];
    let ours = desk.run(&debark_program(), &args, "c4n@ry 'x'").ends(0).out;
    assert!(
        ours.starts_with("ours: !vault |\n          $ANSIBLE_VAULT;1.2;AES256;prod\n          "),
        "{ours}"
    );
    let args = ["encrypt_string", "--vault-id", "prod@pw", "--stdin-name", "theirs"];
    let value = desk.run(&bin.join("ansible-vault"), &args, "k7#Q\"").ends(0).out;
    desk.write("vars.yml", format!("{ours}{value}\n"));
    let args = "-i h, -c local h -m debug -e @vars.yml --vault-id prod@pw -a msg={{ours}}{{theirs}}";
    let args: Vec<&str> = args.split(' ').collect();
    let said = desk.run(&bin.join("ansible"), &args, "").ends(0).out;
    assert!(said.contains(r#"c4n@ry 'x'k7#Q\""#), "{said}");
    desk.write("group_vars/all/vars.yml", desk.read("vars.yml"));
    desk.write("hosts", "h\n");
    let args = ["inventory", "-i", "hosts", "--host", "h", "--vault-id", "prod@pw", "--show-secrets"];
    let said = desk.debark(&args).ends(0).out;
    assert!(said.contains(r#""c4n@ry 'x'""#) && said.contains(r#""k7#Q\"""#), "{said}");
}

#[test]
fn passwords_by_label_by_environment_and_from_clients() {
    let desk = Desk::new();
    desk.write("a", PLAIN);
    let client = desk.script(
        "keyring-client.sh",
        "#!/bin/sh\n[ \"$1 $2\" = '--vault-id prod' ] || exit 2\ncat \"$(dirname \"$0\")/pw2\"\n",
    );
    let client = format!("prod@{}", client.display());
    let _ = desk.vault("encrypt a --vault-id dev@pw --vault-id prod@pw2").ends(1).says("labels: dev, prod");
    assert_eq!(desk.read("a"), PLAIN);
    let _ = desk
        .vault(&format!("encrypt a --vault-id dev@pw --vault-id {client} --encrypt-vault-id prod"))
        .ends(0);
    assert!(desk.read("a").starts_with("$ANSIBLE_VAULT;1.2;AES256;prod\n"));
    let _ = desk.vault("view a --vault-id prod@pw").ends(1).says("wrong vault password for a");
    let _ = desk.vault("encrypt a --vault-id prod@pw").ends(1).says("a is encrypted already");
    let with = |name: &str, value: &str| {
        let mut command = desk.command(&debark_program(), &["vault", "view", "a"]);
        Ended::of(&command.env(name, value).output().unwrap()).ends(0).out
    };
    assert_eq!(with("ANSIBLE_VAULT_PASSWORD_FILE", "pw2"), PLAIN);
    assert_eq!(with("ANSIBLE_VAULT_IDENTITY_LIST", &format!("dev@pw,{client}")), PLAIN);
    // Without a source it asks, and nobody is there.
    let _ = desk.vault("view a").ends(1).says("cannot ask for the vault password");
    let _ = desk.vault("decrypt pw --vault-password-file pw").ends(1).says("pw is not encrypted");
    // Streams, outputs, modes, links.
    let sealed =
        desk.run(&debark_program(), &["vault", "encrypt", "--vault-password-file", "pw"], "x\n").ends(0).out;
    let plain =
        desk.run(&debark_program(), &["vault", "decrypt", "-", "--vault-password-file", "pw"], &sealed);
    assert_eq!(plain.ends(0).out, "x\n");
    let _ = desk.vault("decrypt a --output out --vault-id prod@pw2").ends(0);
    assert_eq!((desk.read("out").as_str(), desk.mode("out")), (PLAIN, 0o600));
    fs::set_permissions(desk.path("a"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("a", desk.path("link")).unwrap();
    let _ = desk.vault("rekey link --vault-id prod@pw2 --new-vault-password-file pw").ends(0);
    assert!(fs::symlink_metadata(desk.path("link")).unwrap().is_symlink() && desk.mode("a") == 0o640);
    let _ = desk.vault("decrypt a --vault-password-file pw").ends(0);
    assert_eq!((desk.read("a").as_str(), desk.mode("a")), (PLAIN, 0o600));
    let _ = desk.vault("encrypt a out --output x --vault-password-file pw").ends(1).says("there are several");
    let names: Vec<String> = fs::read_dir(desk.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn age_reads_what_debark_writes_and_the_reverse() {
    let desk = Desk::new();
    let (age, keygen) = (Path::new("age"), Path::new("age-keygen"));
    let _ = desk.run(keygen, &["-o", "key.txt"], "").ends(0);
    let recipient = desk.run(keygen, &["-y", "key.txt"], "").ends(0).out.trim().to_owned();
    for kind in ["ed25519", "rsa"] {
        let args = ["-q", "-t", kind, "-N", "", "-f", kind];
        let _ = desk.run(Path::new("ssh-keygen"), &args, "").ends(0);
    }
    desk.write("all", format!("# us\n{recipient}\n{}{}", desk.read("ed25519.pub"), desk.read("rsa.pub")));
    desk.write("ours", PLAIN);
    let _ = desk.vault("encrypt ours --age").ends(1).says("nobody is named for whom age is to encrypt");
    let _ = desk.vault("encrypt ours --recipients-file all").ends(0);
    assert!(desk.read("ours").starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
    for identity in ["key.txt", "ed25519", "rsa"] {
        assert_eq!(desk.run(age, &["-d", "-i", identity, "ours"], "").ends(0).out, PLAIN, "{identity}");
        for armor in [&[][..], &["-a"]] {
            let args = [armor, &["-R", "all", "-o", "theirs", "pw"]].concat();
            let _ = desk.run(age, &args, "").ends(0);
            let args = format!("view theirs --age-identity {identity}");
            assert_eq!(desk.vault(&args).ends(0).out, "correct horse\n");
        }
    }
    let _ = desk.vault("view ours").ends(1).says("no known identity opens it").says("--age-identity");
    // The project's own recipients, for what is encrypted anew.
    desk.write(".debark/recipients", &recipient);
    let _ = desk.vault("rekey ours --age-identity ed25519").ends(0);
    let _ = desk.vault("view ours --age-identity ed25519").ends(1);
    assert_eq!(desk.run(age, &["-d", "-i", "key.txt", "ours"], "").ends(0).out, PLAIN);
    // From one to the other, and back.
    let _ = desk.vault("rekey ours --age-identity key.txt --new-vault-password-file pw").ends(0);
    assert!(desk.read("ours").starts_with("$ANSIBLE_VAULT;1.1;AES256\n"));
    let _ = desk.vault("rekey ours --vault-password-file pw --age").ends(0);
    assert_eq!(desk.run(age, &["-d", "-i", "key.txt", "ours"], "").ends(0).out, PLAIN);
    // In files of variables, whole and as a single value; binary files as well.
    let args = ["vault", "encrypt-string", "--age", "--stdin-name", "single"];
    let single = desk.run(&debark_program(), &args, "s1ngle").ends(0).out;
    assert!(single.starts_with("single: !age |\n"), "{single}");
    desk.write("hosts", "h\n");
    desk.write("group_vars/all/single.yml", single);
    desk.write("whole", "whole: wh0le\n");
    let _ = desk.run(age, &["-r", &recipient, "-o", "group_vars/all/whole.yml", "whole"], "").ends(0);
    let args = ["inventory", "-i", "hosts", "--host", "h", "--age-identity", "key.txt"];
    let hidden = desk.debark(&args).ends(0).out;
    assert!(!hidden.contains("s1ngle") && !hidden.contains("wh0le"), "{hidden}");
    let shown = desk.debark(&[&args[..], &["--show-secrets"]].concat()).ends(0).out;
    assert!(shown.contains("s1ngle") && shown.contains("wh0le"), "{shown}");
    let error = desk.debark(&["inventory", "-i", "hosts", "--host", "h"]).ends(1);
    assert!(error.err.contains("group_vars/all/whole.yml is sealed by age"), "{}", error.err);
}

const EDITOR: &str = "#!/bin/sh\nset -e\n[ \"$(stat -c %a \"$1\")$(stat -c %a \"$(dirname \"$1\")\")\" = 600700 ]\n\
                      [ \"$(stat -f -c %T \"$1\")\" = tmpfs ] || [ ! -d /dev/shm ]\n";

#[test]
fn editing_leaves_nothing_behind() {
    let desk = Desk::new();
    let editor =
        |name: &str, rest: &str| desk.script(name, &format!("{EDITOR}dirname \"$1\" > seen\n{rest}\n"));
    let edit = |editor: &Path, args: &str| {
        let args: Vec<&str> = ["vault"].into_iter().chain(args.split(' ')).collect();
        let mut command = desk.command(&debark_program(), &args);
        let ended = Ended::of(&command.env("EDITOR", editor).env_remove("VISUAL").output().unwrap());
        assert!(!Path::new(desk.read("seen").trim()).exists(), "{}", desk.read("seen"));
        ended
    };
    let append = editor("append", "cp \"$1\" \"$1~\"\nprintf 'more: 1\\n' >> \"$1\"");
    let _ = edit(&append, "create a.yml --vault-id prod@pw").ends(0);
    assert!(
        desk.read("a.yml").starts_with("$ANSIBLE_VAULT;1.2;AES256;prod\n") && desk.mode("a.yml") == 0o600
    );
    fs::set_permissions(desk.path("a.yml"), fs::Permissions::from_mode(0o640)).unwrap();
    let _ = edit(&append, "edit a.yml --vault-id prod@pw --vault-id dev@pw2").ends(0);
    assert!(
        desk.read("a.yml").starts_with("$ANSIBLE_VAULT;1.2;AES256;prod\n") && desk.mode("a.yml") == 0o640
    );
    let view = || desk.vault("view a.yml --vault-id prod@pw").ends(0).out;
    assert_eq!(view(), "more: 1\nmore: 1\n");
    let before = desk.read("a.yml");
    let _ = edit(&editor("nothing", ""), "edit a.yml --vault-id prod@pw").ends(0);
    assert_eq!(desk.read("a.yml"), before, "nothing was changed, so nothing is written");
    // What was typed is kept, encrypted, when the editor fails, or when somebody else was quicker.
    let kept = |ended: Ended| {
        let name = ended.err.split("typed is in ").nth(1).unwrap_or_else(|| panic!("{}", ended.err));
        let name = name.split(',').next().unwrap().to_owned();
        let plain = desk.vault(&format!("view {name} --vault-id prod@pw")).ends(0).out;
        fs::remove_file(desk.path(&name)).unwrap();
        plain
    };
    let fails = editor("fails", "echo 'lost: 1' > \"$1\"; exit 3");
    let ended = edit(&fails, "edit a.yml --vault-id prod@pw").ends(1).says("exit code 3; a.yml is as it was");
    assert_eq!(kept(ended), "lost: 1\n");
    assert_eq!(desk.read("a.yml"), before);
    let slow = editor("slow", "echo 'slow: 1' > \"$1\"; cp pw a.yml");
    let ended =
        edit(&slow, "edit a.yml --vault-id prod@pw").ends(1).says("changed meanwhile by somebody else");
    assert_eq!(kept(ended), "slow: 1\n");
    assert_eq!(desk.read("a.yml"), "correct horse\n");
    let _ = edit(&append, "edit a.yml --vault-id prod@pw").ends(1).says("a.yml is not encrypted");
    desk.write("a.yml", &before);
    // Stopped from outside, while the editor has the plaintext.
    let waits = editor(
        "waits",
        "trap 'exit 1' TERM\necho 'typed: 1' >> \"$1\"\ntouch started\nwhile :; do sleep 0.1; done",
    );
    let mut command = desk.command(&debark_program(), &["vault", "edit", "a.yml", "--vault-id", "prod@pw"]);
    let child = command.env("EDITOR", &waits).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !desk.path("started").exists() {
        assert!(Instant::now() < deadline, "the editor does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    let ended = Ended::of(&child.wait_with_output().unwrap()).ends(130).says("a.yml is as it was");
    assert!(!Path::new(desk.read("seen").trim()).exists());
    assert_eq!(kept(ended), "more: 1\nmore: 1\ntyped: 1\n");
    assert_eq!(desk.read("a.yml"), before);
}

#[test]
fn passphrases_are_typed_on_a_terminal_and_shown_nowhere() {
    let desk = Desk::new();
    desk.write("sealed.yml", PLAIN);
    let _ = desk.vault("encrypt sealed.yml --vault-password-file pw").ends(0);
    // An SSH key under a passphrase is an age identity.
    let mut keygen =
        desk.command(Path::new("ssh-keygen"), &["-q", "-t", "ed25519", "-f", "key", "-N", "loyal m4ckerel"]);
    assert!(keygen.status().unwrap().success());
    desk.write("aged.yml", PLAIN);
    let public = desk.read("key.pub");
    let _ = desk.debark(&["vault", "encrypt", "aged.yml", "--recipient", public.trim()]).ends(0);
    desk.write("site.yml", "- {hosts: h, gather_facts: false, vars_files: [sealed.yml], tasks: [{name: look, command: 'true', when: db_password is defined}]}\n");
    fs::remove_file(desk.path("pw")).unwrap();
    let typed = |words: &str, answers: &[(&str, &str)]| {
        let shown = on_terminal(
            desk.command(Path::new("timeout"), &[]),
            &format!("exec {} {words}", debark_program().display()),
            answers,
        );
        for (_, answer) in answers {
            assert!(!shown.text.contains(answer.trim()), "{words}: {}", shown.text);
        }
        shown
    };
    let view = typed("vault view sealed.yml -J", &[("Vault password: ", "correct horse\n")]);
    assert!(view.code == Some(0) && view.text.contains("db_password: c4n@ry"), "{}", view.text);
    let wrong = typed("vault view sealed.yml -J", &[("Vault password: ", "incorrect h0rse\n")]);
    assert!(wrong.code == Some(1) && wrong.text.contains("sealed.yml"), "{}", wrong.text);
    let view = typed("vault view aged.yml --age-identity key", &[("Passphrase of ", "loyal m4ckerel\n")]);
    assert!(view.code == Some(0) && view.text.contains("db_password: c4n@ry"), "{}", view.text);
    let wrong = typed("vault view aged.yml --age-identity key", &[("Passphrase of ", "disloyal m4ckerel\n")]);
    assert!(wrong.code == Some(1) && wrong.text.contains("that is not the passphrase of"), "{}", wrong.text);
    // A run asks the same, and keeps it out of its own words and records.
    let run = "run -i h, -e ansible_connection=local -vvv site.yml --vault-id prod@prompt";
    let run = typed(run, &[("Vault password (prod): ", "correct horse\n")]);
    assert!(run.code == Some(0) && !run.text.contains("c4n@ry"), "{}", run.text);
    let mut grep = desk.command(Path::new("grep"), &["-rlE", "correct h|incorrect h0|m4ckerel", "."]);
    assert_eq!(String::from_utf8(grep.output().unwrap().stdout).unwrap(), "", "a passphrase is in a file");
    let mut grep = desk.command(
        Path::new("sh"),
        &["-c", "grep -lE 'correct h|m4ckerel' /var/lib/debark/journal.jsonl 2>/dev/null"],
    );
    assert_eq!(String::from_utf8(grep.output().unwrap().stdout).unwrap(), "");
}

/// Ends with the test.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn wireguard_configurations_at_rest() {
    let desk = Desk::new();
    let config = "[Interface]\nPrivateKey = dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\nAddress = 10.9.0.2/24\n\
                  [Peer]\nPublicKey = 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\nAllowedIPs = 10.9.0.0/24\n\
                  Endpoint = 127.0.0.1:9\n";
    let _ = desk.run(Path::new("age-keygen"), &["-o", "key.txt"], "").ends(0);
    let recipient = desk.run(Path::new("age-keygen"), &["-y", "key.txt"], "").ends(0).out;
    for (name, seal, open) in [
        ("vault.conf", "--vault-id vpn@pw".to_owned(), "--vault-id vpn@pw"),
        ("age.conf", format!("--recipient {}", recipient.trim()), "--age-identity key.txt"),
    ] {
        desk.write(name, config);
        let _ = desk.vault(&format!("encrypt {name} {seal}")).ends(0);
        assert!(!desk.read(name).contains("PrivateKey"));
        let proxy = ["vpn", "proxy", "--config", name, "--listen", "127.0.0.1:0"];
        let closed = desk.debark(&proxy).ends(1);
        assert!(closed.err.contains(name) && !closed.err.contains("dwdtC"), "{}", closed.err);
        let args = [&proxy[..], &open.split(' ').collect::<Vec<_>>()].concat();
        let mut child = Proxy(desk.command(&debark_program(), &args).stderr(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(child.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("SOCKS5 on 127.0.0.1:"), "{line}");
    }
}
