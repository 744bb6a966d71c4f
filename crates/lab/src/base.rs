//! Base systems: made once by mmdebstrap, named by the hash of their recipe, shared by all hosts as the lower layer
//! of an overlay.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::mount::UnmountFlags;
use sha2::{Digest as _, Sha256};

use crate::background;
use crate::cgroup::Trees;
use crate::command::Cmd;
use crate::error::{Error, Result};
use crate::sources::{self, Source};
use crate::state::Suite;
use crate::store::Store;

/// The password that `plain` must give to sudo, documented because the host is thrown away.
pub const PLAIN_PASSWORD: &str = "plain";

/// A Debian server has these, beyond what is essential. No Python: the agent must do without.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "openssh-server",
    "sudo",
    "iproute2",
    "procps",
    "kmod",
    "netbase",
    "cron",
    "ca-certificates",
];

/// An archive moves on, and a base system whose package lists are older than this cannot install what was replaced.
const MAX_AGE: Duration = Duration::from_secs(14 * 86_400);

const CUSTOMIZE: &str = include_str!("customize.sh");
const MARKER: &str = "recipe";

/// How a base system is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    suite: Suite,
    packages: Vec<String>,
    sources: Vec<Source>,
    proxy: Option<String>,
}

impl Recipe {
    /// The usual packages and `extra`, from the machine's own archives.
    pub fn new(suite: Suite, extra: &[String]) -> Result<Self> {
        for name in extra {
            let plain = name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "+-.:".contains(c));
            if !plain {
                return Err(Error::input(
                    format!("`{}` cannot be the name of a package", name.escape_debug()),
                    "name Debian packages, for example `--with python3`",
                ));
            }
        }
        let mut packages: Vec<String> = PACKAGES.iter().map(|name| (*name).to_owned()).collect();
        packages.extend(extra.iter().cloned());
        packages.sort();
        packages.dedup();
        Ok(Self { suite, packages, sources: sources::for_suite(suite), proxy: sources::machine_proxy() })
    }

    /// Everything that decides what comes out, as text.
    fn text(&self) -> String {
        let sources: Vec<_> = self.sources.iter().map(Source::line).collect();
        format!(
            "suite {}\npackages {}\nsources\n{}\ncustomize\n{CUSTOMIZE}",
            self.suite,
            self.packages.join(","),
            sources.join("\n")
        )
    }

    /// The name of what it makes: release and hash.
    pub fn id(&self) -> String {
        let digest = Sha256::digest(self.text().as_bytes());
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{hex}", self.suite)
    }

    /// The command that makes it in `target`, which must not exist.
    fn command(&self, target: &Path) -> Cmd {
        // It mounts the machine's /proc and /sys inside: in a namespace of its own, those go with its last process.
        let mut cmd = Cmd::new("unshare")
            .args(["--mount", "--propagation=private", "mmdebstrap"])
            .args(["--quiet", "--mode=root", "--variant=minbase", "--format=directory"])
            .arg(format!("--include={}", self.packages.join(",")))
            // Nothing of it outlives a crash: a half-made base is thrown away.
            .arg("--dpkgopt=force-unsafe-io")
            .arg("--aptopt=Acquire::Languages \"none\"")
            .arg("--skip=cleanup/apt/lists");
        if let Some(proxy) = &self.proxy {
            cmd = cmd.arg(format!("--aptopt=Acquire::http::Proxy \"{proxy}\""));
        }
        let stanzas: Vec<_> = self.sources.iter().map(Source::stanza).collect();
        cmd.arg(format!("--customize-hook={CUSTOMIZE}"))
            .arg(self.suite.as_str())
            .arg(target)
            .args(self.sources.iter().map(Source::line))
            .env("LAB_SOURCES", stanzas.join("\n"))
            .env("LAB_PLAIN_PASSWORD", PLAIN_PASSWORD)
            .env("DEBIAN_FRONTEND", "noninteractive")
    }

    /// Makes the base system unless it is there. Two labs that want the same one wait for each other; one that was
    /// killed on the way leaves nothing that looks finished, and its mmdebstrap does not go on beside the next.
    pub fn ensure(&self, maker: &Maker<'_>) -> Result<String> {
        let id = self.id();
        let store = maker.store;
        let _lock = store.lock(&format!("base-{id}"))?;
        let target = store.base(&id);
        if is_fresh(&target) || (target.join(MARKER).exists() && (maker.in_use)(&id)) {
            return Ok(id);
        }
        let started = std::time::Instant::now();
        (maker.say)(&format!("making the {} base system (once)", self.suite));
        let group = format!("{}/_base-{id}", store.prefix());
        background::kill_newborn(&["launch", &group]);
        maker.trees.kill(&group)?;
        let draft = store.base(&format!(".{id}.draft"));
        remove_tree(&draft)?;
        fs::create_dir(&draft).map_err(Error::file("make", &draft))?;
        let cmd = self.command(&rootfs(&draft));
        let cmd = Cmd { argv: background::launched(maker.program, &group, &cmd.argv), ..cmd };
        cmd.run()?;
        maker.trees.kill(&group)?;
        let marker = draft.join(MARKER);
        fs::write(&marker, self.text()).map_err(Error::file("write", &marker))?;
        remove_tree(&target)?;
        fs::rename(&draft, &target).map_err(Error::file("make", &target))?;
        (maker.say)(&format!("base system {id} made in {:.1} s", started.elapsed().as_secs_f64()));
        prune(maker)?;
        Ok(id)
    }
}

/// What it takes to make base systems.
pub struct Maker<'a> {
    pub store: &'a Store,
    pub trees: &'a Trees,
    pub program: &'a Path,
    /// Whether a lab stands on the base system of this name.
    pub in_use: &'a dyn Fn(&str) -> bool,
    pub say: &'a dyn Fn(&str),
}

/// Removes base systems that are too old to be used again, and drafts as old.
fn prune(maker: &Maker<'_>) -> Result<()> {
    let dir = maker.store.base("");
    for entry in fs::read_dir(&dir).map_err(Error::file("read", &dir))?.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
        let old = age.is_some_and(|age| age > MAX_AGE);
        if old && !is_fresh(&entry.path()) && !(maker.in_use)(&name) {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// The root file system of a base system.
pub fn rootfs(base: &Path) -> PathBuf {
    base.join("rootfs")
}

fn is_fresh(base: &Path) -> bool {
    let Ok(modified) = fs::metadata(base.join(MARKER)).and_then(|meta| meta.modified()) else { return false };
    let age = SystemTime::now().duration_since(modified).unwrap_or_default();
    age < MAX_AGE
}

/// Removes a tree, including files that a play has made immutable; fine if it is not there. What is mounted in it is
/// unmounted first, never entered: it may be the machine's own.
pub fn remove_tree(path: &Path) -> Result<()> {
    unmount_below(path)?;
    let gone = |result: std::io::Result<()>| match result {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    if gone(fs::remove_dir_all(path)).is_ok() {
        return Ok(());
    }
    // Some of the tree may not carry attributes at all (device nodes): what counts is the second attempt.
    let _ = Cmd::new("chattr").args(["-R", "-f", "-i", "-a"]).arg(path).output();
    gone(fs::remove_dir_all(path)).map_err(Error::file("remove", path))
}

fn unmount_below(path: &Path) -> Result<()> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(table).map_err(Error::file("read", table))?;
    // Later mounts cover or sit in earlier ones.
    for point in mounts_below(&text, path).into_iter().rev() {
        rustix::mount::unmount(&point, UnmountFlags::DETACH).map_err(Error::errno("unmount", &point))?;
    }
    Ok(())
}

/// The mount points at a path and below, in the order in which they were mounted.
fn mounts_below(mountinfo: &str, path: &Path) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(unescape).filter(|point| point.starts_with(path)).collect()
}

/// Mount points have blanks and backslashes as three octal digits (proc_pid_mountinfo(5)).
fn unescape(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(part.get(3..).unwrap_or_default());
            }
            None => plain.push_str(part),
        }
    }
    PathBuf::from(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(extra: &[&str]) -> Recipe {
        let extra: Vec<String> = extra.iter().map(|name| (*name).to_owned()).collect();
        let mut recipe = Recipe::new(Suite::Bookworm, &extra).unwrap();
        recipe.sources = vec![Source {
            uri: "http://mirror.example/debian".into(),
            suite: "bookworm".into(),
            components: vec!["main".into()],
        }];
        recipe.proxy = None;
        recipe
    }

    #[test]
    fn the_name_follows_the_recipe_and_nothing_else() {
        assert_eq!(recipe(&[]).id(), recipe(&[]).id());
        assert_eq!(recipe(&["python3", "git"]).id(), recipe(&["git", "python3", "git"]).id());
        assert_ne!(recipe(&[]).id(), recipe(&["python3"]).id());
        assert!(recipe(&[]).id().starts_with("bookworm-"));
    }

    #[test]
    fn the_command_is_this() {
        let cmd = recipe(&["python3"]).command(Path::new("/x/rootfs"));
        let words: Vec<_> = cmd.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        assert_eq!(words[..4], ["unshare", "--mount", "--propagation=private", "mmdebstrap"]);
        assert_eq!(words[4..8], ["--quiet", "--mode=root", "--variant=minbase", "--format=directory"]);
        assert!(words[8].contains("openssh-server") && words[8].contains("python3"));
        assert_eq!(
            words[words.len() - 3..],
            ["bookworm", "/x/rootfs", "deb http://mirror.example/debian bookworm main"]
        );
        assert!(!recipe(&[]).text().contains("python"));
    }

    #[test]
    fn a_package_name_cannot_become_an_option() {
        for name in ["--hook=x", "a,b", "", "a b"] {
            assert!(Recipe::new(Suite::Bookworm, &[name.to_owned()]).is_err(), "{name}");
        }
    }

    #[test]
    fn mounts_below_a_tree_are_found_and_no_others() {
        let table = "1 0 0:1 / /x/root rw - proc proc rw\n2 0 0:2 / /x/root/a\\040b rw - tmpfs t rw\n\
                     3 0 0:3 / /x/rootless rw - tmpfs t rw\n4 0 0:4 / / rw - ext4 d rw\n";
        assert_eq!(
            mounts_below(table, Path::new("/x/root")),
            [Path::new("/x/root"), Path::new("/x/root/a b")]
        );
    }

    #[test]
    fn a_tree_is_removed_and_what_was_mounted_in_it_stays_whole() {
        let dir = std::env::temp_dir().join(format!("debark-lab-tree-{}", std::process::id()));
        let (tree, precious) = (dir.join("tree"), dir.join("precious"));
        fs::create_dir_all(tree.join("mnt")).unwrap();
        fs::create_dir_all(&precious).unwrap();
        fs::write(precious.join("file"), "kept").unwrap();
        rustix::mount::mount_bind(&precious, tree.join("mnt")).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "kept");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_tree_that_is_not_there_is_removed() {
        remove_tree(Path::new("/nonexistent/tree")).unwrap();
    }
}
