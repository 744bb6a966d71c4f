//! `debconf`: answers to the questions that packages ask.
//!
//! `debconf-show` and `debconf-set-selections` come with the package debconf, which every Debian host has.

use crate::exec::Cmd;
use crate::param::{NO_RULES, Rules};
use crate::{Diff, Failure, Host, Map, Plan, Value, map, params};
use debark_value::Order;

params! {
    /// Answers a package's questions before it asks them.
    pub struct Params for "ansible.builtin.debconf" {
        /// The package.
        name | pkg: String,
        /// The question.
        question | selection | setting: Option<String>,
        /// The answer.
        value | answer: Option<Value>,
        /// The question's type (`select`, `boolean`, `string`, `password`, ...).
        vtype: Option<String>,
        /// Whether the question still counts as not asked.
        unseen: bool = false,
    }
    rules Rules { together: &[&["question", "vtype", "value"]], ..NO_RULES }
}

const TYPES: [&str; 9] =
    ["boolean", "error", "multiselect", "note", "password", "seen", "select", "string", "text"];

/// Asks debconf for the answers it has.
///
/// # Errors
/// debconf does not answer, or the type is none of its.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    if let Some(vtype) = params.vtype.as_deref().filter(|vtype| !TYPES.contains(vtype)) {
        return Err(Failure::new(format!(
            "debconf: parameter `vtype` must be one of {}, got {vtype:?}",
            TYPES.join(", ")
        )));
    }
    if params.name.starts_with('-') || params.name.contains(char::is_whitespace) {
        return Err(Failure::new(format!("debconf: {:?} is no package name", params.name)));
    }
    let shown = host.exec_ok(&environment(Cmd::new("debconf-show")).arg(&params.name))?;
    let answers = parse(&shown.out());
    let current =
        Value::from(answers.iter().map(|(q, a)| (q.as_str().into(), a.as_str().into())).collect::<Map>());
    let (Some(question), Some(vtype)) = (params.question.clone(), params.vtype.clone()) else {
        return Ok(Plan::ok(map! { "msg" => "", "current" => current }));
    };
    let value = wanted(&vtype, params.value.as_ref().unwrap_or(&Value::Null))?;
    if question.contains(char::is_whitespace) || value.contains('\n') {
        return Err(Failure::new(format!("debconf: the question {question:?} and its answer are one line")));
    }
    let before = answers.iter().find(|(name, _)| *name == question).map(|(_, answer)| answer.clone());
    let secret = vtype == "password";
    let before = if secret { password(&params.name, &question, host)? } else { before };
    let same = match vtype.as_str() {
        // Blanks after commas do not count.
        "multiselect" => before.as_deref().map(items) == Some(items(&value)),
        _ => before.as_deref() == Some(value.as_str()),
    };
    let hide = |text: &str| if secret { "********".to_owned() } else { text.to_owned() };
    let mut result = map! { "current" => map! { question.as_str() => hide(&value) } };
    result.insert("previous".into(), map! { question.as_str() => before.as_deref().map(hide) }.into());
    if same {
        return Ok(Plan::ok(map! { "msg" => "", "current" => current }));
    }
    let diff = vec![Diff::property(
        format!("{} {question}", params.name),
        "value",
        before.as_deref().map(hide).unwrap_or_default(),
        hide(&value),
    )];
    Ok(Plan::change(result, diff, move |host| {
        host.exec_ok(&set(&params.name, &question, &vtype, &value, params.unseen)).map(|_| Map::new())
    }))
}

fn environment(cmd: Cmd) -> Cmd {
    cmd.env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive")
}

/// Reads `* question: answer`; a star marks a question that was asked.
fn parse(text: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let (question, answer) = line.trim_start_matches(['*', ' ']).split_once(':')?;
        Some((question.trim().to_owned(), answer.trim().to_owned()))
    };
    text.lines().filter_map(line).collect()
}

fn items(list: &str) -> Vec<String> {
    let mut items: Vec<String> = list.split(',').map(|item| item.trim().to_owned()).collect();
    items.order();
    items
}

/// The answer as debconf writes it.
fn wanted(vtype: &str, value: &Value) -> Result<String, Failure> {
    let text =
        |value: &Value| value.to_text().map_err(|e| Failure::new(format!("debconf: parameter `value` {e}")));
    match (vtype, value) {
        ("boolean", value) => match value.to_bool() {
            Ok(flag) => Ok(flag.to_string()),
            Err(_) => text(value).map(|text| text.to_lowercase()),
        },
        (_, Value::List(items)) => Ok(items.iter().map(text).collect::<Result<Vec<_>, _>>()?.join(", ")),
        (_, value) => text(value),
    }
}

/// `debconf-show` hides passwords; the protocol of debconf-communicate(1) does not.
fn password(name: &str, question: &str, host: &Host) -> Result<Option<String>, Failure> {
    let cmd = environment(Cmd::new("debconf-communicate")).arg(name).stdin(format!("GET {question}\n"));
    let output = host.exec_ok(&cmd)?.out();
    Ok(output.trim_end().strip_prefix("0 ").map(str::to_owned))
}

fn set(name: &str, question: &str, vtype: &str, value: &str, unseen: bool) -> Cmd {
    let mut cmd = environment(Cmd::new("debconf-set-selections"));
    if unseen {
        cmd = cmd.arg("-u");
    }
    cmd.stdin(format!("{name} {question} {vtype} {value}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_answers() {
        let answers = parse("* locales/default: en_US.UTF-8\n  tzdata/Areas: Etc\n  x/empty:\n");
        assert_eq!(answers[0], ("locales/default".to_owned(), "en_US.UTF-8".to_owned()));
        assert_eq!(answers[2].1, "");
    }

    #[test]
    fn writes_answers_as_debconf_does() {
        assert_eq!(wanted("boolean", &true.into()).unwrap(), "true");
        assert_eq!(wanted("boolean", &"Yes".into()).unwrap(), "true");
        assert_eq!(wanted("multiselect", &Value::list(["a", "b"])).unwrap(), "a, b");
        assert_eq!(items("b,a"), items("a, b"));
        let cmd = set("p", "p/q", "string", "v w", true);
        assert_eq!((cmd.argv.len(), cmd.stdin.as_deref()), (2, Some(b"p p/q string v w\n".as_slice())));
    }
}
