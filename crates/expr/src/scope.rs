//! The variables an expression sees.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use debark_value::{Map, Value};

/// Whether the texts of a layer are templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// Inventory, play, role and task variables: a text that contains a template is rendered where it is used.
    Templated,
    /// Facts, registers and results of `set_fact`: never rendered (again), whatever they contain. A command's
    /// output is data, not a program.
    Plain,
}

/// What is known of a variable after its first use.
#[derive(Clone)]
pub(crate) enum Cached {
    /// A container without any template.
    Plain,
    /// A container whose members are rendered one by one.
    Lazy,
    /// The result of a text's template.
    Rendered(Value),
}

/// Layers of variables, low precedence first. A clone costs a few counters.
///
/// What a templated variable renders to is remembered until a layer is pushed onto this clone.
#[derive(Clone, Default)]
pub struct Scope {
    layers: Vec<(Arc<Map>, LayerKind)>,
    hostvars: Option<Arc<Map>>,
    own: Option<Arc<Scope>>,
    cache: Arc<Mutex<HashMap<Arc<str>, Cached>>>,
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scope({} layers)", self.layers.len())
    }
}

impl Scope {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a layer that takes precedence over all layers so far.
    pub fn push(&mut self, layer: Arc<Map>, kind: LayerKind) {
        if layer.is_empty() {
            return;
        }
        self.layers.push((layer, kind));
        // Other clones go on with the old cache: for them nothing has changed.
        self.cache = Arc::default();
    }

    /// Forgets what variables rendered to, so that lookups within them are made again.
    pub fn refresh(&mut self) {
        self.cache = Arc::default();
    }

    /// The variables of other hosts as far as they are known here, by host, rendered. What is not found here is
    /// asked of [`Services::hostvars`](crate::Services::hostvars).
    pub fn set_hostvars(&mut self, hosts: Arc<Map>) {
        self.hostvars = Some(hosts);
        self.cache = Arc::default();
    }

    /// The variables that the host's own entry in `hostvars` has; without them it has all.
    pub fn set_own(&mut self, own: Scope) {
        self.own = Some(Arc::new(own));
    }

    pub(crate) fn own(&self) -> Option<&Arc<Scope>> {
        self.own.as_ref()
    }

    pub(crate) fn known_hostvars(&self) -> Option<&Map> {
        self.hostvars.as_deref()
    }

    /// The value of a variable as it was given, not rendered, with the kind of its layer.
    pub fn get_raw(&self, name: &str) -> Option<(&Value, LayerKind)> {
        self.layers.iter().rev().find_map(|(layer, kind)| layer.get(name).map(|value| (value, *kind)))
    }

    /// As [`Scope::get_raw`], of those layers only that `counts` takes; with the layer.
    pub fn get_of(
        &self,
        name: &str,
        counts: impl Fn(&Arc<Map>, LayerKind) -> bool,
    ) -> Option<(&Value, &Arc<Map>, LayerKind)> {
        let mut layers = self.layers.iter().rev().filter(|(layer, kind)| counts(layer, *kind));
        layers.find_map(|(layer, kind)| layer.get(name).map(|value| (value, layer, *kind)))
    }

    /// The names of all variables, each once, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.layers.iter().enumerate().flat_map(move |(index, (layer, _))| {
            let above = self.layers.get(index + 1..).unwrap_or_default();
            layer.keys().filter(move |name| !above.iter().any(|(higher, _)| higher.contains_key(&***name)))
        })
    }

    fn cache(&self) -> MutexGuard<'_, HashMap<Arc<str>, Cached>> {
        // A panic elsewhere leaves the map whole: each entry is inserted in one step.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cached(&self, name: &str) -> Option<Cached> {
        self.cache().get(name).cloned()
    }

    pub(crate) fn remember(&self, name: &Arc<str>, cached: Cached) {
        self.cache().insert(name.clone(), cached);
    }
}
