//! What a host may ask of the controller: only what the play, as the controller sent it, itself asks for.
//!
//! A host that was taken over can send any request. Each is held against the play's own words: a lookup must stand in
//! a text that the host was sent, a file must be named by a task, a delegated task must be the play's. What the texts
//! leave open is judged by [`crate::care`]. All of it is worked out when a host first asks: a usual run asks nothing.

mod asked;
mod elsewhere;
mod hostvars;
mod inventory;
mod login;
mod said;
#[cfg(test)]
mod tests;
mod trusted;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use debark_expr::{LayerKind, Scope};
use debark_playbook::CompiledPlay;
use debark_value::{Map, Value};
use debark_wire::{Answer, Debugger, Included, Place, Request, Role, Tree, TreeKind};

use super::{Site, lock};
use hostvars::Mentioned;
use said::{Around, Said};
use trusted::Trusted;

/// The most of a template that is looked through.
const TEMPLATE: u64 = 1 << 20;

/// What is known of plays and hosts for this.
#[derive(Default)]
pub(crate) struct Bounds {
    plays: HashMap<u32, Arc<Said>>,
    hosts: HashMap<(u32, String), Arc<Mutex<Local>>>,
    /// Hosts and groups that `add_host` and `group_by` made.
    made: HashSet<String>,
}

/// What the controller told one host during one play, beyond the play.
#[derive(Default)]
struct Local {
    said: Said,
    roles: Vec<Role>,
    vars: Arc<Map>,
    given: BTreeSet<String>,
    base: Option<Base>,
}

/// The variables of a host that the controller knows, in layers.
#[derive(Clone)]
struct Base {
    inventory: Arc<Map>,
    play_vars: Arc<Map>,
    magic: Arc<Map>,
}

/// A play and a host, for one request.
struct View<'a> {
    site: &'a Site,
    compiled: &'a CompiledPlay,
    host: &'a str,
    said: Arc<Said>,
    base: Base,
}

impl Site {
    /// Whether a host may ask that.
    ///
    /// # Errors
    /// It may not: a sentence.
    pub(super) fn bounded(&self, play: u32, host: &str, request: &Request) -> Result<(), String> {
        // The agent on this machine is the controller's own.
        if self.target(host).is_ok_and(|target| target.local) {
            return Ok(());
        }
        let compiled = self.compiled(play)?;
        let local = self.local(play, host);
        let mut local = lock(&local);
        let base = match &local.base {
            Some(base) => base.clone(),
            None => local.base.insert(self.base(play, compiled, host)?).clone(),
        };
        let view = View { site: self, compiled, host, said: self.said(play, compiled), base };
        view.permit(&mut local, request)
    }

    fn local(&self, play: u32, host: &str) -> Arc<Mutex<Local>> {
        lock(&self.bounds).hosts.entry((play, host.to_owned())).or_default().clone()
    }

    fn base(&self, play: u32, compiled: &CompiledPlay, host: &str) -> Result<Base, String> {
        let inventory = self.inventory_vars(host, Some(compiled))?;
        let magic = self.magic(host, Some(&compiled.playbook_dir));
        let play_vars = self.play_vars(play, compiled, &inventory, &magic)?;
        Ok(Base { inventory, play_vars: Arc::new(play_vars), magic: Arc::new(magic) })
    }

    fn said(&self, index: u32, compiled: &CompiledPlay) -> Arc<Said> {
        if let Some(said) = lock(&self.bounds).plays.get(&index) {
            return said.clone();
        }
        let play = &compiled.play;
        let mut said = Said::default();
        let around = Around::default();
        let mut keywords = play.keywords.clone();
        keywords.become_ = keywords.become_.or_else(|| self.options.become_.then_some(Value::Bool(true)));
        said.keywords(&keywords, &around);
        said.nodes(&play.tasks, &keywords, &around);
        said.nodes(&play.handlers, &keywords, &around);
        for (index, role) in (0..).zip(&play.roles) {
            said.role(role, index);
        }
        said.files.extend(play.files.iter().cloned());
        for found in &play.found {
            self.announced(&mut said, compiled, index, found.place, found.role, &found.tree);
        }
        let said = Arc::new(said);
        lock(&self.bounds).plays.insert(index, said.clone());
        said
    }

    /// Content that was named to hosts; the expressions of templates count as the play's.
    fn announced(
        &self,
        said: &mut Said,
        compiled: &CompiledPlay,
        play: u32,
        place: Place,
        role: Option<u32>,
        tree: &Tree,
    ) {
        for entry in &tree.entries {
            let TreeKind::File { sha256, size } = &entry.kind else { continue };
            said.digests.insert(sha256.clone());
            if place != Place::Templates || *size > TEMPLATE {
                continue;
            }
            // Hosts may have written it: then it says nothing for the play.
            if self.fetches(play, &compiled.playbook_dir).covers(&tree.path) {
                continue;
            }
            let mut bytes = Vec::new();
            let read = self.compiler.content(sha256).map(|content| {
                std::io::Read::read_to_end(&mut std::io::Read::take(content, TEMPLATE), &mut bytes)
            });
            if matches!(read, Ok(Ok(_))) {
                said.text(&String::from_utf8_lossy(&bytes), &Around { vars: Vec::new(), role });
            }
        }
    }

    /// Notes what a host has been answered: later questions may build on it.
    pub(super) fn answered(
        &self,
        play: u32,
        host: &str,
        place: Option<Place>,
        lookup: Option<&str>,
        answer: &Answer,
    ) {
        let Ok(compiled) = self.compiled(play) else { return };
        let local = self.local(play, host);
        let mut local = lock(&local);
        match answer {
            Answer::Tree(tree) => {
                self.announced(&mut local.said, compiled, play, place.unwrap_or(Place::Files), None, tree);
            }
            Answer::Value(value) if matches!(lookup, Some("fileglob" | "first_found")) => {
                trusted::leaves(value, &mut |leaf| {
                    local.given.insert(leaf.to_string());
                });
            }
            Answer::Value(value) if lookup.is_none() => {
                // `include_vars`: its texts are templates like those of any variable.
                if let Some(vars) = value.get("ansible_facts").and_then(Value::as_map) {
                    let mut all = Map::clone(&local.vars);
                    all.extend(vars.clone());
                    local.said.map(vars, &Around::default());
                    local.vars = Arc::new(all);
                }
            }
            Answer::Tasks(included) => self.included_tasks(&mut local, compiled, play, included),
            _ => {}
        }
    }

    fn included_tasks(&self, local: &mut Local, compiled: &CompiledPlay, play: u32, included: &Included) {
        let first = compiled.play.roles.len() + local.roles.len();
        let outer = compiled.play.keywords.clone();
        local.said.nodes(&included.tasks, &outer, &Around::default());
        local.said.nodes(&included.handlers, &outer, &Around::default());
        for (index, role) in (first..).zip(&included.roles) {
            local.said.role(role, u32::try_from(index).unwrap_or(u32::MAX));
        }
        local.roles.extend(included.roles.iter().cloned());
        local.said.files.extend(included.files.iter().cloned());
        for found in &included.found {
            self.announced(&mut local.said, compiled, play, found.place, found.role, &found.tree);
        }
    }

    /// What of other hosts' variables a host may see in this play.
    pub(super) fn mentioned(&self, play: u32, host: &str) -> Result<Mentioned, String> {
        let compiled = self.compiled(play)?;
        let mut mentioned = self.said(play, compiled).hostvars.clone();
        let local = self.local(play, host);
        let local = lock(&local);
        mentioned.extend(&local.said.hostvars);
        let base = self.base(play, compiled, host)?;
        let mut own = Said::default();
        for vars in [&base.inventory, &base.play_vars, &self.extra] {
            own.map(vars, &Around::default());
        }
        mentioned.extend(&own.hostvars);
        Ok(mentioned)
    }

    /// Notes that a task of a host made a host or group.
    fn made(&self, name: &str) {
        lock(&self.bounds).made.insert(name.to_owned());
    }
}

impl View<'_> {
    fn permit(&self, local: &mut Local, request: &Request) -> Result<(), String> {
        match request {
            Request::Find { path, place, role_path, task_dir } => {
                self.role(local, role_path.as_deref())?;
                self.task_dir(local, task_dir.as_deref())?;
                self.file(local, path, *place, role_path.as_deref())
            }
            Request::Content { sha256 } => {
                let known = self.said.digests.contains(sha256) || local.said.digests.contains(sha256);
                known
                    .then_some(())
                    .ok_or_else(|| "asks for the content of a file that it was not told of".into())
            }
            // A function of what the host itself says.
            Request::Lookup { name, .. }
                if name == debark_expr::TERA || debark_expr::Engine::asks_filter(name).is_some() =>
            {
                Ok(())
            }
            Request::Lookup { name, args, kwargs, role_path } => {
                self.role(local, role_path.as_deref())?;
                self.lookup(local, name, args, kwargs, role_path.as_deref())
            }
            Request::IncludeTasks { file, role_path, from, .. } => {
                self.role(local, role_path.as_deref())?;
                self.from(local, from)?;
                self.include(local, "include_tasks", &["file", "_raw_params"], file, "tasks")
            }
            Request::IncludeRole { name, options, vars, role_path, .. } => {
                self.role(local, role_path.as_deref())?;
                if !vars.is_empty() {
                    return Err("asks for a role with parameters of its own".into());
                }
                self.include_role(local, name, options)
            }
            Request::IncludeVars { args, role_path } => {
                self.role(local, role_path.as_deref())?;
                self.include_vars(local, args)
            }
            Request::Delegate { task, host, logins, invocation } => {
                self.delegate(local, *task, (host, logins), invocation)
            }
            Request::SetFacts { task, host, facts, .. } => self.set_facts(local, *task, host, facts),
            Request::AddHost { hosts, groups, parents, vars } => {
                self.add_host(local, hosts, groups, parents, vars)
            }
            Request::RefreshInventory => self.has(local, &["meta"], "to read the inventory anew"),
            Request::Pause { .. } => self.has(local, &["pause"], "to ask the user"),
            Request::Step { .. } => {
                let asked = self.site.options.run.step;
                asked.then_some(()).ok_or_else(|| "asks to step through tasks in a run without --step".into())
            }
            Request::Debug { .. } => {
                let stops = match self.site.options.run.debugger {
                    Debugger::Off => false,
                    Debugger::Stated => self.site.compiler.debugs(),
                    Debugger::Failing => true,
                };
                stops
                    .then_some(())
                    .ok_or_else(|| "asks for the debugger, which nothing in the play wants".into())
            }
            Request::Reconnect { .. } => {
                self.has(local, &["reboot", "wait_for_connection", "meta"], "to be connected to again")
            }
            Request::Confirm { .. } => self.has(local, &["meta"], "to confirm what a guard waits for"),
            Request::HostVars { host } => {
                let mentioned = self.mentions(local);
                mentioned.host(host).then_some(()).ok_or_else(|| {
                    format!("asks for the variables of {host}, which nothing in the play reads there")
                })
            }
            Request::Back
            | Request::Keep { .. }
            | Request::RunOnce { .. }
            | Request::RanOnce { .. }
            | Request::Barrier { .. }
            | Request::Throttle { .. }
            | Request::Store { .. }
            | Request::StoredSha1 { .. } => Ok(()),
        }
    }

    fn mentions(&self, local: &Local) -> Mentioned {
        let mut mentioned = self.said.hostvars.clone();
        mentioned.extend(&local.said.hostvars);
        mentioned.extend(&self.own(local).hostvars);
        mentioned
    }

    /// What the host's own variables say.
    fn own(&self, local: &Local) -> Said {
        let mut own = Said::default();
        for vars in [&self.base.inventory, &self.base.play_vars, &self.site.extra, &local.vars] {
            own.map(vars, &Around::default());
        }
        own
    }

    fn has(&self, local: &Local, actions: &[&str], what: &str) -> Result<(), String> {
        let mut all = self.said.tasks.iter().chain(&local.said.tasks);
        let found = all.any(|stated| actions.contains(&stated.task.action.as_str()));
        found.then_some(()).ok_or_else(|| format!("asks {what}, and no task of the play does"))
    }

    fn roles<'a>(&'a self, local: &'a Local) -> impl Iterator<Item = &'a Role> {
        self.compiled.play.roles.iter().chain(&local.roles)
    }

    fn role(&self, local: &Local, path: Option<&str>) -> Result<(), String> {
        match path {
            Some(path) if !self.roles(local).any(|role| role.path == path) => {
                Err(format!("asks for something of the role in {path}, which is none of the play's"))
            }
            _ => Ok(()),
        }
    }

    fn from(&self, local: &Local, file: &str) -> Result<(), String> {
        let known = self.said.files.contains(file) || local.said.files.contains(file);
        known.then_some(()).ok_or_else(|| {
            format!("asks for something on behalf of {file}, which is none of the play's files")
        })
    }

    fn task_dir(&self, local: &Local, dir: Option<&str>) -> Result<(), String> {
        let Some(dir) = dir else { return Ok(()) };
        let mut files = self.said.files.iter().chain(&local.said.files);
        let known = files.any(|file| file.rsplit_once('/').is_some_and(|(parent, _)| parent == dir));
        known
            .then_some(())
            .ok_or_else(|| format!("asks for a file beside tasks in {dir}, where the play has none"))
    }

    /// What the controller knows around a place in the play.
    fn trusted(&self, local: &Local, around: &Around, role_path: Option<&str>) -> Trusted {
        let mut roles = self.roles(local);
        let role = match around.role {
            Some(index) => self.roles(local).nth(index as usize),
            None => role_path.and_then(|path| roles.find(|role| role.path == path)),
        };
        let mut scope = Scope::new();
        let mut words: Vec<Arc<Map>> = Vec::new();
        let mut layer = |map: &Arc<Map>| {
            scope.push(map.clone(), LayerKind::Templated);
            words.push(map.clone());
        };
        let play = &self.compiled.play;
        let public = || play.roles.iter().filter(|role| role.public);
        public().for_each(|role| layer(&role.defaults));
        role.iter().for_each(|role| layer(&role.defaults));
        layer(&self.base.inventory);
        layer(&self.base.play_vars);
        public().for_each(|role| layer(&role.vars));
        role.iter().for_each(|role| layer(&role.vars));
        role.iter().for_each(|role| layer(&role.inline));
        around.vars.iter().for_each(&mut layer);
        layer(&local.vars);
        role.iter().for_each(|role| layer(&role.params));
        layer(&self.site.extra);
        scope.push(self.base.magic.clone(), LayerKind::Plain);
        if let Some(role) = role {
            let magic =
                debark_value::map! { "role_path" => role.path.as_str(), "role_name" => role.name.as_str() };
            scope.push(Arc::new(magic), LayerKind::Plain);
        }
        // What the tasks of other roles hand down.
        words.extend(self.roles(local).flat_map(|role| {
            [role.params.clone(), role.inline.clone(), role.vars.clone(), role.defaults.clone()]
        }));
        words.extend(
            self.said.tasks.iter().chain(&local.said.tasks).flat_map(|stated| stated.around.vars.clone()),
        );
        words.push(self.base.magic.clone());
        let base = &self.compiled.playbook_dir;
        let base = std::path::absolute(base).unwrap_or_else(|_| base.clone());
        let roots = role.iter().map(|role| PathBuf::from(&role.path)).chain([base]);
        Trusted {
            scope,
            words,
            items: self.said.items.iter().chain(&local.said.items).cloned().collect(),
            given: local.given.clone(),
            settable: self.said.settable.union(&local.said.settable).cloned().collect(),
            any_settable: self.said.any_settable || local.said.any_settable,
            roots: roots.collect(),
        }
    }
}
