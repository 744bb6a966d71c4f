//! A lab host that is enrolled, people and build keys, packages, and conversations with the gate.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use debark_e2e::{debark, lab};
use debark_lab::{Host, Lab};
use debark_order::gate::{Failure, FailureKind, HostState, Installed, PROGRAM, Reply, Request};
use debark_order::order::NAMESPACE;
use debark_order::sshsig::Signer;
use debark_order::{Action, Digest, Order, SealedOrder, frame};

/// Long enough for anything on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(300);

pub struct World {
    pub lab: Lab,
    pub dir: PathBuf,
    _temporary: tempfile::TempDir,
    next: std::cell::Cell<u64>,
}

/// A package, as it is ordered.
#[derive(Clone)]
pub struct Deb {
    pub version: String,
    pub bytes: Vec<u8>,
    pub unsigned: Vec<u8>,
}

impl Deb {
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }
}

/// What a package is made of.
#[derive(Default, Clone)]
pub struct Parts<'a> {
    pub control: &'a str,
    pub files: &'a [(&'a str, &'a str)],
    pub conffiles: &'a [(&'a str, &'a str)],
    pub scripts: &'a [(&'a str, &'a str)],
}

impl World {
    pub fn new(name: &str) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().to_owned();
        for who in ["ci", "intern", "mallory"] {
            run(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", who, "-f"])
                .arg(dir.join(who)));
        }
        for key in ["build", "other"] {
            fs::create_dir(dir.join(format!("gpg-{key}"))).unwrap();
            run(Command::new("chmod").arg("700").arg(dir.join(format!("gpg-{key}"))));
            let id = format!("{key} <{key}@example.org>");
            run(gpg(&dir, key).args([
                "--passphrase",
                "",
                "--quick-gen-key",
                &id,
                "ed25519",
                "sign",
                "never",
            ]));
        }
        let world = Self { lab: lab(name, 1, &[]), dir, _temporary: temporary, next: 1.into() };
        world.enroll();
        world
    }

    /// As people do it; and a second time, when there is nothing to do.
    fn enroll(&self) {
        let project = self.dir.join("project");
        let put = |path: &str, bytes: &[u8]| {
            let path = project.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        put(
            "debark.yml",
            b"packages:\n  shop:\n    build: {command: make deb, output: '*.deb'}\n\
              environments:\n  staging:\n    inventory: hosts\n    allow: [ci@example.org]\n",
        );
        put("hosts", self.lab.inventory(&[]).unwrap().as_bytes());
        let mut signers = String::new();
        for who in ["ci", "intern"] {
            let key = fs::read_to_string(self.dir.join(format!("{who}.pub"))).unwrap();
            signers += &format!("{who}@example.org namespaces=\"git,order@debark\" {key}");
        }
        put(".debark/signers", signers.as_bytes());
        let key = gpg(&self.dir, "build").args(["--armor", "--export"]).output().unwrap().stdout;
        put(".debark/build-keys/build.asc", &key);

        let enroll = |arguments: &[&str]| {
            let mut command = debark(&self.lab, &project);
            let output = command.args(["enroll", "--env", "staging"]).args(arguments).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
            said
        };
        // By sudo, and without any effect.
        let said = enroll(&["--check", "--user", "debian", "h1"]);
        assert!(said.starts_with("h1: would be enrolled in staging\n"), "{said}");
        assert_eq!(self.sh("ls -d /etc/debark /usr/lib/debark 2>/dev/null || :"), "");
        let said = enroll(&[]);
        assert_eq!(said.lines().filter(|line| line.starts_with("  new /")).count(), 6, "{said}");
        assert_eq!(self.sh("systemctl is-enabled debark-guard.service"), "enabled");
        assert_eq!(enroll(&["--user", "debian"]), "h1: belongs to staging, nothing to change\n");
        self.settings("\"lock_timeout\": 2");
    }

    pub fn settings(&self, more: &str) {
        let text = format!("{{\"environment\": \"staging\", \"allow\": [\"ci@example.org\"], {more}}}");
        self.put("etc/debark/gate.json", text.as_bytes());
    }

    pub fn host(&self) -> Host<'_> {
        self.lab.host("h1").unwrap()
    }

    pub fn put(&self, path: &str, bytes: &[u8]) {
        let path = self.host().rootfs_path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
    }

    /// The output of a script on the host.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.host().sh(script).unwrap().trim().to_owned()
    }

    /// Builds and signs.
    pub fn deb(&self, version: &str, parts: &Parts<'_>) -> Deb {
        let unsigned = self.build("shop", version, parts);
        let bytes = self.sign("build", &unsigned);
        Deb { version: version.into(), bytes, unsigned }
    }

    pub fn build(&self, name: &str, version: &str, parts: &Parts<'_>) -> Vec<u8> {
        let root = tempfile::tempdir_in(&self.dir).unwrap();
        let put = |path: &str, text: &str, mode: &str| {
            let path = root.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            run(Command::new("chmod").arg(mode).arg(path));
        };
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: t <t@example.org>\nDescription: test\n{}",
            parts.control
        );
        put("DEBIAN/control", &control, "644");
        put("/usr/share/shop/version", &format!("{version}\n"), "644");
        parts.files.iter().for_each(|(path, text)| put(path, text, "644"));
        parts.conffiles.iter().for_each(|(path, text)| put(path, text, "644"));
        if !parts.conffiles.is_empty() {
            let list: String = parts.conffiles.iter().map(|(path, _)| format!("{path}\n")).collect();
            put("DEBIAN/conffiles", &list, "644");
        }
        parts.scripts.iter().for_each(|(name, text)| {
            put(&format!("DEBIAN/{name}"), &format!("#!/bin/sh\nset -e\n{text}\n"), "755")
        });
        run(Command::new("chmod").arg("755").arg(root.path()));
        let file = self.dir.join("built.deb");
        let mut build = Command::new("dpkg-deb");
        run(build.args(["--root-owner-group", "-Zgzip", "-z1", "--build"]).arg(root.path()).arg(&file));
        fs::read(file).unwrap()
    }

    /// Adds the member that debsig-verify(1) looks for.
    pub fn sign(&self, key: &str, deb: &[u8]) -> Vec<u8> {
        let mut signed = Vec::new();
        let mut at = 8;
        while at < deb.len() {
            let length: usize = std::str::from_utf8(&deb[at + 48..at + 58]).unwrap().trim().parse().unwrap();
            signed.extend_from_slice(&deb[at + 60..at + 60 + length]);
            at += 60 + length + length % 2;
        }
        let file = self.dir.join("signed");
        fs::write(&file, &signed).unwrap();
        let output =
            gpg(&self.dir, key).args(["--detach-sign", "--output", "-"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut bytes = deb.to_vec();
        let length = output.stdout.len();
        writeln!(bytes, "{:<16}{:<12}{:<6}{:<6}{:<8}{length:<10}`", "_gpgorigin", 0, 0, 0, 100_644).unwrap();
        bytes.extend_from_slice(&output.stdout);
        bytes.extend(std::iter::repeat_n(b'\n', length % 2));
        bytes
    }

    /// An order with the next sequence.
    pub fn order(&self, action: Action, deb: &Deb) -> Order {
        let sequence = self.next.get();
        self.next.set(sequence + 1);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        Order {
            format: 1,
            environment: "staging".parse().unwrap(),
            sequence,
            action,
            package: "shop".parse().unwrap(),
            version: deb.version.parse().unwrap(),
            digest: deb.digest(),
            size: deb.bytes.len() as u64,
            actor: "ci@example.org".parse().unwrap(),
            issued: now,
            expires: now + 900,
            checks: Vec::new(),
            keep: 3,
            confirm_within: 600,
            install_within: 120,
        }
    }

    pub fn seal(&self, who: &str, order: &Order) -> SealedOrder {
        let text = serde_json::to_string(order).unwrap();
        let signature = Signer { key: self.dir.join(who) }.sign(NAMESPACE, text.as_bytes()).unwrap();
        SealedOrder { text, signature }
    }

    pub fn talk(&self) -> Talk {
        let mut command = self.host().ssh(&[PROGRAM, "serve"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut talk = Talk { child, to, from };
        match talk.reply() {
            Some(Reply::Hello { environment, .. }) => assert_eq!(environment.unwrap().as_str(), "staging"),
            other => panic!("no greeting: {other:?}"),
        }
        talk
    }

    /// A conversation whose order was accepted.
    #[track_caller]
    pub fn prepared(&self, order: &Order) -> Talk {
        let mut talk = self.talk();
        let reply = talk.ask(&Request::Prepare { order: self.seal("ci", order) });
        assert!(matches!(reply, Reply::Prepared { .. }), "{reply:?}");
        talk
    }

    /// Sends a package and installs it; the conversation goes on.
    #[track_caller]
    pub fn install(&self, order: &Order, deb: &Deb) -> (Talk, Installed) {
        let mut talk = self.prepared(order);
        talk.send(deb).unwrap();
        let installed = talk.install().unwrap();
        (talk, installed)
    }

    /// All of a deployment.
    #[track_caller]
    pub fn deploy(&self, deb: &Deb) -> Installed {
        let (mut talk, installed) = self.install(&self.order(Action::Deploy, deb), deb);
        talk.confirm().unwrap();
        installed
    }

    pub fn state(&self) -> HostState {
        match self.talk().ask(&Request::State { packages: Vec::new() }) {
            Reply::State(state) => state,
            other => panic!("{other:?}"),
        }
    }

    /// The refusal of an order.
    #[track_caller]
    pub fn refused(&self, who: &str, order: &Order) -> Failure {
        match self.talk().ask(&Request::Prepare { order: self.seal(who, order) }) {
            Reply::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    /// What is installed, according to dpkg: `1.0 install ok installed`.
    pub fn installed(&self) -> String {
        self.sh("dpkg-query -W -f '${Version} ${Status}' shop 2>/dev/null || echo none")
    }

    /// Nothing is left half done, and apt and dpkg can be used.
    #[track_caller]
    pub fn is_sound(&self) {
        assert_eq!(self.sh("dpkg --audit"), "");
        self.sh("apt-get check -qq && apt-get -qq -s -f install && dpkg --configure -a");
        assert_eq!(self.sh("ls /var/lib/dpkg/updates"), "");
    }

    /// Waits until a script on the host succeeds.
    #[track_caller]
    pub fn until(&self, script: &str) {
        let begin = Instant::now();
        while self.host().sh(script).is_err() {
            assert!(begin.elapsed() < PATIENCE, "never: {script}\n{}", self.tell());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What to look at when a test fails.
    pub fn tell(&self) -> String {
        self.sh("tail -n 20 /var/lib/debark/gate/journal.jsonl; cat /var/lib/debark/gate/state.json; ps ax -o pid,stat,args | grep -v ' \\['; \
                 journalctl -n 40 --no-pager -o cat; tail -n 30 /run/debark-gate/work.log || :")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for key in ["build", "other"] {
            let _ = Command::new("gpgconf")
                .arg("--homedir")
                .arg(self.dir.join(format!("gpg-{key}")))
                .args(["--kill", "all"])
                .status();
        }
    }
}

/// A conversation.
pub struct Talk {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
}

impl Talk {
    /// The next reply that is no progress; `None` if the gate is gone.
    pub fn reply(&mut self) -> Option<Reply> {
        loop {
            match frame::read::<Reply>(&mut self.from).ok()?? {
                Reply::Progress { .. } => {}
                reply => return Some(reply),
            }
        }
    }

    /// The process of ssh.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    pub fn tell(&mut self, request: &Request) {
        // A gate that is gone is noticed by the missing reply.
        let _ = frame::write(&mut self.to, request);
    }

    /// A package that may never be read.
    pub fn tell_package(&mut self, deb: &Deb) {
        self.tell(&Request::Package);
        let _ = self.to.write_all(&deb.bytes);
        let _ = self.to.flush();
    }

    #[track_caller]
    pub fn ask(&mut self, request: &Request) -> Reply {
        self.tell(request);
        self.reply().expect("the gate answers")
    }

    #[track_caller]
    pub fn send(&mut self, deb: &Deb) -> Result<String, Failure> {
        self.tell(&Request::Package);
        self.to.write_all(&deb.bytes).unwrap();
        self.to.flush().unwrap();
        match self.reply().expect("the gate answers") {
            Reply::Stored { key } => Ok(key),
            Reply::Failed(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn install(&mut self) -> Result<Installed, Failure> {
        match self.ask(&Request::Install) {
            Reply::Installed(installed) => Ok(installed),
            Reply::Failed(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn confirm(&mut self) -> Result<(), Failure> {
        match self.ask(&Request::Confirm) {
            Reply::Confirmed => Ok(()),
            Reply::Failed(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    /// The version that is live after going back, and what is to be known.
    #[track_caller]
    pub fn revert(&mut self) -> (Option<String>, Vec<String>) {
        match self.ask(&Request::Revert) {
            Reply::Reverted { to, notes } => (to.map(|to| to.version.to_string()), notes),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
pub fn is(failure: &Failure, kind: FailureKind, words: &str) {
    assert_eq!(failure.kind, kind, "{failure:?}");
    assert!(failure.message.contains(words), "{failure:?}");
}

fn gpg(dir: &Path, key: &str) -> Command {
    let mut command = Command::new("gpg");
    command.arg("--homedir").arg(dir.join(format!("gpg-{key}"))).args(["--batch", "--quiet", "--yes"]);
    command
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
