//! Lookups that run programs on the controller.

use std::process::{Command, Stdio};

use debark_value::Value;

use super::Around;

fn output(command: &mut Command, what: &str) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", command.get_program().to_string_lossy()))?;
    if !output.status.success() {
        let status = output.status.code().map_or("a signal".to_owned(), |code| code.to_string());
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        return Err(format!("`{what}` ended with {status}{last}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn shell(term: &str, around: Around<'_>) -> Result<String, String> {
    output(Command::new("/bin/sh").arg("-c").arg(term).current_dir(around.playbook_dir), term)
}

/// What a shell command prints.
pub(super) fn pipe(term: &str, around: Around<'_>) -> Result<Value, String> {
    shell(term, around).map(Value::from)
}

/// The same, line by line.
pub(super) fn lines(terms: &[String], around: Around<'_>) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for term in terms {
        all.extend(shell(term, around)?.lines().map(Value::from));
    }
    Ok(all)
}
