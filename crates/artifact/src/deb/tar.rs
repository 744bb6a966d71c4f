//! The inner archives, tar(5): GNU's form, as dpkg writes and reads it.
//!
//! Of our own, because names are to begin with `./`, headers are to be the same for every build, and what strangers
//! send is to be read within bounds.

use std::io::{self, Read, Write};

/// The longest name or link that is read.
const MAX_NAME: u64 = 16 << 10;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A hard link, a device, anything else.
    Other(u8),
}

/// An entry's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `./usr/bin/shop`; directories end with `/`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Permissions.
    pub mode: u32,
    /// Number and name of the owner.
    pub owner: (u32, String),
    /// Number and name of the group.
    pub group: (u32, String),
    /// Bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: u64,
    /// What a link says.
    pub link: String,
}

/// Writes an archive.
pub struct Writer<W: Write> {
    to: W,
}

impl<W: Write> Writer<W> {
    /// Begins.
    pub fn new(to: W) -> Self {
        Self { to }
    }

    /// Adds an entry; `content` has to yield just [`Entry::size`] bytes.
    ///
    /// # Errors
    /// As for reading and writing; or the content has another size.
    pub fn add(&mut self, entry: &Entry, content: &mut impl Read) -> io::Result<()> {
        for (text, flag) in [(&entry.link, b'K'), (&entry.name, b'L')] {
            if text.len() >= 100 {
                let size = text.len() as u64 + 1;
                let long = Entry {
                    name: "././@LongLink".into(),
                    kind: Kind::Other(flag),
                    mode: 0,
                    owner: (0, "root".into()),
                    group: (0, "root".into()),
                    size,
                    mtime: 0,
                    link: String::new(),
                };
                self.to.write_all(&header(&long))?;
                self.to.write_all(text.as_bytes())?;
                self.to.write_all(&[0])?;
                self.fill(size)?;
            }
        }
        self.to.write_all(&header(entry))?;
        let copied = io::copy(&mut content.take(entry.size), &mut self.to)?;
        if copied != entry.size || content.read(&mut [0])? != 0 {
            return Err(io::Error::other("it was changed while it was read"));
        }
        self.fill(entry.size)
    }

    fn fill(&mut self, size: u64) -> io::Result<()> {
        let rest = (512 - size % 512) % 512;
        self.to.write_all([0; 512].get(..usize::try_from(rest).unwrap_or_default()).unwrap_or_default())
    }

    /// Ends the archive, at a multiple of 10 KiB as GNU tar does.
    ///
    /// # Errors
    /// As for writing.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&[0; 1024])?;
        Ok(self.to)
    }
}

fn header(entry: &Entry) -> [u8; 512] {
    let mut block = [0; 512];
    put(&mut block, 0, 100, entry.name.as_bytes());
    number(&mut block, 100, 8, entry.mode.into());
    number(&mut block, 108, 8, entry.owner.0.into());
    number(&mut block, 116, 8, entry.group.0.into());
    number(&mut block, 124, 12, entry.size);
    number(&mut block, 136, 12, entry.mtime);
    block[156] = match entry.kind {
        Kind::File => b'0',
        Kind::Directory => b'5',
        Kind::Symlink => b'2',
        Kind::Other(flag) => flag,
    };
    put(&mut block, 157, 100, entry.link.as_bytes());
    put(&mut block, 257, 8, b"ustar  ");
    put(&mut block, 265, 31, entry.owner.1.as_bytes());
    put(&mut block, 297, 31, entry.group.1.as_bytes());
    put(&mut block, 148, 8, b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    // Six digits, which hold any sum of 512 bytes, a NUL and the space that is there already.
    number(&mut block, 148, 7, sum.into());
    block
}

/// Puts text at an offset, cut to the field.
fn put(block: &mut [u8; 512], at: usize, size: usize, text: &[u8]) {
    for (to, from) in block.iter_mut().skip(at).zip(text.iter().take(size)) {
        *to = *from;
    }
}

/// Octal digits, or GNU's binary form for what does not fit.
fn number(block: &mut [u8; 512], at: usize, size: usize, value: u64) {
    let mut rest = value;
    if let Some((end, digits)) = block.get_mut(at..at + size).and_then(<[u8]>::split_last_mut) {
        for digit in digits.iter_mut().rev() {
            *digit = b"01234567"[usize::try_from(rest % 8).unwrap_or_default()];
            rest /= 8;
        }
        *end = 0;
    }
    if rest > 0 {
        let mut bytes = vec![0; size - 8];
        bytes.extend_from_slice(&value.to_be_bytes());
        bytes[0] |= 0x80;
        put(block, at, size, &bytes);
    }
}

/// Reads an archive, entry by entry.
pub struct Reader<R: Read> {
    from: R,
    /// What is left of the entry before, padding included.
    rest: u64,
    content: u64,
}

impl<R: Read> Reader<R> {
    /// Begins.
    pub fn new(from: R) -> Self {
        Self { from, rest: 0, content: 0 }
    }

    /// The next entry; its content can be read from this reader until then. `None` at the end.
    ///
    /// # Errors
    /// The archive is damaged, or a name is too long.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("no tar archive: {why}"));
        let (mut name, mut link) = (None, None);
        loop {
            let skipped = io::copy(&mut (&mut self.from).take(self.rest), &mut io::sink())?;
            if skipped != self.rest {
                return Err(bad("it ends within a file"));
            }
            (self.rest, self.content) = (0, 0);
            let mut block = [0; 512];
            match self.from.read_exact(&mut block) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                other => other?,
            }
            if block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let sum: u32 = block
                .iter()
                .enumerate()
                .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
                .sum();
            if read_number(&block[148..156]) != Some(sum.into()) {
                return Err(bad("a header is damaged"));
            }
            let size = read_number(&block[124..136]).ok_or_else(|| bad("a size is damaged"))?;
            let padded = size.checked_next_multiple_of(512).ok_or_else(|| bad("a size is damaged"))?;
            match block[156] {
                flag @ (b'L' | b'K') => {
                    if size > MAX_NAME {
                        return Err(bad("a name is too long"));
                    }
                    let mut text = Vec::new();
                    (&mut self.from).take(padded).read_to_end(&mut text)?;
                    text.truncate(usize::try_from(size).unwrap_or_default());
                    let text = read_text(&text);
                    *(if flag == b'L' { &mut name } else { &mut link }) = Some(text);
                }
                b'x' | b'g' | b'X' => return Err(bad("it has PAX headers, which dpkg does not know")),
                flag => {
                    let kind = match flag {
                        b'0' | 0 | b'7' => Kind::File,
                        b'5' => Kind::Directory,
                        b'2' => Kind::Symlink,
                        flag => Kind::Other(flag),
                    };
                    let size = if kind == Kind::File { size } else { 0 };
                    (self.rest, self.content) = (if kind == Kind::File { padded } else { 0 }, size);
                    let small =
                        |bytes: &[u8]| read_number(bytes).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
                    return Ok(Some(Entry {
                        name: name.unwrap_or_else(|| read_text(&block[..100])),
                        kind,
                        mode: small(&block[100..108]) & 0o7777,
                        owner: (small(&block[108..116]), read_text(&block[265..297])),
                        group: (small(&block[116..124]), read_text(&block[297..329])),
                        size,
                        mtime: read_number(&block[136..148]).unwrap_or(0),
                        link: link.unwrap_or_else(|| read_text(&block[157..257])),
                    }));
                }
            }
        }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.content).unwrap_or(usize::MAX).min(into.len());
        let Some(into) = into.get_mut(..most).filter(|into| !into.is_empty()) else { return Ok(0) };
        let read = self.from.read(into)?;
        self.content -= read as u64;
        self.rest -= read as u64;
        Ok(read)
    }
}

fn read_text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

fn read_number(bytes: &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    if first & 0x80 != 0 {
        let high = rest.len().checked_sub(8)?;
        let zero = first & 0x7f == 0 && rest.iter().take(high).all(|byte| *byte == 0);
        let low: [u8; 8] = rest.get(high..)?.try_into().ok()?;
        return zero.then(|| u64::from_be_bytes(low));
    }
    let text = std::str::from_utf8(bytes).ok()?.trim_matches(['\0', ' ']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, size: u64) -> Entry {
        Entry {
            name: name.into(),
            kind: Kind::File,
            mode: 0o644,
            owner: (0, "root".into()),
            group: (0, "root".into()),
            size,
            mtime: 1_700_000_000,
            link: String::new(),
        }
    }

    #[test]
    fn what_is_written_is_read_also_by_tar() {
        let long = format!("./usr/{}", "long/".repeat(40));
        let mut writer = Writer::new(Vec::new());
        writer.add(&entry("./a", 3), &mut &b"abc"[..]).unwrap();
        writer.add(&entry(&format!("{long}x"), 1), &mut &b"y"[..]).unwrap();
        let bytes = writer.finish().unwrap();
        let mut reader = Reader::new(&bytes[..]);
        assert_eq!(reader.next_entry().unwrap(), Some(entry("./a", 3)));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");
        assert_eq!(reader.next_entry().unwrap(), Some(entry(&format!("{long}x"), 1)));
        assert_eq!(reader.next_entry().unwrap(), None);

        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.tar"), &bytes).unwrap();
        let listed =
            std::process::Command::new("tar").arg("tf").arg(directory.path().join("a.tar")).output().unwrap();
        assert_eq!(String::from_utf8(listed.stdout).unwrap(), format!("./a\n{long}x\n"));
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x41;
            let mut reader = Reader::new(&broken[..]);
            while let Ok(Some(_)) = reader.next_entry() {}
        }
    }

    #[test]
    fn large_numbers() {
        let mut block = [0; 512];
        number(&mut block, 124, 12, 1 << 40);
        assert_eq!(read_number(&block[124..136]), Some(1 << 40));
        number(&mut block, 124, 12, 0o777);
        assert_eq!(read_number(&block[124..136]), Some(0o777));
    }
}
