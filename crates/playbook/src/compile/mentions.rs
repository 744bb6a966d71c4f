//! Which facts a play mentions, found in the text of everything it runs.
//!
//! Text is scanned rather than parsed: a name in a comment costs a fact too many, a name that is overlooked would
//! break a play.

use std::collections::BTreeSet;

use debark_value::Value;

/// What was mentioned so far.
#[derive(Debug, Clone, Default)]
pub struct Mentions {
    names: BTreeSet<String>,
    everything: bool,
    hostvars: bool,
    play_hosts: bool,
}

impl Mentions {
    /// Reads a text, be it an expression, a template or plain.
    pub fn scan(&mut self, text: &str) {
        if text.contains("hostvars") {
            self.hostvars = true;
            self.everything = true;
        }
        // `ansible_play_hosts`, too; it changes when a host fails.
        self.play_hosts |= text.contains("play_hosts") || text.contains("ansible_play_batch");
        if self.everything {
            return;
        }
        // A variable whose name is computed may be any; a template that a lookup renders may mention any.
        if ["vars[", "'vars'", "\"vars\"", "varnames", "'template'", "\"template\""]
            .iter()
            .any(|way| text.contains(way))
        {
            self.everything = true;
        }
        for (at, _) in text.match_indices("ansible_") {
            let before = text.get(..at).and_then(|t| t.chars().next_back());
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let rest = text.get(at..).unwrap_or_default();
            let name = identifier(rest);
            match name {
                "ansible_" => self.everything = true,
                "ansible_facts" => match member(rest.get(name.len()..).unwrap_or_default()) {
                    Some(fact) => drop(self.names.insert(format!("ansible_facts.{fact}"))),
                    None => self.everything = true,
                },
                name => drop(self.names.insert(name.to_owned())),
            }
        }
    }

    /// Reads all text within a value.
    pub fn scan_value(&mut self, value: &Value) {
        match value {
            Value::Str(text) => self.scan(text),
            Value::List(items) => items.iter().for_each(|item| self.scan_value(item)),
            Value::Map(map) => {
                for (key, item) in map.iter() {
                    if key.contains("ansible_") || key.contains("{{") {
                        self.scan(key);
                    }
                    self.scan_value(item);
                }
            }
            _ => {}
        }
    }

    /// Something cannot be known beforehand.
    pub fn all(&mut self) {
        self.everything = true;
    }

    /// Whether other hosts' variables are read.
    pub fn hostvars(&self) -> bool {
        self.hostvars
    }

    /// Whether the hosts that are left in the play are read.
    pub fn play_hosts(&self) -> bool {
        self.play_hosts
    }

    /// The names; `None`: everything.
    pub fn names(&self) -> Option<Vec<String>> {
        (!self.everything).then(|| self.names.iter().cloned().collect())
    }
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// `.name`, `['name']`, `["name"]` or `.get('name'` behind `ansible_facts`.
fn member(rest: &str) -> Option<&str> {
    let quoted = |text: &str| -> Option<usize> { text.starts_with(['\'', '"']).then_some(1) };
    let (name, closing) = if let Some(inner) = rest.strip_prefix('[') {
        let inner = inner.trim_start();
        (identifier(inner.get(quoted(inner)?..)?), inner)
    } else {
        let inner = rest.strip_prefix('.')?;
        let name = identifier(inner);
        match (name, inner.strip_prefix("get(")) {
            ("get", Some(inner)) => (identifier(inner.get(quoted(inner)?..)?), inner),
            ("items" | "keys" | "values" | "get", _) => return None,
            _ => return (!name.is_empty()).then_some(name),
        }
    };
    // `['default_' ~ x]` is computed.
    let behind = closing.get(1 + name.len()..)?.strip_prefix(['\'', '"'])?.trim_start();
    (!name.is_empty() && behind.starts_with([']', ')', ','])).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Option<Vec<String>> {
        let mut mentions = Mentions::default();
        mentions.scan(text);
        mentions.names()
    }

    #[test]
    fn finds_facts() {
        let some = |list: &[&str]| Some(list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(names("{{ ansible_os_family }} my_ansible_x"), some(&["ansible_os_family"]));
        assert_eq!(
            names("ansible_facts['mounts'] ansible_facts.env.HOME"),
            some(&["ansible_facts.env", "ansible_facts.mounts"])
        );
        assert_eq!(names("ansible_facts.get('lsb')"), some(&["ansible_facts.lsb"]));
        assert_eq!(names("nothing"), some(&[]));
    }

    #[test]
    fn takes_what_is_computed_as_everything() {
        for text in [
            "ansible_facts | to_json",
            "ansible_facts[x]",
            "ansible_facts['default_' ~ x]",
            "ansible_facts.items()",
            "lookup('vars', 'ansible_' ~ iface)",
            "hostvars[h].x",
        ] {
            assert_eq!(names(text), None, "{text}");
        }
    }
}
