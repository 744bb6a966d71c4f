//! DNS messages (RFC 1035), as far as names become addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Type A.
pub(crate) const A: u16 = 1;
/// Type AAAA (RFC 3596).
pub(crate) const AAAA: u16 = 28;
const INTERNET: u16 = 1;
/// Records that are looked at in one answer.
const RECORDS: usize = 64;

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub id: u16,
    /// 0: fine, 3: no such name, 2: the server cannot, ...
    pub code: u8,
    /// The name that was asked for, in lower case without the last dot.
    pub name: String,
    /// [`A`] or [`AAAA`].
    pub kind: u16,
    pub addresses: Vec<IpAddr>,
    /// Seconds for which the addresses may be kept.
    pub ttl: u32,
}

/// A question; `None`: this is no name.
pub(crate) fn query(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > 253 {
        return None;
    }
    // Recursion desired; one question.
    let mut bytes = Vec::with_capacity(name.len() + 18);
    bytes.extend(id.to_be_bytes());
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if label.is_empty() || label.len() > 63 || !label.bytes().all(good) {
            return None;
        }
        bytes.push(u8::try_from(label.len()).ok()?);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(INTERNET.to_be_bytes());
    Some(bytes)
}

/// Reads a reply; `None`: it is none.
pub(crate) fn reply(bytes: &[u8]) -> Option<Reply> {
    let mut reader = Reader { bytes, at: 0 };
    let id = reader.u16()?;
    let flags = reader.u16()?;
    let (questions, answers) = (reader.u16()?, reader.u16()?);
    reader.skip(4)?;
    // A reply (QR) to a standard query with one question.
    if flags & 0x8000 == 0 || flags & 0x7800 != 0 || questions != 1 {
        return None;
    }
    let name = reader.question()?;
    let kind = reader.u16()?;
    if reader.u16()? != INTERNET {
        return None;
    }
    let mut found = Reply { id, code: (flags & 15) as u8, name, kind, addresses: Vec::new(), ttl: 300 };
    // What is cut off or damaged behind is left out.
    for _ in 0..usize::from(answers).min(RECORDS) {
        if reader.record(&mut found).is_none() {
            break;
        }
    }
    Some(found)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let part = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(part)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(drop)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// The name in the question: never compressed, as nothing stands before it.
    fn question(&mut self) -> Option<String> {
        let mut name = String::new();
        loop {
            let length = self.u8()?;
            if length == 0 {
                return Some(name);
            }
            if length > 63 || name.len() > 253 {
                return None;
            }
            let label = self.take(length.into())?;
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        }
    }

    /// Steps over a name: labels up to the end or to a pointer.
    fn name(&mut self) -> Option<()> {
        loop {
            match self.u8()? {
                0 => return Some(()),
                pointer if pointer >= 0xc0 => return self.skip(1),
                length if length < 64 => self.skip(length.into())?,
                _ => return None,
            }
        }
    }

    /// Whose record it is does not matter: between the name and its addresses there are only aliases.
    fn record(&mut self, found: &mut Reply) -> Option<()> {
        self.name()?;
        let (kind, class, ttl) = (self.u16()?, self.u16()?, self.u32()?);
        let length = self.u16()?;
        let data = self.take(length.into())?;
        if class != INTERNET || kind != found.kind {
            return Some(());
        }
        let address = match kind {
            A => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?)),
            _ => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?)),
        };
        found.addresses.push(address);
        found.ttl = found.ttl.min(ttl);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to `query(7, "web.example", A)` with an alias and an address behind it.
    fn answered() -> Vec<u8> {
        let mut bytes = query(7, "Web.Example.", A).unwrap();
        bytes[2] = 0x81;
        bytes[3] = 0x80;
        bytes[7] = 2;
        bytes.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 4, 1, b'a', 0xc0, 16]);
        bytes.extend([0xc0, 41, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 9]);
        bytes
    }

    #[test]
    fn addresses_behind_an_alias() {
        let found = reply(&answered()).unwrap();
        assert_eq!((found.id, found.code, found.name.as_str(), found.ttl), (7, 0, "web.example", 60));
        assert_eq!(found.addresses, ["10.0.0.9".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn damaged_replies_are_no_panic() {
        let whole = answered();
        for end in 0..whole.len() {
            let _ = reply(&whole[..end]);
        }
        for at in 0..whole.len() {
            for value in [0, 0x3f, 0x40, 0xc0, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = reply(&bytes);
            }
        }
        assert_eq!(reply(&query(7, "web.example", A).unwrap()), None, "a question is no reply");
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        for name in ["", ".", "a..b", "a b", "a/b", &"x".repeat(64), &"a.".repeat(200)] {
            assert!(query(1, name, A).is_none(), "{name}");
        }
    }
}
