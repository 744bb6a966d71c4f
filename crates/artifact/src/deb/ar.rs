//! The outer container: ar(5), as deb(5) narrows it.

use std::io::{self, Read, Seek, SeekFrom, Write};

/// What every archive begins with.
pub const MAGIC: &[u8; 8] = b"!<arch>\n";
/// Members that are read; a package has three, and a signature or two.
const MAX_MEMBERS: usize = 16;

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, without padding.
    pub name: String,
    /// Where its content begins.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// Lists the members of an archive.
///
/// # Errors
/// It is no archive, ends early, or has more than sixteen members.
pub fn members<R: Read + Seek>(from: &mut R) -> io::Result<Vec<Member>> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("no Debian package: {why}"));
    let end = from.seek(SeekFrom::End(0))?;
    from.seek(SeekFrom::Start(0))?;
    let mut magic = [0; 8];
    from.read_exact(&mut magic).map_err(|_| bad("it is no ar archive"))?;
    if &magic != MAGIC {
        return Err(bad("it is no ar archive"));
    }
    let mut found = Vec::new();
    let mut at = 8;
    while at < end {
        if found.len() == MAX_MEMBERS {
            return Err(bad("it has too many members"));
        }
        let mut header = [0; 60];
        from.seek(SeekFrom::Start(at))?;
        from.read_exact(&mut header).map_err(|_| bad("it ends within a header"))?;
        let (name, size, magic) = (&header[..16], &header[48..58], &header[58..]);
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(|text| text.trim_end().to_owned());
        let name = text(name).map_err(|_| bad("a member has no readable name"))?;
        let size = text(size).ok().filter(|size| size.bytes().all(|byte| byte.is_ascii_digit()));
        let size: u64 = size.and_then(|size| size.parse().ok()).ok_or_else(|| bad("a member has no size"))?;
        // Only printable names: they are shown.
        if magic != b"`\n" || name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad("a member's header is damaged"));
        }
        let offset = at + 60;
        if size > end.saturating_sub(offset) {
            return Err(bad(&format!("it ends within {name}")));
        }
        let name = name.trim_end_matches('/').to_owned();
        found.push(Member { name, offset, size });
        at = offset + size + size % 2;
    }
    Ok(found)
}

/// Writes a member's header. Everything that would differ from one build to the next is fixed but `mtime`.
///
/// # Errors
/// As for writing.
pub fn header(to: &mut impl Write, name: &str, size: u64, mtime: u64) -> io::Result<()> {
    if name.len() > 16 || size > 9_999_999_999 {
        return Err(io::Error::other(format!("{name} is too large for a package")));
    }
    writeln!(to, "{name:<16}{mtime:<12}{:<6}{:<6}{:<8}{size:<10}`", 0, 0, "100644")
}

/// Fills up to an even offset.
///
/// # Errors
/// As for writing.
pub fn pad(to: &mut impl Write, size: u64) -> io::Result<()> {
    if size % 2 == 1 { to.write_all(b"\n") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = MAGIC.to_vec();
        for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar.xz", b"abc")] {
            header(&mut bytes, name, content.len() as u64, 7).unwrap();
            bytes.extend_from_slice(content);
            pad(&mut bytes, content.len() as u64).unwrap();
        }
        let found = members(&mut Cursor::new(&bytes)).unwrap();
        assert_eq!(found[1], Member { name: "control.tar.xz".into(), offset: 132, size: 3 });
        for cut in 1..bytes.len() - 1 {
            // At the end of a member an archive may end; anywhere else it is damaged.
            let read = members(&mut Cursor::new(&bytes[..cut]));
            assert_eq!(read.is_ok(), cut == 8 || cut == 72, "{cut}");
        }
    }
}
