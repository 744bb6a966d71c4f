//! Paths, URLs, numbers.

use std::path::Path;

use debark_value::{Value, map};

use super::{Filter, strict, tolerant};
use crate::error::{Error, Res};
use crate::eval::{Args, Ctx};
use crate::ops;
use crate::value::V;

pub(super) const TABLE: &[Filter] = &[
    strict("basename", |_, v, _| Ok(V::from(split(&v.to_text()?).1))),
    strict("dirname", |_, v, _| Ok(V::from(split(&v.to_text()?).0))),
    strict("splitext", splitext),
    strict("normpath", |_, v, _| Ok(V::from(normal(&v.to_text()?)))),
    strict("path_join", path_join),
    strict("relpath", relpath),
    strict("realpath", realpath),
    strict("expanduser", |_, v, _| Ok(V::from(expanduser(&v.to_text()?)))),
    strict("expandvars", |_, v, _| Ok(V::from(expandvars(&v.to_text()?)))),
    strict("commonpath", commonpath),
    strict("win_basename", |_, v, _| Ok(V::from(windows(&v.to_text()?).1))),
    strict("win_dirname", |_, v, _| Ok(V::from(windows(&v.to_text()?).0))),
    strict("win_splitdrive", |_, v, _| {
        let path = v.to_text()?;
        let drive = if path.as_bytes().get(1) == Some(&b':') && path.is_char_boundary(2) { 2 } else { 0 };
        let (drive, rest) = path.split_at(drive);
        Ok(V::tuple(vec![V::from(drive), V::from(rest)]))
    }),
    strict("urlencode", urlencode),
    strict("urldecode", |_, v, _| Ok(V::from(decode(&v.to_text()?)))),
    strict("urlsplit", urlsplit),
    tolerant("fileglob", fileglob),
    strict("human_readable", human_readable),
    strict("human_to_bytes", human_to_bytes),
    strict("log", log),
    strict("pow", |_, v, args| number(&v).and_then(|x| Ok(V::from(x.powf(number(args.need(0, "x")?)?))))),
    strict("root", |_, v, args| {
        let base = args.get(0, "base").map_or(Ok(2.0), number)?;
        let x = number(&v)?;
        Ok(V::from(if base == 2.0 { x.sqrt() } else { x.powf(1.0 / base) }))
    }),
];

fn number(value: &V) -> Res<f64> {
    match value.to_value()? {
        Value::Int(number) => Ok(number as f64),
        Value::Float(number) => Ok(number),
        other => Err(Error::call(format!("needs a number, not {}", ops::article(&other)))),
    }
}

fn log(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let x = number(&input)?;
    if x <= 0.0 {
        return Err(Error::call("needs a number above zero"));
    }
    Ok(V::from(match args.get(0, "base") {
        Some(base) => match number(base)? {
            10.0 => x.log10(),
            base => x.ln() / base.ln(),
        },
        None => x.ln(),
    }))
}

/// Python's `os.path.split`.
fn split(path: &str) -> (&str, &str) {
    let at = path.rfind('/').map_or(0, |at| at + 1);
    let (head, tail) = path.split_at(at);
    let trimmed = head.trim_end_matches('/');
    (if trimmed.is_empty() { head } else { trimmed }, tail)
}

fn windows(path: &str) -> (&str, &str) {
    let at = path.rfind(['\\', '/']).map_or(0, |at| at + 1);
    let (head, tail) = path.split_at(at);
    let trimmed = head.trim_end_matches(['\\', '/']);
    (if trimmed.is_empty() || trimmed.ends_with(':') { head } else { trimmed }, tail)
}

fn splitext(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let path = input.to_text()?;
    let start = path.rfind('/').map_or(0, |at| at + 1);
    let name = path.get(start..).unwrap_or_default();
    let lead = name.len() - name.trim_start_matches('.').len();
    let dot = name.rfind('.').filter(|at| *at >= lead.max(1)).map_or(path.len(), |at| start + at);
    let (root, extension) = path.split_at(dot);
    Ok(V::tuple(vec![V::from(root), V::from(extension)]))
}

/// Python's `os.path.normpath`.
fn normal(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match (part, parts.last()) {
            ("..", Some(last)) if *last != ".." => {
                parts.pop();
            }
            ("..", None) if absolute => {}
            _ => parts.push(part),
        }
    }
    let slashes = if path.starts_with("//") && !path.starts_with("///") {
        "//"
    } else if absolute {
        "/"
    } else {
        ""
    };
    let joined = parts.join("/");
    if joined.is_empty() && slashes.is_empty() { ".".into() } else { format!("{slashes}{joined}") }
}

fn path_join(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let parts = match input.to_value()? {
        Value::Str(text) => return Ok(V::Data(Value::Str(text))),
        other => V::Data(other).to_list()?,
    };
    let mut out = String::new();
    for part in &parts {
        let part = part.as_str().ok_or_else(|| Error::call("needs a list of texts"))?;
        if part.starts_with('/') {
            out.clear();
        } else if !out.is_empty() && !out.ends_with('/') {
            out.push('/');
        }
        out.push_str(part);
    }
    Ok(V::from(out))
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        return normal(path);
    }
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    normal(&format!("{}/{path}", here.display()))
}

fn relpath(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let start = args.text(0, "start")?.unwrap_or_else(|| ".".into());
    let (path, start) = (absolute(&input.to_text()?), absolute(&start));
    let parts =
        |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (path, start) = (parts(&path), parts(&start));
    let same = path.iter().zip(&start).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".to_owned(), start.len() - same);
    let joined = up.chain(path.into_iter().skip(same)).collect::<Vec<_>>().join("/");
    Ok(V::from(if joined.is_empty() { ".".to_owned() } else { joined }))
}

fn realpath(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let path = absolute(&input.to_text()?);
    Ok(V::from(
        std::fs::canonicalize(Path::new(&path)).map_or(path, |real| real.to_string_lossy().into_owned()),
    ))
}

fn expanduser(path: &str) -> String {
    match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            std::env::var("HOME").map_or_else(|_| path.to_owned(), |home| home + rest)
        }
        Some(rest) => {
            let (user, rest) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            let entry = users.lines().find(|line| line.split(':').next() == Some(user));
            let home = entry.and_then(|entry| entry.split(':').nth(5));
            home.map_or_else(|| path.to_owned(), |home| home.to_owned() + rest)
        }
        _ => path.to_owned(),
    }
}

fn expandvars(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, tail) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(found) => found,
            None => after.split_at(
                after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len()),
            ),
        };
        match std::env::var(name) {
            Ok(value) if !name.is_empty() => out.push_str(&value),
            _ => {
                out.push('$');
                out.push_str(after.get(..after.len() - tail.len()).unwrap_or_default());
            }
        }
        rest = tail;
    }
    out + rest
}

fn commonpath(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let paths = input.to_list()?.iter().map(ops::text).collect::<Res<Vec<_>>>()?;
    let parts = |path: &str| {
        path.split('/').filter(|p| !p.is_empty() && *p != ".").map(str::to_owned).collect::<Vec<_>>()
    };
    let Some(first) = paths.first() else { return Err(Error::call("needs at least one path")) };
    let mut common = parts(first);
    for path in &paths {
        if path.starts_with('/') != first.starts_with('/') {
            return Err(Error::call("cannot mix absolute and relative paths"));
        }
        let own = parts(path);
        common.truncate(common.iter().zip(&own).take_while(|(a, b)| a == b).count());
    }
    Ok(V::from(format!("{}{}", if first.starts_with('/') { "/" } else { "" }, common.join("/"))))
}

fn encode(text: &str, keep: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) || keep.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

fn urlencode(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let query = |text: &str| encode(text, "").replace("%20", "+");
    let pair =
        |key: &Value, value: &Value| Ok(format!("{}={}", query(&ops::text(key)?), query(&ops::text(value)?)));
    Ok(V::from(match input.to_value()? {
        Value::Map(map) => map
            .iter()
            .map(|(key, value)| pair(&Value::Str(key.clone()), value))
            .collect::<Res<Vec<_>>>()?
            .join("&"),
        Value::List(items) => {
            let pairs = items.iter().map(|item| match item.as_list() {
                Some([key, value]) => pair(key, value),
                _ => Err(Error::call("needs pairs")),
            });
            pairs.collect::<Res<Vec<_>>>()?.join("&")
        }
        other => encode(&ops::text(&other)?, "/"),
    }))
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            (other, _) => out.push(*other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn urlsplit(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let url = input.to_text()?;
    let (rest, fragment) = url.split_once('#').unwrap_or((&url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let valid = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let (scheme, rest) = rest.split_once(':').filter(|(scheme, _)| valid(scheme)).unwrap_or(("", rest));
    let (netloc, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let (user, host) = netloc.rsplit_once('@').map_or((None, netloc), |(user, host)| (Some(user), host));
    let (name, password) = match user.and_then(|user| user.split_once(':')) {
        Some((name, password)) => (Some(name), Some(password)),
        None => (user, None),
    };
    let (hostname, port) = match host.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, rest)) => (address, rest.strip_prefix(':')),
        None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
    };
    let parts = map! {
        "fragment" => fragment,
        "hostname" => (!hostname.is_empty()).then(|| hostname.to_lowercase()),
        "netloc" => netloc,
        "password" => password,
        "path" => path,
        "port" => port.and_then(|port| port.parse::<i64>().ok()),
        "query" => query,
        "scheme" => scheme.to_lowercase(),
        "username" => name,
    };
    match args.text(0, "query")?.filter(|part| !part.is_empty()) {
        Some(part) => parts
            .get(&*part)
            .cloned()
            .map(V::Data)
            .ok_or_else(|| Error::call(format!("knows no part '{part}'"))),
        None => Ok(V::from(parts)),
    }
}

fn fileglob(ctx: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let pattern = input.to_value()?;
    ctx.engine
        .services()
        .lookup("fileglob", &[pattern], &map! { "wantlist" => true }, ctx.scope)
        .map(V::Data)
        .map_err(|reason| Error::new(crate::error::ErrorKind::Lookup, reason))
}

const UNITS: [(char, u32); 8] =
    [('Y', 80), ('Z', 70), ('E', 60), ('P', 50), ('T', 40), ('G', 30), ('M', 20), ('K', 10)];

fn human_readable(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let size = input.to_value()?.to_float().map_err(|_| Error::call("needs a number"))?;
    let bits = args.flag(0, "isbits")?;
    let wanted = args.text(1, "unit")?.map(|unit| unit.to_uppercase());
    let base = if bits { "bits" } else { "Bytes" };
    for (letter, power) in UNITS {
        let limit = 2f64.powi(i32::try_from(power).unwrap_or(0));
        let fits = match &wanted {
            Some(unit) => unit.starts_with(letter),
            None => size >= limit,
        };
        if fits {
            return Ok(V::from(format!("{:.2} {letter}{}", size / limit, if bits { "b" } else { "B" })));
        }
    }
    Ok(V::from(format!("{size:.2} {base}")))
}

fn human_to_bytes(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let text = input.to_text()?;
    let bad = || Error::call(format!("does not understand the size '{text}'"));
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (digits, unit) = trimmed.split_at(end);
    let amount: f64 = digits.parse().map_err(|_| bad())?;
    let unit = match unit.trim() {
        "" => args.text(0, "default_unit")?.unwrap_or_else(|| "".into()),
        unit => unit.into(),
    };
    let letter = unit.chars().next().map_or('B', |c| c.to_ascii_uppercase());
    let power = match UNITS.iter().find(|(known, _)| *known == letter) {
        Some((_, power)) => *power,
        None if letter == 'B' => 0,
        None => return Err(bad()),
    };
    Ok(V::from((amount * 2f64.powi(i32::try_from(power).unwrap_or(0))).round_ties_even() as i64))
}
