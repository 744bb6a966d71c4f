//! The YAML layer: any bytes are a tree or diagnostics, and both have places within the text.
#![no_main]

use std::path::Path;

use debark_playbook::diagnostic::render;
use debark_playbook::yaml::{self, NoVault, Node};
use debark_playbook::{SourceMap, Span};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let sources = SourceMap::default();
    let file = sources.add(Path::new("site.yml"), text, false);
    match yaml::parse(&sources, file, &NoVault) {
        Ok(parsed) => {
            for document in &parsed.documents {
                walk(document, &sources, text);
                // What is kept of a document must not be out of proportion to its text: aliases are bounded.
                let _ = document.to_value();
            }
            let _ = render(&parsed.warnings, &sources, false);
        }
        Err(diagnostic) => {
            assert!(!diagnostic.one_line(&sources).is_empty());
            let _ = render(&[diagnostic], &sources, true);
        }
    }
});

fn walk(node: &Node, sources: &SourceMap, text: &str) {
    within(node.span, sources, text);
    for (key, value) in node.as_map().unwrap_or_default() {
        within(key.span, sources, text);
        walk(value, sources, text);
    }
    for item in node.as_seq().unwrap_or_default() {
        walk(item, sources, text);
    }
}

fn within(span: Span, sources: &SourceMap, text: &str) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    assert!(text.get(span.start as usize..span.end as usize).is_some(), "{span:?} is no place");
    assert!(!sources.place(span).is_empty());
}
