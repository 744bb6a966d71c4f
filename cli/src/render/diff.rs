//! Changes as unified diffs.

use std::fmt::Write;

use debark_wire::FileDiff;

use super::text::exact;

/// Lines around a change that are shown with it.
const CONTEXT: usize = 3;
/// Beyond this many lines on a side, comparing would take longer than anybody reads.
const MOST_LINES: usize = 5_000;

/// A change as `diff -u` shows it, with colours.
pub fn unified(change: &FileDiff) -> String {
    let red = anstyle::AnsiColor::Red.on_default();
    let green = anstyle::AnsiColor::Green.on_default();
    let (before, after) = (exact(&change.before), exact(&change.after));
    let before: Vec<&str> = before.lines().collect();
    let after: Vec<&str> = after.lines().collect();
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{red}--- before: {}{red:#}\n{green}+++ after: {}{green:#}",
        exact(&change.before_header),
        exact(&change.after_header)
    );
    if before.len() > MOST_LINES || after.len() > MOST_LINES {
        let _ = writeln!(out, "({} lines before, {} after: too many to compare)", before.len(), after.len());
        return out;
    }
    let edits = edits(&before, &after);
    let near = |index: usize| {
        let from = index.saturating_sub(CONTEXT);
        edits.iter().skip(from).take(index - from + CONTEXT + 1).any(|(sign, _)| *sign != ' ')
    };
    let mut gap = false;
    for (index, (sign, line)) in edits.iter().enumerate() {
        match sign {
            '-' => drop(writeln!(out, "{red}-{line}{red:#}")),
            '+' => drop(writeln!(out, "{green}+{line}{green:#}")),
            _ if near(index) => drop(writeln!(out, " {line}")),
            _ => {
                if !gap {
                    let _ = writeln!(out, "@@");
                }
                gap = true;
                continue;
            }
        }
        gap = false;
    }
    out
}

/// The lines of both sides in order, by the longest common subsequence of what is between equal ends.
fn edits<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<(char, &'a str)> {
    let same = |(a, b): &(&&str, &&str)| a == b;
    let head = before.iter().zip(after).take_while(same).count();
    let (before_rest, after_rest) =
        (before.get(head..).unwrap_or_default(), after.get(head..).unwrap_or_default());
    let tail = before_rest.iter().rev().zip(after_rest.iter().rev()).take_while(same).count();
    let old = before_rest.get(..before_rest.len() - tail).unwrap_or_default();
    let new = after_rest.get(..after_rest.len() - tail).unwrap_or_default();
    let mut out: Vec<(char, &str)> = before.iter().take(head).map(|line| (' ', *line)).collect();
    let width = new.len() + 1;
    if old.len().saturating_mul(width) > 4_000_000 {
        out.extend(old.iter().map(|line| ('-', *line)));
        out.extend(new.iter().map(|line| ('+', *line)));
    } else {
        let mut common = vec![0u32; (old.len() + 1) * width];
        let at = |i: usize, j: usize| i * width + j;
        let get = |table: &[u32], i, j| table.get(at(i, j)).copied().unwrap_or(0);
        for (i, left) in old.iter().enumerate().rev() {
            for (j, right) in new.iter().enumerate().rev() {
                let best = if left == right {
                    get(&common, i + 1, j + 1) + 1
                } else {
                    get(&common, i + 1, j).max(get(&common, i, j + 1))
                };
                if let Some(cell) = common.get_mut(at(i, j)) {
                    *cell = best;
                }
            }
        }
        let (mut i, mut j) = (0, 0);
        loop {
            match (old.get(i), new.get(j)) {
                (Some(left), Some(right)) if left == right => {
                    out.push((' ', left));
                    (i, j) = (i + 1, j + 1);
                }
                (Some(left), right)
                    if right.is_none() || get(&common, i + 1, j) >= get(&common, i, j + 1) =>
                {
                    out.push(('-', left));
                    i += 1;
                }
                (_, Some(right)) => {
                    out.push(('+', right));
                    j += 1;
                }
                _ => break,
            }
        }
    }
    out.extend(before_rest.iter().skip(before_rest.len() - tail).map(|line| (' ', *line)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_changed_and_a_little_around_it() {
        let before = (1..=20).map(|n| format!("line {n}\n")).collect::<String>();
        let change = FileDiff {
            before_header: "/a".into(),
            after_header: "/a".into(),
            after: before.replace("line 10\n", "line ten\nand more\n"),
            before,
        };
        let shown = anstream::adapter::strip_str(&unified(&change)).to_string();
        let expected = "--- before: /a\n+++ after: /a\n@@\n line 7\n line 8\n line 9\n-line 10\n+line ten\n+and more\n line 11\n \
                        line 12\n line 13\n@@\n";
        assert_eq!(shown, expected);
    }
}
