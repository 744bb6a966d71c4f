//! The tests (`x is ...`): Jinja2's and ansible.builtin's.

use std::cmp::Ordering;

use debark_value::Value;

use crate::error::{Error, Res, nearest};
use crate::eval::{Args, Ctx};
use crate::ops;
use crate::regex::{self, Flags};
use crate::value::V;
use crate::version;

pub(crate) type TestFn = fn(&mut Ctx<'_>, V, &Args) -> Res<bool>;

pub(crate) struct Test {
    pub name: &'static str,
    pub run: TestFn,
    /// Whether it takes undefined and unknown values as they are.
    pub tolerant: bool,
}

const fn strict(name: &'static str, run: TestFn) -> Test {
    Test { name, run, tolerant: false }
}

const fn tolerant(name: &'static str, run: TestFn) -> Test {
    Test { name, run, tolerant: true }
}

const TABLE: &[Test] = &[
    tolerant("defined", |_, v, _| Ok(!v.is_undef())),
    tolerant("undefined", |_, v, _| Ok(v.is_undef())),
    strict("none", |_, v, _| Ok(v.is_null())),
    strict("null", |_, v, _| Ok(v.is_null())),
    strict("string", |_, v, _| Ok(matches!(v, V::Data(Value::Str(_))))),
    strict("number", |_, v, _| Ok(matches!(v, V::Data(Value::Int(_) | Value::Float(_) | Value::Bool(_))))),
    strict("integer", |_, v, _| Ok(matches!(v, V::Data(Value::Int(_))))),
    strict("float", |_, v, _| Ok(matches!(v, V::Data(Value::Float(_))))),
    strict("boolean", |_, v, _| Ok(matches!(v, V::Data(Value::Bool(_))))),
    strict("true", |_, v, _| Ok(matches!(v, V::Data(Value::Bool(true))))),
    strict("false", |_, v, _| Ok(matches!(v, V::Data(Value::Bool(false))))),
    strict("mapping", |_, v, _| Ok(v.type_name() == "dict")),
    strict("sequence", |_, v, _| Ok(container(&v))),
    strict("iterable", |_, v, _| Ok(container(&v))),
    strict("list", |_, v, _| Ok(matches!(v, V::Data(Value::List(_)) | V::Seq(_)))),
    strict("callable", |_, v, _| Ok(matches!(v.type_name(), "function" | "macro" | "loop" | "joiner"))),
    strict("sameas", sameas),
    strict("escaped", |_, _, _| Ok(false)),
    strict("unsafe", |_, _, _| Ok(false)),
    strict("even", |_, v, _| Ok(v.to_int()?.rem_euclid(2) == 0)),
    strict("odd", |_, v, _| Ok(v.to_int()?.rem_euclid(2) == 1)),
    strict("divisibleby", divisible),
    strict("lower", |_, v, _| {
        v.to_text().map(|t| t.chars().any(char::is_lowercase) && !t.chars().any(char::is_uppercase))
    }),
    strict("upper", |_, v, _| {
        v.to_text().map(|t| t.chars().any(char::is_uppercase) && !t.chars().any(char::is_lowercase))
    }),
    strict("in", |_, v, args| ops::contains(&args.need(0, "seq")?.to_value()?, &v.to_value()?)),
    strict("contains", |_, v, args| ops::contains(&v.to_value()?, &args.need(0, "item")?.to_value()?)),
    strict("eq", equal),
    strict("equalto", equal),
    strict("==", equal),
    strict("ne", |ctx, v, args| equal(ctx, v, args).map(|same| !same)),
    strict("!=", |ctx, v, args| equal(ctx, v, args).map(|same| !same)),
    strict("lt", |_, v, args| order(&v, args).map(Ordering::is_lt)),
    strict("lessthan", |_, v, args| order(&v, args).map(Ordering::is_lt)),
    strict("<", |_, v, args| order(&v, args).map(Ordering::is_lt)),
    strict("le", |_, v, args| order(&v, args).map(Ordering::is_le)),
    strict("<=", |_, v, args| order(&v, args).map(Ordering::is_le)),
    strict("gt", |_, v, args| order(&v, args).map(Ordering::is_gt)),
    strict("greaterthan", |_, v, args| order(&v, args).map(Ordering::is_gt)),
    strict(">", |_, v, args| order(&v, args).map(Ordering::is_gt)),
    strict("ge", |_, v, args| order(&v, args).map(Ordering::is_ge)),
    strict(">=", |_, v, args| order(&v, args).map(Ordering::is_ge)),
    strict("filter", |_, v, _| {
        let name = v.to_text()?;
        Ok(crate::filters::find(&name).is_some() || crate::filters::elsewhere(&name).is_some())
    }),
    strict("test", |_, v, _| Ok(find(&v.to_text()?).is_some())),
    strict("failed", |_, v, _| failed(&v)),
    strict("failure", |_, v, _| failed(&v)),
    strict("succeeded", |_, v, _| failed(&v).map(|failed| !failed)),
    strict("success", |_, v, _| failed(&v).map(|failed| !failed)),
    strict("successful", |_, v, _| failed(&v).map(|failed| !failed)),
    strict("changed", |_, v, _| changed(&v)),
    strict("change", |_, v, _| changed(&v)),
    strict("skipped", |_, v, _| flag(&v, "skipped")),
    strict("skip", |_, v, _| flag(&v, "skipped")),
    strict("reachable", |_, v, _| flag(&v, "unreachable").map(|flag| !flag)),
    strict("unreachable", |_, v, _| flag(&v, "unreachable")),
    strict("timedout", |_, v, _| Ok(result(&v)?.get("timedout").is_some_and(Value::truthy))),
    strict("finished", |_, v, _| started(&v, "finished")),
    strict("started", |_, v, _| started(&v, "started")),
    strict("match", |_, v, args| search(&v, args, "match")),
    strict("search", |_, v, args| search(&v, args, "search")),
    strict("regex", |_, v, args| search(&v, args, "")),
    strict("version", compare_versions),
    strict("version_compare", compare_versions),
    strict("any", |_, v, _| v.to_items().map(|items| items.iter().any(Value::truthy))),
    strict("all", |_, v, _| v.to_items().map(|items| items.iter().all(Value::truthy))),
    strict("subset", |_, v, args| within(&v, args.need(0, "other")?)),
    strict("issubset", |_, v, args| within(&v, args.need(0, "other")?)),
    strict("superset", |_, v, args| within(args.need(0, "other")?, &v)),
    strict("issuperset", |_, v, args| within(args.need(0, "other")?, &v)),
    strict("truthy", |_, v, args| truthy(&v, args)),
    strict("falsy", |_, v, args| truthy(&v, args).map(|truth| !truth)),
    strict("nan", |_, v, _| Ok(matches!(v, V::Data(Value::Float(number)) if number.is_nan()))),
    strict("abs", |_, v, _| Ok(v.to_text()?.starts_with('/'))),
    strict("is_abs", |_, v, _| Ok(v.to_text()?.starts_with('/'))),
    strict("exists", |_, v, _| on_disk(&v, |path| path.exists())),
    strict("file", |_, v, _| on_disk(&v, |path| path.is_file())),
    strict("is_file", |_, v, _| on_disk(&v, |path| path.is_file())),
    strict("directory", |_, v, _| on_disk(&v, |path| path.is_dir())),
    strict("is_dir", |_, v, _| on_disk(&v, |path| path.is_dir())),
    strict("link", |_, v, _| on_disk(&v, |path| path.is_symlink())),
    strict("is_link", |_, v, _| on_disk(&v, |path| path.is_symlink())),
    strict("link_exists", |_, v, _| on_disk(&v, |path| path.symlink_metadata().is_ok())),
    strict("mount", |_, v, _| on_disk(&v, mounted)),
    strict("is_mount", |_, v, _| on_disk(&v, mounted)),
    strict("same_file", same_file),
    strict("is_same_file", same_file),
    strict("url", |_, v, args| {
        Ok(scheme(&v, args)?.is_some_and(|(_, rest)| rest.starts_with("//") && rest.len() > 2))
    }),
    strict("uri", |_, v, args| Ok(scheme(&v, args)?.is_some())),
    strict("urn", |_, v, args| Ok(scheme(&v, args)?.is_some_and(|(scheme, _)| scheme == "urn"))),
    // As in ansible-core 2.19 a text is never an encrypted one, whatever it looks like; encrypted values are decrypted.
    strict("vault_encrypted", |_, _, _| Ok(false)),
    strict("vaulted_file", |_, v, _| {
        let path = v.to_text()?;
        Ok(std::fs::read(&*path).is_ok_and(|bytes| bytes.starts_with(b"$ANSIBLE_VAULT;")))
    }),
];

pub(crate) fn find(name: &str) -> Option<&'static Test> {
    let name = crate::filters::short(name);
    TABLE.iter().find(|test| test.name == name)
}

/// What was probably meant.
pub(crate) fn suggest(name: &str) -> Option<String> {
    let near = nearest(crate::filters::short(name), TABLE.iter().map(|test| test.name));
    near.map(|near| format!("did you mean '{near}'?"))
}

fn container(value: &V) -> bool {
    matches!(value.type_name(), "str" | "list" | "dict" | "tuple")
}

fn sameas(_: &mut Ctx<'_>, value: V, args: &Args) -> Res<bool> {
    let (a, b) = (value.to_value()?, args.need(0, "other")?.to_value()?);
    Ok(match (&a, &b) {
        (Value::Bool(_), _) | (_, Value::Bool(_)) | (Value::Null, _) | (_, Value::Null) => a == b,
        _ => a.type_name() == b.type_name() && ops::equal(&a, &b)?,
    })
}

fn equal(_: &mut Ctx<'_>, value: V, args: &Args) -> Res<bool> {
    ops::equal(&value.to_value()?, &args.need(0, "other")?.to_value()?)
}

fn order(value: &V, args: &Args) -> Res<Ordering> {
    ops::order(&value.to_value()?, &args.need(0, "other")?.to_value()?)
}

fn divisible(_: &mut Ctx<'_>, value: V, args: &Args) -> Res<bool> {
    let by = args.need(0, "num")?.to_int()?;
    value.to_int()?.checked_rem(by).map(|rest| rest == 0).ok_or_else(|| Error::call("cannot divide by zero"))
}

fn result(value: &V) -> Res<&debark_value::Map> {
    match value {
        V::Data(Value::Map(map)) => Ok(map),
        other => {
            Err(Error::call(format!("needs the registered result of a task, not {}", other.type_name())))
        }
    }
}

fn flag(value: &V, name: &str) -> Res<bool> {
    match result(value)?.get(name) {
        Some(Value::Unknown(reason)) => Err(Error::unknown(reason)),
        Some(value) => Ok(value.truthy()),
        None => Ok(false),
    }
}

fn failed(value: &V) -> Res<bool> {
    flag(value, "failed")
}

fn changed(value: &V) -> Res<bool> {
    let map = result(value)?;
    if !map.contains_key("changed")
        && let Some(Value::List(items)) = map.get("results")
    {
        return Ok(items.iter().any(|item| item.get("changed").is_some_and(Value::truthy)));
    }
    flag(value, "changed")
}

fn started(value: &V, name: &str) -> Res<bool> {
    // A task that does not run in the background has begun and ended.
    if result(value)?.contains_key(name) { flag(value, name) } else { Ok(true) }
}

fn search(value: &V, args: &Args, how: &str) -> Res<bool> {
    let pattern = args.need_text(0, "pattern")?;
    let flags = Flags {
        ignore_case: args.flag(1, "ignorecase")?,
        multi_line: args.flag(2, "multiline")?,
        dot_all: false,
    };
    let how = match args.text(3, "match_type")? {
        Some(given) if how.is_empty() => given.to_string(),
        _ if how.is_empty() => "search".to_owned(),
        _ => how.to_owned(),
    };
    let text = value.to_text()?;
    let pattern = match how.as_str() {
        "match" => format!("\\A(?:{pattern})"),
        "fullmatch" => format!("\\A(?:{pattern})\\Z"),
        _ => pattern.to_string(),
    };
    let regex = regex::compile(&pattern, flags).map_err(Error::kind_of)?;
    regex.is_match(&*text).map_err(|_| Error::kind_of("the regular expression takes too long"))
}

fn within(part: &V, whole: &V) -> Res<bool> {
    let whole = whole.to_items()?;
    for item in part.to_items()? {
        if !ops::holds(&whole, &item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn truthy(value: &V, args: &Args) -> Res<bool> {
    let value = value.to_value()?;
    if args.flag(0, "convert_bool")?
        && let Ok(flag) = value.to_bool()
    {
        return Ok(flag);
    }
    Ok(value.truthy())
}

fn on_disk(value: &V, test: impl Fn(&std::path::Path) -> bool) -> Res<bool> {
    let path = value.to_text()?;
    Ok(!path.contains('\0') && test(std::path::Path::new(&*path)))
}

fn mounted(path: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(own), Ok(parent)) = (path.symlink_metadata(), path.join("..").metadata()) else { return false };
    own.is_dir() && (own.dev() != parent.dev() || own.ino() == parent.ino())
}

fn same_file(_: &mut Ctx<'_>, value: V, args: &Args) -> Res<bool> {
    use std::os::unix::fs::MetadataExt;
    let (a, b) = (value.to_text()?, args.need_text(0, "other")?);
    let identity = |path: &str| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    Ok(identity(&a).is_some() && identity(&a) == identity(&b))
}

/// The scheme of a URI and what follows it.
fn scheme(value: &V, args: &Args) -> Res<Option<(String, String)>> {
    let V::Data(Value::Str(text)) = value else { return Ok(None) };
    let Some((scheme, rest)) = text.split_once(':') else { return Ok(None) };
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !rest.is_empty();
    let wanted = match args.get(0, "schemes") {
        Some(wanted) => wanted.to_items()?.iter().any(|known| known.as_str() == Some(scheme)),
        None => true,
    };
    Ok((valid && wanted).then(|| (scheme.to_ascii_lowercase(), rest.to_owned())))
}

fn compare_versions(_: &mut Ctx<'_>, value: V, args: &Args) -> Res<bool> {
    let own = value.to_text()?;
    let other = args.need_text(0, "version")?;
    let operator = args.text(1, "operator")?.unwrap_or_else(|| "eq".into());
    let kind = args.text(3, "version_type")?;
    let strict = args.flag(2, "strict")?;
    let kind = match &kind {
        Some(kind) => &**kind,
        None if strict => "strict",
        None => "loose",
    };
    let order = version::compare(&own, &other, kind).map_err(Error::call)?;
    Ok(match &*operator {
        "==" | "=" | "eq" => order.is_eq(),
        "!=" | "<>" | "ne" => order.is_ne(),
        "<" | "lt" => order.is_lt(),
        "<=" | "le" => order.is_le(),
        ">" | "gt" => order.is_gt(),
        ">=" | "ge" => order.is_ge(),
        other => {
            return Err(Error::call(format!("does not know the operator '{other}'"))
                .hinted("use one of ==, !=, <, <=, >, >="));
        }
    })
}
