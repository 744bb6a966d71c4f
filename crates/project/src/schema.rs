//! A JSON Schema (draft 2020-12) of project files, for editors.

use debark_playbook::schema as playbook;
use serde_json::{Map, Value, json};

use crate::tables::{self, Shape, Table};

/// The schema of `debark.yml`; `pre` and `post` are tasks as in playbooks.
pub fn schema() -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "debark project",
    });
    if let (Some(map), Value::Object(root)) = (schema.as_object_mut(), of(&tables::PROJECT)) {
        map.extend(root);
        if let Some(definitions) = playbook::of_tasks().get("$defs") {
            map.insert("$defs".into(), definitions.clone());
        }
    }
    schema
}

/// Every key with its description, by what it belongs to: for the reference.
pub fn keys() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    let tables = [
        &tables::PROJECT,
        &tables::PACKAGE,
        &tables::TEST,
        &tables::BUILD,
        &tables::ENTRY,
        &tables::SCRIPTS,
        &tables::UNIT,
        &tables::ENVIRONMENT,
        &tables::STORE,
        &tables::TRUST,
        &tables::GATES,
        &tables::APPROVALS,
        &tables::FREEZE,
        &tables::VPN,
        &tables::WIREGUARD,
        &tables::DEPLOY,
        &tables::CHECK,
        &tables::LEDGER,
        &tables::NOTIFY,
    ];
    tables
        .iter()
        .map(|table| (table.what, table.keys.iter().map(|key| (key.name, key.doc)).collect()))
        .collect()
}

fn of(table: &Table) -> Value {
    let properties: Map<String, Value> =
        table.keys.iter().map(|key| (key.name.to_owned(), described(shape(key.shape), key.doc))).collect();
    let required: Vec<&str> = table.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn described(mut schema: Value, doc: &str) -> Value {
    if let Some(map) = schema.as_object_mut() {
        map.insert("description".into(), doc.into());
    }
    schema
}

fn shape(shape: Shape) -> Value {
    let text = || json!({ "type": ["string", "number"] });
    let list = |items: Value| json!({ "type": "array", "items": items });
    let or_list = |item: Value| json!({ "anyOf": [item.clone(), { "type": "array", "items": item }] });
    let duration = json!({ "type": ["string", "integer"], "pattern": "^(0|([0-9]+(ms|s|m|h|d))+)$" });
    let amount = json!({ "type": ["integer", "string"], "pattern": "^[0-9]+ *%?$" });
    match shape {
        Shape::Text => text(),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Int => json!({ "type": "integer" }),
        Shape::Duration => duration,
        Shape::Words | Shape::Program => {
            json!({ "anyOf": [text(), { "type": "null" }, list(text())] })
        }
        Shape::Amount => amount,
        Shape::Amounts => or_list(amount),
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::Choices(words) => or_list(json!({ "enum": words })),
        Shape::Map(table) => of(table),
        Shape::TextOr(table) => json!({ "anyOf": [{ "type": "string" }, of(table)] }),
        Shape::List(table) => list(of(table)),
        Shape::TextsOr(table) => or_list(json!({ "anyOf": [{ "type": "string" }, list(text()), of(table)] })),
        Shape::Named(table) => json!({ "type": "object", "additionalProperties": of(table) }),
        Shape::Texts => json!({ "type": "object", "additionalProperties": text() }),
        Shape::Tasks => json!({ "$ref": "#/$defs/tasks" }),
        Shape::AllOrWords => or_list(text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_every_key() {
        let schema = schema();
        let at = |pointer: &str| schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
        at(
            "/properties/packages/additionalProperties/properties/build/anyOf/1/properties/files/items/properties/dst",
        );
        at(
            "/properties/environments/additionalProperties/properties/gates/properties/approvals/properties/by",
        );
        let wireguard =
            "/properties/environments/additionalProperties/properties/vpn/anyOf/1/properties/wireguard";
        assert_eq!(at(&format!("{wireguard}/anyOf/0/type")), "string");
        assert_eq!(at(&format!("{wireguard}/anyOf/1/required")), &json!(["config"]));
        assert_eq!(at("/properties/deploy/properties/pre/$ref"), "#/$defs/tasks");
        at("/$defs/tasks");
    }
}
