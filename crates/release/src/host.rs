//! A conversation with the gate on one host: one ssh process, one request after the other.

use std::io::{BufReader, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use debark_connect::{Problem, ProblemKind, SshCommand, SshTalk, Target};
use debark_order::frame;
use debark_order::gate::{Failure, FailureKind, PROGRAM, PROTOCOL, Reply, Request};

/// Bytes for a thread's stack; only what is touched counts.
const STACK: usize = 256 << 10;
/// Bytes of a package that may be on their way to ssh.
const PIPE: usize = 1 << 20;
/// How long the gate may be silent within a request: installations have bounds of their own and report progress.
const SILENCE: Duration = Duration::from_secs(60);

/// What went wrong with a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It cannot be reached, or was lost.
    #[error("{0}")]
    Unreachable(Problem),
    /// The gate did not do it.
    #[error("{0}")]
    Gate(Failure),
}

impl HostError {
    fn lost(message: impl Into<String>) -> Self {
        Self::Unreachable(Problem::new(ProblemKind::Lost, message))
    }

    fn gate(kind: FailureKind, message: impl Into<String>, hint: Option<&str>) -> Self {
        Self::Gate(Failure { kind, message: message.into(), hint: hint.map(str::to_owned), log: Vec::new() })
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Unreachable(problem) => problem.hint.as_deref(),
            Self::Gate(failure) => failure.hint.as_deref(),
        }
    }

    /// The last lines of what failed.
    pub fn log(&self) -> &[String] {
        match self {
            Self::Unreachable(_) => &[],
            Self::Gate(failure) => &failure.log,
        }
    }
}

/// An open conversation.
#[derive(Debug)]
pub struct Link {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    replies: Receiver<std::io::Result<Option<Reply>>>,
    talk: Arc<Mutex<SshTalk>>,
    target: Target,
    greeted: bool,
    /// The host's clock when it answered, in seconds since 1970.
    pub clock: u64,
}

/// What runs on the host. Only root may be the gate; sudo must not ask.
fn remote_command() -> String {
    format!(
        "if [ ! -x {PROGRAM} ]; then exit 117; elif [ \"$(id -u)\" = 0 ]; then exec {PROGRAM} serve; \
         else exec sudo -n {PROGRAM} serve; fi"
    )
}

impl Link {
    /// Connects, and waits for the gate's first words.
    ///
    /// # Errors
    /// The host cannot be reached, is not enrolled, or has a gate that speaks another protocol.
    pub fn open(target: &Target) -> Result<Self, HostError> {
        let mut link = Self::begin(target, target.shared())?;
        link.greet()?;
        Ok(link)
    }

    /// Begins to connect, and waits for nothing.
    ///
    /// # Errors
    /// ssh cannot be started.
    pub fn start(target: &Target) -> Result<Self, HostError> {
        Self::begin(target, target.ssh())
    }

    fn begin(target: &Target, ssh: SshCommand) -> Result<Self, HostError> {
        let mut command = if target.local {
            let mut command = Command::new("sh");
            command.args(["-c", &remote_command()]);
            command
        } else {
            let mut argv = ssh.argv.into_iter();
            let mut command = Command::new(argv.next().unwrap_or_default());
            command.args(argv).arg(remote_command());
            command
        };
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let local = |text: String| HostError::Unreachable(Problem::new(ProblemKind::Local, text));
        let mut child = command.spawn().map_err(|error| {
            local(format!("cannot run {}: {error}", command.get_program().to_string_lossy()))
        })?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(local("a process without pipes".into()));
        };
        let talk = Arc::new(Mutex::new(SshTalk::default()));
        let heard = talk.clone();
        let (tell, replies) = channel();
        let spawned = spawn(move || listen(stderr, &heard)).and_then(|listener| {
            spawn(move || {
                let mut from = BufReader::new(stdout);
                loop {
                    let reply = frame::read::<Reply>(&mut from);
                    let over = !matches!(reply, Ok(Some(_)));
                    if over {
                        // What ssh had to say about it is read to its end first; a ProxyCommand may hold it open.
                        for _ in 0..50 {
                            if listener.is_finished() {
                                break;
                            }
                            thread::sleep(Duration::from_millis(2));
                        }
                    }
                    if tell.send(reply).is_err() || over {
                        break;
                    }
                }
            })
        });
        let link = Self {
            name: target.name.clone(),
            child,
            stdin: Some(stdin),
            replies,
            talk,
            target: target.clone(),
            greeted: false,
            clock: 0,
        };
        spawned.map_err(|error| local(format!("cannot start a thread: {error}")))?;
        Ok(link)
    }

    /// Waits for the gate's first words, unless they have been heard.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn greet(&mut self) -> Result<(), HostError> {
        if self.greeted {
            return Ok(());
        }
        let patience = Duration::from_secs(u64::from(self.target.timeout.max(1)) + 15);
        match self.reply(patience)? {
            Reply::Hello { protocol: PROTOCOL, clock, .. } => {
                (self.greeted, self.clock) = (true, clock);
                Ok(())
            }
            Reply::Hello { protocol, version, .. } => Err(HostError::gate(
                FailureKind::Unsupported,
                format!(
                    "the gate of {} (debark {version}) speaks protocol {protocol}, and this debark {PROTOCOL}",
                    self.name
                ),
                Some("bring it up to date: debark enroll"),
            )),
            Reply::Failed(failure) => Err(HostError::Gate(failure)),
            _ => Err(HostError::lost(format!("{} says something that no gate says first", self.name))),
        }
    }

    /// Asks, and hears progress until the answer comes.
    ///
    /// # Errors
    /// The host is lost, silent for a minute, or the gate did not do it.
    pub fn ask(&mut self, request: &Request, mut progress: impl FnMut(&str)) -> Result<Reply, HostError> {
        self.send(request)?;
        loop {
            match self.reply(SILENCE)? {
                Reply::Progress { text } => progress(&text),
                Reply::Failed(failure) => return Err(HostError::Gate(failure)),
                reply => return Ok(reply),
            }
        }
    }

    /// Sends a package behind [`Request::Package`] and waits until it is stored.
    ///
    /// # Errors
    /// As for [`Self::ask`], or the package cannot be read.
    pub fn send_package(&mut self, package: &mut dyn Read, size: u64) -> Result<Reply, HostError> {
        self.send(&Request::Package)?;
        let Some(stdin) = &mut self.stdin else { return Err(HostError::lost("the connection is closed")) };
        // What ssh can take at once, as far as an unprivileged user may (pipe(7)); it is as right with less.
        let _ = rustix::pipe::fcntl_setpipe_size(&*stdin, PIPE);
        // A gate that refuses says so and reads no more: then writing fails, and its words are what counts.
        let _ = copy(&mut package.take(size), stdin);
        loop {
            match self.reply(SILENCE)? {
                Reply::Progress { .. } => {}
                Reply::Failed(failure) => return Err(HostError::Gate(failure)),
                reply => return Ok(reply),
            }
        }
    }

    fn send(&mut self, request: &Request) -> Result<(), HostError> {
        let Some(stdin) = &mut self.stdin else { return Err(HostError::lost("the connection is closed")) };
        // If it is closed, the reader knows why.
        let _ = frame::write(stdin, request);
        Ok(())
    }

    fn reply(&mut self, patience: Duration) -> Result<Reply, HostError> {
        match self.replies.recv_timeout(patience) {
            Ok(Ok(Some(reply))) => Ok(reply),
            Ok(Ok(None)) => Err(self.explain()),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(self.explain()),
            Ok(Err(error)) => Err(HostError::lost(format!("{}: {error}", self.name))),
            Err(RecvTimeoutError::Timeout) => {
                self.end();
                Err(HostError::Unreachable(Problem::new(
                    ProblemKind::TimedOut,
                    format!("{} said nothing for {} s", self.name, patience.as_secs()),
                )))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.explain()),
        }
    }

    /// Why the other side is gone.
    fn explain(&mut self) -> HostError {
        self.stdin = None;
        let status = self.child.wait().ok().and_then(|status| status.code());
        if status == Some(117) {
            return HostError::gate(
                FailureKind::NotEnrolled,
                format!("{} has no {PROGRAM}: it is not enrolled", self.name),
                Some("set it up: debark enroll"),
            );
        }
        let talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        if talk.last().is_some_and(|line| line.contains("sudo")) {
            let said = talk.last().unwrap_or_default().to_owned();
            return HostError::gate(
                FailureKind::NotEnrolled,
                format!("{} does not let the gate run as root: {said}", self.name),
                Some("the account needs to be root, or to run the gate by sudo without a password"),
            );
        }
        HostError::Unreachable(talk.explain(&self.target, status))
    }

    fn end(&mut self) {
        self.stdin = None;
        // A group of its own, so that a ProxyCommand ends as well; it has not been waited for, so the number is its own.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::TERM);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stdin = None;
        if !self.greeted {
            // There may be nobody.
            self.end();
        }
        // The gate ends when its input does; one that hangs is not waited for.
        let deadline = Instant::now() + Duration::from_millis(500);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.end();
        let _ = self.child.wait();
    }
}

/// As [`std::io::copy`], in larger pieces: each costs ssh's and the gate's process a turn.
fn copy(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return to.flush(),
            Ok(read) => to.write_all(buffer.get(..read).unwrap_or_default())?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().stack_size(STACK).spawn(run)
}

fn listen(stderr: impl Read, talk: &Mutex<SshTalk>) {
    use std::io::BufRead as _;
    let mut from = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut from).take(4096).read_until(b'\n', &mut line) {
            Ok(1..) => {
                talk.lock().unwrap_or_else(PoisonError::into_inner).line(&String::from_utf8_lossy(&line))
            }
            _ => return,
        }
    }
}
