//! Which hosts there are, which groups they are in, and what is known of each before it is contacted.
//!
//! Sources (INI, YAML, scripts, lists of names) are read into one table of hosts and groups; variables stay where they
//! were set, with their places, and are merged per host when a host is asked for. [`Inventory::explain`] walks the
//! same layers in the same order as the merge, so that it cannot disagree with a run.

mod address;
pub mod data;
mod glob;
mod ini;
mod literal;
mod load;
mod pattern;
pub mod render;
mod runtime;
mod script;
mod select;
mod shlex;
mod yaml;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use debark_value::{Map, Value};

use crate::Diagnostic;
use crate::source::SourceMap;
use crate::vars::files::VarFiles;
use crate::vars::layer::{self, Layer, Origin, Set};
use crate::vault::Vault;
use data::{ALL, Data, GroupId, HostId, Var, Vars};
pub use select::{Limit, Selection};
pub(crate) use yaml::var as yaml_var;

/// How an inventory is read.
#[derive(Debug, Clone)]
pub struct Options {
    /// Opens encrypted files and values.
    pub vault: Arc<Vault>,
    /// Where the text of files goes, for diagnostics.
    pub sources: Arc<SourceMap>,
    /// How long an inventory script may take, all calls together.
    pub script_timeout: Duration,
    /// `hash_behaviour = merge`: mappings of several layers are merged instead of replaced.
    pub merge_hashes: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            vault: Arc::default(),
            sources: Arc::default(),
            script_timeout: crate::vars::config::INVENTORY_TIMEOUT,
            merge_hashes: false,
        }
    }
}

/// All hosts, groups and inventory variables of a run. Shared between threads; hosts may be added while it runs.
#[derive(Debug)]
pub struct Inventory {
    state: Mutex<State>,
    files: VarFiles,
    sources: Vec<String>,
    /// Directories of the sources, which may hold `group_vars` and `host_vars`.
    adjacent: Vec<PathBuf>,
    options: Options,
    warnings: Vec<Diagnostic>,
}

#[derive(Debug, Default)]
struct State {
    data: Data,
    /// What plays added, in order: it outlasts a new reading of the sources.
    added: Vec<Added>,
    groups: Option<Value>,
    /// Playbook directories, numbered as they are asked for.
    dirs: Vec<Vec<PathBuf>>,
    shared: HashMap<(Vec<GroupId>, usize), Arc<Map>>,
    merged: HashMap<(HostId, usize), Arc<Map>>,
}

/// What a play added.
#[derive(Debug, Clone)]
enum Added {
    Host { name: String, groups: Vec<String>, vars: Map },
    Group { host: String, group: String, parents: Vec<String> },
}

impl State {
    fn changed(&mut self) {
        self.groups = None;
        self.shared.clear();
        self.merged.clear();
    }

    fn dirs_id(&mut self, dirs: &[PathBuf]) -> usize {
        match self.dirs.iter().position(|known| known == dirs) {
            Some(at) => at,
            None => {
                self.dirs.push(dirs.to_vec());
                self.dirs.len() - 1
            }
        }
    }
}

fn read(sources: &[String], options: &Options) -> Result<(Data, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut data = Data::default();
    let mut loader = load::Loader { data: &mut data, options, errors: Vec::new(), warnings: Vec::new() };
    for source in sources {
        loader.source(source);
    }
    let (mut errors, warnings) = (loader.errors, loader.warnings);
    if let Err(why) = data.settle() {
        errors.push(Diagnostic::error(why));
    }
    if errors.is_empty() { Ok((data, warnings)) } else { Err(errors) }
}

impl Inventory {
    /// Reads all sources, in order. Without any: `ANSIBLE_INVENTORY`, `inventory` of `ansible.cfg`,
    /// `/etc/ansible/hosts` if it exists; else there is only `localhost`.
    ///
    /// # Errors
    /// Everything that is wrong with the sources, at once.
    pub fn load(sources: &[String], options: Options) -> Result<Self, Vec<Diagnostic>> {
        let defaults;
        let sources = if sources.is_empty() {
            defaults = crate::vars::config::default_inventory();
            &defaults
        } else {
            sources
        };
        let (data, mut warnings) = read(sources, &options)?;
        for group in &data.groups {
            if data.host_id(&group.name).is_some() {
                warnings.push(Diagnostic::warning(format!("`{}` is both a host and a group", group.name)));
            }
        }
        let mut adjacent: Vec<PathBuf> = Vec::new();
        for source in sources {
            let path = Path::new(source);
            if source.contains(',') && !path.exists() {
                continue;
            }
            // As the user wrote it, so that places read as the user expects.
            let dir = if path.is_dir() { Some(path) } else { path.parent() };
            let dir = dir.unwrap_or(path).to_owned();
            if !adjacent.iter().any(|known| load::absolute(known) == load::absolute(&dir)) {
                adjacent.push(dir);
            }
        }
        let files = VarFiles::new(options.sources.clone(), options.vault.clone());
        let state = Mutex::new(State { data, ..State::default() });
        Ok(Self { state, files, sources: sources.to_vec(), adjacent, options, warnings })
    }

    /// What is odd about the sources.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// Source texts, to show diagnostics with.
    pub fn sources(&self) -> &Arc<SourceMap> {
        &self.options.sources
    }

    /// Every text that came out of a vault so far. None of them may be shown.
    pub fn secrets(&self) -> Vec<String> {
        self.options.vault.secrets()
    }

    /// The names of all hosts that sources or plays named, in inventory order.
    pub fn hosts(&self) -> Vec<Arc<str>> {
        let state = self.lock();
        state.data.members(ALL).into_iter().map(|id| state.data.host(id).name.clone()).collect()
    }

    /// Whether there is such a host.
    pub fn has_host(&self, name: &str) -> bool {
        self.lock().data.host_id(name).is_some()
    }

    /// The variables of a host as all inventory layers together set them, `playbook_dirs` being where the playbooks are
    /// (`group_vars` and `host_vars` may stand beside them). Not rendered. `inventory_file` and `inventory_dir` are
    /// among them.
    ///
    /// # Errors
    /// A variable file is wrong, or there is no such host.
    pub fn vars(&self, host: &str, playbook_dirs: &[PathBuf]) -> Result<Arc<Map>, Vec<Diagnostic>> {
        let mut state = self.lock();
        let id = known(&state.data, host)?;
        let dirs = state.dirs_id(playbook_dirs);
        if let Some(map) = state.merged.get(&(id, dirs)) {
            return Ok(map.clone());
        }
        let groups = state.data.groups_of(id);
        let mut errors = Vec::new();
        let base = match state.shared.get(&(groups.clone(), dirs)) {
            Some(base) => base.clone(),
            None => {
                let sets = self.group_sets(&state.data, &groups, playbook_dirs, &mut errors);
                let base = Arc::new(layer::merge(Map::new(), &sets, self.options.merge_hashes));
                state.shared.insert((groups, dirs), base.clone());
                base
            }
        };
        let sets = self.host_sets(&state.data, id, playbook_dirs, &mut errors);
        if !errors.is_empty() {
            state.changed();
            return Err(errors);
        }
        let map = Arc::new(layer::merge(Map::clone(&base), &sets, self.options.merge_hashes));
        state.merged.insert((id, dirs), map.clone());
        Ok(map)
    }

    /// Reads the variable files of all hosts and groups, so that what is wrong with them is known before any host is
    /// contacted.
    pub fn check(&self, playbook_dirs: &[PathBuf]) -> Vec<Diagnostic> {
        let state = self.lock();
        let mut errors = Vec::new();
        let dirs = self.adjacent.iter().chain(playbook_dirs);
        for dir in dirs {
            let groups = state.data.groups.iter().map(|group| ("group_vars", &group.name));
            let hosts = state.data.hosts.iter().map(|host| ("host_vars", &host.name));
            for (kind, name) in groups.chain(hosts) {
                for file in self.files.find(dir, kind, name) {
                    errors.extend(file.err());
                }
            }
        }
        errors.dedup();
        errors
    }

    /// Every place that sets a variable for a host, weakest first, the last one being the one that counts. `above` are
    /// layers beyond the inventory (of a play, of the command line), weakest first.
    ///
    /// # Errors
    /// As [`Inventory::vars`].
    pub fn explain(
        &self,
        var: &str,
        host: &str,
        playbook_dirs: &[PathBuf],
        above: &[(Layer, Arc<str>, Arc<Vars>)],
    ) -> Result<Vec<Origin>, Vec<Diagnostic>> {
        let state = self.lock();
        let id = known(&state.data, host)?;
        let mut errors = Vec::new();
        let groups = state.data.groups_of(id);
        let mut sets = self.group_sets(&state.data, &groups, playbook_dirs, &mut errors);
        sets.extend(self.host_sets(&state.data, id, playbook_dirs, &mut errors));
        if !errors.is_empty() {
            return Err(errors);
        }
        sets.extend(
            above.iter().map(|(layer, owner, vars)| Set::shared(*layer, owner.clone(), vars.clone())),
        );
        sets.sort_by_key(|set| set.layer);
        Ok(layer::explain(&sets, var, &self.options.sources))
    }

    /// Variables that nothing overrides: `inventory_hostname`, `inventory_hostname_short`, `group_names`, `groups`.
    /// The caller adds what it knows of the run (see [`crate::vars::magic`]).
    pub fn magic(&self, host: &str) -> Map {
        let mut state = self.lock();
        let mut names: Vec<Arc<str>> = match state.data.host_id(host) {
            Some(id) => {
                state.data.groups_of(id).iter().map(|id| state.data.group(*id).name.clone()).collect()
            }
            None => Vec::new(),
        };
        names.sort();
        let groups = match &state.groups {
            Some(groups) => groups.clone(),
            None => {
                let groups = groups_value(&state.data);
                state.groups = Some(groups.clone());
                groups
            }
        };
        let short = if address::is_ip(host) { host } else { host.split('.').next().unwrap_or(host) };
        debark_value::map! {
            "inventory_hostname" => host,
            "inventory_hostname_short" => short,
            "group_names" => Value::list(names),
            "groups" => groups,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The layers that hosts of the same groups share, weakest first.
    fn group_sets<'a>(
        &self,
        data: &'a Data,
        groups: &[GroupId],
        dirs: &[PathBuf],
        errors: &mut Vec<Diagnostic>,
    ) -> Vec<Set<'a>> {
        let of = |layer, id: GroupId| Set::own(layer, data.group(id).name.clone(), &data.group(id).vars);
        let mut sets = vec![of(Layer::InventoryAll, ALL)];
        sets.extend(groups.iter().map(|id| of(Layer::InventoryGroup, *id)));
        let all = [ALL];
        for (layer, dirs, groups) in [
            (Layer::GroupVarsAll, &*self.adjacent, &all[..]),
            (Layer::PlaybookGroupVarsAll, dirs, &all[..]),
            (Layer::GroupVars, &*self.adjacent, groups),
            (Layer::PlaybookGroupVars, dirs, groups),
        ] {
            for dir in dirs {
                for id in groups {
                    let name = &data.group(*id).name;
                    self.files.add(dir, "group_vars", name, layer, &mut sets, errors);
                }
            }
        }
        sets
    }

    /// The layers of one host, weakest first.
    fn host_sets<'a>(
        &self,
        data: &'a Data,
        id: HostId,
        dirs: &[PathBuf],
        errors: &mut Vec<Diagnostic>,
    ) -> Vec<Set<'a>> {
        let host = data.host(id);
        let mut sets = Vec::new();
        if !host.implicit {
            sets.push(Set::shared(Layer::InventoryHost, host.name.clone(), Arc::new(source_vars(data, id))));
        }
        sets.push(Set::own(Layer::InventoryHost, host.name.clone(), &host.vars));
        for (layer, dirs) in [(Layer::HostVars, &*self.adjacent), (Layer::PlaybookHostVars, dirs)] {
            for dir in dirs {
                self.files.add(dir, "host_vars", &host.name, layer, &mut sets, errors);
            }
        }
        sets
    }
}

fn known(data: &Data, host: &str) -> Result<HostId, Vec<Diagnostic>> {
    data.host_id(host).ok_or_else(|| {
        let names = data.hosts.iter().map(|host| &*host.name);
        vec![
            Diagnostic::error(format!("there is no host `{host}` in the inventory"))
                .maybe_hint(crate::diagnostic::did_you_mean(host, names)),
        ]
    })
}

fn groups_value(data: &Data) -> Value {
    let names = |id: usize| {
        // Places in the list are numbers of groups.
        let members = data.members(id as GroupId);
        Value::list(members.into_iter().map(|host| data.host(host).name.clone()))
    };
    Value::from(
        data.groups.iter().enumerate().map(|(id, group)| (group.name.clone(), names(id))).collect::<Map>(),
    )
}

/// `inventory_file` and `inventory_dir`.
fn source_vars(data: &Data, id: HostId) -> Vars {
    let source = data.host(id).source.and_then(|at| data.sources.get(at as usize));
    let (file, dir) = match source.map(|source| (source, Path::new(source))) {
        Some((source, path)) if source.contains(',') && !path.exists() => {
            (Value::from(source.as_str()), Value::Null)
        }
        Some((_, path)) => {
            let path = load::absolute(path);
            let dir = path.parent().map(|dir| dir.to_string_lossy().into_owned());
            (Value::from(path.to_string_lossy().into_owned()), Value::from(dir))
        }
        None => (Value::Null, Value::Null),
    };
    let var = |value| Var { value, span: None, secret: false };
    Vars::from_iter([("inventory_file".into(), var(file)), ("inventory_dir".into(), var(dir))])
}

#[cfg(test)]
mod tests;
