//! Files of a package, read and hashed by one thread while another one packs what came before.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc;

use md5::{Digest as _, Md5};

use super::DebError;
use super::tree::{self, Item, Tree};

/// Files larger than this are read where they are packed, in bytes.
const SMALL: u64 = 1 << 20;
/// Entries that are read ahead.
const AHEAD: usize = 64;

/// As `md5sums` has it (deb-md5sums(5)).
pub(super) type Sum = [u8; 16];

/// What an entry has.
pub(super) enum Content<'a> {
    Directory,
    Symlink(&'a str),
    Bytes(Cow<'a, [u8]>, Sum),
    /// A file, where it is, and its bytes.
    Large(File, &'a Path, u64),
}

/// Hands over each entry with its content, in the tree's order.
///
/// # Errors
/// The first of `each`, or of a file that cannot be read.
pub(super) fn read<'a>(
    tree: &'a Tree,
    mut each: impl FnMut(&'a str, &'a Item, Content<'a>) -> Result<(), DebError>,
) -> Result<(), DebError> {
    std::thread::scope(|scope| {
        let (to, from) = mpsc::sync_channel(AHEAD);
        scope.spawn(move || {
            for (path, item) in tree.items() {
                // Nobody listens any more after an error.
                if to.send((path, item, content(item))).is_err() {
                    return;
                }
            }
        });
        from.into_iter().try_for_each(|(path, item, content)| each(path, item, content?))
    })
}

fn content(item: &Item) -> Result<Content<'_>, DebError> {
    Ok(match &item.content {
        tree::Content::Directory => Content::Directory,
        tree::Content::Symlink(target) => Content::Symlink(target),
        tree::Content::Bytes(bytes) => Content::Bytes(Cow::Borrowed(bytes), Md5::digest(bytes).into()),
        tree::Content::File { path, size } => {
            let failed = |error: io::Error| DebError::at(path, error);
            let mut file = File::open(path).map_err(failed)?;
            if *size > SMALL {
                return Ok(Content::Large(file, path, *size));
            }
            let mut bytes = Vec::with_capacity(usize::try_from(*size).unwrap_or_default() + 1);
            (&mut file).take(SMALL + 1).read_to_end(&mut bytes).map_err(failed)?;
            if bytes.len() as u64 != *size {
                return Err(DebError::at(path, "it has changed while it was read"));
            }
            let sum = Md5::digest(&bytes).into();
            Content::Bytes(Cow::Owned(bytes), sum)
        }
    })
}

/// Hashes what passes.
pub(super) struct Hashing<R> {
    from: R,
    md5: Md5,
}

impl<R: Read> Hashing<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, md5: Md5::new() }
    }

    pub(super) fn sum(self) -> Sum {
        self.md5.finalize().into()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.md5.update(into.get(..read).unwrap_or_default());
        Ok(read)
    }
}
