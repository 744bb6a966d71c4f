//! Reading values out of nodes; what is wrong is kept, and reading goes on.

mod deploy;
mod environment;
mod package;
mod values;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use debark_order::InvalidName;
use debark_playbook::diagnostic::{Diagnostic, did_you_mean};
use debark_playbook::yaml::{Key, Node};
use debark_playbook::{SourceMap, Span};
use indexmap::IndexMap;

use crate::environment::Trust;
use crate::tables::{self, Table};
use crate::{Event, Ledger, Notification, Project, Receiver};

/// A file that is being read.
pub struct Reader<'a> {
    pub sources: &'a SourceMap,
    pub root: &'a Path,
    found: RefCell<Vec<Diagnostic>>,
}

/// A mapping whose keys are all known.
pub struct Fields<'n> {
    pub span: Span,
    pub table: &'static Table,
    entries: Vec<(String, Span, &'n Node)>,
}

impl<'n> Fields<'n> {
    /// What is there under that name, unless it is nothing.
    pub fn get(&self, name: &str) -> Option<&'n Node> {
        debug_assert!(self.table.keys.iter().any(|key| key.name == name), "{name}");
        let found = self.entries.iter().find(|(key, ..)| key == name);
        found.map(|(.., node)| *node).filter(|node| !node.is_null())
    }

    /// Whether the key is there, with or without a value; and where.
    pub fn key(&self, name: &str) -> Option<Span> {
        self.entries.iter().find(|(key, ..)| key == name).map(|(_, span, _)| *span)
    }

    /// Keys that are there.
    pub fn keys(&self) -> impl Iterator<Item = (&str, Span)> {
        self.entries.iter().map(|(key, span, _)| (key.as_str(), *span))
    }
}

impl<'a> Reader<'a> {
    pub fn new(sources: &'a SourceMap, root: &'a Path) -> Self {
        Self { sources, root, found: RefCell::default() }
    }

    pub fn into_found(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }

    /// Something is wrong.
    pub fn wrong(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    /// Something is wrong with this node.
    pub fn bad(&self, span: Span, message: impl Into<String>, hint: &str) {
        self.wrong(Diagnostic::error(message).at(span).hint(hint));
    }

    /// A name that is none.
    pub fn invalid(&self, span: Span, error: &InvalidName) {
        self.wrong(Diagnostic::error(error.to_string()).at(span));
    }

    /// A mapping; keys that it does not know or that are missing are told.
    pub fn fields<'n>(&self, node: &'n Node, table: &'static Table) -> Option<Fields<'n>> {
        let Some(entries) = node.as_map() else {
            let example = table.keys.iter().find(|key| key.required).or_else(|| table.keys.first());
            let example = example.map_or("key", |key| key.name);
            self.bad(
                node.span,
                format!("{} is a mapping, got {}", table.what, node.describe()),
                &format!("write `{example}: ...`, one key per line"),
            );
            return None;
        };
        let known = || table.keys.iter().map(|key| key.name);
        let entries: Vec<_> = entries.iter().map(|(key, node)| (self.key(key), key.span, node)).collect();
        for (key, span, _) in &entries {
            if !known().any(|name| name == key) {
                let hint = did_you_mean(key, known()).unwrap_or_else(|| {
                    format!(
                        "it has {}",
                        known().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                    )
                });
                self.bad(*span, format!("{} has no key `{key}`", table.what), &hint);
            }
        }
        for key in table.keys.iter().filter(|key| key.required) {
            if !entries.iter().any(|(there, _, node)| there == key.name && !node.is_null()) {
                self.bad(node.span, format!("{} needs `{}`", table.what, key.name), key.doc);
            }
        }
        Some(Fields { span: node.span, table, entries })
    }

    /// A key as it is written: `on` is a word here, and no boolean.
    fn key(&self, key: &Key) -> String {
        let written = matches!(&*key.name, "True" | "False").then(|| self.written(key.span)).flatten();
        written.unwrap_or_else(|| key.name.to_string())
    }

    /// The items of a list; one thing alone stands for a list of it.
    pub fn items<'n>(&self, node: &'n Node) -> &'n [Node] {
        node.as_seq().unwrap_or_else(|| std::slice::from_ref(node))
    }

    /// The items of what has to be a list.
    pub fn list<'n>(&self, node: &'n Node, what: &str) -> &'n [Node] {
        node.as_seq().unwrap_or_else(|| {
            self.bad(
                node.span,
                format!("{what} is a list, got {}", node.describe()),
                "begin each item with `- `",
            );
            &[]
        })
    }

    /// Names with what they stand for.
    fn named<K, V>(
        &self,
        node: Option<&Node>,
        what: &str,
        read: impl Fn(K, &Node) -> Option<V>,
    ) -> IndexMap<K, V>
    where
        K: std::str::FromStr<Err = InvalidName> + Clone + Eq + std::hash::Hash,
    {
        let mut found = IndexMap::new();
        let Some(node) = node else { return found };
        let Some(entries) = node.as_map() else {
            self.bad(
                node.span,
                format!("{what} is a mapping, got {}", node.describe()),
                "write `NAME:` and what belongs to it below",
            );
            return found;
        };
        for (key, node) in entries {
            match key.name.parse::<K>() {
                Ok(name) => {
                    if let Some(value) = read(name.clone(), node) {
                        found.insert(name, value);
                    }
                }
                Err(error) => self.invalid(key.span, &error),
            }
        }
        found
    }

    /// The whole file.
    pub fn project(&self, node: &Node, file: PathBuf) -> Option<Project> {
        let fields = self.fields(node, &tables::PROJECT)?;
        let store = fields.get("store").and_then(|node| self.store(node)).unwrap_or_else(|| self.own_store());
        let trust = self.trust(
            fields.get("trust"),
            &Trust {
                signers: self.root.join(".debark/signers"),
                build_keys: self.root.join(".debark/build-keys"),
                revoked: self.root.join(".debark/revoked"),
            },
        );
        let packages =
            self.named(fields.get("packages"), "`packages`", |name, node| self.package(name, node));
        let environments = self.named(fields.get("environments"), "`environments`", |name, node| {
            self.environment(name, node, &store, &trust)
        });
        let project = Project {
            root: self.root.to_owned(),
            file,
            deploy: fields.get("deploy").map(|node| self.deploy(node)).unwrap_or_default(),
            notify: fields.get("notify").map(|node| self.notifications(node)).unwrap_or_default(),
            ledger: self.ledger(fields.get("ledger")),
            packages,
            environments,
            store,
            trust,
            warnings: Vec::new(),
        };
        self.promotions(fields.get("environments"), &project);
        self.required_tests(fields.get("environments"), &project);
        Some(project)
    }

    fn ledger(&self, node: Option<&Node>) -> Ledger {
        let fields = node.and_then(|node| self.fields(node, &tables::LEDGER));
        let get = |name: &str| fields.as_ref().and_then(|fields| fields.get(name));
        Ledger {
            path: get("path")
                .and_then(|node| self.path(node))
                .unwrap_or_else(|| self.root.join(".debark/ledger.git")),
            remote: get("remote").and_then(|node| self.text(node)),
        }
    }

    fn notifications(&self, node: &Node) -> Vec<Notification> {
        let all = || Event::ALL.iter().copied().filter(|event| *event != Event::Started).collect();
        let read = |node: &Node| {
            let fields = self.fields(node, &tables::NOTIFY)?;
            let on = fields.get("on").map_or_else(all, |node| {
                let read = |node| self.choice(node, "an event", Event::NAMES, Event::ALL);
                self.items(node).iter().filter_map(read).collect()
            });
            let to = match self.one_of(&fields, &["webhook", "command"])? {
                ("webhook", node) => Receiver::Webhook(self.url(node)?),
                (_, node) => Receiver::Command(self.program(node)?),
            };
            Some(Notification { to, on })
        };
        self.list(node, "`notify`").iter().filter_map(read).collect()
    }
}
