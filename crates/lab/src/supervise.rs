//! The supervisor of one host: runs its container, starts it again when it reboots, and says in `boot.json` how far
//! it is. It needs nobody: `up` only waits for its first word.

use std::fs::File;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::cgroup::Trees;
use crate::error::{Error, Result};
use crate::names::Names;
use crate::network;
use crate::nspawn;
use crate::process::Process;
use crate::state::{Boot, HostState, State};
use crate::store::{HostDir, Store};

/// How long a host may take to boot on a machine that boots many at once.
const PATIENCE: Duration = Duration::from_secs(180);

struct Supervisor {
    dir: HostDir,
    group: String,
    trees: Trees,
    host: String,
    state: HostState,
    boot: Boot,
    said: bool,
}

/// Watches over a host until it is switched off.
pub fn run(root: &Path, lab: &str, host: &str) -> Result<()> {
    let store = Store::open(Some(root))?;
    let dir = store.lab(lab);
    let state = State::read(&dir.state())?.and_then(|mut state| state.hosts.remove(host));
    let Some(state) = state else {
        return Err(Error::NoHost { lab: lab.to_owned(), host: host.to_owned(), known: Vec::new() });
    };
    let mut supervisor = Supervisor {
        dir: dir.host(host),
        group: group(&store.names(lab), host),
        trees: Trees::find()?,
        host: host.to_owned(),
        state,
        boot: Boot { supervisor: Process::of(std::process::id()), ..Boot::default() },
        said: false,
    };
    loop {
        let status = supervisor.boot_once()?;
        if status.code() != Some(nspawn::REBOOT) {
            supervisor.boot = Boot { count: supervisor.boot.count, ..Boot::default() };
            supervisor.remember()?;
            supervisor.say(&format!("failed its container ended ({status})"));
            return Ok(());
        }
    }
}

/// The control group of a host.
pub fn group(names: &Names, host: &str) -> String {
    format!("{}/{host}", names.cgroup())
}

impl Supervisor {
    /// Only the first word counts, and nobody may be there to hear it.
    fn say(&mut self, word: &str) {
        use std::io::Write as _;
        if !std::mem::replace(&mut self.said, true) {
            let _ = writeln!(std::io::stdout(), "{word}");
        }
    }

    fn remember(&self) -> Result<()> {
        self.boot.write(&self.dir.boot())
    }

    fn boot_once(&mut self) -> Result<ExitStatus> {
        self.boot.count += 1;
        self.boot.leader = None;
        self.boot.ready = false;
        self.remember()?;

        let name = format!("debark-lab-{}-{}", std::process::id(), self.boot.count);
        let address = SocketAddr::from_abstract_name(&name).map_err(Error::file("bind", Path::new(&name)))?;
        let notices = UnixDatagram::bind_addr(&address).map_err(Error::file("bind", Path::new(&name)))?;
        let ended = self.start(&format!("@{name}"), address)?;
        self.watch(&notices, &ended)
    }

    /// Starts the container, and a thread that reports its end to the same socket.
    fn start(&mut self, notify: &str, address: SocketAddr) -> Result<Receiver<ExitStatus>> {
        // What the last boot left would be taken over by the next.
        for part in ["payload", "supervisor"] {
            self.trees.kill(&format!("{}/{part}", self.group))?;
        }
        let rootfs = self.dir.rootfs();
        let cmd = nspawn::command(&rootfs, &self.state.namespace, &self.host, self.state.bare, notify);
        let console = self.dir.console();
        let open = || {
            File::options().create(true).append(true).open(&console).map_err(Error::file("open", &console))
        };
        // A group with processes in it cannot have working groups below: be there only for the birth.
        self.trees.enter(&self.group)?;
        let child = cmd.to_command().stdin(Stdio::null()).stdout(open()?).stderr(open()?).spawn();
        self.trees.enter(&format!("{}/keeper", self.group))?;
        let mut child = child.map_err(|err| Error::Command {
            command: cmd.line(),
            status: format!("did not start: {err}"),
            stderr: String::new(),
        })?;
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(0x100));
            let _ = sender.send(status);
            if let Ok(socket) = UnixDatagram::unbound() {
                let _ = socket.send_to_addr(b"ENDED=1", &address);
            }
        });
        Ok(receiver)
    }

    fn watch(&mut self, notices: &UnixDatagram, ended: &Receiver<ExitStatus>) -> Result<ExitStatus> {
        let started = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            if let Ok(status) = ended.try_recv() {
                return Ok(status);
            }
            let patience = PATIENCE.checked_sub(started.elapsed()).filter(|_| !self.said);
            let _ = notices.set_read_timeout(patience.filter(|rest| !rest.is_zero()));
            let count = match notices.recv(&mut buffer) {
                Ok(count) => count,
                Err(err) if err.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    self.say("failed it takes too long");
                    continue;
                }
            };
            let notice =
                nspawn::parse_notice(&String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()));
            if let Some(pid) = notice.leader {
                self.boot.leader = Process::of(pid);
                self.remember()?;
            }
            if notice.ready && !self.boot.ready {
                self.greet()?;
            }
        }
    }

    /// The host has booted: it is up once its sshd greets.
    fn greet(&mut self) -> Result<()> {
        let leader = self.boot.leader;
        let alive = move || leader.is_some_and(Process::is_alive);
        let address = self.state.address.into();
        let answered =
            network::inside(&self.state.namespace, || network::wait_for_ssh(address, PATIENCE, &alive))?;
        if answered {
            self.boot.ready = true;
            self.remember()?;
            self.say("ready");
        } else if alive() {
            self.say("failed its sshd does not answer");
        }
        Ok(())
    }
}
