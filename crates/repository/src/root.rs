//! `Release`, the root of an apt repository: what indices there are, with their digests (Debian Repository Format). It is
//! signed as `InRelease`.

use std::collections::{BTreeMap, BTreeSet};

use debark_order::Digest;
use jiff::Timestamp;

use crate::packages::field;

/// How times are written (Debian Repository Format, "Date, Valid-Until").
const TIME: &str = "%a, %d %b %Y %H:%M:%S UTC";
/// Hosts of these look for an index, even if it is empty.
const ALWAYS: [&str; 3] = ["all", "amd64", "arm64"];

/// A file that the root lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    pub digest: Digest,
    pub size: u64,
}

/// The root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Root {
    pub suite: String,
    /// Seconds since 1970.
    pub date: i64,
    pub valid_until: i64,
    /// One more with every root: what was lost would show.
    pub generation: u64,
    /// By path below `dists/SUITE`.
    pub files: BTreeMap<String, Listed>,
}

impl Root {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let needed = |name: &str| field(text, name).ok_or_else(|| format!("it has no {name}"));
        let time = |name: &str| {
            let text = needed(name)?;
            let time = jiff::fmt::strtime::parse(TIME, text).and_then(|time| time.to_datetime());
            let time = time.and_then(|time| jiff::tz::Offset::UTC.to_timestamp(time));
            time.map(Timestamp::as_second).map_err(|_| format!("{name}: {text} is no time"))
        };
        let mut files = BTreeMap::new();
        let lines = text.lines().skip_while(|line| *line != "SHA256:").skip(1);
        for line in lines.take_while(|line| line.starts_with(' ')) {
            let mut words = line.split_whitespace();
            let (Some(digest), Some(size), Some(path)) = (words.next(), words.next(), words.next()) else {
                return Err("a line of SHA256 that is none".into());
            };
            let digest = digest.parse().map_err(|error| format!("{error}"))?;
            let size = size.parse().map_err(|_| "a size that is no number".to_owned())?;
            files.insert(path.to_owned(), Listed { digest, size });
        }
        Ok(Self {
            suite: needed("Suite")?.to_owned(),
            date: time("Date")?,
            valid_until: time("Valid-Until")?,
            generation: needed("Debark-Generation")?.parse().map_err(|_| "its generation is no number")?,
            files,
        })
    }

    /// The architectures that it has an index of, and those that it always has one of.
    pub(crate) fn architectures(&self) -> BTreeSet<String> {
        let listed = self.files.keys().filter_map(|path| {
            path.strip_prefix("main/binary-")?.strip_suffix("/Packages").map(str::to_owned)
        });
        listed.chain(ALWAYS.map(str::to_owned)).collect()
    }

    pub(crate) fn text(&self) -> String {
        let time = |seconds: i64| {
            Timestamp::from_second(seconds).map(|time| time.strftime(TIME).to_string()).unwrap_or_default()
        };
        let architectures: Vec<_> = self.architectures().into_iter().collect();
        let mut text = format!(
            "Origin: debark\nLabel: debark\nSuite: {0}\nCodename: {0}\nDate: {1}\nValid-Until: {2}\nAcquire-By-Hash: yes\n\
             Architectures: {3}\nComponents: main\nDebark-Generation: {4}\nSHA256:\n",
            self.suite,
            time(self.date),
            time(self.valid_until),
            architectures.join(" "),
            self.generation,
        );
        for (path, listed) in &self.files {
            text.push_str(&format!(" {} {} {path}\n", listed.digest.hex(), listed.size));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let listed = Listed { digest: Digest::of(b"x"), size: 1 };
        let root = Root {
            suite: "stable".into(),
            date: 1_795_900_000,
            valid_until: 1_796_900_000,
            generation: 7,
            files: [("main/binary-riscv64/Packages".to_owned(), listed)].into(),
        };
        let text = root.text();
        assert!(
            text.contains("Date: Sun, 28 Nov 2026 ") || text.contains("Date: Sat, 28 Nov 2026 "),
            "{text}"
        );
        assert!(text.contains("Architectures: all amd64 arm64 riscv64\n"), "{text}");
        assert_eq!(Root::parse(&text).unwrap(), root);
        Root::parse("").unwrap_err();
    }
}
