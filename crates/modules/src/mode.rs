//! File modes as Ansible reads them: octal, or symbolic as in chmod(1).

use debark_value::Value;

use crate::param::{Kind, Param};

/// A file mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Permission bits.
    Bits(u32),
    /// Symbolic clauses (`u=rwX,g-w,o=`), applied to what is there.
    Symbolic(String),
    /// `preserve`: the source's own bits (copy and template only).
    Preserve,
}

impl Mode {
    /// Reads `0644`, `"644"`, `420` (a whole number is taken as bits: YAML has turned its octal form into it) or
    /// symbolic clauses.
    ///
    /// # Errors
    /// What was wanted and what was given.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let wrong = || format!("wants a file mode such as \"0644\" or \"u=rw,g=r\", got {value}");
        match value {
            Value::Int(bits) => {
                u32::try_from(*bits).ok().filter(|b| *b <= 0o7777).map(Self::Bits).ok_or_else(wrong)
            }
            Value::Str(text) => {
                let text = text.trim();
                if text == "preserve" {
                    return Ok(Self::Preserve);
                }
                let digits = text.strip_prefix("0o").unwrap_or(text);
                if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
                    let bits = u32::from_str_radix(digits, 8).map_err(|_| wrong())?;
                    return if bits <= 0o7777 { Ok(Self::Bits(bits)) } else { Err(wrong()) };
                }
                apply_symbolic(text, 0, false, 0o022)
                    .map(|_| Self::Symbolic(text.to_owned()))
                    .ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }

    /// The bits that a file with the `current` bits gets. `umask` bounds clauses without `u`, `g`, `o` or `a`.
    pub fn resolve(&self, current: u32, directory: bool, umask: u32) -> u32 {
        match self {
            Self::Bits(bits) => *bits,
            Self::Symbolic(clauses) => apply_symbolic(clauses, current, directory, umask).unwrap_or(current),
            Self::Preserve => current,
        }
    }
}

impl Param for Mode {
    const KIND: Kind = Kind::Mode;
    fn from_value(value: &Value) -> Result<Self, String> {
        Self::parse(value)
    }
}

fn apply_symbolic(clauses: &str, current: u32, directory: bool, umask: u32) -> Option<u32> {
    let mut mode = current & 0o7777;
    for clause in clauses.split(',') {
        let split = clause.find(['+', '-', '='])?;
        let (who, mut actions) = clause.split_at(split);
        if !who.chars().all(|c| "ugoa".contains(c)) {
            return None;
        }
        let everyone = who.is_empty() || who.contains('a');
        let users: Vec<u32> = [('u', 6), ('g', 3), ('o', 0)]
            .iter()
            .filter(|(c, _)| everyone || who.contains(*c))
            .map(|(_, s)| *s)
            .collect();
        while let Some(op) = actions.chars().next() {
            let rest = actions.get(1..)?;
            let end = rest.find(['+', '-', '=']).unwrap_or(rest.len());
            let (perms, tail) = rest.split_at(end);
            let before = mode;
            for &shift in &users {
                let bits = permission_bits(perms, before, shift, directory)?;
                let bits = if who.is_empty() { bits & !umask } else { bits };
                let own = 0o7 << shift
                    | if shift == 6 {
                        0o4000
                    } else if shift == 3 {
                        0o2000
                    } else {
                        0o1000
                    };
                mode = match op {
                    '+' => mode | bits,
                    '-' => mode & !bits,
                    // Unlike chmod(1), Ansible takes the setuid and setgid bits of directories away, too.
                    _ => mode & !own | bits,
                };
            }
            actions = tail;
        }
    }
    Some(mode)
}

fn permission_bits(perms: &str, current: u32, shift: u32, directory: bool) -> Option<u32> {
    let mut bits = 0;
    for c in perms.chars() {
        bits |= match c {
            'r' => 0o4 << shift,
            'w' => 0o2 << shift,
            'x' => 0o1 << shift,
            'X' if directory || current & 0o111 != 0 => 0o1 << shift,
            'X' => 0,
            's' if shift == 6 => 0o4000,
            's' if shift == 3 => 0o2000,
            't' if shift == 0 => 0o1000,
            's' | 't' => 0,
            'u' => (current >> 6 & 0o7) << shift,
            'g' => (current >> 3 & 0o7) << shift,
            'o' => (current & 0o7) << shift,
            _ => return None,
        };
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbolic(text: &str, current: u32, directory: bool) -> u32 {
        Mode::parse(&text.into()).unwrap().resolve(current, directory, 0o022)
    }

    #[test]
    fn octal_in_every_spelling() {
        for value in [Value::from("0644"), "644".into(), "0o644".into(), 0o644.into()] {
            assert_eq!(Mode::parse(&value), Ok(Mode::Bits(0o644)), "{value}");
        }
        assert!(Mode::parse(&"0999".into()).is_err());
        assert!(Mode::parse(&"u=z".into()).is_err());
    }

    #[test]
    fn symbolic_as_chmod() {
        assert_eq!(symbolic("u=rw,g=r,o=", 0o777, false), 0o640);
        assert_eq!(symbolic("a+X", 0o644, false), 0o644);
        assert_eq!(symbolic("a+X", 0o644, true), 0o755);
        assert_eq!(symbolic("u+s,g-w", 0o775, false), 0o4755);
        assert_eq!(symbolic("+w", 0o444, false), 0o644);
        assert_eq!(symbolic("g=u", 0o700, false), 0o770);
        assert_eq!(symbolic("u=rwx,go=rx", 0o2700, true), 0o755);
        assert_eq!(symbolic("u=rwx,go=rxs", 0o700, true), 0o2755);
    }
}
