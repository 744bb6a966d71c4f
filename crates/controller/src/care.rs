//! What a host may put where a play's text leaves something open.
//!
//! A text of the play is fixed in part; the rest comes from variables that only the host knows. What a host sends is
//! held against the text: the fixed parts must be there, and what stands between them must be harmless where it goes.

use debark_expr::shape::Piece;

/// Longer texts than this are taken only as they are written in the play.
const LONGEST: usize = 4 << 10;
/// A text that fits only after more tries than this is taken not to fit.
const TRIES: usize = 2000;

/// Where a text goes, and so what could do harm in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// A path on the controller.
    Path,
    /// A shell command on the controller.
    Shell,
    /// A path with options behind it, as the lookups `password`, `csvfile` and `ini` take.
    Options,
    /// One word of data, behind which options may follow.
    Word,
    /// An address to fetch from.
    Url,
    /// A name: of a host, a group, a role.
    Name,
    /// Nothing but what the play itself says: names of environment variables.
    Exact,
    /// Data.
    Free,
}

/// Whether a host may send this text where the play has those pieces; `known` tells whether a text stands in the
/// play's own variables, where the host may have taken it from.
pub(crate) fn fits(pieces: &[Piece], text: &str, care: Care, known: &dyn Fn(&str) -> bool) -> bool {
    let pieces = joined(pieces);
    if let [] | [Piece::Text(_)] = pieces.as_slice() {
        return pieces.iter().map(fixed).collect::<String>() == text;
    }
    if care == Care::Free {
        return true;
    }
    if text.len() > LONGEST || text.chars().any(|c| c.is_control() && c != '\n') {
        return false;
    }
    let alone = pieces.len() == 1;
    let mut tries = TRIES;
    matches(&pieces, text, 0, &mut tries, &|before, hole, after| {
        known(hole) && (care != Care::Shell || !before.trim().is_empty() || alone)
            || harmless(care, before, hole, after, alone)
    })
}

fn fixed(piece: &Piece) -> &str {
    if let Piece::Text(text) = piece { text } else { "" }
}

/// Neighbouring texts, and neighbouring gaps, as one.
fn joined(pieces: &[Piece]) -> Vec<Piece> {
    let mut all: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (all.last_mut(), piece) {
            (_, Piece::Text(text)) if text.is_empty() => {}
            (Some(Piece::Text(last)), Piece::Text(text)) => last.push_str(text),
            (_, Piece::Text(_)) => all.push(piece.clone()),
            (Some(Piece::Unknown), _) => {}
            _ => all.push(Piece::Unknown),
        }
    }
    all
}

type Judge<'a> = dyn Fn(&str, &str, &str) -> bool + 'a;

/// Tries all ways to lay the pieces over the text from a place on.
fn matches(pieces: &[Piece], text: &str, at: usize, tries: &mut usize, good: &Judge<'_>) -> bool {
    let (Some(before), Some(rest)) = (text.get(..at), text.get(at..)) else { return false };
    match pieces {
        [] => rest.is_empty(),
        [Piece::Text(fixed), more @ ..] => {
            rest.starts_with(fixed.as_str()) && matches(more, text, at + fixed.len(), tries, good)
        }
        [_] => good(before, rest, ""),
        [_, more @ ..] => {
            let next = more.first().map(fixed).unwrap_or_default();
            rest.match_indices(next).any(|(length, _)| {
                *tries = tries.saturating_sub(1);
                let (hole, after) = rest.split_at(length);
                *tries > 0 && good(before, hole, after) && matches(more, text, at + length, tries, good)
            })
        }
    }
}

/// Whether a text that comes from the host alone may stand there.
fn harmless(care: Care, before: &str, hole: &str, after: &str, alone: bool) -> bool {
    if hole.is_empty() {
        // It cannot make the fixed parts around it into a way upwards.
        return !(alone || before.ends_with('.') && after.starts_with('.'));
    }
    let inside = |extra: &str| hole.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c));
    let word =
        |extra: &str| inside(extra) && hole.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    match care {
        Care::Free => true,
        Care::Exact => false,
        // Alone it could name any file: the caller looks where it leads.
        Care::Path | Care::Options => {
            let first = before.is_empty();
            !alone
                && !upwards(before, hole, after)
                && !(first && (hole.starts_with(['/', '~', '.', '-']) || hole.contains('/')))
                && (care == Care::Path || !hole.contains(|c: char| c.is_whitespace() || "='\"\\".contains(c)))
        }
        Care::Word => !hole.contains(|c: char| c.is_whitespace() || "='\"\\".contains(c)),
        Care::Shell => {
            let begins = before.ends_with(|c: char| c.is_whitespace() || "'\"=".contains(c));
            !before.trim().is_empty()
                && inside("_.:@%+=,/-")
                && (!begins || word("_.:@%+=,/-"))
                && !upwards(before, hole, after)
        }
        Care::Url => {
            let host = before.strip_prefix("https://").or_else(|| before.strip_prefix("http://"));
            host.is_some_and(|host| host.contains('/'))
                && !hole.contains(|c: char| c.is_whitespace())
                && !upwards(before, hole, after)
        }
        Care::Name => !alone && word("_.-"),
    }
}

/// Whether a part of the path that the hole has a share in is `..`.
fn upwards(before: &str, hole: &str, after: &str) -> bool {
    let start = before.rfind(['/', ' ']).map_or(0, |at| at + 1);
    let end = after.find(['/', ' ']).unwrap_or(after.len());
    let touched =
        [before.get(start..).unwrap_or_default(), hole, after.get(..end).unwrap_or_default()].concat();
    touched.split(['/', ' ']).any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use debark_expr::shape::pieces;

    use super::*;

    fn may(template: &str, text: &str, care: Care) -> bool {
        let known = |text: &str| text == "a/known one" || text == "date -u";
        pieces(template).iter().any(|pieces| fits(pieces, text, care, &known))
    }

    #[test]
    fn fixed_texts_are_exact() {
        for care in [Care::Path, Care::Shell, Care::Free, Care::Exact, Care::Name] {
            assert!(may("id -un", "id -un", care));
            assert!(!may("id -un", "id -un; id", care));
        }
    }

    #[test]
    fn paths_stay_below_what_is_fixed() {
        let path = |template: &str, text: &str| may(template, text, Care::Path);
        assert!(path("keys/{{ x }}.pub", "keys/joe.pub") && path("keys/{{ x }}.pub", "keys/a/b.pub"));
        for bad in ["keys/../../id.pub", "keys/..", "/etc/x.pub", "keys/x/../y.pub", "other/joe.pub"] {
            assert!(!path("keys/{{ x }}.pub", bad), "{bad}");
        }
        assert!(path("{{ x }}.yml", "Debian.yml"));
        for bad in ["/etc/x.yml", "a/b.yml", "../x.yml", ".x.yml", "~/x.yml"] {
            assert!(!path("{{ x }}.yml", bad), "{bad}");
        }
        assert!(!path(".{{ x }}./secret", "../secret") && !path("a/.{{ x }}/b", "a/../b"));
        assert!(path("{{ x }}", "a/known one") && !path("{{ x }}", "files/x"), "alone only what is known");
        assert!(path("{{ x }}/{{ y }}.pub", "a/known one/joe.pub"));
        assert!(!may("pw/{{ x }} length=20", "pw/a length=1 length=20", Care::Options));
        assert!(may("pw/{{ x }} length=20", "pw/a length=20", Care::Options));
    }

    #[test]
    fn commands_get_plain_words_only() {
        let shell = |template: &str, text: &str| may(template, text, Care::Shell);
        assert!(shell("dig +short {{ x }}", "dig +short web1.example.org"));
        for bad in
            ["dig +short a;id", "dig +short $(id)", "dig +short a b", "dig +short -fx", "dig +short /etc/x"]
        {
            assert!(!shell("dig +short {{ x }}", bad), "{bad}");
        }
        assert!(!shell("cat keys/{{ x }}", "cat keys/../../x") && shell("cat keys/{{ x }}", "cat keys/joe"));
        assert!(shell("{{ x }}", "date -u") && !shell("{{ x }}", "id"));
        assert!(!shell("{{ x }} --version", "rm --version"));
    }

    #[test]
    fn addresses_and_names() {
        assert!(may("https://a.org/{{ x }}", "https://a.org/v1?x=2", Care::Url));
        assert!(!may("https://{{ x }}", "https://evil/x", Care::Url));
        assert!(!may("https://a.org{{ x }}", "https://a.org.evil/x", Care::Url));
        assert!(may("setup-{{ x }}", "setup-Debian", Care::Name) && !may("{{ x }}", "evil", Care::Name));
        assert!(!may("{{ x }}", "SECRET", Care::Exact) && !may("A_{{ x }}", "A_B", Care::Exact));
    }

    #[test]
    fn many_gaps_take_no_time() {
        let template = "a{{ x }}".repeat(30) + "b";
        assert!(!may(&template, &"a".repeat(4000), Care::Path));
    }
}
