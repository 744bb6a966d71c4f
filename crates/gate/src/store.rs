//! Packages that the host keeps, by digest: what was hashed and checked is what dpkg gets, and nothing else is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use debark_order::gate::{FailureKind, Version};
use debark_order::{Digest, Order, PackageName, PackageVersion, Sequence};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::dpkg::Database;
use crate::failure::{Failing as _, Result, call, fail, file};
use crate::journal::{self, Step};
use crate::trust::Keyring;
use crate::{command, deb, place, relations, state, verify};

/// No control archive is longer once unpacked, in bytes.
const MAX_CONTROL: u64 = 64 << 20;
/// What has to stay free, in bytes.
const RESERVE: u64 = 16 << 20;

/// What is known of a kept package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// As in its control file.
    pub package: PackageName,
    /// As in its control file.
    pub version: PackageVersion,
    /// As in its control file; empty in records of gates that did not note it.
    #[serde(default)]
    pub architecture: String,
    /// Of the file.
    pub digest: Digest,
    /// Of the file, in bytes.
    pub size: u64,
    /// `Installed-Size`, in KiB.
    pub installed_size: u64,
    /// What it asks of other packages.
    pub relations: BTreeMap<String, String>,
    /// What it recommends.
    #[serde(default)]
    pub recommends: String,
    /// Its configuration files.
    pub conffiles: Vec<String>,
    /// Fingerprint of the key that signed it.
    pub key: String,
    /// The keyring by which that was found out.
    pub trust: Digest,
    /// Of the last order that wanted it live.
    pub used: Sequence,
    /// When it came, in seconds since 1970.
    pub came: u64,
}

impl Kept {
    /// Its name for others.
    pub fn as_version(&self) -> Version {
        Version { version: self.version.clone(), digest: Some(self.digest) }
    }
}

/// What tells a file from what it might become. Whoever writes to it, renames it or puts another one in its place changes this, and
/// nothing but the clock brings the time of the last change back (inode(7), "Last status change timestamp").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    digest: Digest,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Trace {
    fn of(file: &File, digest: Digest) -> io::Result<Self> {
        let found = file.metadata()?;
        Ok(Self {
            digest,
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    /// What the file had when it was hashed.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

/// Where the file of a digest is.
pub fn path(digest: &Digest) -> PathBuf {
    place::state("store").join(format!("{}.deb", digest.hex()))
}

fn record(digest: &Digest) -> PathBuf {
    path(digest).with_extension("json")
}

/// What is known of a kept package; `None` if it is not kept.
///
/// # Errors
/// [`FailureKind::UnsafePath`], or it cannot be read.
pub fn find(digest: &Digest) -> Result<Option<Kept>> {
    place::directory(&place::state("store"))?;
    let Some(bytes) = place::read(&record(digest), 1 << 20)? else { return Ok(None) };
    if fs::symlink_metadata(path(digest)).is_err() {
        return Ok(None);
    }
    let kept: Kept = serde_json::from_slice(&bytes)
        .map_err(|error| fail(FailureKind::Internal, format!("{}: {error}", record(digest).display())))?;
    Ok((kept.digest == *digest).then_some(kept))
}

/// All kept packages, the one that was live last first.
///
/// # Errors
/// As for [`find`].
pub fn all() -> Result<Vec<Kept>> {
    let directory = place::state("store");
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory).map_err(|error| file(&directory, &error))? {
        let name = entry.map_err(|error| file(&directory, &error))?.file_name();
        let name = name.to_string_lossy();
        let Some(digest) = name.strip_suffix(".deb").and_then(|hex| hex.parse().ok()) else { continue };
        found.extend(find(&digest)?);
    }
    found.sort_by_key(|kept| std::cmp::Reverse((kept.used, kept.came, kept.digest)));
    Ok(found)
}

/// Hashes a kept file again, unless it is the very one of `came`, which was hashed a moment ago; and checks its signature again if
/// trust has changed: a key that was revoked since signs no rollback.
///
/// # Errors
/// [`FailureKind::NotKept`], [`FailureKind::UnsafePath`], [`FailureKind::PackageSignature`].
pub fn verified(digest: &Digest, keyring: &Keyring, came: Option<&Trace>) -> Result<Kept> {
    let Some(mut kept) = find(digest)? else {
        return Err(fail(FailureKind::NotKept, format!("{digest} is not in this host's store")));
    };
    let path = path(digest);
    let deb = place::open(&path)?;
    let same = came.is_some()
        && came == Some(&Trace::of(&deb, *digest).map_err(|error| file(&path, &error))?)
        && kept.size == came.map_or(0, |came| came.size);
    if !same && hash(&deb).map_err(|error| file(&path, &error))? != *digest {
        return Err(fail(
            FailureKind::UnsafePath,
            format!("{} is no longer what was put there", path.display()),
        )
        .hint("look who has changed it; deploy the version again, which brings it anew"));
    }
    if kept.trust != keyring.digest {
        let layout = deb::layout(&deb, kept.size).map_err(|why| malformed(&why))?;
        kept.key = verify::package(&deb, &layout, keyring)?;
        kept.trust = keyring.digest;
        write_record(&kept)?;
    }
    Ok(kept)
}

fn hash(deb: &File) -> io::Result<Digest> {
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    loop {
        let read = deb.read_at(&mut buffer, at)?;
        if read == 0 {
            return Ok(Digest::from_bytes(hash.finalize().into()));
        }
        hash.update(buffer.get(..read).unwrap_or_default());
        at += read as u64;
    }
}

fn malformed(why: &str) -> debark_order::gate::Failure {
    fail(FailureKind::Malformed, format!("the package cannot be read: {why}"))
}

fn write_record(kept: &Kept) -> Result<()> {
    let text = serde_json::to_vec_pretty(kept)
        .map_err(|error| fail(FailureKind::Internal, format!("the record cannot be written: {error}")))?;
    place::replace(&record(&kept.digest), &text)
}

/// Notes that an order wants a version live.
///
/// # Errors
/// It cannot be written.
pub fn used(digest: &Digest, sequence: Sequence) -> Result<()> {
    match find(digest)? {
        Some(kept) if kept.used != sequence => write_record(&Kept { used: sequence, ..kept }),
        _ => Ok(()),
    }
}

/// Whether there is room for so many bytes more.
///
/// # Errors
/// [`FailureKind::Disk`].
pub fn room(at: &Path, bytes: u64, what: &str) -> Result<()> {
    let found = rustix::fs::statvfs(at).map_err(|error| call(at, error))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let need = bytes.saturating_add(RESERVE);
    if free >= need {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(fail(
        FailureKind::Disk,
        format!("{what} needs {} MiB on {}, and {} MiB are free", mib(need), at.display(), free >> 20),
    )
    .hint("make room on the host, then try again"))
}

/// Takes the package of an order from a stream, of which all `order.size` bytes are read whatever happens.
///
/// # Errors
/// The stream ends: an I/O error. Else what is wrong with the package, or that it cannot be written.
pub fn receive(
    from: &mut impl Read,
    order: &Order,
    id: Digest,
    keyring: &Keyring,
) -> io::Result<Result<(Kept, Trace)>> {
    let mut body = from.take(order.size);
    let result = take(&mut body, order, id, keyring);
    // What follows in the stream has to be the next request.
    io::copy(&mut body, &mut io::sink())?;
    if body.limit() > 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(result)
}

fn take(
    body: &mut io::Take<&mut impl Read>,
    order: &Order,
    id: Digest,
    keyring: &Keyring,
) -> Result<(Kept, Trace)> {
    let store = place::state("store");
    place::directory(&store)?;
    room(&store, order.size, "the package")?;
    journal::step(order, id, Step::Receiving, "")?;
    let temporary = store.join(format!(".new-{}", std::process::id()));
    let result = keep(body, order, id, keyring, &temporary);
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn keep(
    body: &mut io::Take<&mut impl Read>,
    order: &Order,
    id: Digest,
    keyring: &Keyring,
    temporary: &Path,
) -> Result<(Kept, Trace)> {
    let on_disk = |error: io::Error| file(temporary, &error);
    let mut deb = place::create(temporary).map_err(on_disk)?;
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = body
            .read(&mut buffer)
            .map_err(|error| fail(FailureKind::Internal, format!("the package does not come: {error}")))?;
        let part = buffer.get(..read).unwrap_or_default();
        if part.is_empty() {
            break;
        }
        hash.update(part);
        deb.write_all(part).map_err(on_disk)?;
    }
    let digest = Digest::from_bytes(hash.finalize().into());
    if digest != order.digest {
        return Err(fail(
            FailureKind::OtherDigest,
            format!("the package that came has the digest {digest}, and {} was ordered", order.digest),
        )
        .hint("the artifact store, or the way to it, has changed the package: `debark verify` tells more"));
    }
    deb.sync_all().map_err(on_disk)?;
    let layout = deb::layout(&deb, order.size).map_err(|why| malformed(&why))?;
    let key = verify::package(&deb, &layout, keyring)?;
    let control = Control::read(temporary)?;
    control.fits(order)?;
    let kept = Kept {
        package: order.package.clone(),
        version: order.version.clone(),
        architecture: control.stanza.get("architecture").unwrap_or_default().to_owned(),
        digest,
        size: order.size,
        installed_size: control.stanza.get("installed-size").and_then(|text| text.parse().ok()).unwrap_or(0),
        relations: relations::of(&control.stanza),
        recommends: control.stanza.get("recommends").unwrap_or_default().to_owned(),
        conffiles: control.conffiles,
        key,
        trust: keyring.digest,
        used: find(&digest)?.map_or(0, |before| before.used),
        came: state::now(),
    };
    journal::step(order, id, Step::Storing, &kept.key)?;
    write_record(&kept)?;
    fs::rename(temporary, path(&digest)).map_err(on_disk)?;
    place::sync_parent(temporary)?;
    // After the rename, which changes it.
    let trace = Trace::of(&deb, digest).map_err(on_disk)?;
    Ok((kept, trace))
}

/// What a package's control archive says. It is read by dpkg-deb, and only once the signature is known to be good.
struct Control {
    stanza: crate::dpkg::Stanza,
    conffiles: Vec<String>,
}

impl Control {
    fn read(deb: &Path) -> Result<Self> {
        let path = deb.to_string_lossy();
        let mut to = command::scratch().map_err(|error| file(Path::new(place::RUN), &error))?;
        let status = std::process::Command::new("dpkg-deb")
            .args(["--ctrl-tarfile", &path])
            .stdin(std::process::Stdio::null())
            .stdout(to.try_clone().map_err(|error| file(Path::new(place::RUN), &error))?)
            .stderr(std::process::Stdio::null())
            .spawn()
            .and_then(|mut child| {
                let status = command::wait(&mut child, std::time::Instant::now() + Duration::from_secs(60))?;
                if status.is_none() {
                    child.kill()?;
                    child.wait()?;
                }
                Ok(status)
            })
            .map_err(|error| malformed(&format!("dpkg-deb: {error}")))?;
        if !status.is_some_and(|status| status.success()) {
            return Err(malformed("dpkg-deb cannot read its control archive"));
        }
        let broken = |error: io::Error| malformed(&format!("its control archive: {error}"));
        io::Seek::rewind(&mut to).map_err(broken)?;
        let mut archive = tar::Archive::new(to.take(MAX_CONTROL));
        let (mut control, mut conffiles) = (String::new(), String::new());
        for entry in archive.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let name = entry.path_bytes().into_owned();
            let into = match name.strip_prefix(b"./").unwrap_or(&name) {
                b"control" => &mut control,
                b"conffiles" => &mut conffiles,
                _ => continue,
            };
            let mut bytes = Vec::new();
            (&mut entry).take(4 << 20).read_to_end(&mut bytes).map_err(broken)?;
            *into = String::from_utf8_lossy(&bytes).into_owned();
        }
        // `remove-on-upgrade PATH` (deb-conffiles(5)) names one that the package does not have.
        let conffiles = conffiles.lines().map(str::trim).filter(|line| line.starts_with('/'));
        let conffiles = conffiles.map(str::to_owned).collect();
        Ok(Self { stanza: crate::dpkg::Stanza::parse(&control), conffiles })
    }

    fn fits(&self, order: &Order) -> Result<()> {
        let is = |field, wanted: &str| {
            let found = self.stanza.get(field).unwrap_or_default();
            let text = || format!("the package's {field} is {found:?}, and the order's {wanted:?}");
            if found == wanted { Ok(()) } else { Err(fail(FailureKind::OtherPackage, text())) }
        };
        is("package", order.package.as_str())?;
        is("version", order.version.as_str())?;
        let database = Database::read()?;
        let own = database.architecture().unwrap_or_default();
        match self.stanza.get("architecture").unwrap_or_default() {
            "all" => Ok(()),
            found if found == own => Ok(()),
            found => Err(fail(
                FailureKind::OtherPackage,
                format!("the package is for {found:?} machines, and this is one of {own:?}"),
            )),
        }
    }
}

/// Removes what an interrupted gate left of packages that did not come whole.
pub fn sweep() {
    for entry in fs::read_dir(place::state("store")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let owner = name.strip_prefix(".new-").and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removes versions of a package beyond `keep`, but none of `never`.
///
/// # Errors
/// One cannot be removed.
pub fn prune(package: &PackageName, keep: u32, never: &[Digest]) -> Result<()> {
    let mut left = usize::try_from(keep.max(2)).unwrap_or(usize::MAX);
    let of_package = all()?.into_iter().filter(|kept| kept.package == *package);
    let (safe, other): (Vec<Kept>, Vec<Kept>) = of_package.partition(|kept| never.contains(&kept.digest));
    left = left.saturating_sub(safe.len());
    for kept in other.into_iter().skip(left) {
        for path in [path(&kept.digest), record(&kept.digest)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file(&path, &error)),
                _ => {}
            }
        }
    }
    Ok(())
}
