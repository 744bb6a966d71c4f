//! Lookups, files and includes that hosts ask for.

use debark_value::{Map, Value};
use debark_wire::Place;

use super::said::{Looked, Said, Stated, With};
use super::trusted::{Trusted, leaves};
use super::{Local, View};
use crate::care::Care;

/// What a lookup's terms are, by its name.
fn care(name: &str) -> (Care, Care) {
    match name {
        "pipe" | "lines" => (Care::Shell, Care::Exact),
        "env" => (Care::Exact, Care::Free),
        // Every host knows the names of all.
        "inventory_hostnames" => (Care::Name, Care::Exact),
        "url" => (Care::Url, Care::Exact),
        "password" => (Care::Options, Care::Exact),
        // A key, and the file in an option.
        "csvfile" | "ini" => (Care::Word, Care::Path),
        _ => (Care::Path, Care::Path),
    }
}

fn short(name: &str) -> &str {
    let collections = ["ansible.builtin.", "ansible.legacy.", "community.general."];
    collections.iter().find_map(|collection| name.strip_prefix(collection)).unwrap_or(name)
}

/// Where lookups find files.
const FILES: &[&str] = &["files", "templates"];

impl View<'_> {
    /// A lookup must stand in a text that the host was sent.
    pub(super) fn lookup(
        &self,
        local: &Local,
        name: &str,
        args: &[Value],
        kwargs: &Map,
        role_path: Option<&str>,
    ) -> Result<(), String> {
        let own = self.own(local);
        let mut named = false;
        for said in [&*self.said, &local.said, &own] {
            if self.looked(local, said, (name, args, kwargs), role_path, &mut named) {
                return Ok(());
            }
        }
        let mut terms = Vec::new();
        args.iter().for_each(|arg| leaves(arg, &mut |leaf| terms.push(leaf.to_string())));
        let terms: String = terms.join(", ").chars().take(200).collect();
        Err(match named {
            true => format!(
                "asks for the lookup `{name}` of `{terms}`, which is not what the play looks up: what only a host \
                 knows may not change a lookup so"
            ),
            false => format!("asks for the lookup `{name}` of `{terms}`, which nothing in the play asks for"),
        })
    }

    fn looked(
        &self,
        local: &Local,
        said: &Said,
        (name, args, kwargs): (&str, &[Value], &Map),
        role_path: Option<&str>,
        named: &mut bool,
    ) -> bool {
        for Looked { call, around } in &said.lookups {
            let constant = |way: &debark_expr::shape::Pieces| matches!(way.as_slice(), [debark_expr::shape::Piece::Text(text)] if short(text) == name);
            let trusted = || self.trusted(local, around, role_path);
            let written = call.names.iter().any(constant);
            if !written
                && (call
                    .names
                    .iter()
                    .all(|way| matches!(way.as_slice(), [debark_expr::shape::Piece::Text(_)]))
                    || !trusted().fit(&call.names, name, Care::Exact, &[]))
            {
                continue;
            }
            *named = true;
            let trusted = trusted();
            let made = trusted.asks(|engine, scope| {
                drop(match debark_expr::is_template(&call.source) {
                    true => engine.render_str(&call.source, scope),
                    false => engine.eval(&call.source, scope),
                })
            });
            if made.iter().any(|made| (made.0.as_str(), made.1.as_slice(), &made.2) == (name, args, kwargs)) {
                return true;
            }
            let (term, option) = care(name);
            let known = |leaf: &Value| call.open && trusted.known(&leaf.to_string());
            let terms = args.iter().all(|arg| {
                texts(arg)
                    .iter()
                    .all(|leaf| known(leaf) || trusted.fit(&call.terms, &leaf.to_string(), term, FILES))
            });
            let options = kwargs.iter().filter(|(key, _)| &***key != "wantlist").all(|(key, value)| {
                let stated = call.options.iter().find(|(stated, _)| **stated == **key).map(|(_, ways)| ways);
                texts(value).iter().all(|leaf| {
                    known(leaf)
                        || stated.is_some_and(|ways| trusted.fit(ways, &leaf.to_string(), option, FILES))
                })
            });
            if terms && options {
                return true;
            }
        }
        said.withs.iter().filter(|with| short(&with.name) == name).any(|with| {
            *named = true;
            let trusted = self.trusted(local, &with.around, role_path);
            self.with(&trusted, with, (name, args, kwargs))
        })
    }

    fn with(&self, trusted: &Trusted, with: &With, (name, args, kwargs): (&str, &[Value], &Map)) -> bool {
        // `_subdir` is the agent's own word for where an action's files are.
        let known = |key: &str, value: &Value| match key {
            "wantlist" => true,
            "_subdir" => matches!(value.as_str(), Some("templates" | "vars")),
            _ => false,
        };
        if !kwargs.iter().all(|(key, value)| known(key, value)) {
            return false;
        }
        let made = trusted
            .asks(|engine, scope| drop(engine.lookup_list(&with.name, &with.items, Map::new(), scope)));
        if made.iter().any(|made| (made.0.as_str(), made.1.as_slice()) == (name, args)) {
            return true;
        }
        let mut ways = Vec::new();
        leaves(&with.items, &mut |leaf| ways.extend(debark_expr::shape::pieces(&leaf.to_string())));
        let (term, _) = care(name);
        args.iter()
            .all(|arg| texts(arg).iter().all(|leaf| trusted.fit(&ways, &leaf.to_string(), term, FILES)))
    }

    /// A file must be named by a task that takes files from the controller, or be one of the play's templates.
    pub(super) fn file(
        &self,
        local: &Local,
        path: &str,
        place: Place,
        role_path: Option<&str>,
    ) -> Result<(), String> {
        if local.given.contains(path) {
            return Ok(());
        }
        let named = self.said.tasks.iter().chain(&local.said.tasks).any(|stated| {
            let trusted = self.trusted(local, &stated.around, role_path);
            sources(stated).iter().any(|source| trusted.allows(source, path, Care::Path, FILES))
        });
        let template = || {
            let trusted = self.trusted(local, &super::Around::default(), role_path);
            place == Place::Templates
                && (trusted.allows("{{ debark_unknown }}", path, Care::Path, &["templates"]) || {
                    let mut all = self.said.lookups.iter().chain(&local.said.lookups);
                    all.any(|looked| trusted.fit(&looked.call.terms, path, Care::Path, &["templates"]))
                })
        };
        (named || template()).then_some(()).ok_or_else(|| {
            format!("asks for the file {path}, which no task of the play takes from the controller")
        })
    }

    fn stated<'a>(&'a self, local: &'a Local, action: &'a str) -> impl Iterator<Item = &'a Stated> {
        self.said.tasks.iter().chain(&local.said.tasks).filter(move |stated| stated.task.action == action)
    }

    /// A file of tasks must be named by such an include.
    pub(super) fn include(
        &self,
        local: &Local,
        action: &str,
        names: &[&str],
        file: &str,
        kind: &str,
    ) -> Result<(), String> {
        let allowed = self.stated(local, action).any(|stated| {
            let trusted = self.trusted(local, &stated.around, None);
            names.iter().filter_map(|name| stated.task.args.get(*name)).any(|written| {
                trusted.allows(&written.to_string(), file, Care::Path, &[kind])
                    || trusted.allows(written.to_string().trim(), file, Care::Path, &[kind])
            })
        });
        allowed.then_some(()).ok_or_else(|| format!("asks for {file}, which no `{action}` of the play names"))
    }

    pub(super) fn include_role(&self, local: &Local, name: &str, options: &Map) -> Result<(), String> {
        let allowed = self.stated(local, "include_role").any(|stated| {
            let trusted = self.trusted(local, &stated.around, None);
            let args = &stated.task.args;
            let named = ["name", "role", "_raw_params"].iter().filter_map(|key| args.get(*key));
            named.map(Value::to_string).any(|written| trusted.allows(&written, name, Care::Name, &[]))
                && options.iter().filter(|(key, _)| !matches!(&***key, "name" | "role" | "_raw_params")).all(
                    |(key, value)| {
                        args.get(key).is_some_and(|written| trusted.allows_value(written, value, Care::Path))
                    },
                )
        });
        allowed.then_some(()).ok_or_else(|| {
            format!("asks for the role {name} in a way that no `include_role` of the play does")
        })
    }

    pub(super) fn include_vars(&self, local: &Local, args: &Map) -> Result<(), String> {
        let place = |key: &str| matches!(key, "file" | "dir" | "_raw_params");
        let allowed = self.stated(local, "include_vars").any(|stated| {
            let trusted = self.trusted(local, &stated.around, None);
            let written = &stated.task.args;
            args.iter().all(|(key, value)| match written.get(key) {
                Some(written) if place(key) => {
                    trusted.allows(&written.to_string(), &value.to_string(), Care::Path, &["vars"])
                }
                Some(written) => trusted.allows_value(written, value, Care::Exact),
                None => false,
            })
        });
        let file =
            args.iter().find(|(key, _)| place(key)).map(|(_, value)| value.to_string()).unwrap_or_default();
        allowed.then_some(()).ok_or_else(|| {
            format!("asks for the variables in {file}, which no `include_vars` of the play names")
        })
    }
}

fn texts(value: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    leaves(value, &mut |leaf| {
        if !matches!(leaf, Value::Null | Value::Omit) {
            found.push(leaf.clone());
        }
    });
    found
}

/// What a task says of files on the controller, as written.
pub(super) fn sources(stated: &Stated) -> Vec<String> {
    let keys: &[&str] = match stated.task.action.as_str() {
        "copy" | "template" | "unarchive" | "assemble" | "uri" => &["src"],
        "script" => &["cmd", "_raw_params", "free_form"],
        _ => return Vec::new(),
    };
    let args = keys.iter().filter_map(|key| stated.task.args.get(*key)).filter_map(Value::as_str);
    let defaults = stated.keywords.module_defaults.iter().filter_map(|(_, value)| value.get("src")?.as_str());
    let script = stated.task.action == "script";
    args.chain(defaults).map(|text| if script { first_word(text) } else { text.to_owned() }).collect()
}

/// The program's name in a command with arguments; blanks within braces belong to it.
pub(super) fn first_word(text: &str) -> String {
    let text = text.trim();
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        return text.get(1..).unwrap_or_default().split(quote).next().unwrap_or_default().to_owned();
    }
    let (mut depth, mut word) = (0usize, String::new());
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c if c.is_whitespace() && depth == 0 => break,
            _ => {}
        }
        word.push(c);
    }
    word
}
