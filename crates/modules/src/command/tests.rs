use std::rc::Rc;

use super::*;
use crate::upstream::NoUpstream;
use crate::{Action, shell};

fn host() -> Host {
    Host::new(Rc::new(NoUpstream))
}

fn apply(plan: Plan, host: &Host) -> Result<Map, Failure> {
    match plan.action {
        Action::Run(apply) | Action::Change(apply) => apply(host),
        _ => Ok(plan.result),
    }
}

fn command(args: Map) -> Result<Map, Failure> {
    let host = host();
    apply(plan(Params::parse(&args)?, &host)?, &host)
}

#[test]
fn runs_without_a_shell() {
    let result = command(map! { "cmd" => "echo 'a  b' $((1)) \"it's\"" }).unwrap();
    assert_eq!(result.get("stdout").and_then(Value::as_str), Some("a  b $((1)) it's"));
    assert_eq!(result.get("cmd").and_then(Value::as_list).map(<[_]>::len), Some(4));
    assert_eq!(result.get("rc"), Some(&Value::Int(0)));
}

#[test]
fn expands_variables_of_the_task() {
    let host = host();
    host.options.borrow_mut().environment = vec![("NAME".into(), "x".into()), ("HOME".into(), "/h".into())];
    let args = map! { "argv" => Value::list(["echo", "$NAME", "~/a", "${NO_SUCH}"]) };
    let result = apply(plan(Params::parse(&args).unwrap(), &host).unwrap(), &host).unwrap();
    assert_eq!(result.get("stdout").and_then(Value::as_str), Some("x /h/a ${NO_SUCH}"));
    let args = map! { "argv" => Value::list(["echo", "$NAME"]), "expand_argument_vars" => false };
    let result = apply(plan(Params::parse(&args).unwrap(), &host).unwrap(), &host).unwrap();
    assert_eq!(result.get("stdout").and_then(Value::as_str), Some("$NAME"));
}

#[test]
fn a_failing_command_reports_everything() {
    let failure =
        command(map! { "argv" => Value::list(["sh", "-c", "echo out; echo err >&2; exit 3"]) }).unwrap_err();
    assert_eq!(failure.msg, "non-zero return code");
    assert_eq!(failure.result.get("rc"), Some(&Value::Int(3)));
    assert_eq!(failure.result.get("stderr_lines"), Some(&Value::list(["err"])));
    let failure = command(map! { "cmd" => "no-such-program-here" }).unwrap_err();
    assert_eq!(failure.result.get("rc"), Some(&Value::Int(2)));
    assert!(failure.msg.contains("no such program"));
}

#[test]
fn creates_and_removes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("there"), "").unwrap();
    let chdir = dir.path().display().to_string();
    let result = command(map! { "cmd" => "false", "creates" => "th*e", "chdir" => chdir.as_str() }).unwrap();
    assert_eq!(result.get("msg").and_then(Value::as_str), Some("Did not run command since 'th*e' exists"));
    let result = command(map! { "cmd" => "false", "removes" => "gone", "chdir" => chdir.as_str() }).unwrap();
    assert_eq!(result.get("stdout").and_then(Value::as_str), Some("skipped, since gone does not exist"));

    let host = host();
    let args = map! { "cmd" => "touch new", "creates" => "new", "chdir" => chdir.as_str() };
    let first = plan(Params::parse(&args).unwrap(), &host).unwrap();
    assert!(first.changes() && first.result.get("rc").is_some_and(|rc| rc.unknown().is_some()));
    assert!(!dir.path().join("new").exists());
    apply(first, &host).unwrap();
    assert!(!plan(Params::parse(&args).unwrap(), &host).unwrap().changes());
}

#[test]
fn stdin_and_ends() {
    let result = command(map! { "cmd" => "od -c", "stdin" => "a", "strip_empty_ends" => false }).unwrap();
    let text = result.get("stdout").and_then(Value::as_str).unwrap();
    assert!(text.contains("a  \\n") && text.ends_with('\n'));
    let result = command(map! { "cmd" => "cat", "stdin" => "a", "stdin_add_newline" => false }).unwrap();
    assert_eq!(result.get("stdout").and_then(Value::as_str), Some("a"));
}

#[test]
fn shell_takes_another_executable() {
    let host = host();
    let args = map! { "cmd" => "echo $0 | tr a-z A-Z", "executable" => "/bin/bash" };
    let result = apply(shell::plan(shell::Params::parse(&args).unwrap(), &host).unwrap(), &host).unwrap();
    assert_eq!(result.get("stdout").and_then(Value::as_str), Some("/BIN/BASH"));
    assert_eq!(result.get("cmd").and_then(Value::as_str), Some("echo $0 | tr a-z A-Z"));
}

#[test]
fn wants_exactly_one_command() {
    assert!(Params::parse(&map! {}).unwrap_err().msg.contains("needs one of"));
    assert!(command(map! { "cmd" => "echo 'a" }).unwrap_err().msg.contains("is not closed"));
    assert!(command(map! { "cmd" => "true", "chdir" => "/no/such" }).unwrap_err().msg.contains("/no/such"));
}
