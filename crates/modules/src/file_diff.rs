//! What `--diff` shows of a change of content.

use std::path::Path;

use crate::Host;
use crate::plan::Diff;

/// Larger files are not shown.
pub const LIMIT: u64 = 1 << 20;

/// The change of a file's content; nothing if nobody wants to see it. `before` is empty for a file that is made.
pub fn content(host: &Host, path: &Path, before: &[u8], after: &[u8]) -> Vec<Diff> {
    if !host.wants_diff() || before == after {
        return Vec::new();
    }
    vec![Diff::text(path.display(), shown(before), shown(after))]
}

/// Text as it is, anything else as one line about it.
pub fn shown(bytes: &[u8]) -> String {
    if bytes.len() as u64 > LIMIT {
        return too_large(bytes.len() as u64);
    }
    let head = bytes.get(..8192).unwrap_or(bytes);
    if head.contains(&0) {
        return format!("(binary, {} bytes, {})\n", bytes.len(), short_digest(bytes));
    }
    String::from_utf8_lossy(bytes).into_owned()
}

/// The line that stands for content that is too large to show.
pub fn too_large(size: u64) -> String {
    format!("({size} bytes, too large to show)\n")
}

/// Two binaries of one length must not look the same.
fn short_digest(bytes: &[u8]) -> String {
    let digest = crate::hash::Algorithm::Sha1.hex(bytes);
    format!("sha1 {}", digest.get(..12).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_and_large_content_is_one_line() {
        assert_eq!(shown(b"a\n"), "a\n");
        assert!(shown(b"a\0b").starts_with("(binary, 3 bytes, sha1 "));
        assert_ne!(shown(b"a\0b"), shown(b"a\0c"));
        assert_eq!(shown(&vec![b'x'; (LIMIT + 1) as usize]).lines().count(), 1);
    }
}
