//! What hosts ask other hosts to do: `delegate_to`, `delegate_facts`.

use debark_value::{Map, Value};
use debark_wire::{Invocation, Logins};

use super::asked::sources;
use super::said::Stated;
use super::trusted::{Trusted, leaves, steers};
use super::{Local, View};
use crate::care::Care;
use crate::site::lock;

/// Parameters that hold data: whatever is in them does no harm by itself.
const DATA: &[&str] = &[
    "content",
    "_content",
    "block",
    "line",
    "stdin",
    "body",
    "msg",
    "comment",
    "that",
    "value",
    "validate_data",
];
/// Modules that run what their parameters say.
const COMMANDS: &[&str] = &["command", "shell", "raw", "script"];

impl View<'_> {
    fn by_id<'a>(&'a self, local: &'a Local, task: u32) -> Option<&'a Stated> {
        let said = [&*self.said, &local.said];
        let mut all = said.into_iter().flat_map(|said| said.tasks.iter().chain(&said.others));
        all.find(|stated| stated.task.id == task)
    }

    fn is_local(&self, host: &str) -> bool {
        // A host that cannot be made out is not trusted with anything.
        self.site.target(host).map_or(true, |target| target.local)
    }

    /// Whether the task may run on that host.
    fn target(&self, local: &Local, stated: &Stated, host: &str) -> Result<(), String> {
        let mut trusted = self.trusted(local, &stated.around, None);
        // That this machine is in the inventory does not mean that hosts may choose it.
        trusted.words.retain(|map| !std::sync::Arc::ptr_eq(map, &self.base.magic));
        let includes = || {
            let all = self.said.tasks.iter().chain(&local.said.tasks);
            all.filter(|stated| stated.task.action.starts_with("include_")).flat_map(|include| {
                let apply = include.task.args.get("apply").and_then(|apply| apply.get("delegate_to"));
                [include.keywords.delegate_to.clone(), apply.cloned()]
            })
        };
        let mut ways: Vec<Value> = stated.keywords.delegate_to.iter().cloned().collect();
        if ways.is_empty() {
            ways.extend(includes().flatten());
        }
        let here = self.is_local(host);
        let listed = !here && self.site.inventory.has_host(host);
        let allowed = ways.iter().map(Value::to_string).any(|written| {
            trusted.allows(&written, host, Care::Name, &[])
                || (listed && trusted.allows(&written, host, Care::Word, &[]))
        });
        match (allowed, ways.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => Err(format!("asks to run a task on {host} that the play does not delegate")),
            (false, false) if here => Err(format!(
                "asks to run a task on {host}, which is this machine; the play must say so by a constant or a \
                 variable of its own"
            )),
            (false, false) => Err(format!("asks to run a task on {host}, where the play does not send it")),
        }
    }

    /// A delegated call must be the task's: its module, its parameters, its way to become somebody.
    pub(super) fn delegate(
        &self,
        local: &mut Local,
        task: u32,
        (host, logins): (&str, &Logins),
        invocation: &Invocation,
    ) -> Result<(), String> {
        let stated = self
            .by_id(local, task)
            .ok_or_else(|| format!("asks to run a task on {host} that the play does not delegate"))?
            .clone();
        // To itself no host delegates anything, but a task may want another login there.
        if host != self.host || *logins == Logins::default() {
            self.target(local, &stated, host)?;
        }
        let trusted = self.trusted(local, &stated.around, None);
        self.login(local, (&trusted, &stated), host, logins)?;
        let name = &stated.task.action;
        if invocation.module != *name {
            return Err(format!(
                "asks to run `{}` on {host} where the play says `{name}`",
                invocation.module
            ));
        }
        if self.site.options.run.check && !invocation.check && stated.keywords.check_mode.is_none() {
            return Err(format!("asks to change {host} in a run that only checks"));
        }
        let here = self.is_local(host);
        for (key, value) in &invocation.args {
            if !self.argument(&trusted, &stated, key, value, here) {
                return Err(format!(
                    "asks to run `{name}` on {host} with a `{key}` that is not what the play says"
                ));
            }
        }
        self.becoming(&trusted, &stated, host, invocation)?;
        let environment = |name: &str, value: &str| {
            stated.keywords.environment.iter().any(|written| match written {
                Value::Map(map) => map.get(name).is_some_and(|written| {
                    trusted.allows_value(written, &value.into(), if here { Care::Exact } else { Care::Free })
                }),
                // A variable as a whole: name and value must stand in the play's own.
                other => other.as_str().is_some() && trusted.known(value) && !name.starts_with("LD_"),
            })
        };
        if let Some((name, _)) = invocation.environment.iter().find(|(name, value)| !environment(name, value))
        {
            return Err(format!(
                "asks to set `{name}` in the environment on {host}, which the play does not"
            ));
        }
        self.lend(local, &stated, host, invocation);
        Ok(())
    }

    fn argument(&self, trusted: &Trusted, stated: &Stated, key: &str, value: &Value, here: bool) -> bool {
        let task = &stated.task;
        let care = match (here, task.action.as_str()) {
            (false, _) => Care::Free,
            (true, _) if DATA.contains(&key) => Care::Free,
            (true, action)
                if COMMANDS.contains(&action) && !matches!(key, "chdir" | "creates" | "removes") =>
            {
                Care::Shell
            }
            (true, _) => Care::Path,
        };
        // What the interpreter itself adds.
        match (task.action.as_str(), key) {
            ("template", "_content") => return true,
            ("template", "mode") if task.args.get("mode").is_some_and(|mode| mode == &"preserve".into()) => {
                return true;
            }
            ("fetch", "_host") => return value.as_str() == Some(self.host),
            ("fetch", "dest") => {
                let written = task.args.get("dest").and_then(Value::as_str).unwrap_or_default();
                let dir = self.base.magic.get("playbook_dir").and_then(Value::as_str);
                let beside = value.as_str().zip(dir).and_then(|(dest, dir)| {
                    dest.strip_prefix(dir)?.strip_prefix('/').filter(|_| !written.starts_with(['/', '~']))
                });
                if beside.is_some_and(|dest| trusted.allows(written, dest, care, &[])) {
                    return true;
                }
            }
            _ => {}
        }
        let raw = task.args.get(key).or_else(|| {
            let free = debark_modules::find(&task.action)?.spec.rules.free_form?;
            (free == key).then(|| task.args.get("_raw_params"))?
        });
        if let Some(written) = raw {
            return trusted.allows_value(written, value, care);
        }
        let mut defaults = stated.keywords.module_defaults.iter().filter_map(|(_, value)| value.get(key));
        if defaults.any(|written| trusted.allows_value(written, value, care)) {
            return true;
        }
        let known = || {
            let mut all = true;
            leaves(value, &mut |leaf| all &= leaf.as_str().is_none_or(|text| trusted.known(text)));
            all
        };
        // `args: "{{ options }}"`, or defaults in a variable.
        let open = task.args_template.is_some()
            || stated.keywords.module_defaults.iter().any(|(_, value)| value.as_str().is_some());
        open && (!here || known())
    }

    fn becoming(
        &self,
        trusted: &Trusted,
        stated: &Stated,
        host: &str,
        invocation: &Invocation,
    ) -> Result<(), String> {
        let Some(become_) = &invocation.become_ else { return Ok(()) };
        let keywords = &stated.keywords;
        let variable = |name: &str| trusted.scope.get_raw(name).map(|(value, _)| value.clone());
        let may = |keyword: &Option<Value>, name: &str, text: &str| {
            let given = keyword.iter().cloned().chain(variable(name));
            let mut given = given.map(|value| value.to_string());
            given.any(|written| trusted.allows(&written, text, Care::Exact, &[]))
        };
        let wanted = keywords.become_.is_some() || variable("ansible_become").is_some();
        let options = &self.site.options;
        let user = become_.user == "root"
            || options.become_user.as_deref() == Some(&*become_.user)
            || may(&keywords.become_user, "ansible_become_user", &become_.user);
        let method = become_.method == "sudo"
            || options.become_method.as_deref() == Some(&*become_.method)
            || may(&keywords.become_method, "ansible_become_method", &become_.method);
        let flags = become_
            .flags
            .as_ref()
            .is_none_or(|text| may(&keywords.become_flags, "ansible_become_flags", text));
        let exe =
            become_.exe.as_ref().is_none_or(|text| may(&keywords.become_exe, "ansible_become_exe", text));
        (wanted && user && method && flags && exe).then_some(()).ok_or_else(|| {
            format!("asks to become {} on {host} in a way that the play does not", become_.user)
        })
    }

    /// The files that a delegated task takes from the controller are asked for by the host that runs it.
    fn lend(&self, local: &Local, stated: &Stated, host: &str, invocation: &Invocation) {
        let trusted = self.trusted(local, &stated.around, None);
        let written = sources(stated);
        let mut paths = Vec::new();
        for key in ["src", "cmd", "_raw_params"] {
            let Some(text) = invocation.args.get(key).and_then(Value::as_str) else { continue };
            let path =
                if stated.task.action == "script" { super::asked::first_word(text) } else { text.to_owned() };
            if local.given.contains(&path)
                || written
                    .iter()
                    .any(|source| trusted.allows(source, &path, Care::Path, &["files", "templates"]))
            {
                paths.push(path);
            }
        }
        if !paths.is_empty() && host != self.host {
            let other = self.site.local(self.compiled.play.index, host);
            lock(&other).given.extend(paths);
        }
    }

    /// Facts for another host: only by a task that says so, and none that steer how that host is reached.
    pub(super) fn set_facts(&self, local: &Local, task: u32, host: &str, facts: &Map) -> Result<(), String> {
        let stated = self
            .by_id(local, task)
            .filter(|stated| stated.keywords.delegate_facts.is_some())
            .ok_or_else(|| format!("asks to set facts of {host}, which no task of the play does"))?;
        self.target(local, stated, host)?;
        match facts.keys().find(|name| steers(name)) {
            Some(name) => {
                Err(format!("asks to set `{name}` of {host}, which decides how that host is reached"))
            }
            None => Ok(()),
        }
    }
}
