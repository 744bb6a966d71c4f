//! Files of a package, read and hashed by all processors while what came before is packed: to unpack thousands of git's objects takes
//! longer than to pack them. What is ahead is bounded: large files are in files.

use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use md5::{Digest as _, Md5};

use super::DebError;
use super::source::{self, Reader, Source};
use super::sums::{Sum, md5};
use super::tree::{self, Item, Tree};

/// Entries that one thread reads before it is the next one's turn.
const TURN: usize = 128;
/// So many bytes at least are handed over at once, unless the turn is over.
const PART: usize = 256 << 10;
/// Parts that a thread is ahead.
const AHEAD: usize = 4;
/// Threads, at most.
const THREADS: usize = 8;

/// What an entry has; `'t` is the tree's.
pub(super) enum Content<'t, 'b> {
    Directory,
    Symlink(&'t str),
    Bytes(&'b [u8], Sum),
    /// A file, and its bytes.
    Large(File, u64),
}

/// What was read of an entry.
enum Held<'t> {
    Is(Content<'t, 't>),
    /// So many bytes, which follow those of the entry before.
    Next(usize),
}

/// Entries that follow one another.
type Turn<'t> = [(&'t str, &'t Item)];

/// What was read, and the contents of small files one after the other: memory for each of them, given back by another thread than the one
/// that took it, costs as much as reading it.
struct Part<'t> {
    held: Vec<Held<'t>>,
    bytes: Vec<u8>,
    /// Of these contents.
    sums: Vec<Sum>,
}

impl Part<'_> {
    fn hash(&mut self) {
        let mut rest = &*self.bytes;
        let sizes = self.held.iter().filter_map(|held| match held {
            Held::Next(size) => Some(*size),
            Held::Is(_) => None,
        });
        // The bytes are as many as were added for the entries of this part.
        let texts: Vec<&[u8]> = sizes.filter_map(|size| rest.split_off(..size)).collect();
        self.sums = md5(&texts);
    }
}

/// A thread that reads, as its listener sees it.
struct Ahead<'t> {
    parts: Receiver<Result<Part<'t>, DebError>>,
    /// Takes memory that is free again.
    free: Sender<Vec<u8>>,
}

/// A thread that reads, as it sees its listener.
struct Listener<'t> {
    parts: SyncSender<Result<Part<'t>, DebError>>,
    free: Receiver<Vec<u8>>,
}

/// Hands over each entry with its content, in the tree's order.
///
/// # Errors
/// The first of `each`, or of a file that cannot be read.
pub(super) fn read<'t>(
    source: &dyn Source,
    tree: &'t Tree,
    mut each: impl FnMut(&'t str, &'t Item, Content<'t, '_>) -> Result<(), DebError>,
) -> Result<(), DebError> {
    let items: Vec<_> = tree.items().collect();
    let turns: Vec<&Turn<'t>> = items.chunks(TURN).collect();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(THREADS);
    std::thread::scope(|scope| {
        let mut readers = Vec::new();
        for number in 0..threads {
            let ((to, parts), (free, from)) = (sync_channel(AHEAD), channel());
            let mut own = turns.iter().skip(number).step_by(threads);
            scope.spawn(move || {
                let listener = Listener { parts: to, free: from };
                // Nobody listens any more after an error.
                if let Err(error) = take_turns(source, &mut own, &listener) {
                    let _ = listener.parts.send(Err(error));
                }
            });
            readers.push(Ahead { parts, free });
        }
        for (turn, ahead) in turns.iter().zip(readers.iter().cycle()) {
            let mut left = turn.iter();
            while left.len() > 0 {
                let part = ahead.parts.recv();
                let part = part.map_err(|_| DebError("a thread that reads files has died".into()))??;
                let (mut rest, mut sums) = (&*part.bytes, part.sums.into_iter());
                for (held, (path, item)) in part.held.into_iter().zip(&mut left) {
                    let content = match held {
                        Held::Is(content) => content,
                        // As many as there are bytes and sums.
                        Held::Next(size) => Content::Bytes(
                            rest.split_off(..size).unwrap_or_default(),
                            sums.next().unwrap_or_default(),
                        ),
                    };
                    each(path, item, content)?;
                }
                // It may have read all that it is to read.
                let _ = ahead.free.send(part.bytes);
            }
        }
        Ok(())
    })
}

fn take_turns<'t, 'x>(
    source: &dyn Source,
    turns: &mut dyn Iterator<Item = &'x &'x Turn<'t>>,
    listener: &Listener<'t>,
) -> Result<(), DebError>
where
    't: 'x,
{
    let mut reader = source.reader()?;
    for turn in turns {
        let (mut part, mut size) = (None, 0);
        for (number, (path, item)) in turn.iter().enumerate() {
            let Part { held, bytes, .. } = part.get_or_insert_with(|| {
                let mut bytes = listener.free.try_recv().unwrap_or_else(|_| Vec::with_capacity(2 * PART));
                bytes.clear();
                Part { held: Vec::with_capacity(TURN), bytes, sums: Vec::new() }
            });
            let new = content(&mut *reader, item, bytes);
            let new = new.map_err(|error| DebError(format!("/{path}: {error}")))?;
            size += match &new {
                Held::Next(size) => *size,
                // An open file.
                Held::Is(Content::Large(..)) => PART,
                Held::Is(_) => 0,
            };
            held.push(new);
            if size >= PART || number + 1 == turn.len() {
                if let Some(mut part) = part.take() {
                    part.hash();
                    if listener.parts.send(Ok(part)).is_err() {
                        return Ok(());
                    }
                }
                size = 0;
            }
        }
    }
    Ok(())
}

fn content<'t>(reader: &mut dyn Reader, item: &'t Item, to: &mut Vec<u8>) -> io::Result<Held<'t>> {
    Ok(match &item.content {
        tree::Content::Directory => Held::Is(Content::Directory),
        tree::Content::Symlink(target) => Held::Is(Content::Symlink(target)),
        tree::Content::Bytes(bytes) => Held::Is(Content::Bytes(bytes, Md5::digest(bytes).into())),
        tree::Content::File(place) => {
            let before = to.len();
            match reader.read(place, to)? {
                source::Content::Large(file, size) => Held::Is(Content::Large(file, size)),
                source::Content::Small => Held::Next(to.len() - before),
            }
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
