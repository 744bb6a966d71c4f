//! Reading a package that may come from anyone: bounded in memory, and nothing of it is written anywhere.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use debark_order::{Digest, InvalidName, PackageName, PackageVersion};
use sha2::{Digest as _, Sha256};

use super::ar::{self, Member};
use super::control::Fields;
use super::{DebError, compress, tar};

/// The most that the unpacked control member may take.
const MAX_CONTROL: u64 = 16 << 20;
/// The longest signature.
const MAX_SIGNATURE: u64 = 64 << 10;
/// Files that are listed.
const MAX_FILES: usize = 1_000_000;
/// The most that names of listed files may take.
const MAX_NAMES: usize = 256 << 20;
/// Name of the signature's member: debsig-verify(1).
pub const SIGNATURE: &str = "_gpgorigin";

/// A package.
#[derive(Debug, Clone)]
pub struct Deb {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Of the whole file.
    pub digest: Digest,
    /// Of what a signature is for: its three members, one after the other.
    pub payload: Digest,
    /// Its name.
    pub package: PackageName,
    /// Its version.
    pub version: PackageVersion,
    /// `all`, `amd64`, ...
    pub architecture: String,
    /// The control file.
    pub control: Fields,
    /// Scripts, `conffiles`, `md5sums` and what else is in the control member.
    pub control_files: BTreeMap<String, Vec<u8>>,
    /// The signature, if it has one.
    pub signature: Option<Vec<u8>>,
    /// `debian-binary`, control and data.
    pub members: [Member; 3],
}

/// What a package's bytes come to.
#[derive(Debug, Clone, Copy)]
pub struct Digests {
    whole: Digest,
    payload: Digest,
    size: u64,
}

impl Digests {
    /// Of a file that is these parts, and of what a signature is for.
    pub(super) fn of(whole: &[&[u8]], payload: &[&[u8]]) -> Self {
        let sum = |parts: &[&[u8]]| {
            let mut sum = Sha256::new();
            parts.iter().for_each(|part| sum.update(part));
            Digest::from_bytes(sum.finalize().into())
        };
        let size = whole.iter().map(|part| part.len() as u64).sum();
        std::thread::scope(|scope| {
            let signed = scope.spawn(|| sum(payload));
            let whole = sum(whole);
            // Nothing there panics; if it did all the same, it is done here.
            let payload = signed.join().unwrap_or_else(|_| sum(payload));
            Self { whole, payload, size }
        })
    }
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedFile {
    /// `/usr/bin/shop`.
    pub path: String,
    /// What it is.
    pub kind: tar::Kind,
    /// Permissions.
    pub mode: u32,
    /// By name, or by number.
    pub owner: String,
    /// By name, or by number.
    pub group: String,
    /// Bytes.
    pub size: u64,
    /// What a link says.
    pub link: String,
}

impl Deb {
    /// Reads a package but for its files.
    ///
    /// # Errors
    /// It is none, or beyond the bounds.
    pub fn open(path: &Path) -> Result<Self, DebError> {
        Self::made(path, None)
    }

    /// Reads a package that was written just now, with what is known of its bytes.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub(crate) fn made(path: &Path, known: Option<Digests>) -> Result<Self, DebError> {
        let failed = |error: io::Error| DebError::at(path, error);
        let mut file = File::open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(DebError::at(path, "it is no file"));
        }
        let members = ar::members(&mut file).map_err(failed)?;
        let bad = |why: &str| DebError::at(path, format!("no Debian package: {why}"));
        let mut found = members.into_iter();
        let mut need = |what: &str, good: &dyn Fn(&str) -> bool| {
            found
                .next()
                .filter(|member| good(&member.name))
                .ok_or_else(|| bad(&format!("it has no {what} where it belongs")))
        };
        let payload = [
            need("debian-binary", &|name| name == "debian-binary")?,
            need("control member", &|name| name.starts_with("control.tar"))?,
            need("data member", &|name| name.starts_with("data.tar"))?,
        ];
        let mut signature = None;
        for member in found {
            // deb(5): members whose name begins with an underscore may follow.
            if !member.name.starts_with('_') {
                return Err(bad(&format!("it has a member {} that none has", member.name)));
            }
            if member.name == SIGNATURE {
                if signature.is_some() || member.size > MAX_SIGNATURE {
                    return Err(bad("it has two signatures, or one that is too long"));
                }
                let mut bytes = Vec::new();
                part(&mut file, &member).and_then(|mut part| part.read_to_end(&mut bytes)).map_err(failed)?;
                signature = Some(bytes);
            }
        }
        let mut version = String::new();
        part(&mut file, &payload[0])
            .and_then(|part| part.take(16).read_to_string(&mut version))
            .map_err(failed)?;
        if !version.starts_with("2.") {
            return Err(bad("it is of another format than 2"));
        }
        let control_files = control_files(&mut file, &payload[1]).map_err(failed)?;
        let text = control_files.get("control").ok_or_else(|| bad("it has no control file"))?;
        let text = std::str::from_utf8(text).map_err(|_| bad("its control file is not UTF-8"))?;
        let control = Fields::parse(text).map_err(|why| bad(&format!("its control file is wrong: {why}")))?;
        let field =
            |name: &str| control.get(name).ok_or_else(|| bad(&format!("its control file has no {name}")));
        let invalid = |error: InvalidName| DebError::at(path, error);
        let (package, version) =
            (field("Package")?.parse().map_err(invalid)?, field("Version")?.parse().map_err(invalid)?);
        let architecture = field("Architecture")?.to_owned();
        // It becomes part of a file's name.
        if architecture.is_empty()
            || !architecture
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        {
            return Err(bad("its architecture is none"));
        }
        let digests = known.map_or_else(|| digests(&file, &payload), Ok).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            size: digests.size,
            digest: digests.whole,
            payload: digests.payload,
            package,
            version,
            architecture,
            control,
            control_files,
            signature,
            members: payload,
        })
    }

    /// `NAME_VERSION_ARCHITECTURE.deb`, without the version's epoch, as dpkg-name(1).
    pub fn file_name(&self) -> String {
        file_name(&self.package, &self.version, &self.architecture)
    }

    /// What a signature is for, as a stream.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn payload(&self) -> io::Result<impl Read + use<>> {
        let open = |member: &Member| {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(member.offset))?;
            Ok::<_, io::Error>(io::BufReader::new(file.take(member.size)))
        };
        let [first, second, third] = &self.members;
        Ok(open(first)?.chain(open(second)?).chain(open(third)?))
    }

    /// Its configuration files.
    pub fn conffiles(&self) -> Vec<String> {
        let text =
            self.control_files.get("conffiles").map(|text| String::from_utf8_lossy(text)).unwrap_or_default();
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    }

    /// Its files, in their order.
    ///
    /// # Errors
    /// The data member is damaged or beyond the bounds.
    pub fn files(&self) -> Result<Vec<PackedFile>, DebError> {
        let failed = |error: io::Error| DebError::at(&self.path, error);
        let mut file = File::open(&self.path).map_err(failed)?;
        let part = io::BufReader::new(part(&mut file, &self.members[2]).map_err(failed)?);
        let mut reader = tar::Reader::new(compress::decoder(&self.members[2].name, part).map_err(failed)?);
        let (mut found, mut names) = (Vec::new(), 0);
        while let Some(entry) = reader.next_entry().map_err(failed)? {
            names += entry.name.len() + entry.link.len();
            if found.len() == MAX_FILES || names > MAX_NAMES {
                return Err(DebError::at(&self.path, "it has too many files"));
            }
            let who = |(number, name): (u32, String)| if name.is_empty() { number.to_string() } else { name };
            found.push(PackedFile {
                path: format!("/{}", entry.name.trim_start_matches("./").trim_end_matches('/')),
                kind: entry.kind,
                mode: entry.mode,
                owner: who(entry.owner),
                group: who(entry.group),
                size: entry.size,
                link: entry.link,
            });
        }
        Ok(found)
    }
}

/// `NAME_VERSION_ARCHITECTURE.deb`, without the version's epoch.
pub fn file_name(package: &PackageName, version: &PackageVersion, architecture: &str) -> String {
    let version = version.as_str();
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    format!("{package}_{version}_{architecture}.deb")
}

fn part<'a>(file: &'a mut File, member: &Member) -> io::Result<io::Take<&'a mut File>> {
    file.seek(SeekFrom::Start(member.offset))?;
    Ok(file.take(member.size))
}

fn control_files(file: &mut File, member: &Member) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let part = io::BufReader::new(part(file, member)?);
    let limited = compress::decoder(&member.name, part)?.take(MAX_CONTROL);
    let mut reader = tar::Reader::new(limited);
    let mut found = BTreeMap::new();
    while let Some(entry) = reader.next_entry()? {
        if entry.kind != tar::Kind::File {
            continue;
        }
        let mut content = Vec::new();
        reader.read_to_end(&mut content)?;
        if content.len() as u64 != entry.size {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its control member is damaged or too large",
            ));
        }
        found.insert(entry.name.trim_start_matches("./").to_owned(), content);
    }
    Ok(found)
}

/// Digests of the whole and of the payload, and the size. Each by a thread of its own: the one cannot be told from the other.
fn digests(file: &File, payload: &[Member; 3]) -> io::Result<Digests> {
    let members = payload.each_ref().map(|member| member.offset..member.offset + member.size);
    std::thread::scope(|scope| {
        let signed = scope.spawn(|| digest(file, &members));
        // Up to where it ends.
        let (whole, size) = digest(file, std::slice::from_ref(&(0..u64::MAX)))?;
        let signed = signed.join().map_err(|_| io::Error::other("a thread that reads it has died"))?;
        Ok(Digests { whole, payload: signed?.0, size })
    })
}

/// The digest of parts of a file, and how many bytes they have.
fn digest(file: &File, parts: &[Range<u64>]) -> io::Result<(Digest, u64)> {
    let (mut sum, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 17];
    for part in parts {
        let mut at = part.start;
        while at < part.end {
            let most = usize::try_from(part.end - at).unwrap_or(buffer.len()).min(buffer.len());
            let read = match file.read_at(buffer.get_mut(..most).unwrap_or_default(), at) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            sum.update(buffer.get(..read).unwrap_or_default());
            at += read as u64;
        }
        size += at - part.start;
    }
    Ok((Digest::from_bytes(sum.finalize().into()), size))
}
