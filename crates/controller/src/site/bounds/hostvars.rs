//! Which variables of which other hosts a text mentions.

use std::collections::BTreeSet;

/// Names that are not shown to other hosts unless a text says them in so many letters.
const PRIVATE: &[&str] = &["pass", "private_key", "secret", "token"];

/// What was mentioned so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mentioned {
    /// Whether `hostvars` is mentioned at all.
    any: bool,
    /// Somewhere the variable's name is computed, or all of them are taken.
    all: bool,
    names: BTreeSet<String>,
    /// Somewhere the host's name is computed.
    all_hosts: bool,
    hosts: BTreeSet<String>,
}

impl Mentioned {
    /// Reads a text.
    pub(crate) fn scan(&mut self, text: &str) {
        for (at, word) in text.match_indices("hostvars") {
            self.any = true;
            let rest = text.get(at + word.len()..).unwrap_or_default().trim_start();
            let (host, rest) = if let Some(inner) = rest.strip_prefix('[') {
                subscript(inner)
            } else if let Some(names) = rest.strip_prefix(',') {
                // `map('extract', hostvars, 'name')`, or a list of names that lead deeper.
                let names = names.trim_start();
                match quoted(names.strip_prefix('[').unwrap_or(names).trim_start()) {
                    Some((name, _)) => drop(self.names.insert(name.to_owned())),
                    None => self.all = true,
                }
                self.all_hosts = true;
                continue;
            } else {
                (None, None)
            };
            match host {
                Some(host) => drop(self.hosts.insert(host.to_owned())),
                None => self.all_hosts = true,
            }
            match rest.and_then(member) {
                Some(name) => drop(self.names.insert(name.to_owned())),
                None => self.all = true,
            }
        }
    }

    /// Adds what other texts mention.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.any |= other.any;
        self.all |= other.all;
        self.all_hosts |= other.all_hosts;
        self.names.extend(other.names.iter().cloned());
        self.hosts.extend(other.hosts.iter().cloned());
    }

    /// Whether a host's variables are read at all.
    pub(crate) fn host(&self, host: &str) -> bool {
        self.any && (self.all_hosts || self.hosts.contains(host))
    }

    /// Whether this variable of it is.
    pub(crate) fn variable(&self, name: &str) -> bool {
        self.names.contains(name)
            || (self.all && !PRIVATE.iter().any(|word| name.to_ascii_lowercase().contains(word)))
    }
}

/// `'web1']...` or `x]...`: the host, if it is a plain text, and what follows.
fn subscript(inner: &str) -> (Option<&str>, Option<&str>) {
    if let Some((host, rest)) = quoted(inner.trim_start())
        && let Some(rest) = rest.trim_start().strip_prefix(']')
    {
        return (Some(host), Some(rest));
    }
    let mut depth = 1;
    for (at, c) in inner.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (None, inner.get(at + 1..));
        }
    }
    (None, None)
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text.get(1..)?.split_once(quote)
}

/// `.name`, `['name']` or `.get('name')`.
fn member(rest: &str) -> Option<&str> {
    let rest = rest.trim_start();
    if let Some(inner) = rest.strip_prefix('[') {
        let (name, after) = quoted(inner.trim_start())?;
        return after.trim_start().starts_with(']').then_some(name);
    }
    let rest = rest.strip_prefix('.')?;
    if let Some(inner) = rest.strip_prefix("get(") {
        return quoted(inner.trim_start()).map(|(name, _)| name);
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let called = rest.get(end..).is_some_and(|after| after.starts_with('('));
    rest.get(..end).filter(|name| !name.is_empty() && !called)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Mentioned {
        let mut mentioned = Mentioned::default();
        mentioned.scan(text);
        mentioned
    }

    #[test]
    fn only_what_is_said() {
        let some = of("{{ hostvars['db1'].port }} {{ hostvars[groups['web'][0]]['ansible_host'] }}");
        assert!(some.variable("port") && some.variable("ansible_host") && !some.variable("db_password"));
        assert!(some.host("db1") && some.host("web1"));
        let one = of("hostvars['db1'].port");
        assert!(one.host("db1") && !one.host("db2"));
        assert!(!of("nothing").host("db1"));
        let extract = of("groups.web | map('extract', hostvars, ['ansible_default_ipv4', 'address'])");
        assert!(extract.variable("ansible_default_ipv4") && !extract.variable("port") && extract.host("x"));
    }

    #[test]
    fn computed_names_mean_all_but_secrets() {
        for text in ["hostvars[h][name]", "hostvars[h]", "hostvars | dict2items", "hostvars[h].items()"] {
            let all = of(text);
            assert!(all.variable("port") && all.host("x"), "{text}");
            assert!(!all.variable("db_password") && !all.variable("ansible_become_pass"), "{text}");
        }
        assert!(of("hostvars[h] hostvars[h].db_password").variable("db_password"));
    }
}
