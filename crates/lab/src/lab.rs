//! A lab: made, grown, reset and removed.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use crate::background;
use crate::base::{self, Recipe};
use crate::cgroup::Trees;
use crate::command::last_lines;
use crate::disk;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::inventory;
use crate::names::{self, MAX_HOSTS, Names, PROXY_PORT, Range};
use crate::network;
use crate::proxy;
use crate::relay::{Relay, Side};
use crate::state::{Boot, HostState, State, Suite};
use crate::store::{LabDir, Store, make_dir, write_file};
use crate::supervise;
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
    program: PathBuf,
    trees: Trees,
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
        let mut state = lab.ensure_state()?;
        disk::make_key(&lab.dir.key(), &format!("lab-{}", lab.name))?;
        let missing: Vec<usize> = (1..=options.hosts)
            .filter(|number| !state.hosts.contains_key(&names::host_name(*number)))
            .collect();
        if !missing.is_empty() {
            let recipe = Recipe::new(options.suite, &options.packages)?;
            let in_use = |id: &str| uses_base(&lab.store, id);
            let base = recipe.ensure(&lab.store, &in_use, &|line| (options.say)(&line))?;
            for number in missing {
                let name = names::host_name(number);
                let host = HostState {
                    number,
                    address: state.range().host(number),
                    suite: options.suite,
                    base: base.clone(),
                    bare: options.bare,
                    packages: options.packages.clone(),
                    namespace: lab.names.host(&name),
                };
                state.hosts.insert(name, host);
            }
        }
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
        Ok(states(&Store::open(root)?))
    }

    /// The names of all labs, those included that an `up` could not finish.
    pub fn all_names(root: Option<&Path>) -> Result<Vec<String>> {
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

    /// Gives hosts a fresh disk and boots them: all, unless some are named. Their keys and addresses stay.
    pub fn reset(&self, hosts: &[String], say: &Say) -> Result<()> {
        self.boot_again(hosts, true, say)
    }

    /// Boots hosts that are down from the disk they have: all, unless some are named.
    pub fn start(&self, hosts: &[String], say: &Say) -> Result<()> {
        self.boot_again(hosts, false, say)
    }

    fn boot_again(&self, hosts: &[String], wipe: bool, say: &Say) -> Result<()> {
        let _lock = self.store.lock(&format!("lab-{}", self.name))?;
        let state = self.state()?;
        for host in hosts {
            self.host(host)?;
        }
        let chosen: Vec<String> =
            self.order(&state).filter(|name| hosts.is_empty() || hosts.contains(name)).collect();
        let chosen: Vec<String> = chosen.into_iter().filter(|name| wipe || !self.is_up(name)).collect();
        self.ensure_network(&state)?;
        if wipe {
            for name in &chosen {
                self.clear(name)?;
            }
        }
        self.boot_all(&state, &chosen, say)
    }

    /// Stops a host and forgets its disk.
    fn clear(&self, name: &str) -> Result<()> {
        let dir = self.dir.host(name);
        self.trees.kill(&supervise::group(&self.names, name))?;
        disk::unmount(&dir)?;
        crate::nspawn::forget(&self.names.host(name));
        disk::wipe(&dir)
    }

    /// Removes the lab and everything of it.
    pub fn down(mut self) -> Result<()> {
        self.owned = false;
        remove(&self.store, &self.name).map(drop)
    }

    fn order(&self, state: &State) -> impl Iterator<Item = String> + use<> {
        state.in_order().into_iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().into_iter()
    }

    fn is_up(&self, host: &str) -> bool {
        Boot::read(&self.dir.host(host).boot()).is_up() && disk::is_mounted(&self.dir.host(host))
    }

    fn ensure_state(&self) -> Result<State> {
        let _all = self.store.lock("all")?;
        if let Some(state) = State::read(&self.dir.state())? {
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
        };
        state.write(&self.dir.state())?;
        Ok(state)
    }

    /// The controller's namespace, the proxy, and the relay between them.
    fn ensure_network(&self, state: &State) -> Result<()> {
        network::ensure_controller(&self.names, state.range())?;
        let target = {
            let _all = self.store.lock("all")?;
            proxy::ensure(&self.store, &self.trees, &self.program)?
        };
        let listen = SocketAddr::from((state.range().bridge(), PROXY_PORT));
        let answers = network::inside(&state.controller, || std::net::TcpStream::connect(listen).is_ok())?;
        if answers {
            return Ok(());
        }
        let relay = Relay {
            namespace: state.controller.clone(),
            listen,
            side: Side::Outside,
            target,
            round_trip: std::time::Duration::ZERO,
        };
        self.start_relay(&relay).map(drop)
    }

    pub(crate) fn start_relay(&self, relay: &Relay) -> Result<SocketAddr> {
        let group = format!("{}/relays", self.names.cgroup());
        let words = relay.words();
        let mut all = vec!["relay", group.as_str()];
        all.extend(words.iter().map(String::as_str));
        let line = background::start(&self.program, &all, &self.dir.path.join("relays.log"))?;
        line.parse().map_err(|_| Error::Machine {
            what: format!("a relay said `{line}` in place of its address"),
            hint: "report this".into(),
        })
    }

    /// The state and what follows from it.
    pub(crate) fn write_files(&self, state: &State) -> Result<()> {
        let key =
            |host: &str| std::fs::read_to_string(self.dir.host(host).host_key().with_extension("pub")).ok();
        write_file(&self.dir.known_hosts(), &inventory::known_hosts(state, &key))?;
        write_file(&self.dir.ssh_config(), &inventory::ssh_config(state, &self.dir))?;
        write_file(&self.dir.inventory(), &inventory::ini(state, &self.dir, &[]))?;
        state.write(&self.dir.state())
    }

    fn boot_all(&self, state: &State, hosts: &[String], say: &Say) -> Result<()> {
        in_parallel(hosts, |name| {
            let started = Instant::now();
            let Some(host) = state.hosts.get(name) else { return Ok(()) };
            self.boot(state, name, host)?;
            let took = started.elapsed().as_secs_f64();
            say(&format!("{name}  {}  {}  up in {took:.1} s", host.address, host.suite));
            Ok(())
        })
    }

    fn boot(&self, state: &State, name: &str, host: &HostState) -> Result<()> {
        let dir = self.dir.host(name);
        self.trees.kill(&supervise::group(&self.names, name))?;
        crate::nspawn::forget(&host.namespace);
        network::make_host(&self.names, state.range(), name, host.number)?;
        if !disk::is_mounted(&dir) {
            // A disk that was not unmounted in order may have lost writes: better none than half of them.
            disk::wipe(&dir)?;
            disk::mount(&self.store.base(&host.base), &dir)?;
            disk::personalise(&self.dir, &dir, &self.names, state.range(), name, host)?;
        }
        let root = self.store.root().to_string_lossy();
        let log = dir.path.join("supervisor.log");
        background::start(&self.program, &["supervise", &root, &self.name, name], &log)
            .map_err(|err| self.boot_error(name, &err.to_string()))
            .map(drop)
    }

    pub(crate) fn boot_error(&self, host: &str, why: &str) -> Error {
        let console = std::fs::read(self.dir.host(host).console()).unwrap_or_default();
        Error::Boot {
            host: host.to_owned(),
            why: why.to_owned(),
            console: last_lines(&String::from_utf8_lossy(&console), 10),
        }
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

fn remove(store: &Store, name: &str) -> Result<bool> {
    names::check_lab(name)?;
    tools::check_root()?;
    store.prepare()?;
    let (names, dir, trees) = (store.names(name), store.lab(name), Trees::find()?);
    let _lock = store.lock(&format!("lab-{name}"))?;
    let mut found = dir.path.exists() || trees.is_populated(&names.cgroup());
    // The processes first: nothing can be started again, and nothing holds what is removed below.
    trees.kill(&names.cgroup())?;
    for entry in std::fs::read_dir(dir.path.join("hosts")).into_iter().flatten().flatten() {
        if let Ok(host) = entry.file_name().into_string() {
            disk::unmount(&dir.host(&host))?;
            crate::nspawn::forget(&names.host(&host));
        }
    }
    for namespace in network::of_lab(&names) {
        found = true;
        network::kill_strays(&namespace);
        network::delete(&namespace)?;
    }
    let _all = store.lock("all")?;
    base::remove_tree(&dir.path)?;
    if store.labs()?.is_empty() {
        proxy::stop(store, &trees)?;
        trees.kill(&store.prefix())?;
    }
    Ok(found)
}

/// Does the same for several hosts at once, a few per processor; the first failure is the result.
fn in_parallel(hosts: &[String], work: impl Fn(&str) -> Result<()> + Sync) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from) * 3;
    let queue = Mutex::new(hosts.iter().collect::<VecDeque<_>>());
    let next = || queue.lock().map_or(None, |mut queue| queue.pop_front());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(hosts.len()))
            .map(|_| {
                scope.spawn(|| {
                    while let Some(host) = next() {
                        work(host)?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).fold(Ok(()), Result::and)
    })
}
