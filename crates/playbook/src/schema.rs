//! A JSON Schema (draft 2020-12) of playbooks, for editors: from the tables of keywords and the modules' parameters.

use debark_modules::builtin::builtin_specs;
use debark_modules::param::{Field, Kind, Spec};
use serde_json::{Map, Value, json};

use crate::keywords::{GUARD, KEYWORDS, LOOP_CONTROL, Shape, VARS_PROMPT, WITH, on};

/// The schema of a playbook.
pub fn schema() -> Value {
    let items = json!({ "if": { "required": ["hosts"] }, "then": { "$ref": "#/$defs/play" }, "else": { "$ref": "#/$defs/import" } });
    document("Playbook", json!({ "type": "array", "items": items }))
}

/// The schema of a file of tasks or handlers, as roles have them.
pub fn of_tasks() -> Value {
    let items = json!({ "if": { "required": ["block"] }, "then": { "$ref": "#/$defs/block" }, "else": { "$ref": "#/$defs/handler" } });
    document("Tasks", json!({ "type": ["array", "null"], "items": items }))
}

fn document(title: &str, root: Value) -> Value {
    let mut document = json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "title": title });
    if let (Some(map), Value::Object(root)) = (document.as_object_mut(), root) {
        map.extend(root);
        map.insert("$defs".into(), Value::from(definitions()));
    }
    document
}

fn definitions() -> Map<String, Value> {
    let mut definitions = Map::new();
    definitions.insert("template".into(), json!({ "type": "string", "pattern": "\\{[{%]" }));
    definitions.insert("conditions".into(), json!({ "type": ["string", "boolean", "array"] }));
    definitions.insert("play".into(), object(on::PLAY, &["hosts"]));
    definitions.insert("import".into(), import());
    definitions
        .insert("role".into(), json!({ "anyOf": [{ "type": "string" }, open(object(on::ROLE, &[]))] }));
    definitions.insert("block".into(), object(on::BLOCK, &["block"]));
    for (spec, _) in actions() {
        definitions.insert(spec.name.to_owned(), described(parameters(spec), spec.doc));
    }
    definitions.insert("task".into(), task(on::TASK));
    definitions.insert("handler".into(), task(on::TASK | on::HANDLER));
    definitions.insert(
        "tasks".into(),
        json!({ "type": ["array", "null"], "items": { "if": { "required": ["block"] }, "then": { "$ref": "#/$defs/block" }, "else": { "$ref": "#/$defs/task" } } }),
    );
    definitions.insert(
        "handlers".into(),
        json!({ "type": ["array", "null"], "items": { "$ref": "#/$defs/handler" } }),
    );
    definitions
}

/// What has the keywords of a level, and no others.
fn object(level: u8, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": keywords(level), "required": required, "additionalProperties": false })
}

fn open(mut object: Value) -> Value {
    if let Some(map) = object.as_object_mut() {
        map.shift_remove("additionalProperties");
    }
    object
}

fn import() -> Value {
    let mut properties = keywords(on::IMPORT);
    properties.insert("ansible.builtin.import_playbook".into(), json!({ "type": "string" }));
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn keywords(level: u8) -> Map<String, Value> {
    let allowed = KEYWORDS.iter().filter(|keyword| keyword.on & level != 0);
    allowed
        .map(|keyword| (keyword.name.to_owned(), described(shape(keyword.name, keyword.shape), keyword.doc)))
        .collect()
}

fn described(mut schema: Value, doc: &str) -> Value {
    if let Some(map) = schema.as_object_mut().filter(|_| !doc.is_empty()) {
        map.insert("description".into(), Value::from(doc.trim()));
    }
    schema
}

fn shape(name: &str, shape: Shape) -> Value {
    let keys = |names: &[&str]| {
        let properties: Map<_, _> = names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        json!({ "type": "object", "properties": properties, "additionalProperties": false })
    };
    match (name, shape) {
        ("loop_control", _) => keys(LOOP_CONTROL),
        ("guard", _) => json!({ "anyOf": [{ "type": ["integer", "string"] }, keys(GUARD)] }),
        ("vars_prompt", _) => json!({ "type": "array", "items": keys(VARS_PROMPT) }),
        ("roles", _) => json!({ "type": ["array", "null"], "items": { "$ref": "#/$defs/role" } }),
        ("handlers", _) => json!({ "$ref": "#/$defs/handlers" }),
        (_, Shape::Text) => json!({ "type": ["string", "number", "null"] }),
        (_, Shape::Bool) => or_template("boolean"),
        (_, Shape::Int) => or_template("integer"),
        (_, Shape::Number) => or_template("number"),
        (_, Shape::Percent) => json!({ "type": ["number", "string"] }),
        (_, Shape::Words) => json!({ "type": ["string", "integer", "array"] }),
        (_, Shape::Conditions) => json!({ "$ref": "#/$defs/conditions" }),
        (_, Shape::Map) => json!({ "type": ["object", "string", "null"] }),
        (_, Shape::Tasks) => json!({ "$ref": "#/$defs/tasks" }),
        (_, Shape::List | Shape::Any) => json!({}),
    }
}

fn or_template(kind: &str) -> Value {
    json!({ "anyOf": [{ "type": [kind, "null"] }, { "$ref": "#/$defs/template" }] })
}

fn task(level: u8) -> Value {
    let mut properties = keywords(level);
    for name in WITH {
        properties.insert(format!("with_{name}"), json!({}));
    }
    for (spec, aliases) in actions() {
        let definition = json!({ "$ref": format!("#/$defs/{}", spec.name) });
        let (collection, short) = spec.name.rsplit_once('.').unwrap_or(("ansible.builtin", spec.name));
        for name in std::iter::once(short).chain(aliases.iter().copied()) {
            properties.insert(name.to_owned(), definition.clone());
            properties.insert(format!("{collection}.{name}"), definition.clone());
            if collection == "ansible.builtin" {
                properties.insert(format!("ansible.legacy.{name}"), definition.clone());
            }
        }
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// All modules, with their other names.
fn actions() -> impl Iterator<Item = (&'static Spec, &'static [&'static str])> {
    let modules = debark_modules::names().map(|module| (module.spec, module.aliases));
    modules.chain(builtin_specs().map(|spec| (spec, &[] as &[&str])))
}

/// A mapping of parameters, `k=v` text, or nothing.
fn parameters(spec: &Spec) -> Value {
    let mut properties = Map::new();
    for field in spec.all() {
        for name in std::iter::once(field.name)
            .chain(field.aliases.iter().copied())
            .filter(|name| !name.starts_with('_'))
        {
            properties.insert(name.to_owned(), parameter(field));
        }
    }
    json!({ "type": ["object", "string", "null"], "properties": properties, "additionalProperties": spec.rules.any_key })
}

fn parameter(field: &Field) -> Value {
    described(kind(&field.kind), field.doc)
}

fn kind(kind: &Kind) -> Value {
    match kind {
        Kind::Str | Kind::Raw => json!({}),
        Kind::Path => json!({ "type": ["string", "null"] }),
        Kind::Mode => json!({ "type": ["string", "integer", "null"] }),
        Kind::Bool => or_template("boolean"),
        Kind::Int => or_template("integer"),
        Kind::Float => or_template("number"),
        Kind::Dict => json!({ "type": ["object", "string", "null"] }),
        Kind::List(_) => json!({ "type": ["array", "string", "number", "null"] }),
        Kind::Choice(words) => {
            json!({ "anyOf": [{ "enum": words }, { "type": ["boolean", "null"] }, { "$ref": "#/$defs/template" }] })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_keywords_and_modules() {
        let schema = schema();
        let task = schema.pointer("/$defs/task/properties").unwrap();
        assert!(task.get("when").is_some() && task.get("with_items").is_some());
        assert!(task.get("ansible.builtin.ping").is_some() && task.get("debug").is_some());
        assert_eq!(task.pointer("/systemd/$ref"), task.pointer("/ansible.builtin.systemd_service/$ref"));
        let module = |name: &str| schema.pointer(&format!("/$defs/{name}/additionalProperties")).cloned();
        assert_eq!(module("ansible.builtin.ping"), Some(Value::from(false)));
        assert_eq!(module("ansible.builtin.set_fact"), Some(Value::from(true)));
        assert!(task.get("serial").is_none());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, root: &Value) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(to)) = map.get("$ref") {
                        assert!(root.pointer(to.trim_start_matches('#')).is_some(), "{to}");
                    }
                    map.values().for_each(|inner| walk(inner, root));
                }
                Value::Array(items) => items.iter().for_each(|inner| walk(inner, root)),
                _ => {}
            }
        }
        for schema in [schema(), of_tasks()] {
            walk(&schema, &schema);
        }
    }
}
