//! Packages: where their source is, how they are tested and built.

use std::path::PathBuf;

use debark_order::{PackageName, PackageVersion};
use indexmap::IndexMap;

use crate::DeployPart;

/// A package.
#[derive(Debug, Clone, PartialEq)]
pub struct Package {
    /// Its name.
    pub name: PackageName,
    /// Where its source is.
    pub source: Source,
    /// Its version; without one, it comes from the commit's tag (`v1.4.2` or `NAME-1.4.2`).
    pub version: Option<PackageVersion>,
    /// What has to succeed before it is built, in this order.
    pub tests: Vec<Test>,
    /// How the .deb comes about.
    pub build: Build,
    /// What is different when this package is deployed.
    pub deploy: DeployPart,
}

/// Where a package's source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A directory within a git repository on this machine: the repository's top or below it.
    Directory(PathBuf),
    /// A repository elsewhere: any URL that `git clone` takes.
    Repository(String),
}

/// A program to run, in the checked out source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// A line for `sh -e -c`.
    Shell(String),
    /// A program and its arguments, without a shell; never empty.
    Argv(Vec<String>),
}

impl std::fmt::Display for Program {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shell(line) => to.write_str(line),
            Self::Argv(words) => to.write_str(&words.join(" ")),
        }
    }
}

/// A test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// What gates and provenance call it.
    pub name: String,
    /// What is run.
    pub run: Program,
}

/// How a .deb comes about.
#[derive(Debug, Clone, PartialEq)]
pub enum Build {
    /// debark itself makes it from files.
    Files(Box<FileTree>),
    /// By cargo-deb, with these further arguments.
    CargoDeb {
        /// As after `cargo deb`.
        args: Vec<String>,
    },
    /// By a program that leaves one .deb.
    Command {
        /// What is run, in the checked out source.
        run: Program,
        /// Where the .deb is afterwards, from the source's directory; `*` stands for anything within a name.
        output: String,
    },
}

/// What debark makes a .deb of.
#[derive(Debug, Clone, PartialEq)]
pub struct FileTree {
    /// What is run before files are taken: a compiler, a bundler.
    pub prepare: Option<Program>,
    /// Files, in the order of the project file.
    pub entries: Vec<Entry>,
    /// Fields of the control file.
    pub control: Control,
    /// Maintainer scripts.
    pub scripts: Scripts,
    /// systemd units.
    pub units: Vec<Unit>,
    /// Further configuration files, as absolute paths on the host; all below `/etc` are (Debian Policy 10.7).
    pub conffiles: Vec<String>,
    /// How data and control are compressed.
    pub compression: Compression,
}

/// How a .deb's members are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Every dpkg can read it.
    #[default]
    Xz,
    /// dpkg of bookworm and later (1.21.18) can read it.
    Zstd,
    /// Every dpkg can read it; the largest.
    Gzip,
}

impl Compression {
    /// As in the project file: `xz`, `zstd`, `gzip`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

/// What is put into a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Where it will be on the host: an absolute path without `..`.
    pub dst: String,
    /// Permissions; files: those of the source (0755 or 0644), directories: 0755.
    pub mode: Option<u32>,
    /// A user that every Debian has (base-passwd).
    pub owner: String,
    /// Such a group.
    pub group: String,
}

/// Kinds of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file, or a directory with all that is below it. The path is relative to the source.
    File {
        /// Where it is.
        src: String,
    },
    /// A configuration file: one that the host's administrator may change, and keeps.
    Config {
        /// Where it is.
        src: String,
    },
    /// A directory that may be empty.
    Directory,
    /// A symbolic link.
    Symlink {
        /// What it says, absolute or relative to its own directory on the host.
        target: String,
    },
}

/// Fields of a control file (Debian Policy 5.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Control {
    /// `Name <address>`.
    pub maintainer: String,
    /// First line: the synopsis; then the long description.
    pub description: String,
    /// `Section`; default: `misc`.
    pub section: Option<String>,
    /// `Priority`; default: `optional`.
    pub priority: Option<String>,
    /// `all`, `amd64`, ...; without it: that of the ELF files, `all` if there are none.
    pub architecture: Option<String>,
    /// `Homepage`.
    pub homepage: Option<String>,
    /// `Depends` and the other relations, by the field's name, in Policy's order.
    pub relations: IndexMap<&'static str, Vec<String>>,
    /// Further fields as they are.
    pub fields: IndexMap<String, String>,
    /// File of the source with its licence; default: `LICENSE`, `COPYING`, `copyright`, if there is one.
    pub copyright: Option<String>,
}

/// Maintainer scripts: files of the source (Debian Policy 6). What units need is added to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scripts {
    /// Before unpacking.
    pub preinst: Option<String>,
    /// After unpacking.
    pub postinst: Option<String>,
    /// Before removal.
    pub prerm: Option<String>,
    /// After removal.
    pub postrm: Option<String>,
}

impl Scripts {
    /// Names and files, of those that are there.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("preinst", &self.preinst),
            ("postinst", &self.postinst),
            ("prerm", &self.prerm),
            ("postrm", &self.postrm),
        ]
        .into_iter()
        .filter_map(|(name, file)| Some((name, file.as_deref()?)))
    }
}

/// A systemd unit of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// File of the source; its last part is the unit's name.
    pub src: String,
    /// Whether it is to begin with the system.
    pub enable: bool,
    /// Whether it is started when installed, and restarted when upgraded.
    pub start: bool,
}

impl Unit {
    /// `shop.service`.
    pub fn name(&self) -> &str {
        self.src.rsplit('/').next().unwrap_or(&self.src)
    }
}

impl Package {
    /// The units that it ships, if debark makes it.
    pub fn units(&self) -> &[Unit] {
        match &self.build {
            Build::Files(tree) => &tree.units,
            _ => &[],
        }
    }
}
