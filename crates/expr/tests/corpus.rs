//! Snippets whose results were recorded from ansible-core 2.18 (`jinja2_native`), with the texts that only native
//! mode turns into numbers left as texts: ours must be the same.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use debark_expr::{Engine, LayerKind, Scope, Services};
use debark_value::{Map, Value, from_json, to_json};

struct Nothing;

impl Services for Nothing {
    fn lookup(&self, name: &str, _: &[Value], _: &Map, _: &Scope) -> Result<Value, String> {
        Err(format!("there is no lookup '{name}'"))
    }

    fn hostvars(&self, _: &str) -> Result<Option<Value>, String> {
        Ok(None)
    }

    fn file(&self, path: &str) -> Result<String, String> {
        Err(format!("there is no template '{path}'"))
    }
}

#[test]
fn same_as_ansible() {
    let corpus: serde_json::Value = serde_json::from_str(include_str!("corpus/ansible.json")).unwrap();
    let Value::Map(variables) = from_json(corpus["variables"].clone()) else { panic!("no variables") };
    let mut scope = Scope::new();
    scope.push(variables, LayerKind::Templated);
    let engine = Engine::new(Arc::new(Nothing));
    let mut wrong = Vec::new();
    let cases = corpus["cases"].as_array().unwrap();
    for case in cases {
        let (source, wanted) = (case[0].as_str().unwrap(), &case[1]);
        match engine.render_str(source, &scope) {
            Ok(value) if to_json(&value) == *wanted => {}
            Ok(value) => wrong.push(format!("{source}\n  wanted {wanted}\n  got    {}", to_json(&value))),
            Err(error) => wrong.push(format!("{source}\n  wanted {wanted}\n  failed {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
