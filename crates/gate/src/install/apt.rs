//! How apt is called.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use super::CONFFILES;
use crate::failure::{Result, file};
use crate::place;
use crate::store::{self, Kept};

/// apt without its sources, as if only what is installed existed: it reads no lists, which is most of its time, and leaves
/// its caches on the disk alone.
const ALONE: [&str; 4] = [
    "Dir::Etc::SourceList=/dev/null",
    "Dir::Etc::SourceParts=/dev/null",
    "Dir::Cache::pkgcache=",
    "Dir::Cache::srcpkgcache=",
];

/// The words that every call begins with. `alone`: without the sources.
pub(super) fn apt_get(alone: bool) -> Vec<String> {
    let mut argv: Vec<String> =
        ["apt-get", "--assume-yes", "--quiet", "--no-remove"].map(String::from).into();
    for option in CONFFILES {
        argv.extend(["-o".into(), format!("Dpkg::Options::={option}")]);
    }
    // No terminal of dpkg's own; and apt's own user may not look into the store.
    for option in ["Dpkg::Use-Pty=0", "APT::Sandbox::User=root", "APT::Color=0"] {
        argv.extend(["-o".into(), option.into()]);
    }
    for option in ALONE.iter().filter(|_| alone) {
        argv.extend(["-o".into(), (*option).into()]);
    }
    argv
}

/// A directory of archives, as apt knows them, that has a kept package: apt computes four digests of what it fetches, and
/// none of what it has (pkgAcqArchive::QueueNext of apt's apt-pkg/acquire-item.cc: by name and size). This one was
/// hashed a moment ago. Should an apt not find it there, it takes the file that it is given.
pub(super) fn archives(kept: &Kept) -> Result<PathBuf> {
    let directory = place::run("archives");
    let made = || {
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        let version = kept.version.as_str().replace('_', "%5f").replace(':', "%3a");
        let name = format!("{}_{version}_{}.deb", kept.package, kept.architecture);
        std::os::unix::fs::symlink(store::path(&kept.digest), directory.join(name))
    };
    made().map_err(|error| file(&directory, &error))?;
    Ok(directory)
}
