//! debark's own package, made as a release makes it, but of the program that is tested: installed by apt on a real host, used there,
//! looked at by lintian, removed.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use debark_e2e::{PACKAGING, debark_program, lab, workspace};
use debark_lab::Host;

/// A play of the shipped role; nothing of it is in the host's own tree.
const PLAY: &str = "- hosts: all\n  roles: [ssh_hardening]\n";

/// `packaging/build-deb`, whose release build the program stands in for. A small package matters less here than a quick test.
fn own_package(output: &Path) -> PathBuf {
    let tools = debark_program().ancestors().nth(2).unwrap().join("tools/bin");
    assert!(tools.join("cargo-deb").is_file(), "there is no cargo-deb: run scripts/setup-cargo-deb");
    let mut command = Command::new(workspace().join("packaging/build-deb"));
    command.arg(output).args(["--compress-system", "--fast"]).env("DEBARK_PROGRAM", debark_program());
    // What cargo tells its tests is not for another cargo.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_") && name != "CARGO_HOME") {
            command.env_remove(name);
        }
    }
    command.env("PATH", format!("{}:{}", tools.display(), std::env::var("PATH").unwrap()));
    let built = command.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let found = fs::read_dir(output).unwrap().next().unwrap().unwrap().path();
    assert!(found.to_str().unwrap().ends_with("_amd64.deb"), "{}", found.display());
    found
}

/// Regular files below a directory, relative to it.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn debark_s_own_package_is_installed_used_and_removed() {
    let home = tempfile::tempdir().unwrap();
    let package = own_package(home.path());
    let lab = lab("own", 1, PACKAGING);
    let host = lab.host("h1").unwrap();
    let root = host.rootfs_path();
    let name = package.file_name().unwrap();
    fs::copy(&package, root.join("root").join(name)).unwrap();
    let apt = "cd /root && DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends";
    host.sh(&format!("{apt} install ./debark_*.deb")).unwrap();

    let own = Command::new(debark_program()).arg("--version").output().unwrap();
    assert_eq!(host.sh("debark --version").unwrap(), String::from_utf8_lossy(&own.stdout));
    completions_and_pages(&host);
    let shipped = root.join("usr/share/debark/playbooks");
    let tree = workspace().join("playbooks");
    assert_eq!(files(&shipped), files(&tree));
    for file in files(&tree) {
        let (there, here) = (shipped.join(&file), tree.join(&file));
        assert!(fs::read(&there).unwrap() == fs::read(&here).unwrap(), "{file:?}");
        let program = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o111 != 0;
        assert_eq!(program(&there), program(&here), "{file:?}");
    }
    a_shipped_role_runs(&host);

    let said = host.sh("LC_ALL=C.UTF-8 lintian --allow-root /root/debark_*.deb 2>&1 || :").unwrap();
    assert!(!said.lines().any(|line| line.starts_with("E:") || line.contains("rror")), "{said}");

    let owned = host.sh("dpkg -L debark | while read -r path; do [ -d \"$path\" ] || echo \"$path\"; done");
    let owned = owned.unwrap();
    assert!(owned.lines().count() > 100, "{owned}");
    assert_eq!(host.sh("dpkg --verify debark").unwrap(), "");
    host.sh(&format!("{apt} purge debark")).unwrap();
    let left: Vec<&str> =
        owned.lines().filter(|path| root.join(path.trim_start_matches('/')).exists()).collect();
    assert!(left.is_empty(), "{left:?}");
    host.sh("test ! -e /usr/share/debark && test ! -e /usr/share/doc/debark && ! dpkg -s debark").unwrap();
}

/// Every shell's completions are where it looks for them, and each command has its page.
fn completions_and_pages(host: &Host<'_>) {
    host.sh("test -s /usr/share/zsh/vendor-completions/_debark").unwrap();
    host.sh("test -s /usr/share/fish/vendor_completions.d/debark.fish").unwrap();
    let known = host.sh("bash -c '. /usr/share/bash-completion/completions/debark && complete -p debark'");
    assert!(known.unwrap().trim().ends_with(" debark"));
    let pages = host.sh("debark man /tmp/pages && cd /tmp/pages && for page in *; do gzip -dc /usr/share/man/man1/$page.gz | cmp - $page; done; ls | wc -l");
    let pages = pages.unwrap();
    assert!(pages.trim().parse::<u32>().unwrap() > 40, "{pages}");
}

/// As docs/guide/hardening.md has it. A debug build carries no agent: it is told where one is.
fn a_shipped_role_runs(host: &Host<'_>) {
    let root = host.rootfs_path().join("root");
    fs::copy(workspace().join("target/agent/debark-agent"), root.join("debark-agent")).unwrap();
    fs::write(root.join("site.yml"), PLAY).unwrap();
    fs::write(root.join("hosts"), "here ansible_connection=local\n").unwrap();
    let run = "cd /root && export DEBARK_AGENT=/root/debark-agent ANSIBLE_ROLES_PATH=/usr/share/debark/playbooks/roles
         debark run -i hosts site.yml --check --diff 2>&1; echo \"ended with $?\"";
    let said = host.sh(run).unwrap();
    assert!(said.contains("PasswordAuthentication no") && said.ends_with("ended with 0\n"), "{said}");
}
