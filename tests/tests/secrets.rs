//! Canary secrets through every path of a run: no output, log, record, process list, environment or temporary file has them,
//! in whatever form.

// Helpers outside of the test functions fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "secrets/forms.rs"]
mod forms;
#[path = "secrets/release.rs"]
mod release;
#[path = "secrets/watch.rs"]
mod watch;

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use debark_e2e::{Ended, debark, debark_program, lab, on_terminal};
use debark_lab::{Host, Lab};
use forms::Canaries;
use watch::Watch;

/// What a file of the desk is called that may have secrets in clear.
const OWN: &str = "own";

struct Desk<'a> {
    lab: &'a Lab,
    dir: tempfile::TempDir,
    canaries: Canaries,
    /// Where canaries were found: all of it is told at the end.
    found: RefCell<Vec<String>>,
}

impl Desk<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = debark(self.lab, self.dir.path());
        command.env("TMPDIR", self.path("tmp")).env_remove("XDG_RUNTIME_DIR").args(args);
        command
    }

    /// Encrypts a plaintext that is given by standard input.
    fn seal(&self, name: &str, plain: &str, args: &[&str]) {
        let sealed = self.sealed(&[&["vault", "encrypt"], args].concat(), plain);
        self.write(name, &sealed);
    }

    fn sealed(&self, args: &[&str], plain: &str) -> String {
        use std::io::Write as _;
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(plain.as_bytes()).unwrap();
        Ended::of(&child.wait_with_output().unwrap()).ends(0).out
    }

    /// Runs debark; nothing that it says holds a canary.
    #[track_caller]
    fn runs(&self, args: &[&str]) -> Ended {
        let ended = Ended::of(&self.command(args).output().unwrap());
        for (stream, text) in [("standard output", &ended.out), ("standard error", &ended.err)] {
            let lines = self.canaries.lines(text);
            self.found.borrow_mut().extend(lines.iter().map(|line| format!("{stream} of {args:?}: {line}")));
        }
        ended
    }

    /// Looks through files, here and on the host.
    fn nowhere(&self, host: &Host<'_>) {
        let mut found = self.found.borrow_mut();
        let own = |path: &Path| path.components().any(|part| part.as_os_str() == OWN);
        self.canaries.below(self.dir.path(), &own, &mut found);
        self.canaries.below(Path::new("/dev/shm"), &|_| false, &mut found);
        let root = PathBuf::from(format!("/proc/{}/root", host.leader().unwrap().pid));
        for place in [
            "tmp",
            "var/tmp",
            "run",
            "dev/shm",
            "var/lib/debark",
            "var/cache",
            "var/log",
            "root",
            "home",
            "etc",
            "opt",
        ] {
            let told = |path: &Path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("shadow") && path.parent().is_some_and(|dir| dir.ends_with("etc"))
            };
            self.canaries.below(&root.join(place), &told, &mut found);
        }
        let journal = host.sh("journalctl --no-pager -o json --all").unwrap();
        found.extend(self.canaries.lines(&journal));
    }
}

/// A repository that only a password opens, by git's dumb protocol (gitprotocol-http(5)), and a port that says nothing. The password is
/// read from standard input.
const REPOSITORY: &str = "set -e; export DEBIAN_FRONTEND=noninteractive
apt-get update >/dev/null; apt-get install -y --no-install-recommends git busybox >/dev/null
mkdir -p /srv/git; git init -q -b main /srv/work; cd /srv/work; echo there > file; git add file
git -c user.name=t -c user.email=t@example.org commit -qm one; git clone -q --bare . /srv/git/canary.git
git -C /srv/git/canary.git update-server-info
IFS= read -r p; printf '/:u:%s\n' \"$p\" > /srv/httpd.conf
systemd-run -q --unit canary-git busybox httpd -f -p 127.0.0.1:8097 -h /srv/git -c /srv/httpd.conf
systemd-run -q --unit canary-silent openssl s_server -quiet -accept 127.0.0.1:8098 -nocert -cipher NULL
for i in $(seq 600); do [ \"$(ss -Hltn 'sport = :8097 or sport = :8098' | wc -l)\" = 2 ] && exit; sleep 0.1; done; exit 1";

/// What is typed at a prompt of a playbook.
fn asked(desk: &Desk<'_>) {
    let play = "- hosts: all\n  gather_facts: false\n  vars_prompt: [{name: word, prompt: A word}]\n  tasks:\n    \
        - {name: 'a file of {{ word }}', copy: {content: \"{{ word }} {{ word | b64encode }}\\n\", dest: /srv/canary/made-asked}}\n    \
        - {name: told, debug: {msg: \"{{ word }} {{ word | urlencode }}\"}}\n    \
        - {name: fails, command: \"cat '/nowhere/{{ word }}'\", ignore_errors: true}\n";
    desk.write("asked.yml", play);
    let mut command = desk.lab.controller_command("timeout");
    command.current_dir(desk.dir.path()).env("HOME", desk.dir.path()).env("TMPDIR", desk.path("tmp"));
    let line = format!("exec {} run -i hosts --diff -vvv asked.yml", debark_program().display());
    let shown = on_terminal(command, &line, &[("A word", &format!("{}\n", desk.canaries.text("typed")))]);
    assert_eq!(shown.code, Some(0), "{}", shown.text);
    let lines = desk.canaries.lines(&shown.text);
    desk.found.borrow_mut().extend(lines.iter().map(|line| format!("a terminal: {line}")));
    let made = desk.lab.host("h1").unwrap().sh("cat /srv/canary/made-asked").unwrap();
    assert!(made.contains(desk.canaries.text("typed")), "{made}");
}

const PLAYBOOK: &str = include_str!("secrets/site.yml");

#[test]
fn canaries_are_found_nowhere() {
    let lab = lab("secrets", 1, &[]);
    let host = lab.host("h1").unwrap();
    let desk = Desk {
        lab: &lab,
        dir: tempfile::tempdir().unwrap(),
        canaries: Canaries::new(),
        found: RefCell::default(),
    };
    let text = |name: &str| desk.canaries.text(name).to_owned();
    fs::create_dir(desk.path("tmp")).unwrap();
    desk.write("own/pw", "correct horse\n");
    let made =
        Command::new("age-keygen").arg("-o").arg(desk.path("own/key.txt")).stderr(Stdio::null()).status();
    assert!(made.unwrap().success());
    let recipient =
        Command::new("age-keygen").arg("-y").arg(desk.path("own/key.txt")).output().unwrap().stdout;
    let recipient = String::from_utf8(recipient).unwrap();
    let recipient = ["--recipient", recipient.trim()];
    let vault = ["--vault-password-file", "own/pw"];
    let yaml = |pairs: &[(&str, &str)]| -> String {
        pairs
            .iter()
            .map(|(name, canary)| format!("{name}: {}\n", serde_json::Value::from(text(canary))))
            .collect()
    };
    desk.seal(
        "vault.yml",
        &yaml(&[
            ("canary", "vault"),
            ("multi", "multi"),
            ("brief", "brief"),
            ("hashed", "hash"),
            ("spare", "spare"),
            ("token", "token"),
        ]),
        &vault,
    );
    desk.seal("aged.yml", &yaml(&[("aged", "age")]), &recipient);
    desk.seal("included.yml", &yaml(&[("included", "included")]), &vault);
    desk.seal("templates/sealed.j2", &format!("{} {{{{ canary }}}}\n", text("template")), &recipient);
    desk.seal("files/sealed", &format!("{}\n", text("file")), &vault);
    let single = [&["vault", "encrypt-string", "--stdin-name", "single"], &vault[..]].concat();
    let aged = [&["vault", "encrypt-string", "--stdin-name", "aged_single"], &recipient[..]].concat();
    let vars = desk.sealed(&single, &text("single")) + &desk.sealed(&aged, &text("aged_single"));
    desk.write("group_vars/all/vars.yml", &vars);
    desk.seal("group_vars/ops.yml", &yaml(&[("ansible_become_password", "become")]), &vault);
    desk.write("templates/t.j2", "a = {{ canary }}\nb = {{ canary | b64encode }}\n{{ multi }}");
    desk.write("hosts", &lab.inventory(&[]).unwrap());
    desk.write("site.yml", PLAYBOOK);
    // What a task with `no_log` finds there, and the user whose password is asked for.
    let own = "set -e; mkdir -p /srv/canary; cat > /srv/canary/hidden";
    watch::feed(&host, own, &text("hidden"));
    let user = "set -e; useradd -m -s /bin/sh ops; echo 'ops ALL=(ALL) ALL' > /etc/sudoers.d/ops; mkdir -p ~ops/.ssh; \
                cp ~root/.ssh/authorized_keys ~ops/.ssh/; chown -R ops: ~ops/.ssh; IFS= read -r p; printf 'ops:%s\\n' \"$p\" | chpasswd";
    watch::feed(&host, user, &format!("{}\n", text("become")));

    watch::feed(&host, REPOSITORY, &format!("{}\n", text("token")));

    let keys = ["--vault-password-file", "own/pw", "--age-identity", "own/key.txt"];
    let run = |flags: &[&str]| {
        let args = [&["run", "-i", "hosts", "site.yml"], &keys[..], flags].concat();
        let watch = Watch::start(&desk.canaries);
        let ended = desk.runs(&args).ends(2);
        desk.found.borrow_mut().extend(watch.end());
        // Everything was tried, and the last task is the one that fails.
        assert!(ended.out.contains("last of all"), "{}\n{}", ended.out, ended.err);
        desk.nowhere(&host);
        // What git keeps of where it came from has no password.
        assert_eq!(
            host.sh("cat /root/canary-copy/file; git -C /root/canary-copy remote get-url origin").unwrap(),
            "there\nhttp://127.0.0.1:8097/canary.git\n"
        );
        host.sh(
            "rm -rf /root/canary-copy /srv/canary/made /var/lib/debark/handlers.json; mkdir -p /srv/canary",
        )
        .unwrap();
    };
    run(&["--diff"]);
    run(&["--diff", "-vvv"]);
    run(&["--diff", "--json"]);
    let password = fs::read_to_string(desk.path("own/generated")).unwrap();
    assert!(password.trim().len() == 24, "{password}");

    let become_ops = ["-e", "@group_vars/ops.yml", "-e", "ansible_user=ops", "--become"];
    let ops =
        [&["exec", "-i", "hosts", "h1", "-vvv", "-m", "command", "-a", "id -un"], &become_ops[..], &keys]
            .concat();
    let watch = Watch::start(&desk.canaries);
    let ended = desk.runs(&ops).ends(0);
    assert!(ended.out.contains("root"), "{}", ended.out);
    desk.found.borrow_mut().extend(watch.end());
    let exec = |module: &str, args: &str| {
        let all = ["exec", "-i", "hosts", "h1", "-vvv", "-e", "@vault.yml", "-m", module, "-a", args];
        let _ = desk.runs(&[&all[..], &keys].concat()).ends(0);
    };
    exec("debug", "msg={{ canary }}");
    exec("command", "cat /srv/canary/l");
    exec("slurp", "src=/srv/canary/l");
    let _ = desk.runs(&[&["facts", "-i", "hosts", "h1"], &keys[..]].concat());
    let _ = desk.runs(&[&["inventory", "-i", "hosts", "--list"], &keys[..]].concat()).ends(0);
    let explain = ["inventory", "-i", "hosts", "explain", "single", "h1"];
    let _ = desk.runs(&[&explain[..], &keys].concat()).ends(0);
    asked(&desk);
    desk.nowhere(&host);
    let found = desk.found.take();
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(fs::metadata(desk.path("tmp")).unwrap().permissions().mode() & 0o777, 0o755);
}
