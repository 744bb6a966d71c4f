//! Parameters against what the module declares: names, types, rules, each at its own place.

use debark_modules::param::{Kind, Spec};
use debark_value::{Map, Value};

use super::action::Action;
use super::context::{Ctx, Scope};
use super::syntax;
use crate::diagnostic::{Diagnostic, Severity, did_you_mean};
use crate::source::Span;
use crate::yaml::{Key, Node};

/// What `package` takes where another package manager than apt works: parameters of dnf and zypper.
const OTHER_MANAGERS: [&str; 22] = [
    "allowerasing",
    "best",
    "bugfix",
    "cacheonly",
    "conf_file",
    "disable_excludes",
    "disable_gpg_check",
    "disable_plugin",
    "disable_recommends",
    "disablerepo",
    "download_only",
    "enable_plugin",
    "enablerepo",
    "exclude",
    "extra_args",
    "installroot",
    "nobest",
    "releasever",
    "security",
    "skip_broken",
    "sslverify",
    "validate_certs",
];

impl Ctx<'_> {
    /// Checks the parameters and yields them under their canonical names.
    pub fn checked_args(&mut self, action: &Action, scope: &Scope) -> Map {
        for (_, node) in &action.args {
            self.check_templates(node);
        }
        self.by_spec(action.resolved.spec, action, scope)
    }

    fn by_spec(&mut self, spec: &'static Spec, action: &Action, scope: &Scope) -> Map {
        let mut args = Map::new();
        let mut places: Vec<(&'static str, Span)> = Vec::new();
        for (key, node) in &action.args {
            // Free text belongs to the parameter that takes it.
            let name = match (&*key.name, spec.rules.free_form) {
                ("_raw_params", Some(name)) => name,
                (name, _) => name,
            };
            let Some(field) = spec.field(name) else {
                // On the host it is an error, if the task ever runs there.
                let elsewhere = scope.conditional
                    && action.resolved.name == "package"
                    && OTHER_MANAGERS.contains(&&*key.name);
                if spec.rules.any_key || elsewhere {
                    args.insert(key.name.clone(), node.to_value());
                    continue;
                }
                let known = spec.all().flat_map(|field| {
                    std::iter::once(field.name)
                        .chain(field.aliases.iter().copied())
                        .filter(|name| !name.starts_with('_'))
                });
                self.unknown_parameter(action.resolved.name, key, known);
                continue;
            };
            if let Some((_, first)) = places.iter().find(|(name, _)| *name == field.name) {
                self.report(
                    Diagnostic::error(format!(
                        "`{}` is given twice: `{}` is another name for it",
                        field.name, key.name
                    ))
                    .at(key.span)
                    .related(*first, "first given here"),
                );
                continue;
            }
            places.push((field.name, key.span));
            let value = node.to_value();
            if !value.is_null()
                && let Err(why) = check(&field.kind, &value)
            {
                let at = if node.span.end > node.span.start { node.span } else { key.span };
                let hint = choice_hint(&field.kind, &value);
                self.report(
                    Diagnostic::error(format!("{} {why}", named(&key.name, action.resolved.name)))
                        .at(at)
                        .maybe_hint(hint),
                );
            }
            args.insert(field.name.into(), value);
        }
        let open = action.template.is_some() || defaults_apply(action.resolved.name, scope);
        self.rules(spec, action, &args, &places, open, scope.conditional);
        args
    }

    fn unknown_parameter(&mut self, module: &str, key: &Key, known: impl Iterator<Item = &'static str>) {
        let known: Vec<_> = known.collect();
        let hint = did_you_mean(&key.name, known.iter().copied()).or_else(|| {
            match crate::keywords::find(&key.name, crate::keywords::on::TASK) {
                Some(_) => Some(format!("`{}` is a keyword of the task: indent it less", key.name)),
                None if known.len() <= 12 && !known.is_empty() => {
                    Some(format!("it has `{}`", known.join("`, `")))
                }
                None => Some(format!("`debark modules {module}` lists them")),
            }
        });
        self.report(
            Diagnostic::error(format!("`{module}` has no parameter `{}`", key.name))
                .at(key.span)
                .maybe_hint(hint),
        );
    }

    /// The rules among parameters. `open`: more may come at run time, so nothing can be missing. `guarded`: under a condition.
    fn rules(
        &mut self,
        spec: &'static Spec,
        action: &Action,
        args: &Map,
        places: &[(&'static str, Span)],
        open: bool,
        guarded: bool,
    ) {
        let name = action.resolved.name;
        let place = |wanted: &str| {
            places.iter().find(|(name, _)| *name == wanted).map_or(action.span, |(_, span)| *span)
        };
        let given = |wanted: &str| args.get(wanted).is_some_and(|value| !value.is_null());
        // A template with `omit` may come to nothing: then it neither excludes nor needs another.
        let surely = |wanted: &str| given(wanted) && !args.get(wanted).is_some_and(may_be_omitted);
        let mut wrong = Vec::new();
        for field in spec.all().filter(|field| field.required && !open && !given(field.name)) {
            let mut error =
                Diagnostic::error(format!("`{name}` needs the parameter `{}`", field.name)).at(action.span);
            if !field.aliases.is_empty() {
                let others: Vec<_> =
                    field.aliases.iter().copied().filter(|alias| !alias.starts_with('_')).collect();
                if !others.is_empty() {
                    error = error.hint(format!("also known as `{}`", others.join("`, `")));
                }
            }
            wrong.push(error);
        }
        for group in spec.rules.exclusive {
            let both: Vec<_> = group.iter().copied().filter(|wanted| surely(wanted)).collect();
            if let [first, second, ..] = both[..] {
                wrong.push(
                    Diagnostic::error(format!("`{name}`: `{}` exclude each other", both.join("` and `")))
                        .at(place(second))
                        .related(place(first), "and this"),
                );
            }
        }
        if !open {
            for group in spec.rules.one_of.iter().filter(|group| !group.iter().any(|wanted| given(wanted))) {
                let error = Diagnostic::error(format!("`{name}` needs one of `{}`", group.join("`, `")));
                wrong.push(error.at(action.span));
            }
            for group in spec.rules.together {
                let Some(first) = group.iter().find(|wanted| surely(wanted)) else { continue };
                if let Some(missing) = group.iter().find(|wanted| !given(wanted)) {
                    let error = Diagnostic::error(format!("`{name}`: `{first}` needs `{missing}` as well"));
                    wrong.push(error.at(place(first)));
                }
            }
            for (wanted, value, needs) in spec.rules.when {
                let holds = args.get(*wanted).is_some_and(|v| v.to_text().is_ok_and(|text| text == *value));
                if holds && let Some(missing) = needs.iter().find(|need| !given(need)) {
                    let error = Diagnostic::error(format!(
                        "`{name}`: `{wanted}: {value}` needs the parameter `{missing}`"
                    ));
                    wrong.push(error.at(place(wanted)));
                }
            }
        }
        for error in wrong {
            // Ansible tells only where the task runs, and playbooks for several systems rely on it.
            let severity = if guarded { Severity::Warning } else { error.severity };
            self.report(Diagnostic { severity, ..error });
        }
    }
}

/// Whether `module_defaults` around the task may give parameters to the module.
fn defaults_apply(module: &str, scope: &Scope) -> bool {
    scope.defaults.iter().any(|name| &**name == module || name.starts_with("group/"))
}

fn may_be_omitted(value: &Value) -> bool {
    value.as_str().is_some_and(|text| syntax::is_template(text) && text.contains("omit"))
}

/// Whether the value fits, as far as it is no template.
fn check(kind: &Kind, value: &Value) -> Result<(), String> {
    match (kind, value) {
        (_, Value::Str(text)) if syntax::is_template(text) => Ok(()),
        (Kind::List(of), Value::List(items)) => items.iter().try_for_each(|item| check(of, item)),
        // Text out of a mapping or list is written as JSON.
        (Kind::Str, Value::Map(_) | Value::List(_)) => Ok(()),
        (_, value) if !matches!(value, Value::Map(_)) && syntax::has_template(value) => Ok(()),
        (kind, value) => kind.check(value),
    }
}

fn choice_hint(kind: &Kind, value: &Value) -> Option<String> {
    match kind {
        Kind::Choice(words) => did_you_mean(&value.to_text().ok()?, words.iter().copied()),
        Kind::List(of) => value.as_list()?.iter().find_map(|item| choice_hint(of, item)),
        _ => None,
    }
}

/// The parameter with its node, under any of these names.
pub(super) fn arg<'a>(args: &'a [(Key, Node)], names: &[&str]) -> Option<&'a (Key, Node)> {
    args.iter().find(|(key, _)| names.contains(&&*key.name))
}

/// The parameter in messages; free text has no name of its own.
fn named(parameter: &str, module: &str) -> String {
    match parameter {
        "_raw_params" => format!("`{module}`"),
        _ => format!("parameter `{parameter}` of `{module}`"),
    }
}
