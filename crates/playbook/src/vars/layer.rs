//! The layers of variables and their order (Ansible's documented precedence).

use std::sync::Arc;

use debark_value::{Map, Value};

use crate::inventory::data::Vars;
use crate::source::{SourceMap, Span};

/// Where a variable may be set, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// `defaults/main.yml` of a role.
    RoleDefaults,
    /// `[all:vars]` of an inventory source.
    InventoryAll,
    /// `[group:vars]` of an inventory source.
    InventoryGroup,
    /// `group_vars/all` beside the inventory.
    GroupVarsAll,
    /// `group_vars/all` beside the playbook.
    PlaybookGroupVarsAll,
    /// `group_vars/*` beside the inventory.
    GroupVars,
    /// `group_vars/*` beside the playbook.
    PlaybookGroupVars,
    /// A host's own line in an inventory source.
    InventoryHost,
    /// `host_vars/*` beside the inventory.
    HostVars,
    /// `host_vars/*` beside the playbook.
    PlaybookHostVars,
    /// `vars` of the play.
    PlayVars,
    /// `vars_prompt` of the play.
    PlayPrompt,
    /// `vars_files` of the play.
    PlayVarsFiles,
    /// `vars/main.yml` of a role.
    RoleVars,
    /// `vars` of a block.
    BlockVars,
    /// `vars` of a task.
    TaskVars,
    /// `-e` on the command line.
    Extra,
}

impl Layer {
    /// What a user would call it; `owner` is the host, group, play or role.
    pub fn describe(self, owner: &str) -> String {
        match self {
            Self::RoleDefaults => format!("defaults of role {owner}"),
            Self::InventoryAll => "inventory, group all".into(),
            Self::InventoryGroup => format!("inventory, group {owner}"),
            Self::GroupVarsAll => "group_vars/all beside the inventory".into(),
            Self::PlaybookGroupVarsAll => "group_vars/all beside the playbook".into(),
            Self::GroupVars => format!("group_vars/{owner} beside the inventory"),
            Self::PlaybookGroupVars => format!("group_vars/{owner} beside the playbook"),
            Self::InventoryHost => format!("inventory, host {owner}"),
            Self::HostVars => format!("host_vars/{owner} beside the inventory"),
            Self::PlaybookHostVars => format!("host_vars/{owner} beside the playbook"),
            Self::PlayVars => format!("vars of play {owner}"),
            Self::PlayPrompt => format!("vars_prompt of play {owner}"),
            Self::PlayVarsFiles => format!("vars_files of play {owner}"),
            Self::RoleVars => format!("vars of role {owner}"),
            Self::BlockVars => format!("vars of block {owner}"),
            Self::TaskVars => format!("vars of task {owner}"),
            Self::Extra => "command line (-e)".into(),
        }
    }
}

/// The variables of one place.
#[derive(Debug)]
pub struct Set<'a> {
    /// Its layer.
    pub layer: Layer,
    /// The host, group, play or role.
    pub owner: Arc<str>,
    vars: Held<'a>,
}

#[derive(Debug)]
enum Held<'a> {
    Own(&'a Vars),
    Shared(Arc<Vars>),
}

impl<'a> Set<'a> {
    /// Of the inventory itself.
    pub fn own(layer: Layer, owner: Arc<str>, vars: &'a Vars) -> Self {
        Self { layer, owner, vars: Held::Own(vars) }
    }

    /// Of a file.
    pub fn shared(layer: Layer, owner: Arc<str>, vars: Arc<Vars>) -> Self {
        Self { layer, owner, vars: Held::Shared(vars) }
    }

    fn vars(&self) -> &Vars {
        match &self.vars {
            Held::Own(vars) => vars,
            Held::Shared(vars) => vars,
        }
    }
}

/// All sets put over `base`, in order. With `merge_hashes`, mappings are merged key by key.
pub fn merge(mut base: Map, sets: &[Set<'_>], merge_hashes: bool) -> Map {
    for set in sets {
        for (key, var) in set.vars() {
            match base.get_mut(key) {
                Some(old) if merge_hashes => *old = combined(old, &var.value),
                _ => {
                    base.insert(key.clone(), var.value.clone());
                }
            }
        }
    }
    base
}

fn combined(old: &Value, new: &Value) -> Value {
    let (Value::Map(old), Value::Map(new)) = (old, new) else { return new.clone() };
    let mut map = Map::clone(old);
    for (key, value) in new.iter() {
        let value = map.get(key).map_or_else(|| value.clone(), |old| combined(old, value));
        map.insert(key.clone(), value);
    }
    Value::from(map)
}

/// One place that sets a variable.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// Its layer.
    pub layer: Layer,
    /// What a user would call it.
    pub description: String,
    /// `file:line:column`; `None` where no file is behind it.
    pub place: Option<String>,
    /// The same as a span.
    pub span: Option<Span>,
    /// What it sets.
    pub value: Value,
    /// Whether it came out of a vault.
    pub secret: bool,
    /// Whether this is the one that counts.
    pub wins: bool,
}

/// The places that set `name`, in the order of the sets; the last wins.
pub fn explain(sets: &[Set<'_>], name: &str, sources: &SourceMap) -> Vec<Origin> {
    let mut origins: Vec<Origin> = sets
        .iter()
        .filter_map(|set| {
            let var = set.vars().get(name)?;
            Some(Origin {
                layer: set.layer,
                description: set.layer.describe(&set.owner),
                place: var.span.map(|span| sources.place(span)),
                span: var.span,
                value: var.value.clone(),
                secret: var.secret,
                wins: false,
            })
        })
        .collect();
    if let Some(last) = origins.last_mut() {
        last.wins = true;
    }
    origins
}
