//! The members of a .deb (deb(5)), as debsig-verify(1) signs them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

/// No signature is longer, in bytes.
const MAX_SIGNATURE: u64 = 64 << 10;

/// Where the signed members are in a .deb, and its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Offset and length of debian-binary, control.tar and data.tar.
    pub signed: [(u64, u64); 3],
    /// The content of `_gpgorigin`; `None`: the package is not signed.
    pub signature: Option<Vec<u8>>,
}

/// Finds the members of a .deb.
///
/// Strict on purpose: what this and dpkg read differently could be signed as one thing and installed as another. So there
/// are three members in their order, signatures behind them (their names begin with `_gpg`), and nothing else.
///
/// # Errors
/// It is no such archive: a few words.
pub fn layout(file: &File, size: u64) -> Result<Layout, String> {
    let broken = |error: io::Error| format!("it cannot be read: {error}");
    let mut magic = [0; 8];
    file.read_exact_at(&mut magic, 0).map_err(broken)?;
    if &magic != b"!<arch>\n" {
        return Err("it is no ar archive".into());
    }
    let mut at = 8;
    let mut signed = Vec::new();
    let mut signature = None;
    while at < size {
        let mut header = [0; 60];
        file.read_exact_at(&mut header, at).map_err(broken)?;
        let (name, length) = member(&header).ok_or("a member's header is broken")?;
        at += 60;
        let end = at.checked_add(length).filter(|end| *end <= size).ok_or("a member has no end")?;
        match (signed.len(), name.as_str()) {
            (0, "debian-binary") => {
                let mut version = [0; 4];
                if length != 4 || file.read_exact_at(&mut version, at).is_err() || &version != b"2.0\n" {
                    return Err("its format is not 2.0".into());
                }
                signed.push((at, length));
            }
            (1, "control.tar" | "control.tar.gz" | "control.tar.xz" | "control.tar.zst")
            | (2, "data.tar" | "data.tar.gz" | "data.tar.xz" | "data.tar.zst" | "data.tar.bz2") => {
                signed.push((at, length));
            }
            (3, "_gpgorigin") if signature.is_none() => {
                if length > MAX_SIGNATURE {
                    return Err("its signature is too long".into());
                }
                let mut bytes = vec![0; usize::try_from(length).map_err(|_| "its signature is too long")?];
                file.read_exact_at(&mut bytes, at).map_err(broken)?;
                signature = Some(bytes);
            }
            (3, name) if name.starts_with("_gpg") && name != "_gpgorigin" => {}
            _ => return Err(format!("it has a member {name:?} that does not belong there")),
        }
        at = end + end % 2;
    }
    let signed = signed.try_into().map_err(|_| "it lacks a control or data member")?;
    Ok(Layout { signed, signature })
}

/// Name and length of an ar member.
fn member(header: &[u8; 60]) -> Option<(String, u64)> {
    if header.get(58..) != Some(b"`\n") {
        return None;
    }
    let text = |range| std::str::from_utf8(header.get(range)?).ok();
    let name = text(0..16)?.trim_end_matches(' ');
    // GNU's archives end names with a slash; dpkg takes both.
    let name = name.strip_suffix('/').unwrap_or(name);
    let length = text(48..58)?.trim_end_matches(' ');
    if name.is_empty() || length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((name.to_owned(), length.parse().ok()?))
}

/// Writes the signed bytes.
///
/// # Errors
/// They cannot be read, or not be written.
pub fn write_signed(file: &File, layout: &Layout, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    for (offset, length) in layout.signed {
        let mut done = 0;
        while done < length {
            let want = usize::try_from(length - done).unwrap_or(usize::MAX).min(buffer.len());
            let part = buffer.get_mut(..want).unwrap_or_default();
            file.read_exact_at(part, offset + done)?;
            to.write_all(part)?;
            done += want as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = b"!<arch>\n".to_vec();
        for (name, content) in members {
            bytes.extend(
                format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).bytes(),
            );
            bytes.extend_from_slice(content);
            bytes.extend(std::iter::repeat_n(b'\n', content.len() % 2));
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Result<(Layout, Vec<u8>), String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let layout = layout(&file, bytes.len() as u64)?;
        let mut signed = Vec::new();
        write_signed(&file, &layout, &mut signed).unwrap();
        Ok((layout, signed))
    }

    #[test]
    fn three_members_are_signed_in_their_order() {
        let good: &[(&str, &[u8])] = &[
            ("debian-binary", b"2.0\n"),
            ("control.tar.xz/", b"con"),
            ("data.tar.zst", b"data"),
            ("_gpgorigin", b"signature"),
        ];
        let (layout, signed) = read(&archive(good)).unwrap();
        assert_eq!(layout.signature.as_deref(), Some(&b"signature"[..]));
        assert_eq!(signed, b"2.0\ncondata");
        assert_eq!(read(&archive(&good[..3])).unwrap().0.signature, None);
        let bytes = archive(good);
        for length in 0..bytes.len() {
            let _ = read(&bytes[..length]);
        }
    }

    #[test]
    fn what_dpkg_might_read_otherwise_is_refused() {
        let (binary, control, data) =
            (("debian-binary", &b"2.0\n"[..]), ("control.tar", &b"c"[..]), ("data.tar", &b"d"[..]));
        for members in [
            &[binary, control][..],
            &[binary, data, control],
            &[binary, control, control, data],
            &[binary, control, data, data],
            &[binary, ("_extra", b""), control, data],
            &[binary, control, data, ("extra", b"")],
            &[("debian-binary", b"3.0\n"), control, data],
            &[binary, control, data, ("_gpgorigin", b"a"), ("_gpgorigin", b"b")],
        ] {
            read(&archive(members)).unwrap_err();
        }
    }
}
