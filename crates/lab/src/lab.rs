//! A lab: made, grown, reset and removed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::base::{Maker, Recipe};
use crate::boot::in_parallel;
use crate::cgroup::Trees;
use crate::disk;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::inventory;
use crate::names::{self, MAX_HOSTS, Names, Range};
use crate::network;
use crate::remove::remove;
use crate::state::{Boot, HostState, State, Suite};
use crate::store::{LabDir, Store, make_dir, write_file};
use crate::tools;

/// Where progress is told, one line at a time.
pub type Say = Box<dyn Fn(&str) + Send + Sync>;

/// What lab to make.
pub struct Options {
    /// Its name.
    pub name: String,
    /// How many hosts it has when it is up, those it had before included.
    pub hosts: usize,
    /// The release of new hosts.
    pub suite: Suite,
    /// New hosts run sshd without systemd: quick to boot, enough for benchmarks of connections.
    pub bare: bool,
    /// A WireGuard gateway stands between the controller and the hosts.
    pub gateway: bool,
    /// Packages that new hosts have from the start, `python3` for example.
    pub packages: Vec<String>,
    /// The directory of all labs; `$DEBARK_LAB_DIR` or `/var/lib/debark-lab` unless given.
    pub root: Option<PathBuf>,
    /// The debark executable that watches over the hosts; found unless given.
    pub program: Option<PathBuf>,
    /// Where progress is told.
    pub say: Say,
}

impl Options {
    /// A lab of this name and size: bookworm, with systemd, told to nobody.
    pub fn new(name: &str, hosts: usize) -> Self {
        Self {
            name: name.to_owned(),
            hosts,
            suite: Suite::default(),
            bare: false,
            gateway: false,
            packages: Vec::new(),
            root: None,
            program: None,
            say: Box::new(|_| ()),
        }
    }
}

/// A running lab. One made by [`Lab::up`] is removed when dropped, unless [`Lab::keep`] was said.
#[derive(Debug)]
pub struct Lab {
    pub(crate) name: String,
    pub(crate) store: Store,
    pub(crate) dir: LabDir,
    pub(crate) names: Names,
    pub(crate) program: PathBuf,
    pub(crate) trees: Trees,
    owned: bool,
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.owned {
            // Nobody is left to be told; a later `down` removes what this one could not.
            let _ = remove(&self.store, &self.name);
        }
    }
}

impl Lab {
    /// Makes the lab, or grows and repairs the one of this name: hosts that are up stay as they are.
    pub fn up(options: Options) -> Result<Self> {
        names::check_lab(&options.name)?;
        if options.hosts > MAX_HOSTS {
            return Err(Error::input(
                format!("a lab cannot have {} hosts", options.hosts),
                format!("{MAX_HOSTS} is the most; a second lab holds as many again"),
            ));
        }
        tools::check()?;
        let program = options.program.clone().map_or_else(tools::program, Ok)?;
        let mut lab = Self::at(&options.name, options.root.as_deref(), program)?;
        lab.store.prepare()?;
        let _lock = lab.store.lock(&format!("lab-{}", lab.name))?;
        let fresh = !lab.dir.path.exists();
        // A lab that was there before is not this caller's to remove when something fails on the way.
        lab.owned = fresh;
        let mut state = lab.ensure_state(options.gateway)?;
        if options.gateway {
            tools::check_gateway()?;
        }
        disk::make_key(&lab.dir.key(), &format!("lab-{}", lab.name))?;
        lab.add_hosts(&options, &mut state)?;
        lab.ensure_network(&state)?;
        let down: Vec<String> = lab.order(&state).filter(|name| !lab.is_up(name)).collect();
        for name in &down {
            let dir = lab.dir.host(name);
            make_dir(&dir.path)?;
        }
        in_parallel(&down, |name| disk::ensure_host_key(&lab.dir.host(name), name))?;
        lab.write_files(&state)?;
        lab.boot_all(&state, &down, &options.say)?;
        lab.owned = true;
        Ok(lab)
    }

    /// Enters the hosts that are missing into the state, and makes their base system.
    fn add_hosts(&self, options: &Options, state: &mut State) -> Result<()> {
        let mut missing: Vec<usize> = (1..=options.hosts).collect();
        missing.retain(|number| !state.hosts.contains_key(&names::host_name(*number)));
        if missing.is_empty() {
            return Ok(());
        }
        let recipe = Recipe::new(options.suite, &options.packages)?;
        let in_use = |id: &str| uses_base(&self.store, id);
        let base = recipe.ensure(&Maker {
            store: &self.store,
            trees: &self.trees,
            program: &self.program,
            in_use: &in_use,
            say: &|line| (options.say)(line),
        })?;
        for number in missing {
            let name = names::host_name(number);
            let host = HostState {
                number,
                address: state.range().host(number),
                suite: options.suite,
                base: base.clone(),
                bare: options.bare,
                packages: options.packages.clone(),
                namespace: self.names.host(&name),
            };
            state.hosts.insert(name, host);
        }
        Ok(())
    }

    /// The lab of this name, which must exist. Dropping it leaves it running.
    pub fn open(name: &str, root: Option<&Path>) -> Result<Self> {
        names::check_lab(name)?;
        tools::check_root()?;
        let lab = Self::at(name, root, tools::program().unwrap_or_else(|_| PathBuf::from("debark")))?;
        if !lab.dir.path.exists() {
            return Err(Error::NoLab { name: name.to_owned(), known: lab.store.labs()? });
        }
        Ok(lab)
    }

    fn at(name: &str, root: Option<&Path>, program: PathBuf) -> Result<Self> {
        let store = Store::open(root)?;
        Ok(Self {
            name: name.to_owned(),
            dir: store.lab(name),
            names: store.names(name),
            store,
            program,
            trees: Trees::find()?,
            owned: false,
        })
    }

    /// What every lab of the directory remembers of itself, by name.
    pub fn all(root: Option<&Path>) -> Result<Vec<State>> {
        tools::check_root()?;
        Ok(states(&Store::open(root)?))
    }

    /// The names of all labs, those included that an `up` could not finish.
    pub fn all_names(root: Option<&Path>) -> Result<Vec<String>> {
        tools::check_root()?;
        Store::open(root)?.labs()
    }

    /// Removes a lab by its name alone, whatever is left of it; false if nothing was.
    pub fn remove(name: &str, root: Option<&Path>) -> Result<bool> {
        remove(&Store::open(root)?, name)
    }

    /// Leaves it running when dropped.
    pub fn keep(&mut self) {
        self.owned = false;
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory: keys, known_hosts, inventory.
    pub fn path(&self) -> &Path {
        &self.dir.path
    }

    /// What it remembers of itself.
    pub fn state(&self) -> Result<State> {
        State::read(&self.dir.state())?.ok_or_else(|| Error::NoLab {
            name: self.name.clone(),
            known: self.store.labs().unwrap_or_default(),
        })
    }

    /// One of its hosts.
    pub fn host(&self, name: &str) -> Result<Host<'_>> {
        let mut state = self.state()?;
        match state.hosts.remove(name) {
            Some(state) => Ok(Host { lab: self, name: name.to_owned(), state }),
            None => Err(Error::NoHost {
                lab: self.name.clone(),
                host: name.to_owned(),
                known: self.order(&state).collect(),
            }),
        }
    }

    /// All its hosts in order.
    pub fn hosts(&self) -> Result<Vec<Host<'_>>> {
        let state = self.state()?;
        self.order(&state).map(|name| self.host(&name)).collect()
    }

    /// Its inventory, in INI form.
    pub fn inventory_path(&self) -> PathBuf {
        self.dir.inventory()
    }

    /// Its inventory in the Python form that pyinfra reads.
    pub fn pyinfra_inventory_path(&self) -> PathBuf {
        self.dir.pyinfra()
    }

    /// Its inventory in INI form with these groups of its hosts.
    pub fn inventory(&self, groups: &[(String, Vec<String>)]) -> Result<String> {
        Ok(inventory::ini(&self.state()?, &self.dir, groups))
    }

    /// Its inventory as what an inventory script prints for `--list`.
    pub fn inventory_json(&self) -> Result<serde_json::Value> {
        Ok(inventory::json(&self.state()?, &self.dir))
    }

    /// The ssh configuration that knows its hosts by name.
    pub fn ssh_config_path(&self) -> PathBuf {
        self.dir.ssh_config()
    }

    /// The controller's network namespace, as `ip netns` names it.
    pub fn controller_namespace(&self) -> String {
        self.names.controller()
    }

    /// A program in the controller's network namespace, from which alone the hosts can be reached.
    pub fn controller_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        let namespace = network::path(&self.names.controller());
        command.arg(format!("--net={}", namespace.display())).arg("--").arg(program);
        command
    }

    /// A program in the network namespace of the hosts' bridge: behind the gateway, if there is one.
    pub fn bridge_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let namespace = self.bridge_namespace();
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", network::path(&namespace).display())).arg("--").arg(program);
        command
    }

    /// That namespace, as `ip netns` names it.
    pub fn bridge_namespace(&self) -> String {
        self.state().map_or_else(|_| self.names.controller(), |state| state.bridge())
    }

    /// Removes the lab and everything of it.
    pub fn down(mut self) -> Result<()> {
        self.owned = false;
        remove(&self.store, &self.name).map(drop)
    }

    pub(crate) fn order(&self, state: &State) -> impl Iterator<Item = String> + use<> {
        state.in_order().into_iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().into_iter()
    }

    pub(crate) fn is_up(&self, host: &str) -> bool {
        Boot::read(&self.dir.host(host).boot()).is_up() && disk::is_mounted(&self.dir.host(host))
    }

    fn ensure_state(&self, gateway: bool) -> Result<State> {
        let _all = self.store.lock("all")?;
        if let Some(state) = State::read(&self.dir.state())? {
            if gateway && !state.gateway {
                let what = format!("the lab {} was made without a gateway", self.name);
                return Err(Error::input(what, "make another one, or remove it first: debark lab down"));
            }
            return Ok(state);
        }
        let taken: Vec<u8> = states(&self.store).iter().map(|state| state.range).collect();
        make_dir(&self.dir.path)?;
        let state = State {
            name: self.name.clone(),
            range: Range::free(&taken)?.0,
            controller: self.names.controller(),
            hosts: BTreeMap::new(),
            delays: Vec::new(),
            gateway,
        };
        state.write(&self.dir.state())?;
        Ok(state)
    }

    /// The state and what follows from it.
    pub(crate) fn write_files(&self, state: &State) -> Result<()> {
        let key =
            |host: &str| std::fs::read_to_string(self.dir.host(host).host_key().with_extension("pub")).ok();
        write_file(&self.dir.known_hosts(), &inventory::known_hosts(state, &key))?;
        write_file(&self.dir.ssh_config(), &inventory::ssh_config(state, &self.dir))?;
        write_file(&self.dir.inventory(), &inventory::ini(state, &self.dir, &[]))?;
        write_file(&self.dir.pyinfra(), &inventory::pyinfra(state, &self.dir))?;
        state.write(&self.dir.state())
    }
}

/// The state of every lab that can be read.
fn states(store: &Store) -> Vec<State> {
    let labs = store.labs().unwrap_or_default();
    labs.iter().filter_map(|name| State::read(&store.lab(name).state()).ok().flatten()).collect()
}

fn uses_base(store: &Store, id: &str) -> bool {
    states(store).iter().any(|state| state.hosts.values().any(|host| host.base == id))
}
