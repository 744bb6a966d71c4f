//! YAML inventories, as ansible-core's `yaml` plugin reads them: groups with `hosts`, `vars` and `children`.

use std::sync::Arc;

use super::address;
use super::data::{Data, GroupId, Var};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::yaml::{Key, Kind, Node, Tag};

/// A variable from a YAML node; `secret`: its file came out of a vault.
pub fn var(key: &Key, node: &Node, secret: bool) -> Var {
    Var { value: node.to_value(), span: Some(key.span), secret: secret || from_vault(node) }
}

fn from_vault(node: &Node) -> bool {
    node.tag == Some(Tag::Vault)
        || match &node.kind {
            Kind::Seq(items) => items.iter().any(from_vault),
            Kind::Map(entries) => entries.iter().any(|(_, item)| from_vault(item)),
            Kind::Scalar(..) => false,
        }
}

/// Reads a document into `data`; yields warnings.
///
/// # Errors
/// What is no inventory.
pub fn read(data: &mut Data, root: &Node, source: u32, secret: bool) -> Result<Vec<Diagnostic>, Diagnostic> {
    let Some(groups) = root.as_map() else {
        return Err(Diagnostic::error(format!(
            "a YAML inventory is a mapping of groups, and this is {}",
            root.describe()
        ))
        .at(root.span)
        .hint("all:\n  hosts:\n    web1:"));
    };
    if let Some((key, plugin)) = root.entry("plugin") {
        let name = plugin.as_str().unwrap_or("?");
        return Err(Diagnostic::error(format!("inventory plugin `{name}` cannot be run")).at(key.span).hint(
            "debark reads INI, YAML and executable inventories; `ansible-inventory --list --export` makes one of this",
        ));
    }
    let mut reader = Reader { data, source, secret, warnings: Vec::new() };
    for (key, node) in groups {
        reader.group(key, node)?;
    }
    Ok(reader.warnings)
}

struct Reader<'a> {
    data: &'a mut Data,
    source: u32,
    secret: bool,
    warnings: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn group(&mut self, key: &Key, node: &Node) -> Result<Option<GroupId>, Diagnostic> {
        let Some(entries) = node.as_map().or_else(|| node.is_null().then_some(&[])) else {
            self.warnings.push(
                Diagnostic::warning(format!("`{}` is no group: it is {}", key.name, node.describe()))
                    .at(key.span),
            );
            return Ok(None);
        };
        if key.name.is_empty() {
            return Err(Diagnostic::error("a group has an empty name").at(key.span));
        }
        let group = self.data.add_group(&key.name);
        for (section, content) in entries {
            match &*section.name {
                "vars" => {
                    for (name, value) in self.entries(section, content, &key.name)? {
                        let var = var(&name, &value, self.secret);
                        self.data
                            .set_group_var(group, &name.name, var)
                            .map_err(|why| Diagnostic::error(why).at(name.span))?;
                    }
                }
                "children" => {
                    for (name, child) in self.entries(section, content, &key.name)? {
                        if let Some(child) = self.group(&name, &child)? {
                            self.data.link(group, child);
                        }
                    }
                }
                "hosts" => {
                    for (name, vars) in self.entries(section, content, &key.name)? {
                        self.host(group, &name, &vars)?;
                    }
                }
                other => self.warnings.push(
                    Diagnostic::warning(format!("group `{}` has `{other}`, which is ignored", key.name))
                        .at(section.span)
                        .hint("a group has `hosts`, `vars` and `children`")
                        .maybe_hint(did_you_mean(other, ["hosts", "vars", "children"])),
                ),
            }
        }
        Ok(Some(group))
    }

    fn host(&mut self, group: GroupId, key: &Key, node: &Node) -> Result<(), Diagnostic> {
        let wrong = |why: String| Diagnostic::error(why).at(key.span);
        let Some(entries) = node.as_map().or_else(|| node.is_null().then_some(&[])) else {
            return Err(wrong(format!(
                "host `{}` has {}, and wants a mapping of variables",
                key.name,
                node.describe()
            )));
        };
        if key.name.is_empty() {
            return Err(wrong("a host has an empty name".into()));
        }
        let (names, port) = address::expand(&key.name).map_err(wrong)?;
        let vars: Vec<(Arc<str>, Var)> = entries
            .iter()
            .map(|(name, value)| (self.data.key(&name.name), var(name, value, self.secret)))
            .collect();
        for name in names {
            self.data.add_listed(&name, group, port, self.source, Some(key.span), &vars).map_err(wrong)?;
        }
        Ok(())
    }

    /// The entries of a section; one word stands for a mapping with nothing in it.
    fn entries(&self, section: &Key, node: &Node, group: &str) -> Result<Vec<(Key, Node)>, Diagnostic> {
        if node.is_null() {
            return Ok(Vec::new());
        }
        if let Some(word) = node.as_str() {
            let key = Key { name: word.into(), span: node.span };
            return Ok(vec![(key, Node::scalar(debark_value::Value::Null, node.span))]);
        }
        match node.as_map() {
            Some(entries) => Ok(entries.to_vec()),
            None => Err(Diagnostic::error(format!(
                "`{}` of group `{group}` wants a mapping, and this is {}",
                section.name,
                node.describe()
            ))
            .at(node.span)
            .hint("write `web1:` for each entry, not `- web1`")),
        }
    }
}
