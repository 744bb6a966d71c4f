//! A small real web service to release: `playbooks/demo/shop`, in a git repository of its own with a commit per version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace;

/// The service's repository.
#[derive(Debug)]
pub struct Shop {
    /// Its working tree, with `debark.yml`.
    pub root: PathBuf,
    /// Identity of [`Self::key`]: `alice@example.org`.
    pub identity: &'static str,
    /// SSH key that signs orders and entries.
    pub key: PathBuf,
    /// OpenPGP key that signs packages; trusted by the project.
    pub build_key: PathBuf,
}

impl Shop {
    /// Makes the repository in `home/shop`, with keys beside it and version 1.0.0 committed and tagged. `program` is debark.
    pub fn new(home: &Path, program: &Path) -> Self {
        let root = home.join("shop");
        crate::copy_tree(&workspace().join("playbooks/demo/shop"), &root);
        let shop = Self {
            root,
            identity: "alice@example.org",
            key: home.join("alice"),
            build_key: home.join("build.asc"),
        };
        let mut keygen = Command::new("ssh-keygen");
        run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", shop.identity, "-f"]).arg(&shop.key));
        let public = fs::read_to_string(shop.key.with_extension("pub")).unwrap();
        fs::create_dir_all(shop.root.join(".debark")).unwrap();
        let signers = format!("{} namespaces=\"git,order@debark\" {public}", shop.identity);
        fs::write(shop.root.join(".debark/signers"), signers).unwrap();
        shop.git(&["init", "-q", "-b", "main"]);
        let mut new = Command::new(program);
        new.args(["keys", "new", "--no-passphrase", "--user", "Shop builds <builds@example.org>"])
            .arg(&shop.build_key);
        run(new.current_dir(&shop.root));
        shop.release("1.0.0", true);
        shop
    }

    /// Commits and tags a version; one that is not healthy answers `/health` with 500.
    pub fn release(&self, version: &str, healthy: bool) {
        let healthy = if healthy { "yes" } else { "no" };
        fs::write(self.root.join("release"), format!("version = {version}\nhealthy = {healthy}\n")).unwrap();
        self.git(&["add", "."]);
        self.git(&["commit", "-q", "--allow-empty", "-m", &format!("shop {version}")]);
        self.git(&["tag", &format!("v{version}")]);
    }

    /// Runs git in the repository, as Alice, whatever this machine's configuration says.
    pub fn git(&self, words: &[&str]) {
        let mut command = Command::new("git");
        command
            .args(words)
            .current_dir(&self.root)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "Alice")))
            .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, self.identity)));
        run(&mut command);
    }

    /// Builds the package of a version: `home/dist/shop_VERSION_all.deb`, signed.
    pub fn build(&self, program: &Path, version: &str) -> PathBuf {
        let out = self.root.with_file_name("dist");
        let mut command = Command::new(program);
        command.args(["build", "shop", "--commit", &format!("v{version}"), "--output"]).arg(&out);
        run(command.arg("--build-key").arg(&self.build_key).current_dir(&self.root));
        out.join(format!("shop_{version}_all.deb"))
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
}
