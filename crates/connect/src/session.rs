//! A session: one process (ssh, or the agent itself on this machine) and the threads that serve it.
//!
//! Three threads with small stacks per session, and no runtime: one writes, one reads, one listens to standard error.
//! What they hear goes to a callback, which for the controller is one queue for all hosts.

use std::io::{BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use debark_wire::{FromAgent, MAGIC, WireError};

use crate::agents::Agents;
use crate::bootstrap;
use crate::greeting::{Greeting, greet};
use crate::outgoing::{Outgoing, Writer};
use crate::problem::{Problem, ProblemKind};
use crate::talk::SshTalk;
use crate::target::Target;

/// Bytes for a thread's stack: 50 hosts have 150 of them. Only what is touched counts as memory.
const STACK: usize = 256 << 10;

/// What comes from a session.
#[derive(Debug)]
pub enum Incoming {
    /// A sentence about ssh arguments that were left out.
    Warning(String),
    /// The host has no agent yet: that many bytes are on their way.
    Uploading(u64),
    /// The agent runs; what the login shell printed before it, if anything.
    Started {
        /// Stray output of the login shell's start-up files.
        noise: Option<String>,
    },
    /// The agent says something.
    Message(FromAgent),
    /// The session is over; `None` if it ended as it should. Nothing comes after this.
    Closed(Option<Problem>),
}

/// An open session. Dropping it closes the way to the agent, which then ends after its current task.
#[derive(Debug)]
pub struct Session {
    queue: Sender<Outgoing>,
    child: Arc<Mutex<Child>>,
    local: bool,
}

impl Session {
    /// Starts ssh (or the agent, on this machine) and sends `first` at once: encoded frames.
    ///
    /// # Errors
    /// The process cannot be started. Whatever happens later comes as [`Incoming::Closed`].
    pub fn open(
        target: &Target,
        agents: &Agents,
        cache: &Path,
        first: Vec<Arc<[u8]>>,
        tell: impl Fn(Incoming) + Send + 'static,
    ) -> Result<Self, Problem> {
        let first: Vec<Arc<[u8]>> = std::iter::once(Arc::from(&MAGIC[..])).chain(first).collect();
        let mut command = if target.local {
            local_command(agents, cache)?
        } else {
            if target.vpn != debark_tunnel::Vpn::None && target.way.is_none() {
                let message = format!("{} is behind a VPN, and no way through it was opened", target.name);
                return Err(Problem::new(ProblemKind::Vpn, message));
            }
            let sent = first.iter().map(|part| part.len()).sum();
            let ssh = target.shared();
            ssh.warnings.into_iter().for_each(|text| tell(Incoming::Warning(text)));
            let mut argv = ssh.argv.into_iter();
            let mut command = Command::new(argv.next().unwrap_or_default());
            command.args(argv).arg(bootstrap::command(agents, sent));
            command
        };
        // A group of its own: Ctrl-C in the terminal is the controller's to handle, and kill() takes ProxyCommand too.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            Problem::new(ProblemKind::Local, format!("cannot run {program}: {error}"))
                .hint("debark needs OpenSSH's client: apt install openssh-client")
        })?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(Problem::new(ProblemKind::Local, "a process without pipes"));
        };
        let child = Arc::new(Mutex::new(child));
        let (queue, outgoing) = channel();
        let talk = Arc::new(Mutex::new(SshTalk::default()));
        let listener = spawn("stderr", {
            let talk = talk.clone();
            move || listen(stderr, &talk)
        })?;
        spawn("write", {
            let agents = agents.clone();
            move || write(stdin, first, &agents, &outgoing)
        })?;
        let reader = Reader {
            target: target.clone(),
            agents: agents.clone(),
            child: child.clone(),
            queue: queue.clone(),
        };
        spawn("read", move || {
            let end = reader.read(stdout, &tell);
            let status = reader.reap();
            // ssh's ProxyCommand may outlive it and keep the pipe open: what is there is enough.
            for _ in 0..50 {
                if listener.is_finished() {
                    break;
                }
                thread::sleep(Duration::from_millis(2));
            }
            tell(Incoming::Closed(reader.verdict(end, status, &lock(&talk))));
        })?;
        Ok(Self { queue, child, local: target.local })
    }

    /// Sends a frame, in parts. After the end of the session it goes nowhere: [`Incoming::Closed`] tells.
    pub fn send(&self, frame: Vec<Arc<[u8]>>) {
        let _ = self.queue.send(Outgoing::Frame(frame));
    }

    /// Sends content in answer to request `id`; it is read as it is written, part by part.
    pub fn send_content(&self, id: u32, content: Box<dyn Read + Send>) {
        let _ = self.queue.send(Outgoing::Content { id, content });
    }

    /// Closes the way to the agent once all is written.
    pub fn close(&self) {
        let _ = self.queue.send(Outgoing::Close);
    }

    /// Ends ssh at once. What runs on the host ends by itself; an agent on this machine is only let go.
    pub fn kill(&self) {
        if self.local {
            return self.close();
        }
        let child = lock(&self.child);
        // Reaped children have no group any more; a reused number is not ours to kill.
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::TERM);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, Problem> {
    thread::Builder::new()
        .name(name.into())
        .stack_size(STACK)
        .spawn(run)
        .map_err(|error| Problem::new(ProblemKind::Local, format!("cannot start a thread: {error}")))
}

fn local_command(agents: &Agents, cache: &Path) -> Result<Command, Problem> {
    let machine = std::env::consts::ARCH;
    let agent = agents.for_machine(machine).ok_or_else(|| {
        Problem::new(ProblemKind::Agent, format!("this debark has no agent for this machine ({machine})"))
    })?;
    let path = agent
        .unpack_into(cache)
        .map_err(|message| Problem::new(ProblemKind::Local, format!("cannot keep the agent in {message}")))?;
    Ok(Command::new(path))
}

fn write(stdin: ChildStdin, first: Vec<Arc<[u8]>>, agents: &Agents, outgoing: &Receiver<Outgoing>) {
    let mut writer = Writer::new(stdin, first, agents.clone());
    loop {
        let more = match outgoing.recv_timeout(Duration::from_secs(debark_wire::PING)) {
            Ok(message) => writer.take(message),
            Err(RecvTimeoutError::Timeout) => writer.ping(),
            Err(RecvTimeoutError::Disconnected) => false,
        };
        if !more {
            break;
        }
    }
}

fn listen(mut stderr: impl Read, talk: &Mutex<SshTalk>) {
    let (mut buffer, mut line) = ([0; 2048], Vec::new());
    while let Ok(length @ 1..) = stderr.read(&mut buffer) {
        for byte in buffer.iter().take(length) {
            if *byte == b'\n' {
                lock(talk).line(&String::from_utf8_lossy(&line));
                line.clear();
            } else if line.len() < 4096 {
                line.push(*byte);
            }
        }
    }
    lock(talk).line(&String::from_utf8_lossy(&line));
}

/// How the stream from the agent ended.
enum End {
    /// Before the agent said anything.
    Before(Option<Problem>, String),
    /// Afterwards.
    After(WireError),
}

struct Reader {
    target: Target,
    agents: Agents,
    child: Arc<Mutex<Child>>,
    queue: Sender<Outgoing>,
}

impl Reader {
    fn read(&self, stdout: ChildStdout, tell: &impl Fn(Incoming)) -> End {
        let mut stdout = BufReader::with_capacity(16 << 10, stdout);
        let mut uploaded = false;
        loop {
            match greet(&mut stdout) {
                Greeting::Started { noise } => {
                    tell(Incoming::Started { noise });
                    let _ = self.queue.send(Outgoing::Started);
                    break;
                }
                Greeting::Need { machine } if !uploaded => {
                    let size = self.agents.for_machine(&machine).map_or(0, |agent| agent.packed.len() as u64);
                    tell(Incoming::Uploading(size));
                    let _ = self.queue.send(Outgoing::Need { machine });
                    uploaded = true;
                }
                Greeting::Need { .. } => return End::Before(None, "it asks for the agent twice".into()),
                Greeting::Failed { text } => return End::Before(Some(self.failed(&text)), String::new()),
                Greeting::Ended { noise } => return End::Before(None, noise),
                Greeting::Endless { noise } => {
                    let problem = Problem::new(
                        ProblemKind::Garbage,
                        format!(
                            "{} prints without end instead of running the agent: {noise}",
                            self.target.address()
                        ),
                    )
                    .hint("see the account's shell start-up files; ssh HOST true must print nothing");
                    return End::Before(Some(problem), String::new());
                }
            }
        }
        loop {
            match debark_wire::read_within::<FromAgent>(debark_wire::HOST_FRAME_LIMIT, &mut stdout) {
                Ok(message) => tell(Incoming::Message(message)),
                Err(error) => return End::After(error),
            }
        }
    }

    /// Waits for the process without holding its lock, so that kill() is never kept waiting.
    fn reap(&self) -> Option<i32> {
        let _ = self.queue.send(Outgoing::Close);
        loop {
            match lock(&self.child).try_wait() {
                Ok(Some(status)) => return status.code(),
                Ok(None) => {}
                Err(_) => return None,
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn verdict(&self, end: End, status: Option<i32>, talk: &SshTalk) -> Option<Problem> {
        let address = self.target.address();
        match end {
            End::Before(Some(problem), _) => Some(problem),
            End::Before(None, noise) if self.target.local => Some(Problem::new(
                ProblemKind::Local,
                format!("the agent on this machine ended at once: {}", talk.last().unwrap_or(&noise)),
            )),
            End::Before(None, noise) => {
                let mut problem = talk.explain(&self.target, status);
                if problem.kind == ProblemKind::Agent && !noise.is_empty() {
                    problem.message += &format!(" (it printed: {noise})");
                }
                Some(problem)
            }
            End::After(WireError::Closed) if status == Some(0) => None,
            End::After(WireError::Closed | WireError::Io(_)) => {
                let said = talk.last().map(|line| format!(": {line}")).unwrap_or_default();
                Some(match (self.target.local, status) {
                    (false, Some(255) | None) => {
                        Problem::new(ProblemKind::Lost, format!("the connection to {address} was lost{said}"))
                    }
                    (_, Some(code)) => Problem::new(
                        ProblemKind::Lost,
                        format!("the agent on {address} ended with {code}{said}"),
                    ),
                    (_, None) => {
                        Problem::new(ProblemKind::Lost, format!("the agent on {address} was killed{said}"))
                    }
                })
            }
            End::After(error) => Some(
                Problem::new(ProblemKind::Garbage, format!("{address}: {error}"))
                    .hint("is something else writing to that session?"),
            ),
        }
    }

    /// The words for what the bootstrap script gave up on.
    fn failed(&self, text: &str) -> Problem {
        let address = self.target.address();
        let (kind, detail) = text.split_once(' ').unwrap_or((text, ""));
        match kind {
            "machine" => {
                let known: Vec<&str> = self.agents.all().iter().map(|agent| agent.machine.as_str()).collect();
                Problem::new(
                    ProblemKind::Agent,
                    format!(
                        "{address} says `{detail}` to `uname -m`, and this debark has agents for {} only",
                        known.join(", ")
                    ),
                )
            }
            "tool" => Problem::new(
                ProblemKind::Agent,
                format!("{address} has no `{detail}`, which starts the agent"),
            )
            .hint("is it Debian? coreutils, findutils, dpkg and tar are essential there"),
            "place" => Problem::new(
                ProblemKind::Agent,
                format!("there is no place for the agent on {address}: {detail}"),
            )
            .hint("free some space, or give the user a writable directory that is not mounted noexec"),
            "sent" => Problem::new(
                ProblemKind::Agent,
                format!("the agent did not arrive whole on {address} ({detail})"),
            ),
            _ => Problem::new(ProblemKind::Agent, format!("{address}: {text}")),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}

/// A frame as parts, for [`Session::send`]; `None`: it is longer than the protocol allows.
pub fn frame<T: serde::Serialize>(message: &T) -> Option<Vec<Arc<[u8]>>> {
    let mut bytes = Vec::new();
    debark_wire::write(&mut bytes, message).ok()?;
    bytes.flush().ok()?;
    Some(vec![bytes.into()])
}
