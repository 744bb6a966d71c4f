//! Which encrypted variables a host is sent: those that something in its play may read, and no others.
//!
//! A variable counts as read if its name stands anywhere in what the host is sent: in a task, a template, another
//! variable. Where names may be computed, or texts may follow that are not known yet, all are sent.

use std::sync::Arc;

use debark_playbook::CompiledPlay;
use debark_value::{Map, Value};
use debark_wire::{HostPlay, Node, Place, TreeKind};

use super::{Site, lock};
use crate::world::PlaySpec;

/// The most of a template that is looked through, in bytes.
const TEMPLATE: u64 = 1 << 20;

/// Actions whose tasks, variables or texts are known only in their turn.
const OPEN: &[&str] = &["include_tasks", "include_role", "include_vars", "include"];

/// What templates bring further texts in by.
const FURTHER: &[&str] = &["include", "import", "from", "extends"];

impl Site {
    /// Leaves out of a host's part the secret variables that nothing there reads.
    pub(super) fn needed(&self, spec: &PlaySpec, compiled: &CompiledPlay, part: &mut HostPlay) {
        let secrets = self.known_secrets();
        if secrets.is_empty() {
            return;
        }
        let Some(text) = self.texts(spec, compiled) else { return };
        let mut spare: Vec<Arc<str>> = Vec::new();
        let mut read: Vec<String> = Vec::new();
        for (name, value) in part.inventory.iter().chain(&part.play_vars) {
            let shown = debark_value::to_json_string(value);
            let secret = !secrets.within(shown.as_bytes()).is_empty();
            if secret && !name.starts_with("ansible_") && !text.contains(&**name) {
                spare.push(name.clone());
            } else {
                read.push(shown);
            }
        }
        // What is read may read others in turn.
        loop {
            let named = |name: &Arc<str>| read.iter().any(|text| text.contains(&**name));
            let (more, rest): (Vec<_>, Vec<_>) = spare.into_iter().partition(named);
            spare = rest;
            if more.is_empty() {
                break;
            }
            let values = more.iter().flat_map(|name| [part.inventory.get(name), part.play_vars.get(name)]);
            read = values.flatten().map(debark_value::to_json_string).collect();
            if read.iter().any(|text| computes(text)) {
                return;
            }
        }
        let keep = |map: &mut Map| map.retain(|name, _| !spare.contains(name));
        keep(&mut part.inventory);
        keep(&mut part.play_vars);
    }

    /// All texts of a play that hosts evaluate; nothing if more may come, or if names are computed in them.
    fn texts(&self, spec: &PlaySpec, compiled: &CompiledPlay) -> Option<Arc<str>> {
        if let Some(texts) = lock(&self.texts).get(&spec.index) {
            return texts.clone();
        }
        let texts = self.gathered(spec, compiled).filter(|text| !computes(text)).map(Arc::from);
        lock(&self.texts).insert(spec.index, texts.clone());
        texts
    }

    fn gathered(&self, spec: &PlaySpec, compiled: &CompiledPlay) -> Option<String> {
        let play = &compiled.play;
        let mut all = String::from_utf8_lossy(&spec.shared).into_owned();
        let mut sources = Vec::new();
        if play.tasks.iter().chain(&play.handlers).any(|node| opens(node, &mut sources)) {
            return None;
        }
        let templates = || play.found.iter().filter(|found| found.place == Place::Templates);
        if !sources.iter().all(|source| templates().any(|found| found.path == *source)) {
            return None;
        }
        for entry in templates().flat_map(|found| &found.tree.entries) {
            let TreeKind::File { sha256, size } = &entry.kind else { continue };
            if play.blobs.iter().any(|blob| blob.sha256 == *sha256) {
                continue;
            }
            let content = self.compiler.content(sha256).ok().filter(|_| *size <= TEMPLATE)?;
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::Read::take(content, TEMPLATE), &mut bytes).ok()?;
            all.push_str(&String::from_utf8_lossy(&bytes));
        }
        Some(all)
    }
}

/// Whether more than what is written may come of a node; gathers the templates that it names.
fn opens(node: &Node, sources: &mut Vec<String>) -> bool {
    match node {
        Node::Block(block) => {
            block.block.iter().chain(&block.rescue).chain(&block.always).any(|node| opens(node, sources))
        }
        Node::Task(task) if task.action == "template" => match task.args.get("src").and_then(Value::as_str) {
            Some(source) if !debark_expr::is_template(source) => {
                sources.push(source.to_owned());
                false
            }
            _ => true,
        },
        Node::Task(task) => OPEN.contains(&task.action.as_str()),
    }
}

/// Whether a text may read variables whose names do not stand in it.
fn computes(text: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let vars = text.match_indices("vars").any(|(at, found)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text.get(at + found.len()..).and_then(|text| text.chars().next());
        before != Some('_') && !after.is_some_and(|c| word(c) || c == '/')
    });
    let named = ["varnames", "'template'", "\"template\""].iter().any(|name| text.contains(name));
    let further = text.match_indices("{%").any(|(at, found)| {
        let inner =
            text.get(at + found.len()..).unwrap_or_default().trim_start_matches(['-', '+', ' ', '\t', '\n']);
        FURTHER.iter().any(|word| inner.starts_with(word))
    });
    vars || named || further
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use debark_playbook::inventory::{Inventory, Options};
    use debark_playbook::vault::Vault;
    use debark_playbook::{CompileOptions, Compiler, SourceMap};
    use debark_value::Map;

    use super::computes;
    use crate::site::{Site, SiteOptions};
    use crate::world::World;

    /// What the host `web` is sent of these encrypted variables, by name; all of it, as text.
    fn sent(tasks: &str) -> (Vec<String>, String) {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        };
        let mut vault = Vault::default();
        vault.add("default", b"pw".to_vec().into());
        let seal = |text: &str| vault.encrypt(text.as_bytes(), None).unwrap();
        write("hosts", "web ansible_host=192.0.2.1\n");
        write(
            "group_vars/all.yml",
            &seal(
                "db_password: c4nary-db\nbase: c4nary-base\nsite_url: 'x{{ base }}'\nspare: {a: [c4nary-spare]}\nplain: 1\n",
            ),
        );
        write("more.yml", &seal("api_token: c4nary-api\nunused: c4nary-unused\n"));
        write("templates/t.j2", "{{ db_password }}\n");
        write("tasks.yml", "- debug: msg=1\n");
        let lines: String = tasks.lines().map(|line| format!("    {line}\n")).collect();
        write(
            "site.yml",
            &format!("- hosts: all\n  gather_facts: false\n  vars_files: more.yml\n  tasks:\n{lines}"),
        );
        let (sources, vault) = (Arc::new(SourceMap::default()), Arc::new(vault));
        let options = Options { vault: vault.clone(), sources: sources.clone(), ..Options::default() };
        let hosts = dir.path().join("hosts").display().to_string();
        let inventory = Arc::new(Inventory::load(&[hosts], options).unwrap_or_else(|e| panic!("{e:?}")));
        let compiler = Arc::new(Compiler::new(sources, vault.clone(), CompileOptions::default()));
        let compiled = compiler.compile(&[dir.path().join("site.yml")]).unwrap_or_else(|e| panic!("{e:?}"));
        let site = Site::new(compiler, compiled.plays, inventory, vault, SiteOptions::default());
        let spec = site.play(0, &BTreeSet::new()).unwrap();
        let part = site.host_play(&spec, "web", &["web".to_owned()], &Map::new()).unwrap();
        let names = ["db_password", "base", "site_url", "spare", "api_token", "unused"];
        let has = |name: &&&str| part.inventory.contains_key(**name) || part.play_vars.contains_key(**name);
        (names.iter().filter(has).map(|name| (*name).to_owned()).collect(), format!("{part:?}"))
    }

    #[test]
    fn only_what_the_play_reads() {
        let (names, text) = sent("- debug: msg={{ site_url }}\n- debug: var=api_token");
        assert_eq!(names, ["base", "site_url", "api_token"]);
        assert!(
            text.contains("c4nary-base") && !text.contains("c4nary-db") && !text.contains("c4nary-spare"),
            "{text}"
        );
        assert!(!text.contains("c4nary-unused"), "{text}");
        assert_eq!(sent("- template: {src: t.j2, dest: /tmp/x}").0, ["db_password"]);
        assert_eq!(sent("- ping:\n  when: spare.a is defined").0, ["spare"]);
        assert!(sent("- ping:").0.is_empty());
    }

    #[test]
    fn all_where_more_may_come() {
        for tasks in [
            "- include_tasks: tasks.yml",
            "- debug: msg={{ lookup('vars', 'db_' ~ x) }}\n  vars: {x: password}",
            "- template: {src: '{{ item }}', dest: /tmp/x}\n  loop: [t.j2]",
        ] {
            assert_eq!(sent(tasks).0.len(), 6, "{tasks}");
        }
    }

    #[test]
    fn names_that_are_computed() {
        for text in [
            "{{ vars[name] }}",
            "hostvars[h].x",
            "lookup('vars', name)",
            "q(\"template\", x)",
            "{%- include x %}",
        ] {
            assert!(computes(text), "{text}");
        }
        for text in ["{{ my_vars }}", "roles/a/vars/main.yml", "{{ varsity }} {% for x in y %}", "template"] {
            assert!(!computes(text), "{text}");
        }
    }
}
