//! Texts: case, blanks, width, quoting; regular expressions.

use debark_value::Value;

use super::{Filter, strict};
use crate::error::{Error, Res};
use crate::eval::{Args, Ctx};
use crate::methods::text as methods;
use crate::ops;
use crate::regex::{self, Flags, Regex};
use crate::value::V;

pub(super) const TABLE: &[Filter] = &[
    strict("lower", |_, v, _| Ok(V::from(v.to_text()?.to_lowercase()))),
    strict("upper", |_, v, _| Ok(V::from(v.to_text()?.to_uppercase()))),
    strict("capitalize", |_, v, _| Ok(V::from(methods::capitalize(&v.to_text()?)))),
    strict("title", |_, v, _| Ok(V::from(title(&v.to_text()?)))),
    strict("trim", trim),
    strict("replace", replace),
    strict("indent", indent),
    strict("center", center),
    strict("truncate", truncate),
    strict("wordwrap", wordwrap),
    strict("wordcount", |_, v, _| Ok(V::from(words(&v.to_text()?)))),
    strict("format", format),
    strict("split", split),
    strict("quote", |_, v, _| Ok(V::from(quote(&v.to_text()?)))),
    strict("escape", |_, v, _| Ok(V::from(escape(&v.to_text()?)))),
    strict("e", |_, v, _| Ok(V::from(escape(&v.to_text()?)))),
    strict("forceescape", |_, v, _| Ok(V::from(escape(&v.to_text()?)))),
    strict("striptags", striptags),
    strict("xmlattr", xmlattr),
    strict("comment", comment),
    strict("filesizeformat", filesizeformat),
    strict("regex_replace", regex_replace),
    strict("regex_search", regex_search),
    strict("regex_findall", regex_findall),
    strict("regex_escape", regex_escape),
];

/// Jinja2's title case: a letter is large after a blank, a dash or a bracket.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut first = true;
    for c in text.chars() {
        if first {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        first = c.is_whitespace() || "-([{<".contains(c);
    }
    out
}

fn trim(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let text = input.to_text()?;
    Ok(V::from(match args.text(0, "chars")? {
        Some(chars) => text.trim_matches(|c| chars.contains(c)),
        None => text.trim(),
    }))
}

fn replace(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let text = input.to_text()?;
    let (old, new) = (args.need_text(0, "old")?, args.need_text(1, "new")?);
    let count = args.count(2, "count")?;
    let places = text.matches(&*old).count().min(count.unwrap_or(usize::MAX));
    if text.len().saturating_add(places.saturating_mul(new.len())) > ops::LARGEST {
        return Err(ops::too_large());
    }
    Ok(V::from(match count {
        Some(count) => text.replacen(&*old, &new, count),
        None => text.replace(&*old, &new),
    }))
}

fn indent(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let text = input.to_text()?;
    let prefix = match args.value(0, "width")? {
        Some(Value::Str(prefix)) => prefix.to_string(),
        Some(width) => " ".repeat(usize::try_from(V::Data(width).to_int()?).unwrap_or(0).min(1 << 12)),
        None => "    ".to_owned(),
    };
    let (first, blank) = (args.flag(1, "first")?, args.flag(2, "blank")?);
    // Python's splitlines drops the newline at the end, Jinja2 puts one there and then keeps it.
    let source = format!("{text}\n");
    let lines = methods::lines(&source, false);
    if text.len().saturating_add(lines.len().saturating_mul(prefix.len())) > ops::LARGEST {
        return Err(ops::too_large());
    }
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        out.push_str(if index > 0 { "\n" } else { "" });
        let wanted = if index == 0 { first } else { blank || !line.is_empty() };
        out.push_str(if wanted { &prefix } else { "" });
        out.push_str(line);
    }
    Ok(V::from(out))
}

fn center(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let width = args.count(0, "width")?.unwrap_or(80);
    Ok(V::from(methods::justify(&input.to_text()?, width, ' ', "center")))
}

fn truncate(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let text = input.to_text()?;
    let length = args.count(0, "length")?.unwrap_or(255);
    let kill_words = args.flag(1, "killwords")?;
    let end = args.text(2, "end")?.unwrap_or_else(|| "...".into());
    let leeway = args.count(3, "leeway")?.unwrap_or(5);
    if text.chars().count() <= length + leeway {
        return Ok(input);
    }
    let room = length.saturating_sub(end.chars().count());
    let mut cut: String = text.chars().take(room).collect();
    if !kill_words && let Some((before, _)) = cut.rsplit_once(' ') {
        cut = before.to_owned();
    }
    Ok(V::from(cut + &end))
}

fn wordwrap(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let text = input.to_text()?;
    let width = args.count(0, "width")?.unwrap_or(79).max(1);
    let breaks = args.flag_or(1, "break_long_words", true)?;
    let newline = args.text(2, "wrapstring")?.unwrap_or_else(|| "\n".into());
    let mut lines: Vec<String> = Vec::new();
    for line in methods::lines(&text, false) {
        let mut current = String::new();
        let mut length = 0;
        for word in line.split_inclusive(' ') {
            let mut word = word;
            if length > 0 && length + word.trim_end().chars().count() > width {
                lines.push(current.trim_end().to_owned());
                (current, length) = (String::new(), 0);
            }
            while breaks && word.trim_end().chars().count() > width {
                let at = word.char_indices().nth(width).map_or(word.len(), |(at, _)| at);
                let (head, tail) = word.split_at(at);
                lines.push(head.to_owned());
                word = tail;
            }
            current.push_str(word);
            length += word.chars().count();
        }
        lines.push(current.trim_end().to_owned());
    }
    Ok(V::from(lines.join(&newline)))
}

fn words(text: &str) -> i64 {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    i64::try_from(words.count()).unwrap_or(i64::MAX)
}

fn format(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let format = input.to_text()?;
    let values = if args.kw.is_empty() {
        V::tuple(args.pos.clone())
    } else {
        let named = args.kw.iter().map(|(name, value)| Ok((name.clone(), value.to_value()?)));
        V::from(named.collect::<Res<debark_value::Map>>()?)
    };
    crate::format::percent(&format, &values).map(V::from)
}

fn split(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let separator = args.text(0, "sep")?;
    methods::split(&input.to_text()?, separator.as_deref(), args.count(1, "maxsplit")?, false)
}

/// Python's `shlex.quote`.
pub(crate) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&#34;")
}

fn striptags(_: &mut Ctx<'_>, input: V, _: &Args) -> Res<V> {
    let text = input.to_text()?;
    let mut out = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    Ok(V::from(out.split_whitespace().collect::<Vec<_>>().join(" ")))
}

fn xmlattr(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let value = input.to_value()?;
    let mut out = String::new();
    for (key, value) in ops::as_map(&value)?.iter().filter(|(_, value)| !value.is_null()) {
        out.push_str(&format!(" {key}=\"{}\"", escape(&ops::text(value)?)));
    }
    Ok(V::from(if args.flag_or(0, "autospace", true)? { out.as_str() } else { out.trim_start() }))
}

fn comment(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let text = input.to_text()?;
    let style = args.text(0, "style")?.unwrap_or_else(|| "plain".into());
    let (mut decoration, beginning, end) = match &*style {
        "plain" => ("# ", "", ""),
        "erlang" => ("% ", "", ""),
        "c" => ("// ", "", ""),
        "cblock" => (" * ", "/*", " */"),
        "xml" => (" - ", "<!--", "-->"),
        other => {
            return Err(Error::call(format!(
                "knows the styles plain, erlang, c, cblock and xml, not '{other}'"
            )));
        }
    };
    let option = |name: &str| args.text(usize::MAX, name);
    let (given, start, stop) = (option("decoration")?, option("beginning")?, option("end")?);
    decoration = given.as_deref().unwrap_or(decoration);
    let (beginning, end) = (start.as_deref().unwrap_or(beginning), stop.as_deref().unwrap_or(end));
    let newline = option("newline")?.unwrap_or_else(|| "\n".into());
    let edge = decoration.trim_end();
    let (prefix, postfix) = (option("prefix")?, option("postfix")?);
    let prefix = prefix.as_deref().unwrap_or(edge);
    let postfix = postfix.as_deref().unwrap_or(edge);
    let prefix_count = args.count(usize::MAX, "prefix_count")?.unwrap_or(1).min(1 << 12);
    let postfix_count = args.count(usize::MAX, "postfix_count")?.unwrap_or(1).min(1 << 12);
    let mut out = String::new();
    if !beginning.is_empty() {
        out.push_str(beginning);
        out.push_str(&newline);
    }
    out.push_str(&format!("{prefix}{newline}").repeat(prefix_count));
    for line in text.split(&*newline) {
        out.push_str(format!("{decoration}{line}").trim_end());
        out.push_str(&newline);
    }
    let after: Vec<&str> = std::iter::repeat_n(postfix, postfix_count).collect();
    out.push_str(&after.join(&newline));
    if !end.is_empty() {
        out.push_str(&newline);
        out.push_str(end);
    }
    Ok(V::from(out))
}

fn filesizeformat(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let bytes = input.to_value()?.to_float().map_err(|_| Error::call("needs a number"))?;
    let binary = args.flag(0, "binary")?;
    let base = if binary { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return Ok(V::from("1 Byte"));
    }
    if bytes < base {
        return Ok(V::from(format!("{} Bytes", bytes as i64)));
    }
    let mut unit = base;
    let mut letters = "kMGTPEZY".chars();
    let mut letter = letters.next().unwrap_or('k');
    while bytes >= unit * base {
        let Some(next) = letters.next() else { break };
        (unit, letter) = (unit * base, next);
    }
    let name = if binary { format!("{}iB", letter.to_ascii_uppercase()) } else { format!("{letter}B") };
    Ok(V::from(format!("{:.1} {name}", bytes / unit)))
}

fn compiled(args: &Args, place: usize, name: &str, ignore: (usize, usize)) -> Res<std::sync::Arc<Regex>> {
    let pattern = args.need_text(place, name)?;
    let (multi, case) = ignore;
    let flags = Flags {
        ignore_case: args.flag(case, "ignorecase")?,
        multi_line: args.flag(multi, "multiline")?,
        dot_all: false,
    };
    regex::compile(&pattern, flags).map_err(Error::kind_of)
}

fn slow() -> Error {
    Error::kind_of("the regular expression takes too long")
}

fn regex_replace(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let regex = compiled(args, 0, "pattern", (3, 2))?;
    let replacement = args.text(1, "replacement")?.unwrap_or_else(|| "".into());
    let text = input.to_text()?;
    let count = args.count(4, "count")?.unwrap_or(0);
    let (result, made) = regex::replace(&regex, &text, &replacement, count).map_err(Error::kind_of)?;
    let mandatory = args.count(5, "mandatory_count")?.unwrap_or(0);
    if mandatory > 0 && made != mandatory {
        return Err(Error::call(format!("made {made} replacements where {mandatory} are wanted")));
    }
    Ok(V::from(result))
}

fn regex_search(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let pattern = args.need_text(0, "pattern")?;
    let flags = Flags {
        ignore_case: args.flag(usize::MAX, "ignorecase")?,
        multi_line: args.flag(usize::MAX, "multiline")?,
        dot_all: false,
    };
    let regex = regex::compile(&pattern, flags).map_err(Error::kind_of)?;
    let text = input.to_text()?;
    let mut wanted = Vec::new();
    for group in args.pos.iter().skip(1) {
        let group = group.to_text()?;
        let inner = match group.strip_prefix("\\g<").and_then(|rest| rest.strip_suffix('>')) {
            Some(name) => Some(name),
            None => group.strip_prefix('\\').filter(|number| number.parse::<usize>().is_ok()),
        };
        let bad = || Error::call(format!("needs groups as '\\\\1' or '\\\\g<name>', not '{group}'"));
        wanted.push(inner.ok_or_else(bad)?.to_owned());
    }
    let Some(found) = regex.captures(&*text).map_err(|_| slow())? else { return Ok(V::NULL) };
    let text = |found: Option<fancy_regex::Match<'_>>| {
        found.map_or(Value::Null, |found| Value::from(found.as_str()))
    };
    if wanted.is_empty() {
        return Ok(V::Data(text(found.get(0))));
    }
    let mut groups = Vec::new();
    for name in wanted {
        groups.push(match name.parse::<usize>() {
            Ok(number) if number < found.len() => text(found.get(number)),
            Err(_) if regex.capture_names().flatten().any(|known| known == name) => text(found.name(&name)),
            _ => return Err(Error::call(format!("finds no group '{name}' in the pattern"))),
        });
    }
    Ok(V::from(groups))
}

fn regex_findall(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let regex = compiled(args, 0, "regex", (1, 2))?;
    let text = input.to_text()?;
    let mut out = Vec::new();
    for found in regex.captures_iter(&*text) {
        let found = found.map_err(|_| slow())?;
        let part = |at: usize| Value::from(found.get(at).map_or("", |part| part.as_str()));
        out.push(match found.len() {
            1 => V::Data(part(0)),
            2 => V::Data(part(1)),
            count => V::tuple((1..count).map(|at| V::Data(part(at))).collect()),
        });
    }
    Ok(V::list(out))
}

fn regex_escape(_: &mut Ctx<'_>, input: V, args: &Args) -> Res<V> {
    let text = input.to_text()?;
    match args.text(0, "re_type")?.as_deref() {
        None | Some("python") => Ok(V::from(regex::escape(&text))),
        Some("posix_basic") => Ok(V::from(text.chars().fold(String::new(), |mut out, c| {
            out.push_str(if "].[^$*\\".contains(c) { "\\" } else { "" });
            out.push(c);
            out
        }))),
        Some(other) => Err(Error::call(format!("knows the types python and posix_basic, not '{other}'"))),
    }
}
