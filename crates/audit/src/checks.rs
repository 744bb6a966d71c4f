//! Checks as YAML declares them.

use std::path::{Path, PathBuf};

use debark_playbook::diagnostic::did_you_mean;
use debark_playbook::yaml::{self, NoVault};
use debark_playbook::{Diagnostic, Node, SourceMap};
use debark_value::Value;

use crate::probes;

/// The checks that every debark has.
const DEFAULT: &str = include_str!("default.yml");
const KEYS: &[&str] =
    &["id", "title", "policy", "severity", "on", "probe", "command", "when", "expect", "show"];

/// Where a check's evidence comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// From the host.
    Host,
    /// From this machine, which looks at the host.
    Controller,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// One of [`probes::HOST`] or [`probes::CONTROLLER`], by its name.
    Named(&'static str),
    /// A command line for `sh`.
    Command(String),
}

/// How bad it is if it does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
    /// `critical`
    Critical,
}

impl Severity {
    /// OCSF's `severity_id`.
    pub fn id(self) -> u8 {
        match self {
            Self::Low => 2,
            Self::Medium => 3,
            Self::High => 4,
            Self::Critical => 5,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// A check.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Its name; each once.
    pub id: String,
    /// What holds if it passes.
    pub title: String,
    /// Sentences of a policy, or their numbers.
    pub policy: Vec<String>,
    /// How bad it is if not.
    pub severity: Severity,
    /// Where evidence comes from.
    pub on: On,
    /// What is looked at.
    pub probe: Probe,
    /// Whether it concerns a host: an expression over its variables.
    pub when: Option<String>,
    /// What has to hold: expressions over `observed` and the host's variables.
    pub expect: Vec<String>,
    /// What is shown of the evidence: an expression; all of it if there is none.
    pub show: Option<String>,
}

/// All checks of an audit.
#[derive(Debug, Clone, Default)]
pub struct Checks(pub Vec<Check>);

impl Checks {
    /// The checks that every debark has, and those of files: one with the id of another takes its place.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn load(files: &[PathBuf], sources: &SourceMap) -> Result<Self, Vec<Diagnostic>> {
        let path = Path::new("<default checks>");
        sources.add(path, DEFAULT, false);
        let mut checks = Self::default();
        let mut errors = Vec::new();
        for path in std::iter::once(path).chain(files.iter().map(PathBuf::as_path)) {
            match read(path, sources, &mut errors) {
                Ok(found) => found.into_iter().for_each(|check| checks.take(check)),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(checks) } else { Err(errors) }
    }

    fn take(&mut self, check: Check) {
        match self.0.iter_mut().find(|known| known.id == check.id) {
            Some(known) => *known = check,
            None => self.0.push(check),
        }
    }
}

fn read(path: &Path, sources: &SourceMap, errors: &mut Vec<Diagnostic>) -> Result<Vec<Check>, Diagnostic> {
    let (_, parsed) = yaml::load(sources, path, &NoVault)?;
    let (node, _) = parsed.single()?;
    let Some(node) = node else { return Ok(Vec::new()) };
    let items = node.as_seq().ok_or_else(|| {
        Diagnostic::error(format!("checks are a list, and this is {}", node.describe())).at(node.span)
    })?;
    let mut checks: Vec<Check> = Vec::new();
    for item in items {
        let before = errors.len();
        let check = Reader { node: item, errors }.check();
        match check {
            Some(check) if checks.iter().any(|known| known.id == check.id) => errors.push(
                Diagnostic::error(format!("there are two checks `{}` in this file", check.id)).at(item.span),
            ),
            Some(check) if errors.len() == before => checks.push(check),
            _ => {}
        }
    }
    Ok(checks)
}

/// How YAML 1.1 reads the key `on`: as a boolean.
const ON: &str = "True";

struct Reader<'a> {
    node: &'a Node,
    errors: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn bad(&mut self, node: &Node, message: String, hint: Option<String>) {
        self.errors.push(Diagnostic::error(message).at(node.span).maybe_hint(hint));
    }

    fn check(mut self) -> Option<Check> {
        let node = self.node;
        let Some(entries) = node.as_map() else {
            self.bad(node, format!("a check is a mapping, and this is {}", node.describe()), None);
            return None;
        };
        for (key, _) in entries {
            if !KEYS.contains(&&*key.name) && &*key.name != ON {
                let hint = did_you_mean(&key.name, KEYS.iter().copied());
                let hint = hint.unwrap_or_else(|| format!("a check has {}", KEYS.join(", ")));
                let error = Diagnostic::error(format!("a check has no key `{}`", key.name));
                self.errors.push(error.at(key.span).hint(hint));
            }
        }
        let id = self.need("id")?;
        let title = self.need("title")?;
        let severity = match self.text("severity").as_deref() {
            None | Some("high") => Severity::High,
            Some("low") => Severity::Low,
            Some("medium") => Severity::Medium,
            Some("critical") => Severity::Critical,
            Some(other) => {
                self.bad(
                    node.get("severity")?,
                    format!("`{other}` is no severity"),
                    Some("low, medium, high or critical".into()),
                );
                return None;
            }
        };
        let on = match self.text("on").or_else(|| self.text(ON)).as_deref() {
            None => None,
            Some("host") => Some(On::Host),
            Some("controller") => Some(On::Controller),
            Some(other) => {
                self.bad(
                    node.get("on").or_else(|| node.get(ON))?,
                    format!("`{other}` is no place to look from"),
                    Some("host or controller".into()),
                );
                return None;
            }
        };
        let (on, probe) = self.probe(on)?;
        let expect = self.expressions("expect");
        if expect.is_empty() {
            self.bad(
                node,
                format!("the check `{id}` expects nothing"),
                Some("add `expect: EXPRESSION`".into()),
            );
            return None;
        }
        let when = self.expressions("when");
        let when = (!when.is_empty()).then(|| when.join(" and "));
        let show = self.expressions("show").into_iter().next();
        let policy = self.words("policy");
        Some(Check { id, title, policy, severity, on, probe, when, expect, show })
    }

    fn probe(&mut self, on: Option<On>) -> Option<(On, Probe)> {
        let node = self.node;
        let (name, command) = (self.text("probe"), self.text("command"));
        let (name, command) = match (name, command) {
            (Some(name), None) => (name, None),
            (None, Some(command)) => (String::new(), Some(command)),
            _ => {
                self.bad(node, "a check has either `probe` or `command`".into(), None);
                return None;
            }
        };
        if let Some(command) = command {
            if let Err(error) = debark_expr::check_str(&command) {
                self.bad(node.get("command")?, error.to_string(), None);
            }
            return Some((on.unwrap_or(On::Host), Probe::Command(command)));
        }
        let host = probes::HOST.iter().map(|probe| (probe.name, On::Host));
        let known: Vec<_> =
            host.chain(probes::CONTROLLER.iter().map(|name| (*name, On::Controller))).collect();
        let Some((name, own)) = known.iter().find(|(known, _)| *known == name) else {
            let hint = did_you_mean(&name, known.iter().map(|(name, _)| *name));
            let all: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let place = node.get("probe")?;
            self.bad(
                place,
                format!("there is no probe `{name}`"),
                hint.or_else(|| Some(format!("there are {}", all.join(", ")))),
            );
            return None;
        };
        if on.is_some_and(|on| on != *own) {
            let place = if *own == On::Host { "host" } else { "controller" };
            self.bad(
                node.get("on").or_else(|| node.get(ON))?,
                format!("the probe `{name}` looks from the {place}"),
                None,
            );
        }
        Some((*own, Probe::Named(name)))
    }

    fn need(&mut self, name: &str) -> Option<String> {
        let text = self.text(name);
        if text.is_none() && self.node.get(name).is_none() {
            self.bad(self.node, format!("a check needs `{name}`"), None);
        }
        text
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let node = self.node.get(name)?;
        match node.as_str().map(str::trim).filter(|text| !text.is_empty()) {
            Some(text) => Some(text.to_owned()),
            None => {
                self.bad(node, format!("`{name}` is text, and this is {}", node.describe()), None);
                None
            }
        }
    }

    /// Text, or a list of texts.
    fn words(&mut self, name: &str) -> Vec<String> {
        let Some(node) = self.node.get(name) else { return Vec::new() };
        let items = node.as_seq().unwrap_or(std::slice::from_ref(node));
        let mut words = Vec::new();
        for item in items {
            match item.to_value() {
                Value::Null | Value::List(_) | Value::Map(_) => {
                    self.bad(item, format!("`{name}` is text, and this is {}", item.describe()), None);
                }
                value => words.push(value.to_string()),
            }
        }
        words
    }

    fn expressions(&mut self, name: &str) -> Vec<String> {
        let words = self.words(name);
        for word in &words {
            if let Err(error) = debark_expr::check_expr(word)
                && let Some(node) = self.node.get(name)
            {
                self.bad(node, format!("`{name}` is no expression: {error}"), None);
            }
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checks.yml");
        std::fs::write(&path, text).unwrap();
        let sources = SourceMap::default();
        let errors = Checks::load(&[path], &sources).unwrap_err();
        errors.iter().map(|error| error.one_line(&sources)).collect()
    }

    #[test]
    fn the_default_ones_are_whole() {
        let checks = Checks::load(&[], &SourceMap::default()).unwrap();
        assert!(checks.0.len() > 10);
        for probe in probes::HOST {
            assert!(checks.0.iter().any(|check| check.probe == Probe::Named(probe.name)), "{}", probe.name);
        }
    }

    #[test]
    fn on_is_a_key_and_no_boolean() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checks.yml");
        let text = "- {id: own.here, title: T, on: controller, command: x, expect: observed.rc == 0}\n";
        std::fs::write(&path, text).unwrap();
        let checks = Checks::load(&[path], &SourceMap::default()).unwrap();
        assert_eq!(checks.0.iter().find(|check| check.id == "own.here").unwrap().on, On::Controller);
    }

    #[test]
    fn mistakes_are_told_with_their_places() {
        let text = "- id: a\n  title: A\n  prob: sshd\n  expect: 'true'\n- id: b\n  title: B\n  probe: firewal\n  expect: 'true'\n\
                    - {id: c, title: C, command: 'true', expect: 'observed.rc =='}\n- {title: D, command: x, expect: y}\n";
        let errors = errors(text);
        assert!(errors[0].contains("checks.yml:3:3") && errors[0].contains("no key `prob`"), "{errors:?}");
        assert!(
            errors.iter().any(|error| error.contains(":7:10") && error.contains("no probe `firewal`")),
            "{errors:?}"
        );
        assert!(errors.iter().any(|error| error.contains("`expect` is no expression")), "{errors:?}");
        assert!(errors.iter().any(|error| error.contains("a check needs `id`")), "{errors:?}");
    }
}
