//! Texts of hosts on a terminal: what they say must not move the cursor or change colours.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The text with control characters other than newline and tab made visible as `cat -v` does. A carriage return at the
/// end of a line is dropped.
pub fn visible(text: &str) -> Cow<'_, str> {
    shown(text, false)
}

/// As [`visible`], but every carriage return is shown: for diffs, where it may be all that differs.
pub fn exact(text: &str) -> Cow<'_, str> {
    shown(text, true)
}

fn shown(text: &str, returns: bool) -> Cow<'_, str> {
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' if !returns && rest.peek().is_none_or(|next| *next == '\n') => {}
            c if harmless(c) => out.push(c),
            '\x7f' => out.push_str("^?"),
            // The C0 controls have letters 64 above them: ESC is `^[`.
            c => match u8::try_from(c).ok().filter(|byte| *byte < 32) {
                Some(byte) => out.extend(['^', char::from(byte + 64)]),
                None => out.extend(c.escape_unicode()),
            },
        }
    }
    Cow::Owned(out)
}

/// One line of at most so many columns; what does not fit is cut with an ellipsis.
pub fn fit(text: &str, columns: usize) -> String {
    let line: String = visible(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.width() <= columns {
        return line;
    }
    let mut out = String::new();
    let mut used = 0;
    for c in line.chars() {
        let width = c.width().unwrap_or(0);
        if used + width + 1 > columns {
            break;
        }
        used += width;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// Columns that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hosts_say_cannot_move_the_cursor() {
        assert_eq!(visible("a\tb\nc"), "a\tb\nc");
        assert_eq!(visible("\x1b[2Jgone\r\nback\x07\x7f"), "^[[2Jgone\nback^G^?");
        assert_eq!(visible("50%\r100%"), "50%^M100%");
        assert_eq!(exact("a\r\nb"), "a^M\nb");
        assert_eq!(visible("\u{9b}31m"), "\\u{9b}31m");
    }

    #[test]
    fn lines_are_cut_by_columns_not_by_characters() {
        assert_eq!(fit("install nginx", 20), "install nginx");
        assert_eq!(fit("install nginx", 8), "install…");
        assert_eq!(fit("日本語です", 7), "日本語…");
        assert_eq!(fit("two\nlines", 20), "two lines");
        assert_eq!(fit("x", 0), "");
    }
}
