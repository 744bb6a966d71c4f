//! Python's methods of texts.

use std::sync::Arc;

use debark_value::Value;

use crate::error::{Error, Res};
use crate::eval::Args;
use crate::format;
use crate::ops;
use crate::value::V;

const NAMES: [&str; 40] = [
    "split",
    "rsplit",
    "splitlines",
    "startswith",
    "endswith",
    "strip",
    "lstrip",
    "rstrip",
    "format",
    "replace",
    "lower",
    "upper",
    "title",
    "capitalize",
    "swapcase",
    "casefold",
    "join",
    "find",
    "rfind",
    "index",
    "rindex",
    "count",
    "isdigit",
    "isalpha",
    "isalnum",
    "isspace",
    "isupper",
    "islower",
    "isnumeric",
    "isdecimal",
    "zfill",
    "ljust",
    "rjust",
    "center",
    "partition",
    "rpartition",
    "encode",
    "expandtabs",
    "removeprefix",
    "removesuffix",
];

fn texts(items: impl IntoIterator<Item = impl Into<Value>>) -> V {
    V::from(items.into_iter().map(Into::into).collect::<Vec<Value>>())
}

pub(super) fn call(text: &Arc<str>, name: &str, args: &Args) -> Res<V> {
    let text: &str = text;
    Ok(match name {
        "lower" | "casefold" => V::from(text.to_lowercase()),
        "upper" => V::from(text.to_uppercase()),
        "title" => V::from(title(text)),
        "capitalize" => V::from(capitalize(text)),
        "swapcase" => V::from(
            text.chars()
                .map(|c| {
                    if c.is_uppercase() {
                        c.to_lowercase().collect()
                    } else {
                        c.to_uppercase().collect::<String>()
                    }
                })
                .collect::<String>(),
        ),
        "strip" | "lstrip" | "rstrip" => {
            let chars = args.text(0, "chars")?;
            let drop = |c: char| chars.as_ref().map_or(c.is_whitespace(), |chars| chars.contains(c));
            let text = if name == "rstrip" { text } else { text.trim_start_matches(drop) };
            V::from(if name == "lstrip" { text } else { text.trim_end_matches(drop) })
        }
        "split" | "rsplit" => {
            let separator = args.text(0, "sep")?;
            let limit = args.int(1, "maxsplit")?.and_then(|limit| usize::try_from(limit).ok());
            split(text, separator.as_deref(), limit, name == "rsplit")?
        }
        "splitlines" => {
            let keep = args.flag(0, "keepends")?;
            texts(lines(text, keep))
        }
        "startswith" | "endswith" => {
            let found =
                |part: &str| if name == "startswith" { text.starts_with(part) } else { text.ends_with(part) };
            let parts = match args.need(0, "prefix")? {
                V::Data(Value::Str(part)) => return Ok(V::from(found(part))),
                several => several.to_list()?,
            };
            V::from(parts.iter().filter_map(Value::as_str).any(found))
        }
        "replace" => {
            let (old, new) = (args.need_text(0, "old")?, args.need_text(1, "new")?);
            let count = args.int(2, "count")?.and_then(|count| usize::try_from(count).ok());
            let parts = text.matches(&*old).count().min(count.unwrap_or(usize::MAX));
            if text.len().saturating_add(parts.saturating_mul(new.len())) > ops::LARGEST {
                return Err(ops::too_large());
            }
            V::from(match count {
                Some(count) => text.replacen(&*old, &new, count),
                None => text.replace(&*old, &new),
            })
        }
        "join" => {
            let mut out = String::new();
            for (index, item) in args.need(0, "items")?.to_items()?.iter().enumerate() {
                let Value::Str(item) = item else {
                    return Err(Error::call(format!(
                        "needs a list of texts; item {index} is {}",
                        ops::article(item)
                    ))
                    .hinted("use the filter: '... | join(...)'"));
                };
                out.push_str(if index > 0 { text } else { "" });
                out.push_str(item);
                if out.len() > ops::LARGEST {
                    return Err(ops::too_large());
                }
            }
            V::from(out)
        }
        "find" | "rfind" | "index" | "rindex" => {
            let part = args.need_text(0, "sub")?;
            let (start, body) = window(text, args)?;
            let found = if name.starts_with('r') { body.rfind(&*part) } else { body.find(&*part) };
            let place = found.map(|at| start + body.get(..at).unwrap_or_default().chars().count());
            match place {
                Some(place) => V::from(place as i64),
                None if name.ends_with("find") => V::from(-1),
                None => return Err(Error::call("does not find the text")),
            }
        }
        "count" => {
            let part = args.need_text(0, "sub")?;
            let (_, body) = window(text, args)?;
            V::from(
                if part.is_empty() { body.chars().count() + 1 } else { body.matches(&*part).count() } as i64
            )
        }
        "isdigit" | "isnumeric" | "isdecimal" => V::from(all(text, char::is_numeric)),
        "isalpha" => V::from(all(text, char::is_alphabetic)),
        "isalnum" => V::from(all(text, char::is_alphanumeric)),
        "isspace" => V::from(all(text, char::is_whitespace)),
        "isascii" => V::from(text.is_ascii()),
        "isidentifier" => V::from(
            text.starts_with(|c: char| c.is_alphabetic() || c == '_')
                && text.chars().all(|c| c.is_alphanumeric() || c == '_'),
        ),
        "isupper" => V::from(text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase)),
        "islower" => V::from(text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase)),
        "istitle" => V::from(text.chars().any(char::is_uppercase) && title(text) == text),
        "zfill" => {
            let width = args.count(0, "width")?.unwrap_or(0);
            let (sign, digits) = match text.strip_prefix(['-', '+']) {
                Some(digits) => (text.get(..1).unwrap_or_default(), digits),
                None => ("", text),
            };
            let missing = width.saturating_sub(text.chars().count());
            V::from(format!("{sign}{}{digits}", "0".repeat(missing)))
        }
        "ljust" | "rjust" | "center" => {
            let width = args.count(0, "width")?.unwrap_or(0);
            let fill = args.text(1, "fillchar")?.and_then(|fill| fill.chars().next()).unwrap_or(' ');
            V::from(justify(text, width, fill, name))
        }
        "partition" | "rpartition" => {
            let separator = args.need_text(0, "sep")?;
            let found = if name == "partition" {
                text.split_once(&*separator)
            } else {
                text.rsplit_once(&*separator)
            };
            let parts = match found {
                Some((before, after)) => [before, &*separator, after],
                None if name == "partition" => [text, "", ""],
                None => ["", "", text],
            };
            V::tuple(parts.into_iter().map(V::from).collect())
        }
        "encode" | "decode" | "__str__" => V::from(text),
        "expandtabs" => V::from(expand_tabs(text, args.count(0, "tabsize")?.unwrap_or(8))),
        "removeprefix" => V::from(text.strip_prefix(&*args.need_text(0, "prefix")?).unwrap_or(text)),
        "removesuffix" => V::from(text.strip_suffix(&*args.need_text(0, "suffix")?).unwrap_or(text)),
        "format" | "format_map" => {
            let pos = args.pos.iter().map(V::to_value).collect::<Res<Vec<_>>>()?;
            let mut kw = args
                .kw
                .iter()
                .map(|(name, value)| Ok((name.clone(), value.to_value()?)))
                .collect::<Res<Vec<_>>>()?;
            if name == "format_map"
                && let Some(Value::Map(map)) = pos.first()
            {
                kw.extend(map.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            V::from(format::braces(text, &pos, &kw)?)
        }
        "translate" | "maketrans" => {
            return Err(Error::call("is not supported; use the filter 'regex_replace'"));
        }
        _ => return Err(super::unknown_method("a text", name, &NAMES)),
    })
}

fn all(text: &str, test: fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(test)
}

/// The part that the arguments `start` and `end` select, and where it starts.
fn window<'t>(text: &'t str, args: &Args) -> Res<(usize, &'t str)> {
    let length = text.chars().count();
    let places = ops::slice(args.int(1, "start")?, args.int(2, "end")?, None, length)?;
    let byte = |place: usize| text.char_indices().nth(place).map_or(text.len(), |(at, _)| at);
    let start = places.first().copied().unwrap_or(length);
    let end = places.last().map_or(start, |last| last + 1);
    Ok((start, text.get(byte(start)..byte(end)).unwrap_or_default()))
}

/// Python's `str.title()`.
pub(crate) fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}

/// Python's `str.capitalize()`.
pub(crate) fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    first.to_uppercase().collect::<String>() + &chars.as_str().to_lowercase()
}

/// Pads to a width, `ljust`, `rjust` or `center`.
pub(crate) fn justify(text: &str, width: usize, fill: char, how: &str) -> String {
    let missing = width.saturating_sub(text.chars().count());
    let left = match how {
        "ljust" => 0,
        "rjust" => missing,
        // Python puts the odd blank on the left where the width is odd.
        _ => missing / 2 + (missing & width & 1),
    };
    let pad = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    format!("{}{text}{}", pad(left), pad(missing - left))
}

/// Python's `str.splitlines()`.
pub(crate) fn lines(text: &str, keep: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    let breaks = ['\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}'];
    while let Some(at) = rest.find(breaks) {
        let tail = rest.get(at..).unwrap_or_default();
        let length = if tail.starts_with("\r\n") { 2 } else { tail.chars().next().map_or(1, char::len_utf8) };
        lines.push(rest.get(..if keep { at + length } else { at }).unwrap_or_default());
        rest = rest.get(at + length..).unwrap_or_default();
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

fn expand_tabs(text: &str, size: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' if size > 0 => {
                let blanks = size.min(256) - column % size.min(256);
                out.push_str(&" ".repeat(blanks));
                column += blanks;
            }
            '\t' => {}
            c => {
                column = if c == '\n' || c == '\r' { 0 } else { column + 1 };
                out.push(c);
            }
        }
    }
    out
}

/// Python's `str.split()` and `str.rsplit()`.
pub(crate) fn split(text: &str, separator: Option<&str>, limit: Option<usize>, right: bool) -> Res<V> {
    let Some(separator) = separator else { return Ok(texts(split_space(text, limit, right))) };
    if separator.is_empty() {
        return Err(Error::call("needs a separator that is not empty"));
    }
    let parts = limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
    Ok(if right {
        let mut items: Vec<&str> = text.rsplitn(parts, separator).collect();
        items.reverse();
        texts(items)
    } else {
        texts(text.splitn(parts, separator))
    })
}

fn split_space(text: &str, limit: Option<usize>, right: bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if limit.is_some_and(|limit| parts.len() >= limit) {
            parts.push(if right { rest.trim_start() } else { rest });
            break;
        }
        let found =
            if right { rest.rsplit_once(char::is_whitespace) } else { rest.split_once(char::is_whitespace) };
        match found {
            Some((before, after)) if right => {
                parts.push(after);
                rest = before.trim_end();
            }
            Some((before, after)) => {
                parts.push(before);
                rest = after.trim_start();
            }
            None => {
                parts.push(rest);
                break;
            }
        }
    }
    if limit.is_some() && !right {
        // With a limit the tail keeps its trailing blanks, as in Python.
        if let (Some(last), Some(limit)) = (parts.last_mut(), limit)
            && parts_over(limit, text)
        {
            let start = last.as_ptr() as usize - text.as_ptr() as usize;
            *last = text.get(start..).unwrap_or(last);
        }
    }
    if right {
        parts.reverse();
    }
    parts
}

fn parts_over(limit: usize, text: &str) -> bool {
    text.split_whitespace().count() > limit
}
