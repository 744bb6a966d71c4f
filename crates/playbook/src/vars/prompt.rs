//! `vars_prompt`: variables that are asked for before a play starts.

use debark_value::{Map, Value};

use crate::Diagnostic;
use crate::compile::Prompt;
use crate::yaml::inert;

/// So often may what is typed twice differ.
const TRIES: usize = 3;

/// Shows a text and gives what was typed; hidden while typing if the flag is set.
pub type Ask<'a> = &'a mut dyn FnMut(&str, bool) -> std::io::Result<String>;

/// How to ask, and how to hash what was typed.
pub struct Terminal<'a> {
    /// Asks; gives what was typed without the line's end. `None`: nobody is there to ask, so that defaults count.
    pub ask: Option<Ask<'a>>,
    /// A hash for `encrypt`: of the text, by that scheme, with that salt and length of a random one.
    pub hash: &'a dyn Fn(&str, &Prompt) -> Result<String, String>,
}

/// What was answered.
#[derive(Default)]
pub struct Answers {
    /// The variables.
    pub vars: Map,
    /// Answers to private prompts, which must not be shown.
    pub secrets: Vec<String>,
}

/// Asks for each variable that `given` (the command line) does not have.
///
/// # Errors
/// Nobody can be asked and there is no default; what is typed twice differs; the hash cannot be made.
pub fn ask(prompts: &[Prompt], given: &Map, mut terminal: Terminal<'_>) -> Result<Answers, Diagnostic> {
    let mut answers = Answers::default();
    for prompt in prompts.iter().filter(|prompt| !given.contains_key(prompt.name.as_str())) {
        let typed = typed(prompt, &mut terminal)?;
        let text = match (typed.is_empty(), &prompt.default) {
            (true, Some(default)) => default.to_string(),
            _ => typed,
        };
        if prompt.private {
            answers.secrets.push(text.clone());
        }
        let value = match &prompt.encrypt {
            Some(scheme) => (terminal.hash)(&text, prompt).map_err(|why| {
                Diagnostic::error(format!("cannot hash `{}` with {scheme}: {why}", prompt.name))
            })?,
            // What is typed may be a template, as with Ansible, unless the play says that it is not.
            None if prompt.unsafe_ => inert(&text).unwrap_or(text),
            None => text,
        };
        answers.vars.insert(prompt.name.as_str().into(), Value::from(value));
    }
    Ok(answers)
}

fn typed(prompt: &Prompt, terminal: &mut Terminal<'_>) -> Result<String, Diagnostic> {
    let name = &prompt.name;
    let Some(ask) = &mut terminal.ask else {
        return match &prompt.default {
            Some(_) => Ok(String::new()),
            None => Err(Diagnostic::error(format!("`{name}` is to be asked for, and there is no terminal"))
                .hint(format!("give it on the command line: -e {name}=VALUE"))),
        };
    };
    let text = match &prompt.default {
        Some(default) => format!("{} [{default}]: ", prompt.prompt),
        None => format!("{}: ", prompt.prompt),
    };
    let failed = |error: std::io::Error| Diagnostic::error(format!("cannot ask for `{name}`: {error}"));
    let mut question = text.clone();
    for _ in 0..TRIES {
        let first = ask(&question, prompt.private).map_err(failed)?;
        if !prompt.confirm || ask(&format!("confirm {text}"), prompt.private).map_err(failed)? == first {
            return Ok(first);
        }
        question = format!("the two answers differ; {text}");
    }
    Err(Diagnostic::error(format!("what was typed for `{name}` differed {TRIES} times")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(name: &str, default: Option<&str>, encrypt: Option<&str>) -> Prompt {
        Prompt {
            name: name.into(),
            prompt: name.into(),
            default: default.map(Value::from),
            private: true,
            confirm: encrypt.is_some(),
            encrypt: encrypt.map(str::to_owned),
            salt: None,
            salt_size: None,
            unsafe_: false,
        }
    }

    #[test]
    fn asks_for_what_is_not_given() {
        let prompts =
            [prompt("a", None, None), prompt("b", Some("x"), None), prompt("c", None, Some("sha512_crypt"))];
        let mut typed = ["", "secret", "other", "secret", "secret"].into_iter();
        let mut shown = Vec::new();
        let mut ask_one = |text: &str, _: bool| {
            shown.push(text.to_owned());
            typed.next().map(str::to_owned).ok_or_else(|| std::io::Error::other("end"))
        };
        let hash = |text: &str, _: &Prompt| Ok(format!("hash of {text}"));
        let given = debark_value::map! { "a" => 1 };
        let answers = ask(&prompts, &given, Terminal { ask: Some(&mut ask_one), hash: &hash }).unwrap();
        assert_eq!(answers.vars, debark_value::map! { "b" => "x", "c" => "hash of secret" });
        assert!(answers.secrets.contains(&"secret".to_owned()));
        assert_eq!(shown[..4], ["b [x]: ", "c: ", "confirm c: ", "the two answers differ; c: "]);
        let error = ask(&prompts, &Map::new(), Terminal { ask: None, hash: &hash }).err().unwrap();
        assert_eq!(error.hint.as_deref(), Some("give it on the command line: -e a=VALUE"));
    }
}
