//! How the hosts of a lab come up, and the network between them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Instant;

use crate::background;
use crate::command::last_lines;
use crate::disk;
use crate::error::{Error, Result};
use crate::lab::{Lab, Say};
use crate::names::PROXY_PORT;
use crate::network;
use crate::nspawn;
use crate::proxy;
use crate::relay::{Relay, Side};
use crate::state::{HostState, State};
use crate::supervise;

impl Lab {
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
        nspawn::forget(&self.names.host(name));
        disk::wipe(&dir)
    }

    /// The controller's namespace, the proxy, and the relay between them.
    pub(crate) fn ensure_network(&self, state: &State) -> Result<()> {
        if state.gateway {
            self.ensure_gateway(state)?;
        } else {
            network::ensure_bridge(&state.controller, state.range())?;
        }
        let target = {
            let _all = self.store.lock("all")?;
            proxy::ensure(&self.store, &self.trees, &self.program)?
        };
        let listen = SocketAddr::from((state.range().bridge(), PROXY_PORT));
        let answers = network::inside(&state.bridge(), || std::net::TcpStream::connect(listen).is_ok())?;
        if answers {
            return Ok(());
        }
        let relay = Relay {
            namespace: state.bridge(),
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

    pub(crate) fn boot_all(&self, state: &State, hosts: &[String], say: &Say) -> Result<()> {
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
        nspawn::forget(&host.namespace);
        network::make_host(&self.names, &state.bridge(), state.range(), name, host.number)?;
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

/// Does the same for several hosts at once, a few per processor; the first failure is the result.
pub(crate) fn in_parallel(hosts: &[String], work: impl Fn(&str) -> Result<()> + Sync) -> Result<()> {
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
