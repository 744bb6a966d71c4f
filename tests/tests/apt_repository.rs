//! The artifact store as plain apt sees it, on both releases of Debian: it installs from it, and refuses what is not as the
//! publisher left it. bookworm's apt asks gpgv, trixie's asks sqv.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use debark_e2e::{Ended, Publisher, copy_tree, lab_options};
use debark_lab::{Host, Lab, Suite};

/// What apt does unless it is told otherwise, whatever the host was told before.
const STRICT: &str = "Acquire::Check-Valid-Until \"true\";\nAcquire::Check-Date \"true\";\n\
                      Acquire::AllowInsecureRepositories \"false\";\n";
const SOURCE: &str = "deb [signed-by=/etc/apt/keyrings/shop.asc] file:/srv/store stable main\n";
const ROOT: &str = "dists/stable/InRelease";

/// A host that has the store as its only archive.
struct Client<'a> {
    host: &'a Host<'a>,
}

impl Client<'_> {
    fn path(&self, path: &str) -> PathBuf {
        self.host.rootfs_path().join(path)
    }

    fn set_up(&self, keys: &Path) {
        for entry in fs::read_dir(self.path("etc/apt/sources.list.d")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        fs::create_dir_all(self.path("etc/apt/keyrings")).unwrap();
        let key = fs::read_dir(keys).unwrap().next().unwrap().unwrap().path();
        fs::write(self.path("etc/apt/keyrings/shop.asc"), fs::read(key).unwrap()).unwrap();
        fs::write(self.path("etc/apt/sources.list.d/shop.list"), SOURCE).unwrap();
        fs::write(self.path("etc/apt/apt.conf.d/zz-strict"), STRICT).unwrap();
        let settings = self.run("apt-config dump").ends(0);
        for line in STRICT.lines() {
            assert!(settings.out.lines().any(|other| other == line), "{line} in\n{}", settings.out);
        }
    }

    fn run(&self, script: &str) -> Ended {
        Ended::of(&self.host.exec(&["sh", "-c", script]).unwrap())
    }

    /// The host's store is this one, and apt has forgotten any other.
    fn has(&self, store: &Path) {
        let _ = self.run("rm -rf /srv/store /var/lib/apt/lists && apt-get clean").ends(0);
        copy_tree(store, &self.path("srv/store"));
    }

    fn update(&self) -> Ended {
        self.run("apt-get update 2>&1")
    }

    fn install(&self, what: &str) -> Ended {
        self.run(&format!("DEBIAN_FRONTEND=noninteractive apt-get install -y {what} 2>&1"))
    }

    /// The version that is installed, as its files tell it.
    fn release(&self) -> String {
        self.run("cat /usr/share/shop/release 2>/dev/null").out
    }

    /// `apt-get update` fails and says one of these; there is nothing to install.
    #[track_caller]
    fn refuses(&self, store: &Path, texts: &[&str]) {
        self.has(store);
        let update = self.update().ends(100);
        assert!(texts.iter().any(|text| update.out.contains(text)), "{texts:?} in\n{}", update.out);
        let _ = self.install("shop").ends(100).says("shop");
        assert_eq!(self.release(), "");
    }
}

/// A copy to do harm to.
fn copy(store: &Path, name: &str) -> PathBuf {
    let to = store.with_file_name(name);
    copy_tree(store, &to);
    to
}

fn publish(project: &Publisher, version: &str) {
    let file = project.package(version);
    let _ = Ended::of(&project.debark(&["publish", file.to_str().unwrap()]).output().unwrap()).ends(0);
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

/// The package of this version is as long as it was, with another byte in it.
fn tamper_with_package(store: &Path, version: &str) {
    let ending = format!("shop_{version}_all.deb");
    let file = files_below(&store.join("pool")).into_iter().find(|path| path.ends_with(&ending)).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// The indices of `store`, under whatever name, are those of `older`; the root stays.
fn mix_indices(store: &Path, older: &Path) {
    let index = |store: &Path, ending: &str| {
        fs::read(store.join(format!("dists/stable/main/binary-all/Packages{ending}"))).unwrap()
    };
    for ending in [".gz", ".xz"] {
        let (new, old) = (index(store, ending), index(older, ending));
        assert_ne!(new, old);
        for file in files_below(&store.join("dists/stable/main")) {
            if fs::read(&file).unwrap() == new {
                fs::write(file, &old).unwrap();
            }
        }
    }
}

/// gpg with the build key of the project, in a directory of its own.
struct Gpg {
    home: tempfile::TempDir,
}

impl Gpg {
    fn new(project: &Publisher) -> Self {
        let gpg = Self { home: tempfile::tempdir().unwrap() };
        let key = project.dir().join("build.asc");
        let _ = gpg.run(&["--import", key.to_str().unwrap()], "");
        gpg
    }

    #[track_caller]
    fn run(&self, args: &[&str], input: &str) -> String {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]).args(args);
        gpg.env("GNUPGHOME", self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = gpg.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ended::of(&child.wait_with_output().unwrap()).ends(0).out
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut kill = Command::new("gpgconf");
        let _ = kill.args(["--kill", "all"]).env("GNUPGHOME", self.home.path()).status();
    }
}

/// The root is valid until then, and the publisher's key has signed that.
fn valid_until(store: &Path, project: &Publisher, when: &str) {
    let gpg = Gpg::new(project);
    let root = store.join(ROOT);
    let text = gpg.run(&["--decrypt", root.to_str().unwrap()], "");
    let line = text.lines().find(|line| line.starts_with("Valid-Until: ")).unwrap();
    let text = text.replace(line, &format!("Valid-Until: {when}"));
    let signed = gpg.run(&["--digest-algo", "SHA512", "--clear-sign"], &text);
    fs::write(root, signed).unwrap();
}

fn apt_installs_and_refuses(suite: Suite) {
    let lab = Lab::up(debark_lab::Options { suite, ..lab_options(&format!("apt-{suite}"), 1, &[]) }).unwrap();
    let host = lab.host("h1").unwrap();
    let client = Client { host: &host };
    let project = Publisher::new();
    let store = project.store().to_owned();
    publish(&project, "1.4.1");
    let older = copy(&store, "older");
    publish(&project, "1.4.2");
    client.set_up(&project.dir().join("build-keys"));

    client.has(&store);
    let _ = client.update().ends(0);
    let _ = client.install("shop=1.4.1").ends(0);
    assert_eq!(client.release(), "1.4.1");
    let _ = client.install("shop=1.4.2").ends(0);
    assert_eq!(client.release(), "1.4.2");
    let purge = "DEBIAN_FRONTEND=noninteractive apt-get purge -y shop";
    let _ = client.run(purge).ends(0);

    let tampered = copy(&store, "tampered-package");
    tamper_with_package(&tampered, "1.4.2");
    client.has(&tampered);
    let _ = client.update().ends(0);
    let _ = client.install("shop=1.4.2").ends(100).says("Hash Sum mismatch");
    assert_eq!(client.release(), "");
    // The other version is not concerned.
    let _ = client.install("shop=1.4.1").ends(0);
    let _ = client.run(purge).ends(0);

    let tampered = copy(&store, "tampered-root");
    let root = fs::read_to_string(tampered.join(ROOT)).unwrap();
    fs::write(tampered.join(ROOT), root.replace("Label: debark", "Label: Debark")).unwrap();
    let bad = if suite == Suite::Bookworm { "BADSIG" } else { "Message has been manipulated" };
    client.refuses(&tampered, &[bad]);

    let mixed = copy(&store, "mixed");
    mix_indices(&mixed, &older);
    client.refuses(&mixed, &["Hash Sum mismatch", "File has unexpected size"]);

    let expired = copy(&store, "expired");
    valid_until(&expired, &project, "Sat, 01 Jan 2022 00:00:00 UTC");
    client.refuses(&expired, &["is expired (invalid since"]);
    // It is the day that matters, and not who has signed it how.
    valid_until(&expired, &project, "Wed, 01 Jan 2200 00:00:00 UTC");
    client.has(&expired);
    let _ = client.update().ends(0);

    // What has been refused was so for what was done to it.
    client.has(&store);
    let _ = client.update().ends(0);
    let _ = client.install("shop").ends(0);
    assert_eq!(client.release(), "1.4.2");
}

#[test]
fn apt_of_bookworm_installs_from_the_store_and_refuses_what_was_changed() {
    apt_installs_and_refuses(Suite::Bookworm);
}

#[test]
fn apt_of_trixie_installs_from_the_store_and_refuses_what_was_changed() {
    apt_installs_and_refuses(Suite::Trixie);
}
