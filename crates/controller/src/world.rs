//! What the engine asks others: playbooks and inventory, and how to reach hosts.

use std::collections::{BTreeSet, HashSet};
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use debark_connect::guard::{Guard, Verdict};
use debark_connect::{Agents, Incoming, Problem, Session, Target};
use debark_value::Map;
use debark_value::secrets::Secrets;
use debark_wire::{Answer, HostPlay, Logins, Password, Request};

use crate::batch::Size;
use crate::fetches::Fetches;

/// A play that is about to begin.
#[derive(Debug, Clone, Default)]
pub struct PlaySpec {
    /// Its number in the run.
    pub index: u32,
    /// Its name, rendered.
    pub name: String,
    /// An encoded [`debark_wire::Play`].
    pub shared: Arc<[u8]>,
    /// What is odd about its pattern: names that nothing has.
    pub warnings: Vec<String>,
    /// Its hosts, in the order in which they are to run.
    pub hosts: Vec<String>,
    /// Those of them that have not failed: kept up to date by the engine.
    pub active: Vec<String>,
    /// `serial`.
    pub serial: Vec<Size>,
    /// Ids of the tasks that all hosts share (not handlers), in the order in which they run.
    pub tasks: Vec<u32>,
    /// `max_fail_percentage`.
    pub max_fail_percentage: Option<f64>,
    /// `any_errors_fatal`.
    pub any_errors_fatal: bool,
    /// `ignore_unreachable`: hosts that cannot be reached are out of this play only.
    pub ignore_unreachable: bool,
    /// Whether hosts may be asked to run tasks for others: what is sent to them must not be the last they hear.
    pub delegates: bool,
    /// Whether a task says `meta: clear_host_errors`.
    pub forgives: bool,
    /// Where hosts may write on the controller's disk.
    pub fetches: Fetches,
    /// A task ignores that the host cannot be reached: what does not need it is done all the same.
    pub forbearing: bool,
    /// The play begins with `wait_for_connection`: for so many seconds hosts need not answer.
    pub patience: Option<u64>,
}

/// Content, read as it is sent.
pub type Content = Box<dyn Read + Send>;

/// What playbooks, inventory and the user say. Asked from many threads, as many hosts ask at the same time.
pub trait World: Send + Sync {
    /// How many plays there are.
    fn plays(&self) -> u32;

    /// The play of that number, with hosts as the inventory is now; `gone` have failed or cannot be reached.
    ///
    /// # Errors
    /// It cannot begin (a template in `hosts` or `serial`, say): a sentence.
    fn play(&self, index: u32, gone: &BTreeSet<String>) -> Result<PlaySpec, String>;

    /// A host's part of a play; `known` is what it reported so far (facts, registers) as `hostvars` of others show it.
    ///
    /// # Errors
    /// Its variables cannot be had: a sentence.
    fn host_play(
        &self,
        play: &PlaySpec,
        host: &str,
        batch: &[String],
        known: &Map,
    ) -> Result<HostPlay, String>;

    /// Variables of a host for `hostvars` on another, the asker: `known` is what it reported. Only those that the play
    /// mentions.
    ///
    /// # Errors
    /// There is no such host, or its variables cannot be had.
    fn host_vars(&self, play: u32, asker: &str, host: &str, known: &Map) -> Result<Map, String>;

    /// Whether a host may ask that: a host that was taken over asks for what the play does not.
    ///
    /// # Errors
    /// It may not: a sentence that goes on from the host's name (`asks for ...`).
    fn permit(&self, play: u32, host: &str, request: &Request) -> Result<(), String>;

    /// Whether a host is this machine, without a connection that could go.
    fn local(&self, host: &str) -> bool;

    /// How a host is reached in the play that runs, by a task's login if it has one.
    fn route(&self, _host: &str, _logins: &Logins) -> Route {
        Route::default()
    }

    /// The password for becoming somebody on a host that its own variables or the command line give.
    fn become_password(&self, _host: &str) -> Option<Password> {
        None
    }

    /// Answers what needs files, templates or the user: find, lookups, includes, prompts, `add_host`. May take long;
    /// runs on a thread of its own.
    ///
    /// # Errors
    /// Why it cannot be had: a sentence.
    fn answer(&self, play: u32, host: &str, request: Request) -> Result<Answer, String>;

    /// `groups` and `group_names` of a host as the inventory is now.
    fn groups(&self, _host: &str) -> Map {
        Map::new()
    }

    /// Content by its digest: only what a play mentions.
    ///
    /// # Errors
    /// There is none: a sentence.
    fn content(&self, sha256: &str) -> Result<Content, String>;

    /// These texts are secret from now on: a host has hidden them (`no_log`).
    fn taint(&self, _texts: Vec<String>) {}

    /// Everything secret that is known by now.
    fn secrets(&self) -> Arc<Secrets>;
}

/// How a host is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// All of it; another text means another connection.
    pub way: String,
    /// For messages: `user@address:port`, as far as it is known.
    pub address: String,
}

/// How hosts are reached.
pub trait Connector {
    /// Opens a session, by a task's login if it has one, and sends `first` at once.
    ///
    /// # Errors
    /// It cannot even be tried.
    fn open(
        &self,
        host: &str,
        logins: &Logins,
        first: Vec<Arc<[u8]>>,
        tell: Box<dyn Fn(Incoming) + Send>,
    ) -> Result<Box<dyn Channel>, Problem>;

    /// Opens a session with an agent on this machine that stands in for a host.
    ///
    /// # Errors
    /// It cannot even be tried.
    fn stand_in(
        &self,
        first: Vec<Arc<[u8]>>,
        tell: Box<dyn Fn(Incoming) + Send>,
    ) -> Result<Box<dyn Channel>, Problem>;

    /// Confirms what a host changed under a guard, through a connection of its own, on a thread of its own.
    ///
    /// # Errors
    /// It cannot even be tried.
    fn confirm(&self, host: &str, guard: Guard, tell: Tell) -> Result<(), Problem>;
}

/// What is told of a guard; `None`: its name is none.
pub type Tell = Box<dyn FnOnce(Option<Verdict>) + Send>;

/// An open session.
pub trait Channel {
    /// Sends a frame, in parts.
    fn send(&self, frame: Vec<Arc<[u8]>>);
    /// Sends content in answer to a request.
    fn send_content(&self, id: u32, content: Content);
    /// Closes the way there once all is written.
    fn close(&self);
    /// Ends it at once.
    fn kill(&self);
}

impl Channel for Session {
    fn send(&self, frame: Vec<Arc<[u8]>>) {
        self.send(frame);
    }

    fn send_content(&self, id: u32, content: Content) {
        self.send_content(id, content);
    }

    fn close(&self) {
        self.close();
    }

    fn kill(&self) {
        self.kill();
    }
}

/// Reaches hosts by OpenSSH, or starts the agent on this machine.
pub struct Ssh<F> {
    agents: Agents,
    cache: PathBuf,
    target: F,
    /// Hosts that this run has a connection to, or had, by login.
    met: Mutex<HashSet<(String, Option<String>)>>,
}

impl<F> Ssh<F> {
    /// With the agents to send, the directory where this machine's own agent is kept, and what tells where a host is.
    pub fn new(agents: Agents, cache: PathBuf, target: F) -> Self {
        Self { agents, cache, target, met: Mutex::default() }
    }
}

impl<E: Into<Problem>, F: Fn(&str, &Logins) -> Result<Target, E>> Connector for Ssh<F> {
    fn open(
        &self,
        host: &str,
        logins: &Logins,
        first: Vec<Arc<[u8]>>,
        tell: Box<dyn Fn(Incoming) + Send>,
    ) -> Result<Box<dyn Channel>, Problem> {
        let mut target = (self.target)(host, logins).map_err(Into::into)?;
        // After the first one it has to be a new one: the host was booted, or somebody's groups or sshd have changed.
        let login = (host.to_owned(), (*logins != Logins::default()).then(|| target.address()));
        if !self.met.lock().unwrap_or_else(PoisonError::into_inner).insert(login) {
            target.forget_shared();
            target.fresh = true;
        }
        Ok(Box::new(Session::open(&target, &self.agents, &self.cache, first, tell)?))
    }

    fn stand_in(
        &self,
        first: Vec<Arc<[u8]>>,
        tell: Box<dyn Fn(Incoming) + Send>,
    ) -> Result<Box<dyn Channel>, Problem> {
        let here = Target { local: true, ..Target::default() };
        Ok(Box::new(Session::open(&here, &self.agents, &self.cache, first, tell)?))
    }

    fn confirm(&self, host: &str, guard: Guard, tell: Tell) -> Result<(), Problem> {
        let target = (self.target)(host, &Logins::default()).map_err(Into::into)?;
        let thread = std::thread::Builder::new().name("guard".into());
        let started = thread.spawn(move || tell(debark_connect::guard::confirm(&target, &guard)));
        started.map(drop).map_err(|error| {
            Problem::new(debark_connect::ProblemKind::Local, format!("cannot start a thread: {error}"))
        })
    }
}

/// How a run goes, as far as it is the engine's matter.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many hosts are being connected to at once.
    pub forks: usize,
    /// How long until a host must have answered, beyond ssh's own time for connecting, in seconds.
    pub patience: u64,
}

impl Default for Settings {
    /// Ansible's 5 forks bound whole tasks; here they only bound handshakes, so there may be more.
    fn default() -> Self {
        Self { forks: 50, patience: 60 }
    }
}
