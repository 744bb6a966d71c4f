//! Package files: `deb: /path/x.deb` or a URL.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{Job, Params, get};
use crate::dpkg::{Database, version};
use crate::exec::Cmd;
use crate::{Failure, Host};

/// A directory for downloaded files, removed when dropped.
pub(crate) struct Downloads(PathBuf);

impl Drop for Downloads {
    fn drop(&mut self) {
        // A leftover in a temporary directory does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Downloads {
    pub(crate) fn new() -> Result<Self, Failure> {
        let mut random = [0u8; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Failure::new(format!("cannot get random bytes: {error}")))?;
        let dir = PathBuf::from(format!("/var/tmp/debark-deb-{:016x}", u64::from_ne_bytes(random)));
        // apt reads it as its own user.
        std::fs::create_dir(&dir).map_err(|error| Failure::io("cannot create", &dir, error))?;
        Ok(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// What is to be done for these files, which are separated by commas.
pub(super) fn jobs(params: &Params, files: &str, host: &Host) -> Result<Vec<Job>, Failure> {
    let mut downloads = None;
    let mut install = Vec::new();
    for file in files.split(',').map(str::trim).filter(|file| !file.is_empty()) {
        let path = if file.contains("://") {
            let dir = match &downloads {
                Some(dir) => Rc::clone(dir),
                None => Rc::clone(downloads.insert(Rc::new(Downloads::new()?))),
            };
            let path = dir.0.join(format!("{}.deb", install.len()));
            // A path parameter has had its double slash kept: only text came in.
            fetch(file, &path, host)?;
            path
        } else {
            absolute(Path::new(file))?
        };
        if is_needed(&path, params, host)? {
            install.push(path.to_string_lossy().into_owned());
        }
    }
    if install.is_empty() {
        return Ok(Vec::new());
    }
    let words = ["install".to_owned()].into_iter().chain(install).collect();
    Ok(vec![Job { words, unmark: Vec::new(), certain: true, keep: downloads }])
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| {
        let failure = Failure::io("cannot read", path, error);
        failure.hint("`deb` names a file on the host; copy it there first, or give a URL")
    })
}

/// Fetches with apt's own helper, which honours apt's proxies and certificates.
pub(crate) fn fetch(url: &str, path: &Path, host: &Host) -> Result<(), Failure> {
    let cmd = get::environment(Cmd::new("/usr/lib/apt/apt-helper"))
        .args(["-q", "-o", "APT::Sandbox::User=root", "download-file"])
        .arg(url)
        .arg(path);
    let output = host.exec(&cmd)?;
    if output.rc == 0 && path.exists() {
        return Ok(());
    }
    let stderr = output.err();
    let why = stderr
        .lines()
        .find_map(|line| line.strip_prefix("E: "))
        .unwrap_or("apt-helper says nothing")
        .to_owned();
    Err(Failure::new(format!("cannot fetch {url}: {why}")).with(output.result()))
}

/// Whether the file's package is not there in just that version.
fn is_needed(path: &Path, params: &Params, host: &Host) -> Result<bool, Failure> {
    let cmd = get::environment(Cmd::new("dpkg-deb"))
        .args(["--show", "--showformat=${Package} ${Version} ${Architecture}\n"])
        .arg(path);
    let output = host.exec(&cmd)?;
    let text = output.out();
    let mut words = text.split_whitespace();
    let (Some(name), Some(offered), Some(arch)) = (words.next(), words.next(), words.next()) else {
        return Err(Failure::new(format!("{} is no Debian package", path.display())).with(output.result()));
    };
    let db = Database::of(host)?;
    let here = db.all(name).into_iter().find(|package| {
        package.is_installed() && (package.arch() == arch || [package.arch(), arch].contains(&"all"))
    });
    let Some(here) = here else { return Ok(true) };
    let order = version::compare(offered, here.version());
    if order.is_lt() && !params.allow_downgrade && !params.force {
        return Err(Failure::new(format!(
            "A later version is already installed: {name} {}, and {} has {offered}",
            here.version(),
            path.display()
        ))
        .hint("add `allow_downgrade: true`"));
    }
    Ok(order.is_ne())
}
