//! The canaries, and the forms in which they are looked for.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// Secrets by name. They differ in every encoding, and no word of them stands anywhere else.
const TEXTS: &[(&str, &str)] = &[
    ("vault", "c4n@ry \"q\" %+/=$\u{e9}'z"),
    ("multi", "-- CANARY-M1 begins --\nm2&<'multi'>\\line\n  m3/second line+two=\nCANARY-M4 \"ends\"\n"),
    ("brief", "k7#Q"),
    (
        "hash",
        "$6$c4narysalt$0123456789abcdefcanaryhash./0123456789abcdefABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij",
    ),
    ("spare", "spar3-c4nary-of-nobody"),
    ("age", "age's c4nary {x}"),
    ("included", "incl|c4n@ry;x"),
    ("template", "t3mplate-c4n@ry?"),
    ("file", "f1le c4n@ry!"),
    ("single", "s1ngle`c4n@ry"),
    ("aged_single", "s1ngle#aged~c4n@ry"),
    ("become", "b3come:c4n@ry*"),
    ("token", "t0ken/c4n@ry~g1t"),
    ("hidden", "h1dden-by-no-l0g"),
    ("typed", "typ3d c4n@ry/at&the prompt"),
];

/// All canaries.
pub struct Canaries {
    forms: Vec<(&'static str, Vec<String>)>,
    /// Which two bytes a form begins with.
    starts: Vec<bool>,
    since: SystemTime,
}

impl Canaries {
    pub fn new() -> Self {
        let lines = |text: &str| text.lines().flat_map(|line| forms(line.trim())).collect();
        let forms: Vec<(&str, Vec<String>)> = TEXTS.iter().map(|(name, text)| (*name, lines(text))).collect();
        let mut starts = vec![false; 1 << 16];
        for form in forms.iter().flat_map(|(_, forms)| forms) {
            let bytes = form.as_bytes();
            starts[usize::from(bytes[0]) << 8 | usize::from(bytes[1])] = true;
        }
        Self { forms, starts, since: SystemTime::now() }
    }

    pub fn text(&self, name: &str) -> &'static str {
        TEXTS.iter().find(|(known, _)| *known == name).unwrap().1
    }

    /// Which canary a text has, and in which form. Called for all that is on two machines, so it goes through a text once.
    pub fn find(&self, text: &str) -> Option<String> {
        let bytes = text.as_bytes();
        for (at, pair) in bytes.windows(2).enumerate() {
            if !self.starts[usize::from(pair[0]) << 8 | usize::from(pair[1])] {
                continue;
            }
            for (name, forms) in &self.forms {
                if let Some(form) = forms.iter().find(|form| bytes[at..].starts_with(form.as_bytes())) {
                    return Some(format!("{name} as {form}"));
                }
            }
        }
        None
    }

    /// The lines of a text that have one.
    pub fn lines(&self, text: &str) -> Vec<String> {
        if self.find(text).is_none() {
            return Vec::new();
        }
        let told = |line: &str| Some(format!("{}: {line:.2000}", self.find(line)?));
        let found: Vec<String> = text.lines().filter_map(told).collect();
        if found.is_empty() { vec![self.find(text).unwrap()] } else { found }
    }

    /// Looks through the files below a directory that were written since.
    pub fn below(&self, directory: &Path, leave_out: &dyn Fn(&Path) -> bool, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
            if leave_out(&path) {
                continue;
            }
            if let Some(which) = self.find(&path.to_string_lossy()) {
                found.push(format!("the name {}: {which}", path.display()));
            }
            if kind.is_dir() {
                self.below(&path, leave_out, found);
            } else if kind.is_file()
                && entry.metadata().is_ok_and(|meta| meta.modified().is_ok_and(|time| time >= self.since))
                && let Ok(bytes) = fs::read(&path)
                && let Some(which) = self.find(&String::from_utf8_lossy(&bytes))
            {
                found.push(format!("{}: {which}", path.display()));
            }
        }
    }
}

/// Written apart from the code under test, which must not be its own judge.
fn forms(text: &str) -> Vec<String> {
    let mut all = vec![text.to_owned()];
    let replaced = |pairs: &[(&str, &str)]| {
        pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    let json = replaced(&[("\\", "\\\\"), ("\"", "\\\"")]);
    all.push(
        json.chars()
            .map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", c as u32) })
            .collect(),
    );
    all.push(json);
    all.push(replaced(&[("\\", "\\\\"), ("'", "\\'")]));
    all.push(replaced(&[("'", "'\\''")]));
    all.push(replaced(&[("'", "'\"'\"'")]));
    all.push(replaced(&[("'", "''")]));
    all.push(replaced(&[("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&#34;"), ("'", "&#39;")]));
    for (keep, space) in [("", "%20"), ("/", "%20"), ("", "+"), ("/", "+")] {
        let url: String = text
            .bytes()
            .map(|b| match b {
                b' ' => space.to_owned(),
                b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) || keep.as_bytes().contains(&b) => {
                    char::from(b).to_string()
                }
                b => format!("%{b:02X}"),
            })
            .collect();
        all.push(url);
    }
    // Whatever stands before and after it: the digits that depend on it alone.
    for before in 0..3 {
        let bits: String =
            vec![0u8; before].into_iter().chain(text.bytes()).map(|byte| format!("{byte:08b}")).collect();
        let first = (before * 8).div_ceil(6);
        let digits: String = (first..bits.len() / 6)
            .map(|at| {
                let value = u8::from_str_radix(&bits[at * 6..at * 6 + 6], 2).unwrap();
                char::from(
                    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[usize::from(value)],
                )
            })
            .collect();
        // Three digits are in any text.
        if digits.len() > 4 {
            all.push(digits);
        }
    }
    all.sort();
    all.dedup();
    all
}
