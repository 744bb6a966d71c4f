//! What `fetch` tasks say of where files go, as far as the controller can know it.

use std::path::PathBuf;
use std::sync::Arc;

use debark_expr::{Engine, LayerKind, Scope, Services, is_template};
use debark_playbook::CompiledPlay;
use debark_value::{Map, Value};
use debark_wire::{Node, Role, Task};

use super::{Site, lock};
use crate::fetches::Fetches;

/// A `fetch` task with the variables of the blocks around it, the outermost first.
pub(super) struct Fetch<'a> {
    task: &'a Task,
    vars: Vec<&'a Map>,
}

/// Finds them.
pub(super) fn collect<'a>(nodes: &'a [Node], around: &[&'a Map], found: &mut Vec<Fetch<'a>>) {
    for node in nodes {
        let mut vars = around.to_vec();
        match node {
            Node::Task(task) if task.action == "fetch" => {
                vars.push(&task.keywords.vars);
                found.push(Fetch { task, vars });
            }
            Node::Task(_) => {}
            Node::Block(block) => {
                vars.push(&block.keywords.vars);
                for nodes in [&block.block, &block.rescue, &block.always] {
                    collect(nodes, &vars, found);
                }
            }
        }
    }
}

/// A destination must not run programs before its task does, nor differ between two looks.
pub(crate) struct Quiet;

impl Services for Quiet {
    fn lookup(&self, name: &str, _: &[Value], _: &Map, _: &Scope) -> Result<Value, String> {
        Err(format!("`{name}` is not asked beforehand"))
    }

    fn hostvars(&self, _: &str) -> Result<Option<Value>, String> {
        Err("other hosts are not asked beforehand".into())
    }

    fn file(&self, path: &str) -> Result<String, String> {
        Err(format!("{path} is not read beforehand"))
    }
}

/// How a text with templates begins: variables by their bare names are filled in as long as they are known. Whether
/// that is all of it.
fn beginning(text: &str, engine: &Engine, scope: &Scope) -> (String, bool) {
    let mut known = String::new();
    let mut rest = text;
    while let Some(at) = ["{{", "{%", "{#"].iter().filter_map(|mark| rest.find(mark)).min() {
        let (literal, template) = rest.split_at(at);
        known += literal;
        let Some((expression, after)) = template.strip_prefix("{{").and_then(|body| body.split_once("}}"))
        else {
            return (known, false);
        };
        // Anything but a name may have another value on the host, where facts are known.
        let name = expression.trim_matches(|c: char| c == '-' || c.is_whitespace());
        let bare = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
        let source = format!("{{{{ {name} }}}}");
        match bare.then(|| engine.render_str(&source, scope)) {
            Some(Ok(Value::Str(text))) if !is_template(&text) => known += &text,
            Some(Ok(Value::Int(number))) => known += &number.to_string(),
            _ => return (known, false),
        }
        rest = after;
    }
    (known + rest, true)
}

impl Site {
    /// Adds what these tasks say to what hosts may write. `role` finds a task's role; `trusted` is whether parameters
    /// of roles come from a playbook rather than from a host.
    ///
    /// # Errors
    /// A host's variables cannot be had.
    pub(super) fn declare<'r>(
        &self,
        (compiled, index): (&CompiledPlay, u32),
        tasks: &[Fetch<'_>],
        hosts: &[String],
        role: &dyn Fn(u32) -> Option<&'r Role>,
        trusted: bool,
    ) -> Result<(), String> {
        if tasks.is_empty() {
            return Ok(());
        }
        let fetches = self.fetches(index, &compiled.playbook_dir);
        let engine = Engine::new(Arc::new(Quiet));
        for host in hosts {
            let inventory = self.inventory_vars(host, Some(compiled))?;
            let magic = self.magic(host, Some(&compiled.playbook_dir));
            let play_vars = self.play_vars(index, compiled, &inventory, &magic)?;
            for Fetch { task, vars } in tasks {
                let role = task.role.and_then(role);
                let mut scope = Scope::new();
                let mut layer = |map: &Map| scope.push(Arc::new(map.clone()), LayerKind::Templated);
                role.iter().for_each(|role| layer(&role.defaults));
                layer(&inventory);
                layer(&play_vars);
                role.iter().for_each(|role| layer(&role.vars));
                role.iter().for_each(|role| layer(&role.inline));
                vars.iter().for_each(|vars| layer(vars));
                role.iter().filter(|_| trusted).for_each(|role| layer(&role.params));
                layer(&self.extra);
                scope.push(Arc::new(magic.clone()), LayerKind::Plain);
                let place = format!("line {}", task.span.line);
                let (literal, whole) = match destination(task) {
                    Some((dest, whole)) => {
                        let (literal, all) = beginning(&dest, &engine, &scope);
                        (literal, whole && all)
                    }
                    None => (String::new(), false),
                };
                fetches.declare(&literal, whole, &place);
            }
        }
        Ok(())
    }

    /// What hosts may write during a play.
    pub(super) fn fetches(&self, index: u32, base: &std::path::Path) -> Fetches {
        lock(&self.fetched).entry(index).or_insert_with(|| Fetches::new(base)).clone()
    }

    /// Files that were read for an include must not be such as hosts could have written.
    ///
    /// # Errors
    /// Names the file.
    pub(super) fn untouched(&self, fetches: &Fetches, files: &[String]) -> Result<(), String> {
        let here = std::env::current_dir().unwrap_or_default();
        let touched = files
            .iter()
            .map(|file| here.join(file))
            .find(|file: &PathBuf| fetches.covers(&file.to_string_lossy()));
        match touched {
            Some(file) => Err(format!(
                "{} is where fetch tasks put files of hosts; tasks are not taken from there",
                file.display()
            )),
            None => Ok(()),
        }
    }
}

/// Where a task puts files, as a template, and whether that is one file or directory in full.
fn destination(task: &Task) -> Option<(String, bool)> {
    let text = |name: &str| task.args.get(name).filter(|value| !value.is_null()).map(Value::to_string);
    let dest = text("dest")?;
    let flat = match task.args.get("flat") {
        None | Some(Value::Null) => Some(false),
        Some(value) => value.to_bool().ok(),
    };
    Some(match flat {
        Some(false) => (format!("{}/{{{{ inventory_hostname }}}}", dest.trim_end_matches('/')), true),
        // In a directory the file keeps its name.
        Some(true) if dest.ends_with('/') => match text("src").filter(|src| !is_template(src)) {
            Some(src) => (format!("{dest}{}", src.rsplit('/').next().unwrap_or_default()), true),
            None => (dest, false),
        },
        Some(true) => (dest, true),
        None => (dest, false),
    })
}

#[cfg(test)]
mod tests {
    use debark_value::map;

    use super::*;

    #[test]
    fn how_destinations_begin() {
        let engine = Engine::new(Arc::new(Quiet));
        let mut scope = Scope::new();
        let vars =
            map! { "dir" => "/backup", "deep" => "{{ dir }}/deep", "loud" => "{{ lookup('pipe', 'true') }}" };
        scope.push(Arc::new(vars), LayerKind::Templated);
        let begin = |text: &str| beginning(text, &engine, &scope);
        assert_eq!(begin("fetched/"), ("fetched/".into(), true));
        assert_eq!(begin("{{ deep }}/{{ fact }}/x"), ("/backup/deep/".into(), false));
        assert_eq!(begin("{{ dir }}/x"), ("/backup/x".into(), true));
        assert_eq!(begin("a{{ loud }}"), ("a".into(), false));
        assert_eq!(begin("{{ fact | default('/x') }}"), (String::new(), false));
        assert_eq!(begin("b{% if x %}c{% endif %}"), ("b".into(), false));
    }

    #[test]
    fn what_tasks_write() {
        let of = |args: Map| destination(&Task { args, ..Task::default() });
        assert_eq!(of(map! { "dest" => "out/" }), Some(("out/{{ inventory_hostname }}".into(), true)));
        let flat = map! { "dest" => "./", "src" => "/etc/motd", "flat" => "yes" };
        assert_eq!(of(flat), Some(("./motd".into(), true)));
        let flat = map! { "dest" => "out/", "src" => "{{ file }}", "flat" => true };
        assert_eq!(of(flat), Some(("out/".into(), false)));
        assert_eq!(of(map! { "dest" => "/a/b", "flat" => true }), Some(("/a/b".into(), true)));
        assert_eq!(of(Map::new()), None);
    }
}
