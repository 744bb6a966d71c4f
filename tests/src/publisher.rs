//! A project that only publishes: a directory or a bucket as its store, a build key, and packages without dependencies.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{Ended, S3Server, debark_program};

/// A project with a store, and packages that are signed and not yet published.
pub struct Publisher {
    scratch: tempfile::TempDir,
    store: PathBuf,
    env: Vec<(&'static str, String)>,
}

const PROJECT: &str = "packages:
  shop:
    build:
      maintainer: Shop <shop@example.org>
      description: A small web service
      architecture: all
      files:
        - {src: debark.yml, dst: /usr/share/shop/release}
store: STORE
ledger:
  path: ledger.git
trust:
  signers: signers
  build_keys: build-keys
  revoked: revoked
environments:
  staging:
    inventory: staging.ini
    allow: [alice@example.org]
";

impl Default for Publisher {
    fn default() -> Self {
        Self::new()
    }
}

impl Publisher {
    /// Without packages, and with a build key; the store is the directory `store` of the project.
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let store = scratch.path().join("store");
        Self::with_store(scratch, store, "store", Vec::new())
    }

    /// The same, with its store in a bucket.
    pub fn in_bucket(server: &S3Server) -> Self {
        let env = server.environment();
        let store = server.bucket().join("debian");
        Self::with_store(tempfile::tempdir().unwrap(), store, "s3://packages/debian", env)
    }

    fn with_store(
        scratch: tempfile::TempDir,
        store: PathBuf,
        location: &str,
        env: Vec<(&'static str, String)>,
    ) -> Self {
        let project = Self { scratch, store, env };
        fs::create_dir(project.dir().join("build-keys")).unwrap();
        fs::write(project.dir().join("debark.yml"), PROJECT.replace("STORE", location)).unwrap();
        fs::write(project.dir().join("staging.ini"), "").unwrap();
        fs::write(project.dir().join("signers"), "").unwrap();
        let key = project.dir().join("build.asc");
        let new =
            ["keys", "new", key.to_str().unwrap(), "--user", "Builds <ci@example.org>", "--no-passphrase"];
        let _ = Ended::of(&project.debark(&new).output().unwrap()).ends(0);
        project
    }

    /// Where the objects of the store are, in files.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// The project's directory.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// `debark` in the project.
    pub fn debark(&self, args: &[&str]) -> Command {
        let mut command = Command::new(debark_program());
        command.args(args).current_dir(self.dir()).env("HOME", self.dir()).env("LC_ALL", "C.UTF-8");
        command.env("DEBARK_BUILD_KEY", self.dir().join("build.asc")).stdin(Stdio::null());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A signed package, by dpkg-deb, with the version in a file.
    pub fn package(&self, version: &str) -> PathBuf {
        let tree = self.dir().join(format!("tree-{version}"));
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let control = format!(
            "Package: shop\nVersion: {version}\nArchitecture: all\nMaintainer: Shop <shop@example.org>\nDescription: shop\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        fs::create_dir_all(tree.join("usr/share/shop")).unwrap();
        fs::write(tree.join("usr/share/shop/release"), version).unwrap();
        let file = self.dir().join(format!("shop_{version}_all.deb"));
        let mut build = Command::new("dpkg-deb");
        build.args(["--build", "--root-owner-group", "-Zgzip"]).arg(&tree).arg(&file);
        let _ = Ended::of(&build.output().unwrap()).ends(0);
        let _ = Ended::of(&self.debark(&["sign", file.to_str().unwrap()]).output().unwrap()).ends(0);
        file
    }

    /// A process that publishes.
    pub fn publisher(&self, file: &Path) -> Child {
        let mut command = self.debark(&["publish", file.to_str().unwrap()]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Digests of what the store has, by version.
    pub fn releases(&self) -> BTreeMap<String, String> {
        let output = Ended::of(&self.debark(&["releases", "shop", "--json"]).output().unwrap()).ends(0);
        let rows = output.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap().to_owned();
        rows.map(|row| (text(&row, "version"), text(&row, "digest"))).collect()
    }
}

/// `sha256:` and the digits.
pub fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("sha256:{}", text.split_whitespace().next().unwrap())
}
