//! What targets share: a scope of variables as plays have them, and services that answer from memory.

use std::sync::Arc;

use debark_expr::{Engine, LayerKind, Scope, Services};
use debark_value::{Map, Value, map};

struct Memory;

impl Services for Memory {
    fn lookup(&self, _name: &str, args: &[Value], _: &Map, _: &Scope) -> Result<Value, String> {
        Ok(Value::list(args.to_vec()))
    }

    fn hostvars(&self, host: &str) -> Result<Option<Value>, String> {
        Ok((host == "db").then(|| Value::from(map! { "port" => 5432 })))
    }

    fn file(&self, path: &str) -> Result<String, String> {
        match path {
            "a" => Ok("{% block x %}{{ name }}{% endblock %}".into()),
            "b" => Ok("{% macro m(x) %}{{ x }}{{ m(x) }}{% endmacro %}{% include 'b' %}".into()),
            other => Err(format!("there is no template {other}")),
        }
    }
}

/// An engine whose lookups and files do nothing outside.
pub fn engine() -> Engine {
    Engine::new(Arc::new(Memory))
}

/// Variables of every type; some refer to others, one to itself, one is unknown.
pub fn scope() -> Scope {
    let mut scope = Scope::new();
    let nested =
        map! { "list" => Value::list([Value::from(1), Value::from("{{ port }}")]), "name" => "{{ name }}" };
    scope.push(
        Arc::new(map! {
            "name" => "web", "port" => 80, "ratio" => 0.5, "yes" => true, "none" => Value::Null,
            "url" => "http://{{ name }}:{{ port }}/", "a" => "{{ b }}", "b" => "{{ a }}",
            "d" => Value::from(nested.clone()),
            "l" => Value::list([Value::from(3), Value::from("x"), Value::from(nested)]),
        }),
        LayerKind::Templated,
    );
    scope.push(Arc::new(map! { "later" => Value::Unknown("task 'x'".into()) }), LayerKind::Plain);
    scope
}
