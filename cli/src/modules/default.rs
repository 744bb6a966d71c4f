//! Defaults of parameters as users write them. The tables have them as Rust source, which is where they are true.

use debark_modules::param::{Field, Kind};
use serde_json::Value;

/// The default as a user would write it; `None` if there is none, or if it is an expression that only Rust reads.
pub fn value(field: &Field) -> Option<Value> {
    let source = field.default.trim();
    if source.is_empty() {
        return None;
    }
    let value = read(source, &field.kind);
    let text = value.to_string();
    (!text.contains("::") && !text.contains('(')).then_some(value)
}

fn read(source: &str, kind: &Kind) -> Value {
    let source = source.trim();
    if let Some(inner) =
        call(source, &["Value::from", "String::from", "PathBuf::from", "crate::paths::expand", "Some"])
    {
        return read(inner, kind);
    }
    for ending in [".to_owned()", ".into()", ".to_string()", ".to_vec()", ".map(String::from)"] {
        if let Some(start) = source.strip_suffix(ending) {
            return read(start, kind);
        }
    }
    if let Some(items) = source.strip_prefix("vec!").unwrap_or(source).trim().strip_prefix('[') {
        let items = items.strip_suffix(']').unwrap_or(items);
        let of = if let Kind::List(of) = kind { of } else { kind };
        // No default has a comma within a text.
        let items = items.split(',').filter(|item| !item.trim().is_empty());
        return items.map(|item| read(item, of)).collect();
    }
    if let Some(bits) = call(source, &["Mode::Bits"]) {
        return Value::from(bits.replace("0o", "0"));
    }
    match source {
        "Map::new()" => return Value::Object(serde_json::Map::new()),
        "Vec::new()" => return Value::Array(Vec::new()),
        "String::new()" => return Value::from(""),
        "facts::FACT_PATH" => return Value::from(debark_modules::facts::FACT_PATH),
        _ => {}
    }
    if let Ok(literal) =
        serde_json::from_str(&source.replace('_', "")).or_else(|_| serde_json::from_str(source))
    {
        // A text keeps its underscores.
        return match literal {
            Value::String(_) => serde_json::from_str(source).unwrap_or(literal),
            other => other,
        };
    }
    if let (Kind::Choice(words), Some((_, variant))) = (kind, source.rsplit_once("::")) {
        let letters = |word: &str| -> String {
            word.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
        };
        let variant = letters(variant);
        // `IpVersion::V4` is `ipv4`: the type's name is the word's beginning.
        let found = words.iter().find(|word| letters(word) == variant);
        if let Some(word) = found.or_else(|| words.iter().find(|word| letters(word).ends_with(&variant))) {
            return Value::from(*word);
        }
    }
    Value::from(source)
}

/// What is within the parentheses of a call of one of these functions.
fn call<'a>(source: &'a str, functions: &[&str]) -> Option<&'a str> {
    let (name, rest) = source.split_once('(')?;
    functions.contains(&name.trim()).then_some(())?;
    // `Value::from("a").to_owned()` is not the call alone.
    rest.strip_suffix(')').filter(|inner| !inner.contains(')'))
}

#[cfg(test)]
mod tests {
    use debark_modules::builtin::builtin_specs;
    use debark_modules::names;

    use super::*;

    #[test]
    fn reads_texts_lists_and_choices() {
        let choice = Kind::Choice(&["present", "build-dep"]);
        assert_eq!(read("\"a_b\".to_owned()", &Kind::Str), "a_b");
        assert_eq!(read("Value::from(\"Hello\")", &Kind::Raw), "Hello");
        assert_eq!(read("State::BuildDep", &choice), "build-dep");
        assert_eq!(read("1_000", &Kind::Int), 1000);
        assert_eq!(read("Mode::Bits(0o644)", &Kind::Mode), "0644");
        assert_eq!(
            read("[\"a\", \"b\"].map(String::from).to_vec()", &Kind::List(&Kind::Str)).to_string(),
            "[\"a\",\"b\"]"
        );
    }

    #[test]
    fn nearly_all_defaults_are_shown() {
        let specs = names().map(|module| module.spec).chain(builtin_specs());
        let (mut lost, mut all) = (Vec::new(), 0);
        for (spec, field) in specs.flat_map(|spec| spec.all().map(move |field| (spec, field))) {
            all += usize::from(!field.default.is_empty());
            if value(field).is_none() && !field.default.is_empty() {
                lost.push(format!("{}.{}: {}", spec.name, field.name, field.default));
            }
        }
        assert!(lost.len() * 50 < all, "{lost:#?}");
    }
}
