//! Reading keywords: their shape, and what they are to the agent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use debark_value::{Map, Value};
use debark_wire as wire;

use super::context::Ctx;
use super::syntax;
use crate::diagnostic::{Diagnostic, Severity, did_you_mean};
use crate::keywords::{self, Keyword, Shape, on};
use crate::source::Span;
use crate::yaml::{Key, Node};

impl Ctx<'_> {
    /// Reads the keywords that plays, roles, blocks and tasks share.
    pub fn keywords(&mut self, entries: &[(Key, Node)], level: u8) -> wire::Keywords {
        let mut read = wire::Keywords::default();
        for (key, node) in entries {
            let Some(keyword) = keywords::find(&key.name, level) else { continue };
            if !self.check_shape(keyword, node) || node.is_null() {
                continue;
            }
            let value = || Some(node.to_value());
            match keyword.name {
                "when" => read.when = self.conditions(node),
                "vars" => read.vars = self.vars(node),
                "become" => read.become_ = value(),
                "become_user" => read.become_user = value(),
                "become_method" => read.become_method = value(),
                "become_flags" => read.become_flags = value(),
                "become_exe" => read.become_exe = value(),
                "environment" => read.environment = self.environment(node),
                "ignore_errors" => read.ignore_errors = value(),
                "ignore_unreachable" => read.ignore_unreachable = value(),
                "no_log" => read.no_log = value(),
                "check_mode" => read.check_mode = value(),
                "diff" => read.diff = value(),
                "any_errors_fatal" => {
                    read.any_errors_fatal = value();
                    self.lockstep |= node.to_value().to_bool().unwrap_or(true);
                }
                "delegate_to" => read.delegate_to = value(),
                "delegate_facts" => {
                    read.delegate_facts = value();
                    // The host that gets them must not be past the task by then.
                    self.lockstep = true;
                }
                "run_once" => read.run_once = value(),
                "throttle" => read.throttle = value(),
                "timeout" => read.timeout = value(),
                "module_defaults" => read.module_defaults = self.module_defaults(node),
                "tags" => read.tags = self.tags(node),
                "connection" if level == on::PLAY => read.connection = value(),
                "connection" => self.connection(node, &mut read),
                "remote_user" | "user" => read.remote_user = value(),
                "port" => read.port = value(),
                "debugger" => read.debugger = self.debugger(node),
                _ => continue,
            }
            if !matches!(keyword.name, "when" | "vars") {
                self.check_templates(node);
            }
        }
        read
    }

    /// `debugger`: when a task stops for the user.
    fn debugger(&mut self, node: &Node) -> Option<Value> {
        const WHEN: [&str; 5] = ["always", "never", "on_failed", "on_unreachable", "on_skipped"];
        let text = node.to_value().to_text().unwrap_or_default();
        match text.as_str() {
            "never" => {}
            text if syntax::is_template(text) || WHEN.contains(&text) => self.debugs(node, "debugger"),
            text => {
                let hint =
                    did_you_mean(text, WHEN).unwrap_or_else(|| format!("it is one of {}", WHEN.join(", ")));
                self.report(
                    Diagnostic::error(format!("`debugger` cannot be `{text}`")).at(node.span).hint(hint),
                );
            }
        }
        Some(text.into())
    }

    /// Notes that tasks may stop for the user, or warns that nobody is there to be asked.
    pub fn debugs(&mut self, node: &Node, what: &str) {
        self.compiler.debugs.store(true, Ordering::Relaxed);
        if !self.compiler.options.attended {
            let warning = format!("`{what}` needs a terminal: tasks run as if it were not there");
            self.report(Diagnostic::warning(warning).at(node.span).hint(
                "`-v` shows what tasks return, the module `debug` shows variables; run it on a terminal, without `--json`",
            ));
        }
    }

    /// `connection` below a play: `local` runs on the controller, for the host.
    fn connection(&mut self, node: &Node, read: &mut wire::Keywords) {
        let text = node.to_value().to_text().unwrap_or_default();
        match text.rsplit('.').next().unwrap_or_default() {
            "local" => {
                if read.delegate_to.is_none() {
                    read.delegate_to = Some("localhost".into());
                }
            }
            "ssh" | "smart" | "paramiko" | "paramiko_ssh" => {}
            _ if syntax::is_template(&text) => self.report(
                Diagnostic::error("`connection` of a task or block cannot be a template")
                    .at(node.span)
                    .hint("set `ansible_connection` in the inventory, or `delegate_to: localhost`"),
            ),
            _ => self.report(
                Diagnostic::error(format!("there is no connection `{text}`"))
                    .at(node.span)
                    .hint("`ssh` and `local` are known"),
            ),
        }
    }

    /// Reports a value of the wrong shape. Templates pass where they may stand.
    pub fn check_shape(&mut self, keyword: &Keyword, node: &Node) -> bool {
        let value = node.to_value();
        let template = value.as_str().is_some_and(syntax::is_template);
        let is_list = node.as_seq().is_some();
        let is_map = node.as_map().is_some();
        if node.is_null() || (template && keyword.shape != Shape::Tasks) {
            return true;
        }
        let wanted = match keyword.shape {
            Shape::Text if is_list || is_map => "text",
            Shape::Bool if value.to_bool().is_err() => "a boolean",
            Shape::Int if value.to_int().is_err() => "a whole number",
            Shape::Number if value.to_float().is_err() => "a number",
            Shape::Percent if percent(&value).is_none() => "a number or a percentage",
            Shape::Words if is_map => "a list of words",
            Shape::Conditions if is_map => "an expression or a list of them",
            Shape::Map if !is_map => "a mapping",
            Shape::Tasks if !is_list => "a list of tasks",
            _ => return true,
        };
        let got = match value.as_str() {
            Some(text) if text.chars().count() < 40 => format!("`{text}`"),
            _ => node.describe().to_owned(),
        };
        let hint = match (keyword.shape, keyword.name) {
            (Shape::Tasks, _) => Some("each task begins with `- `".to_owned()),
            (Shape::Bool, _) => Some("write `true` or `false`".to_owned()),
            (Shape::Map, "vars") => Some("write `name: value`, without `- `".to_owned()),
            _ => None,
        };
        self.report(
            Diagnostic::error(format!("`{}` wants {wanted}, got {got}", keyword.name))
                .at(node.span)
                .maybe_hint(hint),
        );
        false
    }

    /// `when` and its like as conditions with places.
    pub fn conditions(&mut self, node: &Node) -> Vec<wire::Condition> {
        let items = node.as_seq().unwrap_or(std::slice::from_ref(node));
        let mut conditions = Vec::with_capacity(items.len());
        for item in items {
            if item.is_null() {
                continue;
            }
            self.check_condition(item);
            let span = self.span(item.span);
            conditions.push(wire::Condition { value: item.to_value(), span });
        }
        conditions
    }

    /// `until`, `changed_when`, `failed_when`: conditions without places.
    pub fn condition_values(&mut self, node: &Node) -> Vec<Value> {
        self.conditions(node).into_iter().map(|condition| condition.value).collect()
    }

    /// A mapping of variables.
    pub fn vars(&mut self, node: &Node) -> Map {
        self.check_vars(node);
        node.to_map()
    }

    /// Reports names that no variable can have, and templates that are none.
    pub fn check_vars(&mut self, node: &Node) {
        for (key, value) in node.as_map().unwrap_or_default() {
            if !is_identifier(&key.name) {
                self.report(
                    Diagnostic::error(format!("`{}` cannot be the name of a variable", key.name))
                        .at(key.span)
                        .hint("a name has letters, digits and underscores, and begins with no digit"),
                );
            }
            self.check_templates(value);
        }
    }

    fn environment(&mut self, node: &Node) -> Vec<Value> {
        let items = node.as_seq().unwrap_or(std::slice::from_ref(node));
        for item in items {
            let fits =
                item.as_map().is_some() || item.as_str().is_some_and(syntax::is_template) || item.is_null();
            if !fits {
                self.report(
                    Diagnostic::error(format!("`environment` wants a mapping, got {}", item.describe()))
                        .at(item.span)
                        .hint("write `NAME: value`"),
                );
            }
        }
        items.iter().filter(|item| !item.is_null()).map(Node::to_value).collect()
    }

    fn module_defaults(&mut self, node: &Node) -> Vec<(String, Value)> {
        let mut defaults = Vec::new();
        for map in node.as_seq().unwrap_or(std::slice::from_ref(node)) {
            let Some(entries) = map.as_map() else {
                self.error(map.span, format!("`module_defaults` wants a mapping, got {}", map.describe()));
                continue;
            };
            for (key, value) in entries {
                let name = if key.name.starts_with("group/") {
                    key.name.to_string()
                } else {
                    // Defaults often name modules that this playbook never runs.
                    if let Err(error) = super::actions::resolve(&key.name) {
                        self.report(Diagnostic { severity: Severity::Warning, ..error.at(key.span) });
                    }
                    debark_modules::short_name(&key.name).to_owned()
                };
                if value.as_map().is_none()
                    && !value.is_null()
                    && !value.as_str().is_some_and(syntax::is_template)
                {
                    self.error(
                        value.span,
                        format!("defaults of `{}` want a mapping, got {}", key.name, value.describe()),
                    );
                }
                defaults.push((name, value.to_value()));
            }
        }
        defaults
    }

    /// `tags`: a list, or text split at commas.
    pub fn tags(&mut self, node: &Node) -> Vec<String> {
        let mut tags = Vec::new();
        for item in node.as_seq().unwrap_or(std::slice::from_ref(node)) {
            match item.to_value() {
                Value::Str(text) if syntax::is_template(&text) => tags.push(text.to_string()),
                Value::Str(text) => tags.extend(text.split(',').map(|tag| tag.trim().to_owned())),
                Value::Int(number) => tags.push(number.to_string()),
                Value::Bool(flag) => tags.push(flag.to_string()),
                Value::Null => {}
                _ => self.error(item.span, format!("a tag is a word, got {}", item.describe())),
            }
        }
        tags.retain(|tag| !tag.is_empty());
        tags
    }

    /// Reports keys that may not stand there.
    pub fn unknown_key(&mut self, thing: &str, key: &Key, level: u8) {
        let hint = did_you_mean(&key.name, keywords::names(level)).or_else(|| {
            keywords::KEYWORDS
                .iter()
                .find(|keyword| keyword.name == &*key.name)
                .map(|keyword| format!("`{}` may stand in {}", keyword.name, places(keyword.on)))
        });
        self.report(
            Diagnostic::error(format!("{thing} has no keyword `{}`", key.name)).at(key.span).maybe_hint(hint),
        );
    }

    /// Texts of a list, or of one text.
    pub fn texts(&mut self, what: &str, node: &Node) -> Vec<(String, Span)> {
        let mut texts = Vec::new();
        for item in node.as_seq().unwrap_or(std::slice::from_ref(node)) {
            match item.to_value().to_text() {
                Ok(text) => texts.push((text, item.span)),
                Err(_) if item.is_null() => {}
                Err(_) => self.error(item.span, format!("{what} wants text, got {}", item.describe())),
            }
        }
        texts
    }
}

/// Whether text can name a variable.
pub(super) fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

fn percent(value: &Value) -> Option<f64> {
    match value {
        Value::Str(text) => text.trim().trim_end_matches('%').trim().parse().ok(),
        other => other.to_float().ok(),
    }
}

fn places(on: u8) -> String {
    let all = [
        (keywords::on::PLAY, "a play"),
        (keywords::on::ROLE, "a role"),
        (keywords::on::BLOCK, "a block"),
        (keywords::on::TASK, "a task"),
        (keywords::on::HANDLER, "a handler"),
    ];
    all.iter().filter(|(bit, _)| on & bit != 0).map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

/// The map as `Arc`, for roles.
pub(super) fn shared(map: Map) -> Arc<Map> {
    Arc::new(map)
}
