//! Whether a file contains a pattern, without holding more of it than one line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::{Params, anchored};
use crate::editing::{EDIT_LIMIT, decode};
use crate::plan::Failure;
use crate::pyre::Pattern;

/// Of longer lines the beginning is searched.
const LINE: u64 = 1 << 20;

/// What is looked for in files.
pub(super) struct Contains {
    pattern: Pattern,
    whole: bool,
    latin: bool,
}

impl Contains {
    pub(super) fn new(params: &Params) -> Result<Option<Self>, Failure> {
        let encoding = params.encoding.as_deref().unwrap_or("utf-8").to_ascii_lowercase();
        let latin = match encoding.replace('_', "-").as_str() {
            "utf-8" | "utf8" | "ascii" | "us-ascii" => false,
            "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" => true,
            _ => {
                return Err(Failure::new(format!("find: the encoding {encoding:?} is not supported"))
                    .hint("utf-8, ascii or latin-1"));
            }
        };
        let Some(contains) = &params.contains else { return Ok(None) };
        let whole = params.read_whole_file;
        let source = if whole { contains.clone() } else { anchored(contains) };
        Ok(Some(Self { pattern: Pattern::new("contains", &source, "")?, whole, latin }))
    }

    /// Whether the pattern is in the file. A file that cannot be opened does not contain it.
    pub(super) fn is_in(&self, path: &Path) -> Result<bool, Failure> {
        let Ok(file) = File::open(path) else { return Ok(false) };
        if self.whole {
            let Ok(meta) = file.metadata() else { return Ok(false) };
            if meta.len() > EDIT_LIMIT {
                return Err(Failure::new(format!(
                    "it is larger than {EDIT_LIMIT} bytes, too large for `contains`"
                )));
            }
            let bytes = crate::atomic::read_limited(path, EDIT_LIMIT)?;
            return Ok(self.pattern.search(&self.text(&bytes).replace("\r\n", "\n"), 0)?.is_some());
        }
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            // A file that cannot be read to its end does not contain it either.
            let Ok(count) = reader.by_ref().take(LINE).read_until(b'\n', &mut line) else { return Ok(false) };
            if count == 0 {
                return Ok(false);
            }
            let cut = count as u64 == LINE && !line.ends_with(b"\n");
            if line.ends_with(b"\r\n") {
                line.truncate(count - 2);
                line.push(b'\n');
            }
            if self.pattern.search(&self.text(&line), 0)?.is_some() {
                return Ok(true);
            }
            if cut && !skip_line(&mut reader) {
                return Ok(false);
            }
        }
    }

    fn text(&self, bytes: &[u8]) -> String {
        if self.latin { bytes.iter().copied().map(char::from).collect() } else { decode(bytes) }
    }
}

/// Reads on to the next line; false if there is none.
fn skip_line(reader: &mut impl BufRead) -> bool {
    loop {
        let Ok(chunk) = reader.fill_buf() else { return false };
        if chunk.is_empty() {
            return false;
        }
        let end = memchr::memchr(b'\n', chunk);
        let count = end.map_or(chunk.len(), |end| end + 1);
        reader.consume(count);
        if end.is_some() {
            return true;
        }
    }
}
