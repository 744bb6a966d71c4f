//! What people and shells see of the commands that contact nobody: lists, references, help, errors.

// Helpers outside of the test functions fail by panicking, too.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn debark(words: &[&str]) -> Output {
    // Help is wrapped at the terminal's width, and there is none.
    Command::new(env!("CARGO_BIN_EXE_debark"))
        .args(words)
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

#[track_caller]
fn ok(words: &[&str]) -> String {
    let output = debark(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of what is refused with exit code 1 and says nothing on standard output.
#[track_caller]
fn refused(words: &[&str]) -> String {
    let output = debark(words);
    assert_eq!(output.status.code(), Some(1), "{words:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn modules_are_listed_once_each_and_with_a_word_on_what_they_do() {
    let list = ok(&["modules"]);
    let names: Vec<&str> = list.lines().map(|line| line.split_once("  ").unwrap().0.trim()).collect();
    assert!(names.is_sorted() && names.len() > 50, "{list}");
    assert_eq!(names.iter().filter(|name| **name == "file").count(), 1);
    assert!(list.lines().all(|line| line.ends_with('.')), "{list}");
}

#[test]
fn a_modules_page_has_types_defaults_aliases_and_rules() {
    let page = ok(&["modules", "ansible.builtin.debug"]);
    let expected = "ansible.builtin.debug\n\nPrints a message or a variable.\n\nParameters\n\n  \
                    msg  any, default Hello world!\n    What to print.\n\n  var  str\n    The variable or expression to \
                    print.\n\n  verbosity  int, default 0\n    Print only from this `-v` count on.\n\nRules\n\n  At most \
                    one of `msg`, `var`.\n";
    assert_eq!(page, expected);
    // Other names lead to the same page.
    assert_eq!(ok(&["modules", "systemd"]), ok(&["modules", "systemd_service"]));
}

#[test]
fn module_references_are_json_for_programs() {
    let apt: serde_json::Value = serde_json::from_str(&ok(&["modules", "apt", "--json"])).unwrap();
    let field = |name: &str| {
        apt["parameters"].as_array().unwrap().iter().find(|field| field["name"] == name).unwrap().clone()
    };
    assert_eq!(apt["name"], "ansible.builtin.apt");
    assert_eq!((&field("name")["type"], &field("name")["elements"]), (&"list".into(), &"str".into()));
    assert_eq!(field("state")["default"], "present");
    let all: serde_json::Value = serde_json::from_str(&ok(&["modules", "--json"])).unwrap();
    assert_eq!(all.as_array().unwrap().len(), ok(&["modules"]).lines().count());
}

#[test]
fn wrong_module_names_are_refused_with_the_right_one() {
    let said = "error: there is no module `lineinfle`\nhint: did you mean `lineinfile`?\n";
    assert_eq!(refused(&["modules", "lineinfle"]), said);
    let exec = refused(&["exec", "-i", "h1,", "all", "-m", "pign"]);
    assert!(exec.contains("there is no module `pign`") && exec.contains("did you mean `ping`?"), "{exec}");
}

#[test]
fn the_reference_in_the_documentation_is_the_programs() {
    let written =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/modules.md"))
            .unwrap();
    assert!(
        written == ok(&["modules", "--markdown"]),
        "docs/reference/modules.md is behind: run scripts/reference"
    );
}

#[test]
fn the_schema_is_json_that_knows_modules() {
    let schema: serde_json::Value = serde_json::from_str(&ok(&["schema"])).unwrap();
    assert_eq!(
        schema.pointer("/$defs/task/properties/apt/$ref"),
        Some(&"#/$defs/ansible.builtin.apt".into())
    );
    assert!(schema.pointer("/$defs/ansible.builtin.apt/properties/name").is_some());
    assert!(ok(&["schema", "tasks"]).contains("\"title\": \"Tasks\""));
}

#[test]
fn shells_get_completions_and_readers_manual_pages() {
    assert!(ok(&["completions", "bash"]).contains("complete -F _debark"));
    assert!(ok(&["completions", "zsh"]).starts_with("#compdef debark"));
    assert!(ok(&["completions", "fish"]).contains("complete -c debark"));
    let directory = tempfile::tempdir().unwrap();
    let man = directory.path().join("man1");
    ok(&["man", man.to_str().unwrap()]);
    let page = std::fs::read_to_string(man.join("debark-run.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("playbooks"), "{page}");
}

#[test]
fn help_lists_the_commands() {
    let help = ok(&["--help"]);
    for command in ["run", "exec", "facts", "lab", "inventory", "modules", "schema", "completions"] {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))),
            "{command}: {help}"
        );
    }
    // Hidden: packagers need it, users do not.
    assert!(!help.contains("  man "), "{help}");
}

#[test]
fn bad_parameters_of_exec_are_shown_in_place() {
    let said = refused(&["exec", "-i", "h1,", "all", "-m", "apt", "-a", "nmae=nginx"]);
    assert!(said.contains("`nmae`") && said.contains("did you mean `name`?"), "{said}");
    assert!(said.contains("<command line>:4:"), "{said}");
    let said = refused(&["exec", "-i", "h1,", "nobody", "-m", "ping"]);
    assert!(said.contains("nobody"), "{said}");
}

#[test]
fn unknown_flags_and_commands_are_bad_input() {
    assert!(refused(&["inventroy"]).contains("inventory"));
    assert!(refused(&["run", "--chekc", "site.yml"]).contains("--check"));
    assert!(
        refused(&["run", "-i", "h1,", "no-such.yml"])
            .contains("cannot read no-such.yml: there is no such file")
    );
    assert!(refused(&["inventory", "--host", "nobody", "-i", "h1,"]).contains("nobody"));
}
