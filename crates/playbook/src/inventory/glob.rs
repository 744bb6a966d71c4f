//! Shell patterns for names, as Python's `fnmatch` matches them: `*`, `?`, `[abc]`, `[a-z]`, `[!abc]`.

enum Part {
    One(char),
    Any,
    Many,
    Set { members: Vec<(char, char)>, not: bool },
}

/// A compiled pattern.
pub struct Glob(Vec<Part>);

impl Glob {
    /// Whether a text has anything but plain characters.
    pub fn is_special(text: &str) -> bool {
        text.contains(['*', '?', '['])
    }

    /// Compiles a pattern. Every text is one: a bracket that is not closed stands for itself.
    pub fn new(pattern: &str) -> Self {
        let chars: Vec<char> = pattern.chars().collect();
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(c) = chars.get(at) {
            at += 1;
            match c {
                '*' if matches!(parts.last(), Some(Part::Many)) => {}
                '*' => parts.push(Part::Many),
                '?' => parts.push(Part::Any),
                '[' => match set(chars.get(at..).unwrap_or_default()) {
                    Some((part, length)) => {
                        parts.push(part);
                        at += length;
                    }
                    None => parts.push(Part::One('[')),
                },
                c => parts.push(Part::One(*c)),
            }
        }
        Self(parts)
    }

    /// Whether it matches the whole text. Takes at most the product of both lengths.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut part, mut at) = (0, 0);
        // Where to go on when the rest does not fit: the last `*` takes one character more.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let fits = match (self.0.get(part), text.get(at)) {
                (None, None) => return true,
                (Some(Part::Many), _) => {
                    retry = Some((part, at));
                    part += 1;
                    continue;
                }
                (Some(one), Some(c)) => one.takes(*c),
                _ => false,
            };
            if fits {
                part += 1;
                at += 1;
            } else {
                match &mut retry {
                    Some((many, from)) if *from < text.len() => {
                        *from += 1;
                        (part, at) = (*many + 1, *from);
                    }
                    _ => return false,
                }
            }
        }
    }
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::One(own) => *own == c,
            Self::Any | Self::Many => true,
            Self::Set { members, not } => {
                members.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *not
            }
        }
    }
}

/// A set behind its opening bracket, and its length with the closing one.
fn set(chars: &[char]) -> Option<(Part, usize)> {
    let not = chars.first() == Some(&'!');
    let start = usize::from(not);
    // A bracket at the very start is a member.
    let end = start + 1 + chars.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let inner = chars.get(start..end)?;
    let mut members = Vec::new();
    let mut at = 0;
    while let Some(low) = inner.get(at) {
        match (inner.get(at + 1), inner.get(at + 2)) {
            (Some('-'), Some(high)) => {
                members.push((*low, *high));
                at += 3;
            }
            _ => {
                members.push((*low, *low));
                at += 1;
            }
        }
    }
    Some((Part::Set { members, not }, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_fnmatch() {
        for (pattern, text, expected) in [
            ("web*", "web1", true),
            ("web*", "aweb", false),
            ("*.example.com", "a.b.example.com", true),
            ("w?b", "wb", false),
            ("w[a-c]b", "wbb", true),
            ("w[!a-c]b", "wbb", false),
            ("w[]]b", "w]b", true),
            ("w[b", "w[b", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        assert!(!Glob::new(&"*a".repeat(50)).matches(&"a".repeat(49).repeat(20).replace("aa", "b")));
    }
}
