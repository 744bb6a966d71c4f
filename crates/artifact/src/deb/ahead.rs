//! Files of a package, read and hashed by all processors while what came before is packed: to unpack thousands of git's objects takes
//! longer than to pack them. What is ahead is bounded: large files are in files.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use md5::{Digest as _, Md5};

use super::DebError;
use super::source::{self, Reader, Source};
use super::tree::{self, Item, Tree};

/// Entries that one thread reads before it is the next one's turn.
const TURN: usize = 64;
/// So many bytes at least are handed over at once, unless the turn is over.
const PART: usize = 256 << 10;
/// Parts that a thread is ahead.
const AHEAD: usize = 4;
/// Threads, at most.
const THREADS: usize = 8;

/// As `md5sums` has it (deb-md5sums(5)).
pub(super) type Sum = [u8; 16];

/// What an entry has.
pub(super) enum Content<'a> {
    Directory,
    Symlink(&'a str),
    Bytes(Cow<'a, [u8]>, Sum),
    /// A file, and its bytes.
    Large(File, u64),
}

/// Entries that follow one another.
type Turn<'a> = [(&'a str, &'a Item)];
type Part<'a> = Result<Vec<Content<'a>>, DebError>;

/// Hands over each entry with its content, in the tree's order.
///
/// # Errors
/// The first of `each`, or of a file that cannot be read.
pub(super) fn read<'a>(
    source: &dyn Source,
    tree: &'a Tree,
    mut each: impl FnMut(&'a str, &'a Item, Content<'a>) -> Result<(), DebError>,
) -> Result<(), DebError> {
    let items: Vec<_> = tree.items().collect();
    let turns: Vec<&Turn<'a>> = items.chunks(TURN).collect();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(THREADS);
    std::thread::scope(|scope| {
        let mut readers: Vec<Receiver<Part<'a>>> = Vec::new();
        for number in 0..threads {
            let (to, from) = sync_channel(AHEAD);
            let mut own = turns.iter().skip(number).step_by(threads);
            // Nobody listens any more after an error.
            scope.spawn(move || {
                if let Err(error) = take_turns(source, &mut own, &to) {
                    let _ = to.send(Err(error));
                }
            });
            readers.push(from);
        }
        for (turn, from) in turns.iter().zip(readers.iter().cycle()) {
            let mut left = turn.iter();
            while left.len() > 0 {
                let part =
                    from.recv().map_err(|_| DebError("a thread that reads files has died".into()))??;
                for (content, (path, item)) in part.into_iter().zip(&mut left) {
                    each(path, item, content)?;
                }
            }
        }
        Ok(())
    })
}

fn take_turns<'a, 'b>(
    source: &dyn Source,
    turns: &mut dyn Iterator<Item = &'b &'b Turn<'a>>,
    to: &SyncSender<Part<'a>>,
) -> Result<(), DebError>
where
    'a: 'b,
{
    let mut reader = source.reader()?;
    for turn in turns {
        let (mut part, mut held) = (Vec::new(), 0);
        for (number, (path, item)) in turn.iter().enumerate() {
            let content =
                content(&mut *reader, item).map_err(|error| DebError(format!("/{path}: {error}")))?;
            held += match &content {
                Content::Bytes(bytes, _) => bytes.len(),
                // An open file.
                Content::Large(..) => PART,
                Content::Directory | Content::Symlink(_) => 0,
            };
            part.push(content);
            if held >= PART || number + 1 == turn.len() {
                if to.send(Ok(std::mem::take(&mut part))).is_err() {
                    return Ok(());
                }
                held = 0;
            }
        }
    }
    Ok(())
}

fn content<'a>(reader: &mut dyn Reader, item: &'a Item) -> io::Result<Content<'a>> {
    Ok(match &item.content {
        tree::Content::Directory => Content::Directory,
        tree::Content::Symlink(target) => Content::Symlink(target),
        tree::Content::Bytes(bytes) => Content::Bytes(Cow::Borrowed(bytes), Md5::digest(bytes).into()),
        tree::Content::File(place) => match reader.read(place)? {
            source::Content::Large(file, size) => Content::Large(file, size),
            source::Content::Small(bytes) => {
                let sum = Md5::digest(&bytes).into();
                Content::Bytes(Cow::Owned(bytes), sum)
            }
        },
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
