//! Lookups of values in files: `csvfile` and `ini`.

use debark_value::{Map, Value, map};
use indexmap::IndexMap;

use super::{Around, files, options, quiet};

const CSV: &[&str] = &["file", "delimiter", "encoding", "default", "col", "keycol"];
const INI: &[&str] = &[
    "file",
    "type",
    "section",
    "re",
    "encoding",
    "default",
    "case_sensitive",
    "allow_no_value",
    "allow_none",
    "interpolation",
];

/// What stands in another column of the row with that key.
pub(super) fn csvfile(term: &str, kwargs: &Map, around: Around<'_>) -> Result<Option<Value>, String> {
    let (key, options) = options(term, kwargs, CSV)?;
    let text =
        |name: &str, default: &str| options.get(name).map_or_else(|| default.to_owned(), Value::to_string);
    let file = text("file", "ansible.csv");
    let delimiter = text("delimiter", "TAB");
    let delimiter = if delimiter == "TAB" { "\t".to_owned() } else { delimiter };
    let mut chars = delimiter.chars();
    let (Some(delimiter), None) = (chars.next(), chars.next()) else {
        return Err("`delimiter` must be one character".into());
    };
    let number = |name: &str, default: usize| match options.get(name) {
        Some(value) => value.to_string().parse().map_err(|_| format!("`{name}` must be a number")),
        None => Ok(default),
    };
    let (column, key_column) = (number("col", 1)?, number("keycol", 0)?);
    for row in rows(&files::read(&file, around)?, delimiter) {
        let missing = |column: usize| format!("{file}: a row has no column {column}");
        if row.iter().all(String::is_empty) {
            continue;
        }
        if *row.get(key_column).ok_or_else(|| missing(key_column))? == key {
            return row.get(column).map(|cell| Some(cell.as_str().into())).ok_or_else(|| missing(column));
        }
    }
    Ok(options.get("default").filter(|value| !value.is_null()).cloned())
}

/// Rows as spreadsheets write them: cells in quotes may hold anything, a quote is doubled.
fn rows(text: &str, delimiter: char) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            c if quoted => cell.push(c),
            '"' if cell.is_empty() => quoted = true,
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c if c == delimiter => row.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    rows
}

type Sections = IndexMap<String, IndexMap<String, String>>;

/// The value of a key, or those of all keys that match.
pub(super) fn ini(term: &str, kwargs: &Map, around: Around<'_>) -> Result<Vec<Value>, String> {
    let (key, options) = options(term, kwargs, INI)?;
    let text =
        |name: &str, default: &str| options.get(name).map_or_else(|| default.to_owned(), Value::to_string);
    let flag =
        |name: &str, default: bool| options.get(name).map_or(default, |v| v.to_bool().unwrap_or(default));
    let file = text("file", "ansible.ini");
    let content = files::read(&file, around)?;
    let (content, section) = match text("type", "ini").as_str() {
        "ini" => (content, text("section", "global")),
        "properties" => (format!("[java_properties]\n{content}"), "java_properties".to_owned()),
        other => return Err(format!("`type` is ini or properties, not {other}")),
    };
    let case = flag("case_sensitive", false);
    let bare = flag("allow_no_value", flag("allow_none", false));
    let sections = parse(&content, case, bare).map_err(|why| format!("{file}: {why}"))?;
    let defaults = sections.get("DEFAULT").cloned().unwrap_or_default();
    let mut keys = match sections.get(&section) {
        Some(own) => own.clone(),
        None => return Err(format!("there is no section `{section}` in {file}")),
    };
    for (name, value) in defaults {
        keys.entry(name).or_insert(value);
    }
    let fold = |name: &str| if case { name.to_owned() } else { name.to_lowercase() };
    let value =
        |raw: &str| if flag("interpolation", true) { filled(raw, &keys, &fold, 0) } else { Ok(raw.into()) };
    if flag("re", false) {
        let mut found = Vec::new();
        for (name, raw) in &keys {
            let vars = map! { "name" => name.as_str(), "key" => key.as_str() };
            if quiet("name is match(key)", vars)?.truthy() {
                found.push(Value::from(value(raw)?));
            }
        }
        return Ok(found);
    }
    match keys.get(&fold(&key)) {
        Some(raw) => Ok(vec![Value::from(value(raw)?)]),
        None => Ok(vec![Value::from(text("default", ""))]),
    }
}

/// `%(name)s` stands for another key's value, `%%` for a percent sign.
fn filled(
    raw: &str,
    keys: &IndexMap<String, String>,
    fold: &dyn Fn(&str) -> String,
    depth: usize,
) -> Result<String, String> {
    // As deep as Python's configparser goes.
    if depth > 10 || raw.len() > 1 << 20 {
        return Err("values refer to each other too deeply".into());
    }
    let mut out = String::new();
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('%') {
        out += before;
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|after| after.split_once(")s")) {
            let value = keys.get(&fold(name)).ok_or_else(|| format!("`%({name})s` names no key"))?;
            out += &filled(value, keys, fold, depth + 1)?;
            if out.len() > 1 << 20 {
                return Err("a value grows too long".into());
            }
            rest = after;
        } else {
            return Err(
                "a `%` must be followed by `%` or `(name)s`; interpolation=false takes it as it is".into()
            );
        }
    }
    Ok(out + rest)
}

/// As Python's configparser reads it, with duplicates refused.
fn parse(text: &str, case: bool, bare: bool) -> Result<Sections, String> {
    let mut sections = Sections::new();
    let mut section: Option<String> = None;
    let mut last: Option<(String, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        let at = number + 1;
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if let (Some((key, base)), Some(name)) = (&last, &section)
            && indent > *base
            && let Some(value) = sections.get_mut(name).and_then(|keys| keys.get_mut(key))
        {
            value.push('\n');
            value.push_str(trimmed);
            continue;
        }
        if let Some((name, _)) = trimmed.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')) {
            if name != "DEFAULT" && sections.contains_key(name) {
                return Err(format!("line {at}: the section `{name}` is there twice"));
            }
            sections.entry(name.to_owned()).or_default();
            (section, last) = (Some(name.to_owned()), None);
            continue;
        }
        let Some(keys) = section.as_ref().and_then(|name| sections.get_mut(name)) else {
            return Err(format!("line {at}: a key stands before the first section"));
        };
        let (key, value) = match trimmed.split_once(['=', ':']) {
            Some((key, value)) => (key.trim(), value.trim()),
            None if bare => (trimmed, ""),
            None => return Err(format!("line {at}: `{trimmed}` has no value")),
        };
        let key = if case { key.to_owned() } else { key.to_lowercase() };
        if keys.insert(key.clone(), value.to_owned()).is_some() {
            return Err(format!("line {at}: the key `{key}` is there twice"));
        }
        last = Some((key, indent));
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_files() {
        let dir = tempfile::tempdir().unwrap();
        let around = Around { playbook_dir: dir.path(), role_path: None, vault: None };
        std::fs::create_dir(dir.path().join("files")).unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(dir.path().join("files").join(name), text).unwrap();
        write("t.csv", "Li,3,6.94\n\"Be, the second\",4,\"9\"\"0\"\n");
        let csv = |term: &str, kwargs: Map| csvfile(term, &kwargs, around).map(|v| v.unwrap_or_default());
        let of = map! { "file" => "t.csv", "delimiter" => "," };
        assert_eq!(csv("Li", of.clone()).unwrap(), "3".into());
        assert_eq!(csv("Li file=t.csv delimiter=, col=2", Map::new()).unwrap(), "6.94".into());
        assert_eq!(csvfile("Na", &of, around).unwrap(), None);
        assert!(csv("Li file=t.csv delimiter=, col=9", Map::new()).unwrap_err().contains("column 9"));
        assert_eq!(rows("\"a\"\"b\",\"c\nd\"\n", ','), [["a\"b", "c\nd"]]);

        write(
            "a.ini",
            "[DEFAULT]\nhome = /srv\n[global]\nUser = me\ndir: %(home)s/x\n# no\n[other]\nlong = a\n  b\n",
        );
        write("j.properties", "user.name=robert\nuser.pass = x=y\n");
        let ask = |term: &str, kwargs: Map| ini(term, &kwargs, around).map(|v| Value::from(v).to_string());
        let of = |section: &str| map! { "file" => "a.ini", "section" => section };
        assert_eq!(ask("user", of("global")).unwrap(), "['me']");
        assert_eq!(ask("dir", of("global")).unwrap(), "['/srv/x']");
        assert_eq!(ask("long section=other file=a.ini", Map::new()).unwrap(), "['a\\nb']");
        assert_eq!(ask("none", map! { "file" => "a.ini", "default" => "d" }).unwrap(), "['d']");
        assert_eq!(ask("u.*", map! { "file" => "a.ini", "re" => true }).unwrap(), "['me']");
        assert!(ask("user", of("nope")).unwrap_err().contains("no section `nope`"));
        let java = map! { "file" => "j.properties", "type" => "properties" };
        assert_eq!(ask("user.pass", java).unwrap(), "['x=y']");
        assert!(parse("[a]\nb=1\nB=2\n", false, false).unwrap_err().contains("twice"));
    }
}
