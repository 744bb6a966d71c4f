//! Writing a package.

use std::fs;
use std::io::{self, BufWriter, Read as _, Seek as _, Write as _};
use std::path::Path;

use debark_order::{PackageName, PackageVersion};
use debark_project::{Compression, FileTree};
use tempfile::{SpooledData, SpooledTempFile};

use super::compress::{Encoder, suffix};
use super::read::Digests;
use super::source::{Source, text as read_script};
use super::tar::{Entry, Kind, Writer};
use super::tree::{self, Tree};
use super::{DebError, ahead, ar, control, scripts};

/// What the member `debian-binary` says (deb(5)).
const FORMAT: &[u8] = b"2.0\n";

/// Packed files of more bytes than these are kept in a file until their place in the package is known.
const IN_MEMORY: usize = 16 << 20;

/// What a package is called, and when its source was committed.
#[derive(Debug, Clone)]
pub struct Identity<'a> {
    /// Its name.
    pub name: &'a PackageName,
    /// Its version.
    pub version: &'a PackageVersion,
    /// Seconds since 1970: the time of every file (SOURCE_DATE_EPOCH).
    pub epoch: u64,
    /// For the changelog: the full commit.
    pub commit: &'a str,
}

/// Writes a package from a source to `out`; the same source and identity give the same bytes. Their digests, unless the package is large.
///
/// # Errors
/// Something of the source is not as the project file says, or cannot be read; or `out` cannot be written.
pub fn build(
    source: &dyn Source,
    files: &FileTree,
    identity: &Identity<'_>,
    out: &Path,
) -> Result<Option<Digests>, DebError> {
    let mut tree = Tree::collect(source, files)?;
    documentation(source, files, identity, &mut tree)?;
    let failed = |error: io::Error| DebError::at(out, error);
    let read = Read::all(source, &tree, files.compression, identity.epoch, out)?;
    // The control member is made, as it needs no more than the sums, and memory given back while the last files are packed.
    let (control, data) = std::thread::scope(|scope| {
        let packing = scope.spawn(|| finish(read.writer));
        let members = control_files(source, files, identity, &tree, (read.sums, &read.heads, read.size))?;
        drop(tree);
        let control = control_member(members, files.compression, identity.epoch).map_err(failed)?;
        let data = packing.join().map_err(|_| DebError("the thread that packs files has died".into()))?;
        Ok::<_, DebError>((control, data.map_err(failed)?))
    })?;
    assemble(out, &control, data, files.compression, identity.epoch).map_err(failed)
}

/// Names, contents and permissions of what a package's control member has; from the sums of its files, the heads of its ELF files and its
/// installed size.
fn control_files(
    source: &dyn Source,
    files: &FileTree,
    identity: &Identity<'_>,
    tree: &Tree,
    (sums, heads, size): (String, &[tree::Head], u64),
) -> Result<Vec<(String, String, u32)>, DebError> {
    let architecture = match &files.control.architecture {
        Some(name) => name,
        None => tree::architecture(heads).ok_or_else(|| {
            DebError(
                "the package's programs are for several or unknown architectures: set `architecture`".into(),
            )
        })?,
    };
    let fields = control::control_file(
        identity.name.as_str(),
        identity.version.as_str(),
        architecture,
        size,
        &files.control,
    );
    let mut members =
        vec![("control".to_owned(), fields.to_string(), 0o644), ("md5sums".to_owned(), sums, 0o644)];
    let conffiles: String =
        tree.items().filter(|(_, item)| item.conffile).map(|(path, _)| format!("/{path}\n")).collect();
    if !conffiles.is_empty() {
        members.push(("conffiles".to_owned(), conffiles, 0o644));
    }
    for name in ["preinst", "postinst", "prerm", "postrm"] {
        let own = files.scripts.iter().find(|(script, _)| *script == name).map(|(_, path)| path);
        let text = own.map(|path| read_script(source, path)).transpose()?;
        let part = scripts::for_units(name, &files.units);
        let script = scripts::compose(text.as_deref(), &part)
            .map_err(|why| DebError(format!("{}: {why}", own.unwrap_or(name))))?;
        members.extend(script.map(|script| (name.to_owned(), script, 0o755)));
    }
    Ok(members)
}

/// What every package has to have: its licence and a changelog (Debian Policy 12.5, 12.7).
fn documentation(
    source: &dyn Source,
    files: &FileTree,
    identity: &Identity<'_>,
    tree: &mut Tree,
) -> Result<(), DebError> {
    let doc = format!("usr/share/doc/{}", identity.name);
    let copyright = format!("{doc}/copyright");
    if !tree.has(&copyright) {
        let text = match &files.control.copyright {
            Some(src) => read_script(source, src)?,
            None => ["debian/copyright", "copyright", "LICENSE", "LICENSE.txt", "LICENSE.md", "COPYING"]
                .iter()
                .find_map(|src| read_script(source, src).ok())
                .unwrap_or_else(|| {
                    format!(
                        "{} {}\n\nIts source states no copyright and no licence.\n",
                        identity.name, identity.version
                    )
                }),
        };
        tree.add_bytes(&copyright, text.into_bytes())?;
    }
    // A version without a revision is a native package's (Debian Policy 12.7).
    let native = !identity.version.as_str().contains('-');
    let changelog = format!("{doc}/{}.gz", if native { "changelog" } else { "changelog.Debian" });
    if !tree.has(&changelog) {
        let time =
            i64::try_from(identity.epoch).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        let date = time.unwrap_or_default().strftime("%a, %d %b %Y %H:%M:%S +0000");
        let text = format!(
            "{} ({}) stable; urgency=medium\n\n  * Built from commit {}.\n\n -- {}  {date}\n",
            identity.name, identity.version, identity.commit, files.control.maintainer
        );
        let mut encoder = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::best());
        let packed = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
        tree.add_bytes(&changelog, packed.map_err(|error| DebError(error.to_string()))?)?;
    }
    Ok(())
}

/// Where files are packed to.
type Data = Writer<BufWriter<Encoder<BufWriter<SpooledTempFile>>>>;

/// Files that have been read, and are being packed.
struct Read {
    writer: Data,
    /// Their checksums.
    sums: String,
    /// How its ELF files begin.
    heads: Vec<tree::Head>,
    /// `Installed-Size`, in KiB: each file rounded up, 1 for everything else (deb-substvars(5)).
    size: u64,
}

impl Read {
    fn all(
        source: &dyn Source,
        tree: &Tree,
        compression: Compression,
        epoch: u64,
        out: &Path,
    ) -> Result<Self, DebError> {
        let failed = |error: io::Error| DebError::at(out, error);
        let beside = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::spooled_tempfile_in(IN_MEMORY, beside);
        let encoder =
            Encoder::new(BufWriter::with_capacity(1 << 18, file), compression, true).map_err(failed)?;
        let mut writer = Writer::new(BufWriter::with_capacity(1 << 18, encoder));
        let (mut sums, mut heads, mut installed) = (String::new(), Vec::new(), 0);
        let mut entry = Entry {
            name: "./".into(),
            kind: Kind::Directory,
            mode: 0o755,
            owner: (0, "root".into()),
            group: (0, "root".into()),
            size: 0,
            mtime: epoch,
            link: String::new(),
        };
        writer.add(&entry, &mut io::empty()).map_err(failed)?;
        ahead::read(source, tree, |path, item, content| {
            // One entry for all: a text of its own for each field of thousands of entries takes its time.
            entry.name.truncate(2);
            entry.name.push_str(path);
            (entry.kind, entry.mode, entry.size) = (Kind::File, item.mode, 0);
            for (to, from) in [(&mut entry.owner, item.owner), (&mut entry.group, item.group)] {
                to.0 = from.0;
                from.1.clone_into(&mut to.1);
            }
            entry.link.clear();
            match content {
                ahead::Content::Directory => {
                    entry.name.push('/');
                    entry.kind = Kind::Directory;
                    installed += 1;
                    writer.add(&entry, &mut io::empty()).map_err(failed)
                }
                ahead::Content::Symlink(target) => {
                    entry.kind = Kind::Symlink;
                    installed += 1;
                    target.clone_into(&mut entry.link);
                    writer.add(&entry, &mut io::empty()).map_err(failed)
                }
                ahead::Content::Bytes(bytes, md5) => {
                    entry.size = bytes.len() as u64;
                    installed += entry.size.div_ceil(1024);
                    sum(&mut sums, md5, path);
                    heads.extend(tree::elf_head(bytes));
                    writer.add(&entry, &mut &*bytes).map_err(failed)
                }
                ahead::Content::Large(mut from, size) => {
                    let failed = |error: io::Error| DebError(format!("/{path}: {error}"));
                    entry.size = size;
                    installed += size.div_ceil(1024);
                    let mut head = [0; 20];
                    from.read_exact(&mut head).and_then(|()| from.rewind()).map_err(failed)?;
                    heads.extend(tree::elf_head(&head));
                    let mut from = ahead::Hashing::new(from);
                    writer.add(&entry, &mut from).map_err(failed)?;
                    sum(&mut sums, from.sum(), path);
                    Ok(())
                }
            }
        })?;
        Ok(Self { writer, sums, heads, size: installed })
    }
}

fn finish(writer: Data) -> io::Result<SpooledTempFile> {
    let encoder = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)
}

fn sum(sums: &mut String, md5: super::sums::Sum, path: &str) {
    for digit in md5.into_iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        sums.push(char::from_digit(digit.into(), 16).unwrap_or_default());
    }
    sums.push_str("  ");
    sums.push_str(path);
    sums.push('\n');
}

fn control_member(
    mut members: Vec<(String, String, u32)>,
    compression: Compression,
    epoch: u64,
) -> io::Result<Vec<u8>> {
    members.sort_unstable();
    let entry = |name: String, kind, mode, size| Entry {
        name,
        kind,
        mode,
        owner: (0, "root".into()),
        group: (0, "root".into()),
        size,
        mtime: epoch,
        link: String::new(),
    };
    let mut writer = Writer::new(Encoder::new(Vec::new(), compression, false)?);
    writer.add(&entry("./".into(), Kind::Directory, 0o755, 0), &mut io::empty())?;
    for (name, text, mode) in members {
        let entry = entry(format!("./{name}"), Kind::File, mode, text.len() as u64);
        writer.add(&entry, &mut text.as_bytes())?;
    }
    writer.finish()?.finish()
}

/// Puts the members together; the package is there as a whole or not at all. Its digests, if its bytes were in memory.
fn assemble(
    out: &Path,
    control: &[u8],
    mut data: SpooledTempFile,
    compression: Compression,
    epoch: u64,
) -> io::Result<Option<Digests>> {
    let beside = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".debark-").tempfile_in(beside)?;
    let size = data.stream_position()?;
    let (mut head, mut tail) = (ar::MAGIC.to_vec(), Vec::new());
    ar::header(&mut head, "debian-binary", FORMAT.len() as u64, epoch)?;
    head.extend_from_slice(FORMAT);
    ar::header(&mut head, &format!("control.tar{}", suffix(compression)), control.len() as u64, epoch)?;
    head.extend_from_slice(control);
    ar::pad(&mut head, control.len() as u64)?;
    ar::header(&mut head, &format!("data.tar{}", suffix(compression)), size, epoch)?;
    ar::pad(&mut tail, size)?;
    let digests = match data.into_inner() {
        SpooledData::InMemory(data) => {
            let (head, data, tail) = (&*head, &**data.get_ref(), &*tail);
            let digests = std::thread::scope(|scope| {
                let digests = scope.spawn(move || Digests::of(&[head, data, tail], &[FORMAT, control, data]));
                for bytes in [head, data, tail] {
                    file.write_all(bytes)?;
                }
                digests.join().map_err(|_| io::Error::other("a thread that hashes it has died"))
            });
            Some(digests?)
        }
        // As files, so that the kernel copies.
        SpooledData::OnDisk(mut data) => {
            data.rewind()?;
            file.write_all(&head)?;
            io::copy(&mut data, file.as_file_mut())?;
            file.write_all(&tail)?;
            None
        }
    };
    place(file, out)?;
    Ok(digests)
}

/// Gives a finished temporary file its name, readable by all as the umask allows. What is not to be lost was written to disk before.
pub(super) fn place(file: tempfile::NamedTempFile, out: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::umask(umask);
    file.as_file().set_permissions(fs::Permissions::from_mode(0o666 & !umask.as_raw_mode()))?;
    file.persist(out).map_err(|error| error.error)?;
    Ok(())
}
