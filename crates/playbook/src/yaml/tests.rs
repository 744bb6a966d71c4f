use std::path::Path;

use debark_value::{Value, map, to_json_string};
use proptest::prelude::*;

use super::*;
use crate::diagnostic::render;

struct Rot;

impl Decrypt for Rot {
    fn decrypt(&self, vault: &[u8]) -> Result<Vec<u8>, DecryptError> {
        Ok(vault.iter().rev().copied().collect())
    }
}

fn read(text: &str) -> Result<Parsed, String> {
    let sources = SourceMap::default();
    let file = sources.add(Path::new("site.yml"), text, false);
    parse(&sources, file, &Rot).map_err(|error| render(&[error], &sources, false))
}

fn value(text: &str) -> Value {
    read(text).unwrap().documents.remove(0).to_value()
}

fn wrong(text: &str) -> String {
    read(text).unwrap_err()
}

#[test]
fn keeps_order_places_and_types() {
    let parsed = read("b: 0644\na: [yes, '1', ~]\n").unwrap();
    let node = &parsed.documents[0];
    assert_eq!(to_json_string(&node.to_value()), r#"{"b":420,"a":[true,"1",null]}"#);
    let (key, list) = node.entry("a").unwrap();
    assert_eq!((key.span.line, key.span.column), (2, 1));
    let item = &list.as_seq().unwrap()[1];
    assert_eq!((item.span.line, item.span.column), (2, 10));
    assert_eq!(item.span_within(0, 1).unwrap().column, 11);
}

#[test]
fn merge_keys_give_way() {
    let text = "base: &b {x: 1, y: 2}\nother: &o {y: 3, z: 4}\nboth:\n  <<: [*b, *o]\n  x: 9\n";
    assert_eq!(value(text).get("both"), Some(&Value::from(map! { "y" => 2, "z" => 4, "x" => 9 })));
}

#[test]
fn duplicate_keys_warn_and_the_last_counts() {
    let parsed = read("a: 1\nb: 2\na: 3\n").unwrap();
    assert_eq!(to_json_string(&parsed.documents[0].to_value()), r#"{"a":3,"b":2}"#);
    assert_eq!(parsed.warnings.len(), 1);
    assert_eq!(parsed.warnings[0].span.unwrap().line, 3);
}

#[test]
fn vault_and_unsafe() {
    assert_eq!(value("a: !vault |\n  cba\n").get("a"), Some(&Value::from("\nabc")));
    assert_eq!(value("a: !unsafe '{{ x }}'").get("a"), Some(&Value::from("{{ '{{ x }}' }}")));
    assert_eq!(value("a: !unsafe 100%").get("a"), Some(&Value::from("100%")));
}

#[test]
fn block_scalars_end_as_pyyaml_ends_them() {
    assert_eq!(value("a: |\n  x"), Value::from(map! { "a" => "x" }));
    assert_eq!(value("a: >-\n  x\n  y\n"), Value::from(map! { "a" => "x y" }));
}

#[test]
fn a_bare_expression() {
    insta::assert_snapshot!(wrong("- hosts: all\n  vars:\n    a: {{ b }}\n"));
}

#[test]
fn a_bare_expression_with_text_behind() {
    insta::assert_snapshot!(wrong("- hosts: all\n  vars:\n    a: {{ b }}/etc\n"));
}

#[test]
fn a_tab() {
    insta::assert_snapshot!(wrong("- hosts: all\n\ttasks: []\n"));
}

#[test]
fn bad_indentation() {
    insta::assert_snapshot!(wrong("- hosts: all\n  tasks:\n    - ping:\n   - ping:\n"));
}

#[test]
fn two_colons() {
    insta::assert_snapshot!(wrong("- name: install: all\n"));
}

#[test]
fn an_open_quote() {
    insta::assert_snapshot!(wrong("- name: \"abc\n  hosts: all\n"));
}

#[test]
fn text_behind_quotes() {
    insta::assert_snapshot!(wrong("- name: \"a\" b\n"));
}

#[test]
fn a_nul_byte() {
    insta::assert_snapshot!(wrong("- name: a\n- b\0c\n"));
}

#[test]
fn an_unknown_alias() {
    insta::assert_snapshot!(wrong("- hosts: *.example.com\n"));
}

#[test]
fn a_bomb() {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for n in 1..10 {
        let alias = format!("*a{}", n - 1);
        text.push_str(&format!("a{n}: &a{n} [{}]\n", vec![alias; 9].join(",")));
    }
    insta::assert_snapshot!(wrong(&text));
}

#[test]
fn an_anchor_within_itself() {
    insta::assert_snapshot!(wrong("a: &a [*a]\n"));
}

#[test]
fn too_deep() {
    assert!(wrong(&"[".repeat(100_000)).contains("nested"));
    assert!(
        wrong(&format!(
            "a: &a {}1{}\nb: {}*a{}",
            "[".repeat(100),
            "]".repeat(100),
            "[".repeat(100),
            "]".repeat(100)
        ))
        .contains("nested")
    );
}

#[test]
fn windows_lines_and_a_byte_order_mark() {
    assert_eq!(value("\u{feff}a: 1\r\nb: 2\r\n"), Value::from(map! { "a" => 1, "b" => 2 }));
}

#[test]
fn a_hundred_megabytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.yml");
    std::fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
    let error = SourceMap::default().load(&path).unwrap_err();
    assert!(
        error.message.ends_with("is too large: 100 MiB, and 32 MiB is the most that is read"),
        "{error:?}"
    );
}

proptest! {
    #[test]
    fn never_panics(text in ".{0,200}") {
        drop(read(&text));
    }

    #[test]
    fn never_panics_on_what_looks_like_yaml(text in "([-:\\[\\]{}&*!|>'\"#%@ \n\ta0~<,?]){0,80}") {
        if let Ok(parsed) = read(&text) {
            parsed.documents.iter().for_each(|node| drop(node.to_value()));
        }
    }
}
