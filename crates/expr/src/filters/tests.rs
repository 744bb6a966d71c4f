//! What the tests of filters share.

use std::sync::Arc;

use debark_value::{Map, Value};

use crate::engine::{Engine, Services};
use crate::scope::Scope;

struct Nobody;

impl Services for Nobody {
    fn lookup(&self, name: &str, _: &[Value], _: &Map, _: &Scope) -> Result<Value, String> {
        Err(format!("nobody answers {name}"))
    }

    fn hostvars(&self, _: &str) -> Result<Option<Value>, String> {
        Ok(None)
    }

    fn file(&self, path: &str) -> Result<String, String> {
        Err(format!("there is no {path}"))
    }
}

/// A text rendered without any variables.
pub(crate) fn rendered(text: &str) -> Result<String, String> {
    let engine = Engine::new(Arc::new(Nobody));
    engine.render_str(text, &Scope::new()).map(|value| value.to_string()).map_err(|error| error.to_string())
}

#[test]
fn what_the_agent_lacks_is_listed() {
    let heavy = [
        super::ipaddr::TABLE,
        super::jmespath::TABLE,
        super::mac::TABLE,
        super::community::TABLE,
        super::urlize::TABLE,
    ];
    let mut names: Vec<&str> = heavy.iter().copied().flatten().map(|filter| filter.name).collect();
    names.sort_unstable();
    assert_eq!(names, super::ELSEWHERE);
}
