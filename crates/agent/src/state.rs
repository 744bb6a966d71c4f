//! What a host knows during a run: facts, registers, `set_fact`, `include_vars`; and the scope a task sees.

use std::sync::Arc;

use debark_expr::{LayerKind, Scope};
use debark_value::{Map, Value};
use debark_wire::{HostPlay, Play, Role, Task};
use serde::{Deserialize, Serialize};

use crate::context::Context;

/// What happened to a host's variables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// [`HostState::gathered`].
    Gathered(Map),
    /// [`HostState::returned`].
    Returned(Map),
    /// [`HostState::clear_facts`].
    Cleared,
    /// [`HostState::set`].
    Set(String, Value),
    /// [`HostState::include`].
    Included(Map),
}

/// What lasts over the plays of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostState {
    /// Facts without the prefix `ansible_`: the variable `ansible_facts`.
    pub facts: Map,
    /// `ansible_*` variables and `ansible_facts`, made from `facts`.
    pub fact_vars: Arc<Map>,
    /// Registers and `set_fact`.
    pub set: Arc<Map>,
    /// `include_vars`; may hold templates.
    pub included: Arc<Map>,
    /// What happened since it was asked last.
    #[serde(skip)]
    changes: Vec<Change>,
}

impl Default for HostState {
    fn default() -> Self {
        Self {
            facts: Map::new(),
            fact_vars: nothing_gathered(),
            set: Arc::default(),
            included: Arc::default(),
            changes: Vec::new(),
        }
    }
}

impl HostState {
    /// Adds gathered facts, named without prefix: their variables are called `ansible_*`.
    pub fn gathered(&mut self, facts: Map) {
        self.changes.push(Change::Gathered(facts.clone()));
        let vars = Arc::make_mut(&mut self.fact_vars);
        for (name, value) in facts {
            vars.insert(format!("ansible_{name}").into(), value.clone());
            self.facts.insert(name, value);
        }
        vars.insert("ansible_facts".into(), Value::from(self.facts.clone()));
    }

    /// Adds facts that a module returned: variables go by the names it gave (`getent_passwd`), `ansible_facts` has
    /// them without prefix.
    pub fn returned(&mut self, facts: Map) {
        self.changes.push(Change::Returned(facts.clone()));
        let vars = Arc::make_mut(&mut self.fact_vars);
        for (name, value) in facts {
            let plain = name.strip_prefix("ansible_").map_or_else(|| name.clone(), Arc::from);
            vars.insert(name, value.clone());
            self.facts.insert(plain, value);
        }
        vars.insert("ansible_facts".into(), Value::from(self.facts.clone()));
    }

    /// Forgets all facts (`meta: clear_facts`).
    pub fn clear_facts(&mut self) {
        self.changes.push(Change::Cleared);
        self.facts.clear();
        self.fact_vars = nothing_gathered();
    }

    /// Sets a register or a `set_fact`.
    pub fn set(&mut self, name: &str, value: Value) {
        self.changes.push(Change::Set(name.into(), value.clone()));
        Arc::make_mut(&mut self.set).insert(name.into(), value);
    }

    /// Adds variables of `include_vars`.
    pub fn include(&mut self, vars: Map) {
        self.changes.push(Change::Included(vars.clone()));
        Arc::make_mut(&mut self.included).extend(vars);
    }

    /// What happened since the last call.
    pub fn noted(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Lets something happen again.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Gathered(facts) => self.gathered(facts),
            Change::Returned(facts) => self.returned(facts),
            Change::Cleared => self.clear_facts(),
            Change::Set(name, value) => self.set(&name, value),
            Change::Included(vars) => self.include(vars),
        }
    }
}

/// `ansible_facts` is there before anything is known.
fn nothing_gathered() -> Arc<Map> {
    Arc::new(debark_value::map! { "ansible_facts" => Value::from(Map::new()) })
}

/// A play as it runs on this host.
pub struct PlayState {
    /// The play; its task tree is taken apart while it runs.
    pub play: Play,
    /// This host's part.
    pub host: HostPlay,
    /// Variables of `roles:` that every task of the play sees.
    pub public_defaults: Arc<Map>,
    /// As `public_defaults`, for `vars/main.yml`.
    pub public_vars: Arc<Map>,
    inventory: Arc<Map>,
    play_vars: Arc<Map>,
    extra: Arc<Map>,
    magic: Arc<Map>,
}

impl PlayState {
    /// A play that is about to run.
    pub fn new(mut play: Play, mut host: HostPlay) -> Self {
        let take = |map: &mut Map| Arc::new(std::mem::take(map));
        let mut state = Self {
            inventory: take(&mut host.inventory),
            play_vars: take(&mut host.play_vars),
            magic: take(&mut host.magic),
            extra: take(&mut play.extra_vars),
            public_defaults: Arc::default(),
            public_vars: Arc::default(),
            play,
            host,
        };
        state.publish();
        state
    }

    /// Recomputes what public roles offer to all tasks; needed after roles were added.
    pub fn publish(&mut self) {
        let merged = |part: fn(&Role) -> &Arc<Map>| {
            let public = self.play.roles.iter().filter(|role| role.public);
            Arc::new(
                public
                    .flat_map(|role| part(role).iter().map(|(k, v)| (k.clone(), v.clone())))
                    .collect::<Map>(),
            )
        };
        let dependencies = self.play.roles.iter().flat_map(|role| &role.dependencies);
        let names: std::collections::BTreeSet<&str> = dependencies
            .filter_map(|index| self.role(Some(*index)))
            .filter(|role| !role.included)
            .map(|role| role.name.as_str())
            .collect();
        let names = Value::list(names);
        self.public_defaults = merged(|role| &role.defaults);
        self.public_vars = merged(|role| &role.vars);
        Arc::make_mut(&mut self.magic).insert("ansible_dependent_role_names".into(), names);
    }

    /// Takes over what the controller has changed among the variables that nothing overrides.
    pub fn take_magic(&mut self, changed: Map) {
        if !changed.is_empty() {
            Arc::make_mut(&mut self.magic).extend(changed);
        }
    }

    /// Whether a layer is of the host's own inventory.
    pub fn is_inventory(&self, layer: &Arc<Map>) -> bool {
        Arc::ptr_eq(layer, &self.inventory)
    }

    /// Whether the controller goes by a layer when it connects to this host, or to another one.
    pub fn is_foreknown(&self, layer: &Arc<Map>, own: bool) -> bool {
        Arc::ptr_eq(layer, &self.extra)
            || own && (self.is_inventory(layer) || Arc::ptr_eq(layer, &self.play_vars))
    }

    /// A role by its index.
    pub fn role(&self, index: Option<u32>) -> Option<&Role> {
        self.play.roles.get(index? as usize)
    }

    /// `file:line` of a task.
    pub fn place(&self, task: &Task) -> String {
        let file = self.play.files.get(task.span.file as usize).map_or("?", String::as_str);
        format!("{file}:{}", task.span.line)
    }

    /// The variables a task sees, without its own; lowest first, as documented for Ansible's precedence.
    pub fn scope(&self, state: &HostState, context: &Context) -> Scope {
        use LayerKind::{Plain, Templated};
        let mut scope = Scope::new();
        let role = self.role(context.role);
        let dependencies =
            || role.into_iter().flat_map(|r| &r.dependencies).filter_map(|i| self.role(Some(*i)));
        scope.push(self.public_defaults.clone(), Templated);
        dependencies().for_each(|role| scope.push(role.defaults.clone(), Templated));
        if let Some(role) = role {
            scope.push(role.defaults.clone(), Templated);
        }
        scope.push(self.inventory.clone(), Templated);
        scope.push(state.fact_vars.clone(), Plain);
        scope.push(self.play_vars.clone(), Templated);
        scope.push(self.public_vars.clone(), Templated);
        dependencies().for_each(|role| scope.push(role.vars.clone(), Templated));
        if let Some(role) = role {
            scope.push(role.vars.clone(), Templated);
            scope.push(role.inline.clone(), Templated);
        }
        context.vars.iter().for_each(|vars| scope.push(vars.clone(), Templated));
        // A task's own vars come here in Ansible's order; `with_task` pushes them with what lies above.
        scope
    }

    /// What `hostvars` has of this host: nothing that belongs to plays, roles, blocks and tasks.
    fn own(&self, state: &HostState) -> Scope {
        use LayerKind::{Plain, Templated};
        let mut own = Scope::new();
        own.push(self.inventory.clone(), Templated);
        own.push(state.fact_vars.clone(), Plain);
        own.push(state.included.clone(), Templated);
        own.push(state.set.clone(), Plain);
        own.push(self.extra.clone(), Templated);
        own.push(self.magic.clone(), Plain);
        own
    }

    /// The scope of one task: its own variables and all that lies above them.
    pub fn task_scope(&self, state: &HostState, context: &Context, task: &Task) -> Scope {
        use LayerKind::{Plain, Templated};
        let mut scope = self.scope(state, context);
        scope.push(Arc::new(task.keywords.vars.clone()), Templated);
        scope.push(state.included.clone(), Templated);
        scope.push(state.set.clone(), Plain);
        let role = self.role(context.role);
        if let Some(role) = role {
            scope.push(role.params.clone(), Templated);
        }
        context.include_vars.iter().for_each(|vars| scope.push(vars.clone(), Templated));
        scope.set_own(self.own(state));
        scope.push(self.extra.clone(), Templated);
        scope.push(self.magic.clone(), Plain);
        if let Some(role) = role {
            let mut magic = debark_value::map! {
                "role_name" => role.name.as_str(),
                "ansible_role_name" => &*role.full_name(),
                "role_path" => role.path.as_str(),
            };
            if let Some(collection) = &role.collection {
                magic.insert("ansible_collection_name".into(), collection.as_str().into());
            }
            if !role.parents.is_empty() {
                let parents = Value::list(role.parents.iter().map(|name| Value::from(name.as_str())));
                magic.insert("ansible_parent_role_names".into(), parents);
            }
            scope.push(Arc::new(magic), Plain);
        }
        scope
    }
}
