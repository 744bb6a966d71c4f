//! Scalars and other small values.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use debark_order::InvalidName;
use debark_playbook::Span;
use debark_playbook::diagnostic::did_you_mean;
use debark_playbook::yaml::{Kind, Node, Style};
use debark_value::Value;

use super::{Fields, Reader};
use crate::{Amount, Program, parse_duration};

impl Reader<'_> {
    /// Text. Numbers count as they are written: `version: 1.10` is no 1.1.
    pub fn text(&self, node: &Node) -> Option<String> {
        match &node.kind {
            Kind::Scalar(Value::Str(text), _) if text.contains('\0') => {
                self.bad(node.span, "text cannot hold a NUL", "remove it");
                None
            }
            Kind::Scalar(Value::Str(text), _) => Some(text.to_string()),
            Kind::Scalar(Value::Int(_) | Value::Float(_), Style::Plain) => self.written(node.span),
            _ => {
                let hint = match node.kind {
                    Kind::Scalar(Value::Bool(_), _) => "put it into quotes",
                    _ => "write it behind the key, on the same line",
                };
                self.bad(node.span, format!("this has to be text, got {}", node.describe()), hint);
                None
            }
        }
    }

    /// A scalar as it stands in the file.
    pub fn written(&self, span: Span) -> Option<String> {
        let source = self.sources.get(span.file)?;
        let text = source.text.get(span.start as usize..span.end as usize)?;
        Some(text.trim().to_owned())
    }

    /// One line of text.
    pub fn line(&self, node: &Node) -> Option<String> {
        let text = self.text(node)?;
        if text.trim().is_empty() || text.trim_end().contains('\n') {
            self.bad(
                node.span,
                "this has to be one line of text",
                "write it on one line, in quotes if need be",
            );
            return None;
        }
        Some(text.trim_end().to_owned())
    }

    /// Texts: a list, or one.
    pub fn words(&self, node: &Node) -> Vec<String> {
        self.items(node).iter().filter_map(|node| self.line(node)).collect()
    }

    /// A name that is checked.
    pub fn name<T: FromStr<Err = InvalidName>>(&self, node: &Node) -> Option<T> {
        let text = self.text(node)?;
        text.parse().map_err(|error| self.invalid(node.span, &error)).ok()
    }

    /// Such names: a list, or one.
    pub fn names<T: FromStr<Err = InvalidName>>(&self, node: &Node) -> Vec<T> {
        self.items(node).iter().filter_map(|node| self.name(node)).collect()
    }

    /// A path of this machine; relative ones begin at the project.
    pub fn path(&self, node: &Node) -> Option<PathBuf> {
        let text = self.line(node)?;
        match text.strip_prefix("~/").zip(std::env::var_os("HOME")) {
            Some((below, home)) => Some(PathBuf::from(home).join(below)),
            None => Some(self.root.join(text)),
        }
    }

    /// A URL over http or https.
    pub fn url(&self, node: &Node) -> Option<String> {
        let text = self.line(node)?;
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        if rest
            .is_none_or(|rest| rest.is_empty() || rest.starts_with('/') || text.contains(char::is_whitespace))
        {
            self.bad(node.span, format!("{text:?} is no URL"), "write it as `https://example.org/path`");
            return None;
        }
        Some(text)
    }

    /// A path within the source: relative, and it stays there.
    pub fn inner(&self, node: &Node) -> Option<String> {
        let text = self.line(node)?;
        let text = text.strip_prefix("./").unwrap_or(&text);
        if text.starts_with('/') || text.split('/').any(|part| part == "..") {
            self.bad(
                node.span,
                format!("{text:?} is not within the package's source"),
                "name it from the top of the source; what is elsewhere cannot be built from a commit",
            );
            return None;
        }
        Some(text.trim_end_matches('/').to_owned())
    }

    /// Where something will be on a host.
    pub fn destination(&self, node: &Node) -> Option<String> {
        let text = self.line(node)?;
        let good = text.starts_with('/') && !text.split('/').any(|part| part == ".." || part == ".");
        if !good || text.contains("//") {
            self.bad(
                node.span,
                format!("{text:?} is no absolute path without `.` and `..`"),
                "write it as `/usr/lib/NAME/FILE`",
            );
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    pub fn bool(&self, node: &Node) -> Option<bool> {
        match &node.kind {
            Kind::Scalar(Value::Bool(yes), _) => Some(*yes),
            _ => {
                self.bad(
                    node.span,
                    format!("this has to be true or false, got {}", node.describe()),
                    "write `true` or `false`",
                );
                None
            }
        }
    }

    /// A number between these.
    pub fn int(&self, node: &Node, least: u32, most: u32) -> Option<u32> {
        let number = match &node.kind {
            Kind::Scalar(Value::Int(number), _) => u32::try_from(*number).ok(),
            _ => None,
        };
        let good = number.filter(|number| (least..=most).contains(number));
        if good.is_none() {
            self.bad(
                node.span,
                format!("this has to be a whole number from {least} to {most}"),
                "write digits alone",
            );
        }
        good
    }

    /// `30s`, at least `least`.
    pub fn duration(&self, node: &Node, least: Duration) -> Option<Duration> {
        let hint = "write it as `500ms`, `30s`, `5m`, `1h30m` or `2d`";
        let text = self.text(node)?;
        match parse_duration(&text) {
            Ok(duration) if duration < least => {
                self.bad(
                    node.span,
                    format!("{text} is too short: at least {}", crate::format_duration(least)),
                    hint,
                );
                None
            }
            Ok(duration) => Some(duration),
            Err(error) => {
                self.bad(node.span, error.to_string(), hint);
                None
            }
        }
    }

    /// Milliseconds of a duration.
    pub fn millis(&self, node: Option<&Node>, default: u64) -> u64 {
        let read = node.and_then(|node| self.duration(node, Duration::ZERO));
        read.map_or(default, |duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    /// `3` or `25%`; a wave has at least one host.
    pub fn amount(&self, node: &Node, least: u32) -> Option<Amount> {
        let text = self.text(node)?;
        let amount = match text.trim().strip_suffix('%') {
            Some(number) => {
                number.trim().parse().ok().filter(|n| (least..=100).contains(n)).map(Amount::Percent)
            }
            None => text.trim().parse().ok().filter(|n| *n >= least).map(Amount::Count),
        };
        if amount.is_none() {
            self.bad(
                node.span,
                format!("{text:?} is no number of hosts"),
                &format!("write a number from {least} on, or a percentage such as `25%`"),
            );
        }
        amount
    }

    /// Permissions, in octal as they are written.
    pub fn mode(&self, node: &Node) -> Option<u32> {
        let text = match &node.kind {
            Kind::Scalar(Value::Str(text), _) => text.to_string(),
            Kind::Scalar(Value::Int(_), Style::Plain) => self.written(node.span)?,
            _ => String::new(),
        };
        let digits = text.strip_prefix("0o").unwrap_or(&text);
        let mode =
            u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777 && !digits.starts_with('+'));
        if mode.is_none() {
            self.bad(node.span, "these are no permissions in octal", "write them as `0644` or `0755`");
        }
        mode
    }

    /// One of these words.
    pub fn choice<T: Copy>(&self, node: &Node, what: &str, words: &[&str], values: &[T]) -> Option<T> {
        let text = self.text(node)?;
        let found = words.iter().position(|word| *word == text).and_then(|at| values.get(at).copied());
        if found.is_none() {
            let hint = did_you_mean(&text, words.iter().copied())
                .unwrap_or_else(|| format!("it may be {}", words.join(", ")));
            self.bad(node.span, format!("{text:?} is not {what}"), &hint);
        }
        found
    }

    /// A line for the shell, or words.
    pub fn program(&self, node: &Node) -> Option<Program> {
        match node.as_seq() {
            None => {
                let text = self.text(node)?;
                if text.trim().is_empty() {
                    self.bad(
                        node.span,
                        "there is no program to run",
                        "write a line for the shell, or a list of words",
                    );
                    return None;
                }
                Some(Program::Shell(text))
            }
            Some([]) => {
                self.bad(
                    node.span,
                    "there is no program to run",
                    "write a line for the shell, or a list of words",
                );
                None
            }
            Some(_) => {
                let words =
                    self.items(node).iter().map(|node| self.text(node)).collect::<Option<Vec<_>>>()?;
                Some(Program::Argv(words))
            }
        }
    }

    /// The one of these keys that is there.
    pub fn one_of<'n>(&self, fields: &Fields<'n>, keys: &[&'static str]) -> Option<(&'static str, &'n Node)> {
        let there: Vec<_> = keys.iter().filter_map(|key| Some((*key, fields.get(key)?))).collect();
        match there[..] {
            [one] => Some(one),
            [] => {
                let list = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
                self.bad(
                    fields.span,
                    format!("{} needs one of {list}", fields.table.what),
                    "add one of them",
                );
                None
            }
            [(first, _), (second, node), ..] => {
                self.bad(
                    node.span,
                    format!("{} has either `{first}` or `{second}`", fields.table.what),
                    "remove one of them",
                );
                None
            }
        }
    }
}
