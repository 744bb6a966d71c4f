//! Parameters of modules: declared once, used for parsing, checking before a run, suggestions, the reference and
//! the schema.
//!
//! [`params!`](crate::params) declares a struct and its [`Spec`]. Parsing is driven by the table rather than by a
//! generated visitor per module: the agent carries seventy modules and has to stay small, and Ansible's coercions
//! (`yes` is a boolean, `"a,b"` a list) apply the same everywhere.

mod macros;
mod types;

use debark_value::{Map, Value};

use crate::plan::Failure;

/// The type of a parameter, as a user sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Text; numbers and booleans count as text.
    Str,
    /// A boolean, with Ansible's words for it.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// A path; `~` and `$VAR` are expanded on the host.
    Path,
    /// A list of that type; text is split at commas.
    List(&'static Kind),
    /// A mapping.
    Dict,
    /// Anything.
    Raw,
    /// A file mode: octal text or number, or symbolic (`u=rwX,g-w`).
    Mode,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// The name of the type in messages and in the reference.
    pub fn name(&self) -> String {
        match self {
            Self::Str => "str".into(),
            Self::Bool => "bool".into(),
            Self::Int => "int".into(),
            Self::Float => "float".into(),
            Self::Path => "path".into(),
            Self::List(of) => format!("list of {}", of.name()),
            Self::Dict => "dict".into(),
            Self::Raw => "any".into(),
            Self::Mode => "mode".into(),
            Self::Choice(words) => words.join("|"),
        }
    }

    /// Whether a value without templates fits.
    ///
    /// # Errors
    /// What was wanted and what was given, in one phrase.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let text = |e: debark_value::Coercion| e.to_string();
        match self {
            Self::Str | Self::Path => value.to_text().map(drop).map_err(text),
            Self::Bool => value.to_bool().map(drop).map_err(text),
            Self::Int => value.to_int().map(drop).map_err(text),
            Self::Float => value.to_float().map(drop).map_err(text),
            Self::List(of) => value.to_list().map_err(text)?.iter().try_for_each(|item| of.check(item)),
            Self::Dict => match value {
                Value::Map(_) => Ok(()),
                // `k=v` text is accepted as `check_type_dict` does.
                Value::Str(s) if s.contains('=') || s.trim_start().starts_with('{') => Ok(()),
                other => Err(format!("wants a mapping, got {}", other.type_name())),
            },
            Self::Raw => Ok(()),
            Self::Mode => crate::mode::Mode::parse(value).map(drop),
            Self::Choice(words) => choice(words, value).map(drop),
        }
    }
}

/// One parameter.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Other names it goes by.
    pub aliases: &'static [&'static str],
    /// Its type.
    pub kind: Kind,
    /// Whether it must be given.
    pub required: bool,
    /// Its default as Rust source, for the reference; empty if there is none.
    pub default: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// A module's parameters and the rules among them.
#[derive(Debug)]
pub struct Spec {
    /// Full name (`ansible.builtin.file`).
    pub name: &'static str,
    /// What the module does.
    pub doc: &'static str,
    /// Its parameters.
    pub fields: &'static [Field],
    /// Parameters it shares with others (`mode`, `owner`, ...).
    pub common: &'static [Field],
    /// The rules among them.
    pub rules: Rules,
}

/// What holds between parameters.
#[derive(Debug)]
pub struct Rules {
    /// At most one of each group may be given.
    pub exclusive: &'static [&'static [&'static str]],
    /// At least one of each group must be given.
    pub one_of: &'static [&'static [&'static str]],
    /// All of a group, or none.
    pub together: &'static [&'static [&'static str]],
    /// `(parameter, value, needs)`: with that value, all of `needs` must be given.
    pub when: &'static [(&'static str, &'static str, &'static [&'static str])],
    /// The parameter that takes free-form text (`command: ls -l`), if any.
    pub free_form: Option<&'static str>,
    /// Names that are no parameters are taken as they are (`set_fact`, `add_host`).
    pub any_key: bool,
}

/// No rules; a base for `Rules { exclusive: ..., ..NO_RULES }`.
pub const NO_RULES: Rules =
    Rules { exclusive: &[], one_of: &[], together: &[], when: &[], free_form: None, any_key: false };

impl Spec {
    /// All parameters, common ones last.
    pub fn all(&self) -> impl Iterator<Item = &'static Field> + use<> {
        self.fields.iter().chain(self.common)
    }

    /// The parameter of that name or alias.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.all().find(|field| field.name == name || field.aliases.contains(&name))
    }

    /// Renames aliases, drops omitted and null parameters, and checks names and rules among parameters.
    ///
    /// # Errors
    /// The first rule that does not hold, naming the parameter.
    pub fn normalise(&self, args: &Map) -> Result<Map, Failure> {
        let mut given = Map::new();
        for (key, value) in args {
            if matches!(value, Value::Omit) {
                continue;
            }
            let Some(field) = self.field(key) else {
                if self.rules.any_key {
                    given.insert(key.clone(), value.clone());
                    continue;
                }
                return Err(Failure::new(format!("{} has no parameter `{key}`", self.name)));
            };
            if !value.is_null() {
                given.insert(field.name.into(), value.clone());
            }
        }
        self.check_rules(&given).map_err(Failure::new)?;
        Ok(given)
    }

    /// Checks the rules among parameters that were given (canonical names).
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn check_rules(&self, given: &Map) -> Result<(), String> {
        let has = |name: &&str| given.contains_key(*name);
        if let Some(field) = self.all().find(|field| field.required && !given.contains_key(field.name)) {
            return Err(format!("{} needs the parameter `{}`", self.name, field.name));
        }
        for group in self.rules.exclusive {
            let both: Vec<_> = group.iter().filter(|name| has(name)).copied().collect();
            if both.len() > 1 {
                return Err(format!("{}: `{}` exclude each other", self.name, both.join("` and `")));
            }
        }
        if let Some(group) = self.rules.one_of.iter().find(|group| !group.iter().any(has)) {
            return Err(format!("{} needs one of `{}`", self.name, group.join("`, `")));
        }
        for group in self.rules.together {
            if group.iter().any(has) && !group.iter().all(has) {
                return Err(format!("{}: `{}` go together", self.name, group.join("`, `")));
            }
        }
        for (name, value, needs) in self.rules.when {
            if given.get(*name).is_some_and(|v| v.to_text().is_ok_and(|v| v == *value))
                && let Some(missing) = needs.iter().find(|need| !has(need))
            {
                return Err(format!("{}: `{name}: {value}` needs the parameter `{missing}`", self.name));
            }
        }
        Ok(())
    }
}

/// A Rust type that a parameter can have.
pub trait Param: Sized {
    /// How users know the type.
    const KIND: Kind;
    /// Whether the parameter may be left out.
    const OPTIONAL: bool = false;

    /// Reads a given, non-null value.
    ///
    /// # Errors
    /// What was wanted and what was given, in one phrase.
    fn from_value(value: &Value) -> Result<Self, String>;

    /// What holds when the parameter is left out.
    fn absent() -> Option<Self> {
        None
    }
}

/// Which of the words a value is, as an index.
///
/// # Errors
/// None of them.
pub fn choice(words: &[&str], value: &Value) -> Result<usize, String> {
    let given = value.to_text().map_err(|error| error.to_string())?;
    let as_bool = |word: &str| Value::from(word).to_bool().ok() == value.to_bool().ok();
    let exact = words.iter().position(|word| *word == given);
    // YAML reads `state: no`/`yes` as booleans; Ansible maps them back onto choices.
    let found = exact.or_else(|| match value {
        Value::Bool(_) => words.iter().position(|word| as_bool(word)),
        _ => None,
    });
    found.ok_or_else(|| format!("must be one of {}, got {given:?}", words.join(", ")))
}

/// Reads one parameter from normalised arguments.
///
/// # Errors
/// A value of the wrong type, naming module and parameter.
// Inlined, the seventy callers would be a tenth of the agent.
#[inline(never)]
pub fn take<T: Param>(spec: &Spec, args: &Map, name: &str, default: Option<T>) -> Result<T, Failure> {
    match args.get(name) {
        Some(value) => T::from_value(value).map_err(|why| wrong(spec, name, &why)),
        None => default.or_else(T::absent).ok_or_else(|| missing(spec, name)),
    }
}

#[cold]
#[inline(never)]
fn wrong(spec: &Spec, name: &str, why: &str) -> Failure {
    Failure::new(format!("{}: parameter `{name}` {why}", spec.name))
}

#[cold]
#[inline(never)]
fn missing(spec: &Spec, name: &str) -> Failure {
    Failure::new(format!("{} needs the parameter `{name}`", spec.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    use crate::{choices, params};
    use debark_value::map;

    choices! { pub enum State { Present = "present", Absent = "absent", Yes = "yes" } }

    params! {
        /// A test.
        pub struct Params for "debark.test" {
            /// Where.
            path | dest | name: PathBuf,
            state: State = State::Present,
            tags: Vec<String>,
            count: Option<i64>,
            r#type: Option<String>,
        }
        rules Rules { exclusive: &[&["count", "tags"]], ..NO_RULES }
    }

    #[test]
    fn reads_aliases_defaults_and_lists() {
        assert_eq!(Params::parse(&map! { "name" => "/a", "count" => "3" }).unwrap().count, Some(3));
        let p = Params::parse(&map! { "dest" => "/a", "tags" => "x, y", "type" => "t" }).unwrap();
        assert_eq!(
            (p.path.to_str(), p.state, p.tags.len(), p.r#type.as_deref()),
            (Some("/a"), State::Present, 2, Some("t"))
        );
        assert_eq!(Params::parse(&map! { "dest" => "/a", "state" => true }).unwrap().state, State::Yes);
    }

    #[test]
    fn names_what_is_wrong() {
        let message = |args: Map| Params::parse(&args).unwrap_err().msg;
        assert_eq!(message(map! {}), "debark.test needs the parameter `path`");
        assert_eq!(message(map! { "path" => "/a", "pth" => 1 }), "debark.test has no parameter `pth`");
        assert_eq!(
            message(map! { "path" => "/a", "state" => "gone" }),
            "debark.test: parameter `state` must be one of present, absent, yes, got \"gone\""
        );
        assert_eq!(
            message(map! { "path" => "/a", "count" => 1, "tags" => "x" }),
            "debark.test: `count` and `tags` exclude each other"
        );
    }
}
