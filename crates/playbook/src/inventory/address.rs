//! Host names of an inventory: `web[01:50].example.com`, `db:2222`, `[2001:db8::1]:22`.
//!
//! The rules are those of ansible-core's `parsing/utils/addresses.py` and `plugins/inventory/__init__.py`.

use std::net::Ipv6Addr;

/// So many names may one range stand for.
const MOST_NAMES: usize = 100_000;

/// The name and the port of a host or a range of hosts; nothing if the text is neither.
pub fn parse(text: &str) -> Option<(&str, Option<u16>)> {
    let mut host = text;
    let mut port = None;
    if let Some((inner, number)) = text.strip_prefix('[').and_then(|rest| rest.rsplit_once("]:"))
        && !inner.is_empty()
        && let Some(number) = digits(number)
    {
        host = inner;
        port = Some(number);
    }
    if let Some((name, number)) = host.rsplit_once(':')
        && is_before_port(name)
        && let Some(number) = digits(number)
    {
        host = name;
        port = Some(number);
    }
    let port = match port {
        Some(number) => Some(u16::try_from(number).ok()?),
        None => None,
    };
    (is_hostname(host) || is_ipv6(host)).then_some((host, port))
}

/// Whether the text is an IPv4 or IPv6 address (ranges do not count).
pub fn is_ip(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// Names and port of what an inventory lists.
///
/// # Errors
/// A range is malformed or stands for too many names.
pub fn expand(text: &str) -> Result<(Vec<String>, Option<u16>), String> {
    let (pattern, port) = parse(text).unwrap_or((text, None));
    if !pattern.contains('[') {
        return Ok((vec![pattern.to_owned()], port));
    }
    let mut names = vec![String::new()];
    let mut rest = pattern;
    while let Some((head, tail)) = rest.split_once('[') {
        let (range, tail) =
            tail.split_once(']').ok_or_else(|| format!("the range in `{text}` has no closing bracket"))?;
        let members = members(range).map_err(|why| format!("the range [{range}] in `{text}` {why}"))?;
        if names.len().saturating_mul(members.len()) > MOST_NAMES {
            return Err(format!("`{text}` stands for more than {MOST_NAMES} hosts"));
        }
        names = names
            .iter()
            .flat_map(|name| members.iter().map(move |member| format!("{name}{head}{member}")))
            .collect();
        rest = tail;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok((names, port))
}

/// What stands for `[begin:end]` or `[begin:end:step]`.
fn members(range: &str) -> Result<Vec<String>, String> {
    let mut parts = range.split(':');
    let (begin, end, step) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let Some(end) = end.filter(|_| parts.next().is_none()) else {
        return Err("must be begin:end or begin:end:step".into());
    };
    let begin = if begin.is_empty() { "0" } else { begin };
    if end.is_empty() {
        return Err("has no end".into());
    }
    let step = match step.map(str::parse::<usize>) {
        None => 1,
        Some(Ok(step @ 1..)) => step,
        Some(_) => return Err("has a step that is not a whole number above 0".into()),
    };
    let width = if begin.len() > 1 && begin.starts_with('0') { begin.len() } else { 0 };
    if width > 0 && width != end.len() {
        return Err("has leading zeros, so both ends must have as many digits".into());
    }
    if let (Some(first), Some(last)) = (letter(begin), letter(end)) {
        if first > last {
            return Err("ends before it begins".into());
        }
        return Ok((first..=last).step_by(step).map(|n| char::from(LETTERS[n]).to_string()).collect());
    }
    let number = |text: &str| -> Result<u64, String> {
        text.parse().map_err(|_| format!("has `{text}` for an end, which is neither a number nor a letter"))
    };
    let (first, last) = (number(begin)?, number(end)?);
    let count = (last.saturating_sub(first) / step as u64).saturating_add(1);
    if first > last {
        return Ok(Vec::new());
    }
    if count > MOST_NAMES as u64 {
        return Err(format!("stands for more than {MOST_NAMES} names"));
    }
    Ok((first..=last).step_by(step).map(|n| format!("{n:0width$}")).collect())
}

/// The order of Python's `string.ascii_letters`.
const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

fn letter(text: &str) -> Option<usize> {
    let [byte] = text.as_bytes() else { return None };
    LETTERS.iter().position(|letter| letter == byte)
}

fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Colons may stand before a port only within brackets.
fn is_before_port(text: &str) -> bool {
    let mut inside = false;
    for c in text.chars() {
        match c {
            '[' if !inside => inside = true,
            ']' if inside => inside = false,
            ':' | '[' | ']' if !inside => return false,
            _ => {}
        }
    }
    !inside
}

fn is_hostname(text: &str) -> bool {
    !text.is_empty()
        && without_ranges(text, |range| {
            let mut parts = range.split(':');
            let (Some(begin), Some(end)) = (parts.next(), parts.next()) else { return false };
            let letters =
                [begin, end].iter().all(|end| matches!(end.as_bytes(), [b] if b.is_ascii_alphabetic()));
            let numbers = digits(begin).is_some() && digits(end).is_some();
            (letters || numbers)
                && parts.next().is_none_or(|step| digits(step).is_some())
                && parts.next().is_none()
        })
        .is_some_and(|plain| plain.split('.').all(is_label))
}

fn is_label(label: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    label.starts_with(word) && !label.ends_with(['-', '_']) && label.chars().all(|c| word(c) || c == '-')
}

fn is_ipv6(text: &str) -> bool {
    text.contains(':')
        && without_ranges(text, |range| {
            let mut parts = range.split(':');
            let hex = |part: Option<&str>| {
                part.is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit()))
            };
            hex(parts.next())
                && hex(parts.next())
                && parts.next().is_none_or(|step| digits(step).is_some())
                && parts.next().is_none()
        })
        .is_some_and(|plain| plain.parse::<Ipv6Addr>().is_ok())
}

/// The text with every range replaced by one digit; nothing if a range is not a good one.
fn without_ranges(text: &str, is_range: impl Fn(&str) -> bool) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once('[') {
        let (range, tail) = tail.split_once(']')?;
        if !is_range(range) {
            return None;
        }
        plain.push_str(head);
        plain.push('0');
        rest = tail;
    }
    plain.push_str(rest);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ports() {
        assert_eq!(parse("web.example.com:2222"), Some(("web.example.com", Some(2222))));
        assert_eq!(parse("10.0.0.1"), Some(("10.0.0.1", None)));
        assert_eq!(parse("2001:db8::1"), Some(("2001:db8::1", None)));
        assert_eq!(parse("[2001:db8::1]:22"), Some(("2001:db8::1", Some(22))));
        assert_eq!(parse("web[1:3]:22"), Some(("web[1:3]", Some(22))));
        for wrong in ["", "a:b:c", "web-", "-web", "a b", "web*", "all:&web", "a:99999", "x[1:2"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ranges() {
        let names = |text: &str| expand(text).unwrap().0.join(" ");
        assert_eq!(names("w[01:03]"), "w01 w02 w03");
        assert_eq!(names("w[8:11]x"), "w8 w9 w10 w11x".replace(' ', "x "));
        assert_eq!(names("w[a:c][1:2]"), "wa1 wa2 wb1 wb2 wc1 wc2");
        assert_eq!(names("w[0:6:3].x"), "w0.x w3.x w6.x");
        assert_eq!(names("w[:2]"), "w0 w1 w2");
        assert_eq!(names("w[y:B]"), "wy wz wA wB");
        assert_eq!(names("w[5:1]"), "");
        assert_eq!(expand("w[1:2]:99").unwrap().1, Some(99));
        assert_eq!(names("2001:db8::[1:2]"), "2001:db8::1 2001:db8::2");
    }

    #[test]
    fn bad_ranges() {
        for (text, why) in [
            ("w[1:", "no closing bracket"),
            ("w[1]", "must be begin:end"),
            ("w[1:]", "has no end"),
            ("w[01:100]", "as many digits"),
            ("w[c:a]", "ends before it begins"),
            ("w[aa:bb]", "neither a number nor a letter"),
            ("w[1:5:0]", "step"),
            ("w[1:99999999999]", "stands for more than"),
            ("w[1:9999][1:9999]", "stands for more than"),
        ] {
            let error = expand(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
