//! `ansible_local`: facts that a host keeps itself, in `*.fact` files of JSON or INI, or printed by programs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::names;
use crate::exec::Cmd;
use crate::{Host, Map, Value};
use debark_value::Order;

pub(super) fn local(map: &mut Map, host: &Host, dir: &Path, timeout: Duration) {
    let mut files: Vec<String> =
        names(dir).into_iter().filter(|n| n.ends_with(".fact") && !n.starts_with('.')).collect();
    files.order();
    let facts =
        files.iter().map(|file| (file.replace(".fact", "").into(), fact(&dir.join(file), host, timeout)));
    map.insert("local".into(), facts.collect::<Map>().into());
}

/// One file's facts. What is wrong with it becomes the fact's value, as with Ansible, so that one bad file does not
/// stop a play.
fn fact(path: &Path, host: &Host, timeout: Duration) -> Value {
    let shown = path.display();
    let mode = match std::fs::metadata(path) {
        Ok(meta) => meta.permissions().mode(),
        Err(error) => return format!("Could not stat fact ({shown}): {error}").into(),
    };
    let output = if mode & 0o100 != 0 {
        match host.exec(&Cmd::new(path).timeout(timeout)) {
            Err(failure) => return format!("Could not execute fact script ({shown}): {failure}").into(),
            Ok(output) if output.rc != 0 => {
                let (rc, err) = (output.rc, output.err());
                return format!("Failure executing fact script ({shown}), rc: {rc}, err: {err}").into();
            }
            Ok(output) => output.stdout,
        }
    } else {
        std::fs::read(path).unwrap_or_default()
    };
    match String::from_utf8(output) {
        Err(_) => format!("error loading fact - output of running \"{shown}\" was not utf-8").into(),
        Ok(text) => parse(&text).unwrap_or_else(|| {
            format!("error loading facts as JSON or ini - please check content: {shown}").into()
        }),
    }
}

fn parse(text: &str) -> Option<Value> {
    if let Ok(json) = serde_json::from_str(text) {
        return Some(debark_value::from_json(json));
    }
    ini(text).map(Value::from)
}

/// Reads INI as Python's `configparser` does: names of options in lower case, `=` or `:`, indented lines continue a
/// value, `[DEFAULT]` holds for all sections. Nothing if it is not INI.
fn ini(text: &str) -> Option<Map> {
    let mut sections: indexmap::IndexMap<String, indexmap::IndexMap<String, String>> =
        indexmap::IndexMap::new();
    let mut section: Option<String> = None;
    let mut option: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with([' ', '\t'])
            && let (Some(section), Some(option)) = (&section, &option)
        {
            let value = sections.get_mut(section)?.get_mut(option)?;
            value.push('\n');
            value.push_str(trimmed);
            continue;
        }
        if let Some(name) =
            trimmed.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name)
        {
            sections.entry(name.to_owned()).or_default();
            section = Some(name.to_owned());
            option = None;
            continue;
        }
        let at = trimmed.find(['=', ':'])?;
        let (name, value) = trimmed.split_at(at);
        let name = name.trim().to_lowercase();
        let value = value.get(1..).unwrap_or_default().trim().to_owned();
        sections.get_mut(section.as_ref()?)?.insert(name.clone(), value);
        option = Some(name);
    }
    let defaults = sections.shift_remove("DEFAULT").unwrap_or_default();
    let map = sections.into_iter().map(|(name, mut options)| {
        for (option, value) in &defaults {
            options.entry(option.clone()).or_insert_with(|| value.clone());
        }
        let options: Map =
            options.iter().map(|(k, v)| (k.as_str().into(), interpolate(v, &options).into())).collect();
        (name.into(), options.into())
    });
    Some(map.collect())
}

/// `%(name)s` stands for another option of the section, `%%` for a percent sign. One level deep: deeper nesting is not
/// seen in facts, and unbounded depth would be.
fn interpolate(value: &str, options: &indexmap::IndexMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('%') {
            out.push('%');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(")s"))
            && let Some(known) = options.get(&name.to_lowercase())
        {
            out.push_str(known);
            rest = tail;
        } else {
            out.push('%');
            rest = after;
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_ini_and_neither() {
        assert_eq!(parse("{\"a\": [1]}").unwrap().get("a"), Some(&Value::list([1])));
        let value =
            parse("[DEFAULT]\nroot=/srv\n[App]\nName: shop\ndir = %(root)s/x\nlist = a\n  b\n").unwrap();
        let app = value.get("App").unwrap();
        assert_eq!(app.get("name"), Some(&"shop".into()));
        assert_eq!(app.get("dir"), Some(&"/srv/x".into()));
        assert_eq!(app.get("list"), Some(&"a\nb".into()));
        assert_eq!(parse("just words"), None);
        assert_eq!(parse("[a]\nno delimiter here\n"), None);
    }

    #[test]
    fn files_and_programs() {
        let dir = std::env::temp_dir().join(format!("debark-facts-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("a.fact"), "{\"x\": 1}").unwrap();
        std::fs::write(dir.join("b.fact"), "#!/bin/sh\necho '[s]'; echo k=v\n").unwrap();
        std::fs::set_permissions(dir.join("b.fact"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(dir.join("c.fact"), "#!/bin/sh\nexit 3\n").unwrap();
        std::fs::set_permissions(dir.join("c.fact"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(dir.join("d.fact"), "#!/bin/sh\nexec sleep 600\n").unwrap();
        std::fs::set_permissions(dir.join("d.fact"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut map = Map::new();
        let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
        let begin = std::time::Instant::now();
        local(&mut map, &host, &dir, Duration::from_secs(2));
        assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(map["local"].get("a").unwrap().get("x"), Some(&Value::Int(1)));
        assert_eq!(map["local"].get("b").unwrap().get("s").unwrap().get("k"), Some(&"v".into()));
        assert!(map["local"].get("c").unwrap().to_string().contains("rc: 3"));
        assert!(map["local"].get("d").unwrap().to_string().contains("Could not execute fact script"));
    }
}
