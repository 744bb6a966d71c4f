//! A project with a small web service: a git repository, a project file, keys, an artifact store and a ledger, all in one
//! directory, and lab hosts for its two environments.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use debark_lab::Lab;

use crate::{debark, workspace};

/// A project.
pub struct Releases<'a> {
    /// The hosts.
    pub lab: &'a Lab,
    /// Home of everybody: keys are here, not in the project.
    pub home: PathBuf,
    /// The project's directory, a git repository.
    pub dir: PathBuf,
    _scratch: tempfile::TempDir,
}

/// How a command ended.
pub struct Ended {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// From a process.
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails unless it ended with that code.
    #[track_caller]
    #[must_use]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n{}\n{}", self.out, self.err);
        self
    }

    /// Fails unless it said that, on either stream.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "{text:?} is missing in\n{}\n{}",
            self.out,
            self.err
        );
        self
    }
}

impl<'a> Releases<'a> {
    /// A project whose staging has the first lab host, and whose prod has the others; `deploy` is YAML of more settings of
    /// `deploy`, indented by two blanks.
    pub fn new(lab: &'a Lab, deploy: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let home = scratch.path().join("home");
        let dir = scratch.path().join("project");
        for path in [&home, &dir, &dir.join(".debark"), &dir.join(".debark/build-keys")] {
            fs::create_dir_all(path).unwrap();
        }
        let shop = Self { lab, home, dir, _scratch: scratch };
        let mut signers = String::new();
        for who in ["alice", "bob", "mallory"] {
            let key = shop.key(who);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", who, "-f"])
                .arg(&key)
                .status();
            assert!(made.unwrap().success());
            if who != "mallory" {
                let public = fs::read_to_string(key.with_extension("pub")).unwrap();
                signers.push_str(&format!("{who}@example.org {public}"));
            }
        }
        fs::write(shop.dir.join(".debark/signers"), signers).unwrap();
        let hosts = lab.inventory(&[]).unwrap();
        let (mut staging, mut prod) = (String::new(), String::new());
        for line in hosts.lines().filter(|line| line.starts_with('h') && line.contains("ansible_host")) {
            if line.starts_with("h1 ") { &mut staging } else { &mut prod }.push_str(&format!("{line}\n"));
        }
        let rest: String =
            hosts.lines().skip_while(|line| !line.starts_with('[')).map(|line| format!("{line}\n")).collect();
        fs::write(shop.dir.join("staging.ini"), format!("{staging}\n{rest}")).unwrap();
        fs::write(shop.dir.join("prod.ini"), format!("{prod}\n{rest}")).unwrap();
        fs::write(shop.dir.join(".gitignore"), "/.debark/store\n/.debark/ledger*\n/*.ini\n/out\n").unwrap();
        fs::write(shop.dir.join("debark.yml"), project(deploy)).unwrap();
        for name in ["bin", "packaging", "LICENSE"] {
            crate::copy_tree(&workspace().join("playbooks/demo/shop").join(name), &shop.dir);
        }
        shop.git(&["init", "-q", "-b", "main"]);
        shop.git(&["config", "user.name", "Alice"]);
        shop.git(&["config", "user.email", "alice@example.org"]);
        let key = shop.build_key();
        let new = [
            "keys",
            "new",
            key.to_str().unwrap(),
            "--user",
            "Shop builds <ci@example.org>",
            "--no-passphrase",
        ];
        let _ = shop.debark("alice", &new).ends(0);
        shop
    }

    /// The file of somebody's private SSH key.
    pub fn key(&self, who: &str) -> PathBuf {
        self.home.join(who)
    }

    /// The file of the OpenPGP key that signs packages.
    pub fn build_key(&self) -> PathBuf {
        self.home.join("build.asc")
    }

    /// git in the project.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        let output =
            Command::new("git").args(args).current_dir(&self.dir).env("HOME", &self.home).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `debark`, run by somebody in the project, in the hosts' network.
    pub fn command(&self, who: &str, args: &[&str]) -> Command {
        let mut command = debark(self.lab, &self.home);
        command
            .current_dir(&self.dir)
            .args(args)
            .env("DEBARK_KEY", self.key(who))
            .env("DEBARK_BUILD_KEY", self.build_key());
        for name in ["CIRCLECI", "GITHUB_ACTIONS", "GITLAB_CI", "CI"] {
            command.env_remove(name);
        }
        command
    }

    /// The same, to its end.
    pub fn debark(&self, who: &str, args: &[&str]) -> Ended {
        Ended::of(&self.command(who, args).output().unwrap())
    }

    /// Commits a version of the service that is healthy or not, and builds and publishes it.
    #[track_caller]
    pub fn publish(&self, version: &str, healthy: bool) {
        self.commit(version, healthy);
        let _ = self.debark("alice", &["build", "shop", "--version", version, "--output", "out"]).ends(0);
        let ending = format!("shop_{version}_all.deb");
        let mut files = fs::read_dir(self.dir.join("out")).unwrap().map(|entry| entry.unwrap().path());
        let file = files.find(|path| path.ends_with(&ending)).expect("a .deb");
        let _ = self.debark("alice", &["publish", file.to_str().unwrap()]).ends(0);
    }

    /// Commits a version.
    #[track_caller]
    pub fn commit(&self, version: &str, healthy: bool) {
        let healthy = if healthy { "yes" } else { "no" };
        fs::write(self.dir.join("release"), format!("version = {version}\nhealthy = {healthy}\n")).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", &format!("Version {version}")]);
    }

    /// Puts one text for another in the project file.
    #[track_caller]
    pub fn edit(&self, from: &str, to: &str) {
        let file = self.dir.join("debark.yml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from:?} is not in {text}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
    }

    /// What the service on a host says is its version; empty if it does not answer.
    pub fn version(&self, host: &str) -> String {
        let script = "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /version HTTP/1.0\\r\\n\\r\\n' >&3 && tail -n 1 <&3";
        self.on(host, script).out.trim().to_owned()
    }

    /// A bash script on a host, as root.
    pub fn on(&self, host: &str, script: &str) -> Ended {
        Ended::of(&self.lab.host(host).unwrap().exec(&["bash", "-c", script]).unwrap())
    }

    /// dpkg's state of the package on a host: `install ok installed 1.0.0`.
    pub fn dpkg(&self, host: &str) -> String {
        self.on(host, "dpkg-query -W -f '${Status} ${Version}' shop 2>/dev/null").out
    }

    /// The ledger's repository.
    pub fn ledger(&self) -> PathBuf {
        self.dir.join(".debark/ledger.git")
    }

    /// The artifact store.
    pub fn store(&self) -> PathBuf {
        self.dir.join(".debark/store")
    }
}

fn project(deploy: &str) -> String {
    format!(
        "packages:
  shop:
    test:
      - perl -c bin/shop
    build:
      maintainer: Shop <shop@example.org>
      description: A small web service
      architecture: all
      depends: [perl-base]
      files:
        - {{src: bin/shop, dst: /usr/bin/shop, mode: \"0755\"}}
        - {{src: release, dst: /usr/share/shop/release}}
        - {{src: packaging/shop.conf, dst: /etc/shop/shop.conf, type: config}}
      units: [packaging/shop.service]
store: .debark/store
ledger:
  path: .debark/ledger.git
trust:
  signers: .debark/signers
  build_keys: .debark/build-keys
  revoked: .debark/revoked
environments:
  staging:
    inventory: staging.ini
    allow: [alice@example.org, bob@example.org]
  prod:
    inventory: prod.ini
    allow: [alice@example.org, bob@example.org]
    promote_from: staging
    gates:
      tests: all
deploy:
  serial: [1, 100%]
  checks:
    - {{unit: shop.service}}
    - {{http: \"http://127.0.0.1:8080/health\", within: 10s, interval: 200ms}}
{deploy}
"
    )
}
