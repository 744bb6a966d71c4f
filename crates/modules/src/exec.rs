//! Commands on the host: plain data built by modules, run by one executor.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use debark_value::{Map, map};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::plan::Failure;

/// Output beyond this is cut: a command that prints without end must not fill the host's memory.
const OUTPUT_LIMIT: usize = 32 << 20;

/// How long a command's output may be silent after its end while something else still holds it open.
const LINGER: Duration = Duration::from_millis(250);

/// A command as data: what a module wants run, so that a test can assert the exact words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cmd {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Variables on top of the agent's own and the task's `environment`.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: Option<PathBuf>,
    /// Standard input; without it `/dev/null`.
    pub stdin: Option<Vec<u8>>,
    /// Killed after this long.
    pub timeout: Option<Duration>,
    /// File mode creation mask.
    pub umask: Option<u32>,
}

impl Cmd {
    /// Program and arguments.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            argv: vec![program.into()],
            env: Vec::new(),
            cwd: None,
            stdin: None,
            timeout: None,
            umask: None,
        }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.argv.push(arg.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.argv.extend(args.into_iter().map(Into::into));
        self
    }

    /// A variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The working directory.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// How long it may take.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// The program's name, for messages: arguments may hold secrets.
    pub fn program(&self) -> String {
        self.argv.first().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; minus the signal's number if a signal ended it.
    pub rc: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// How long it took.
    pub elapsed: Duration,
    /// How many bytes it printed beyond those that were kept.
    pub cut: u64,
}

impl Output {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// With only the first `most` bytes of each output; says so if something is missing then.
    pub fn shorten(&mut self, most: usize) -> Option<String> {
        for stream in [&mut self.stdout, &mut self.stderr] {
            self.cut += stream.len().saturating_sub(most) as u64;
            stream.truncate(most);
        }
        (self.cut > 0).then(|| {
            format!(
                "the command printed more than is kept: of each output the first {} MiB are there, {} MiB are lost",
                most.min(OUTPUT_LIMIT) >> 20,
                self.cut.div_ceil(1 << 20)
            )
        })
    }

    /// The failure that an exit code other than 0 is.
    pub fn failure(&self, cmd: &Cmd) -> Failure {
        let err = self.err();
        let out = self.out();
        let last = err.lines().rev().chain(out.lines().rev()).find(|line| !line.trim().is_empty());
        let how = if self.rc < 0 {
            format!("was ended by signal {}", -self.rc)
        } else {
            format!("exited with {}", self.rc)
        };
        let why = last.map(|line| format!(": {}", line.trim())).unwrap_or_default();
        Failure::new(format!("{} {how}{why}", cmd.program())).with(self.result())
    }

    /// `rc`, `stdout`, `stderr` as return values.
    pub fn result(&self) -> Map {
        map! { "rc" => self.rc, "stdout" => self.out(), "stderr" => self.err() }
    }
}

/// Runs commands.
#[derive(Debug, Default)]
pub struct Executor {}

impl Executor {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// It cannot be started, or its time ran out (then its process group is killed).
    pub fn run(&self, cmd: &Cmd, environment: &[(String, String)]) -> Result<Output, Failure> {
        let started = Instant::now();
        let Some((program, args)) = cmd.argv.split_first() else {
            return Err(Failure::new("there is no command to run"));
        };
        let mut command = Command::new(program);
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.stdin(if cmd.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.envs(environment.iter().map(|(k, v)| (k, v))).envs(cmd.env.iter().map(|(k, v)| (k, v)));
        if let Some(dir) = &cmd.cwd {
            command.current_dir(dir);
        }
        let old_mask = cmd.umask.map(|mask| rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask)));
        let spawned = command.spawn();
        if let Some(mask) = old_mask {
            rustix::process::umask(mask);
        }
        let mut child = spawned.map_err(|error| {
            let why = if error.kind() == std::io::ErrorKind::NotFound {
                "no such program".into()
            } else {
                error.to_string()
            };
            Failure::new(format!("cannot run {}: {why}", cmd.program()))
                .with(map! { "rc" => error.raw_os_error().unwrap_or(2) })
        })?;
        let collected = collect(&mut child, cmd.stdin.as_deref().unwrap_or_default(), cmd.timeout);
        let streams = match collected {
            Ok(streams) => streams,
            Err(Stopped::TimeOut(limit)) => {
                kill_group(&child);
                let _ = child.wait();
                return Err(Failure::new(format!(
                    "{} did not end within {} s and was killed",
                    cmd.program(),
                    limit.as_secs()
                )));
            }
            Err(Stopped::Io(error)) => {
                kill_group(&child);
                let _ = child.wait();
                return Err(Failure::new(format!("cannot read what {} prints: {error}", cmd.program())));
            }
        };
        let status = child
            .wait()
            .map_err(|error| Failure::new(format!("cannot wait for {}: {error}", cmd.program())))?;
        let rc = status.code().unwrap_or_else(|| -status.signal().unwrap_or(1));
        let cut = streams.iter().map(|stream| stream.cut).sum();
        let [stdout, stderr] = streams.map(|stream| stream.kept);
        Ok(Output { rc, stdout, stderr, elapsed: started.elapsed(), cut })
    }
}

/// What is known of one output.
#[derive(Default)]
struct Stream {
    kept: Vec<u8>,
    cut: u64,
}

enum Stopped {
    TimeOut(Duration),
    Io(std::io::Error),
}

/// Feeds standard input and reads both outputs until the command has ended and they are closed.
///
/// What a command leaves in the background (`daemon &`) may hold the pipes open for ever: once the command itself
/// has ended, silence for [`LINGER`] ends the reading, as Ansible does it.
fn collect(child: &mut Child, mut input: &[u8], timeout: Option<Duration>) -> Result<[Stream; 2], Stopped> {
    let deadline = timeout.map(|limit| Instant::now() + limit);
    let mut stdin = child.stdin.take();
    if let Some(pipe) = &stdin {
        // A program that does not read must not stop us from reading what it prints.
        rustix::io::ioctl_fionbio(pipe, true).map_err(|e| Stopped::Io(e.into()))?;
    }
    let mut pipes: [Option<OwnedFd>; 2] =
        [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let mut streams = [Stream::default(), Stream::default()];
    // Without pidfd_open(2) (Linux before 5.3) the end is asked for now and then.
    let mut exit =
        Pid::from_raw(child.id().cast_signed()).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let mut ended = false;
    loop {
        if stdin.is_some() && input.is_empty() {
            stdin = None;
        }
        if ended && pipes.iter().all(Option::is_none) {
            return Ok(streams);
        }
        let remaining = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        let step = if ended {
            Some(LINGER)
        } else if exit.is_none() {
            Some(Duration::from_millis(20))
        } else {
            None
        };
        let wait = [remaining, step].into_iter().flatten().min();
        let ready = wait_ready(&pipes, stdin.as_ref(), exit.as_ref(), wait).map_err(Stopped::Io)?;
        for ((pipe, stream), ready) in pipes.iter_mut().zip(&mut streams).zip(ready.output) {
            if ready && !read_some(pipe.as_ref(), stream) {
                *pipe = None;
            }
        }
        if ready.input
            && let Some(pipe) = &mut stdin
        {
            match pipe.write(input) {
                Ok(count) => input = input.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // A program that does not read all of its input is no error of ours.
                Err(_) => stdin = None,
            }
        }
        if ready.exit || exit.is_none() && !ended {
            ended = child.try_wait().map_err(Stopped::Io)?.is_some();
            if ended {
                exit = None;
                stdin = None;
            }
        } else if ended && !ready.output.contains(&true) {
            return Ok(streams);
        }
        if let Some(end) = deadline
            && !ended
            && Instant::now() >= end
        {
            return Err(Stopped::TimeOut(timeout.unwrap_or_default()));
        }
    }
}

struct Ready {
    output: [bool; 2],
    input: bool,
    exit: bool,
}

fn wait_ready(
    pipes: &[Option<OwnedFd>; 2],
    stdin: Option<&ChildStdin>,
    exit: Option<&OwnedFd>,
    wait: Option<Duration>,
) -> std::io::Result<Ready> {
    let sources = [
        pipes[0].as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)),
        pipes[1].as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)),
        stdin.map(|fd| PollFd::new(fd, PollFlags::OUT)),
        exit.map(|fd| PollFd::new(fd, PollFlags::IN)),
    ];
    let present = sources.each_ref().map(Option::is_some);
    let mut fds: Vec<PollFd<'_>> = sources.into_iter().flatten().collect();
    let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
    match poll(&mut fds, wait.as_ref()) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(Ready { output: [false; 2], input: false, exit: false }),
        Err(error) => return Err(error.into()),
    }
    let mut fired = fds.iter().map(|fd| !fd.revents().is_empty());
    let mut next = |present: bool| present && fired.next().unwrap_or_default();
    let [out, err, input, exit] = present.map(&mut next);
    Ok(Ready { output: [out, err], input, exit })
}

/// Reads what is there; keeps only the first part, so that the writer never blocks. `false` at the end.
fn read_some(pipe: Option<&OwnedFd>, stream: &mut Stream) -> bool {
    let mut chunk = [0u8; 16 << 10];
    let Some(count @ 1..) = pipe.and_then(|pipe| rustix::io::read(pipe, &mut chunk).ok()) else {
        return false;
    };
    let room = OUTPUT_LIMIT.saturating_sub(stream.kept.len()).min(count);
    stream.kept.extend_from_slice(chunk.get(..room).unwrap_or_default());
    stream.cut += (count - room) as u64;
    true
}

fn kill_group(child: &std::process::Child) {
    if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_with_input_and_environment() {
        let cmd = Cmd::new("sh").arg("-c").arg("cat; echo $A >&2; exit 3").stdin("hi").env("A", "b");
        let output = Executor::default().run(&cmd, &[]).unwrap();
        assert_eq!((output.rc, output.out().as_str(), output.err().as_str()), (3, "hi", "b\n"));
        assert_eq!(output.failure(&cmd).msg, "sh exited with 3: b");
    }

    #[test]
    fn a_time_out_kills_the_group() {
        let cmd = Cmd::new("sh").arg("-c").arg("sleep 100 & sleep 100").timeout(Duration::from_millis(200));
        let started = Instant::now();
        assert!(Executor::default().run(&cmd, &[]).unwrap_err().msg.contains("was killed"));
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn does_not_wait_for_what_stays_in_the_background() {
        let started = Instant::now();
        let output =
            Executor::default().run(&Cmd::new("sh").arg("-c").arg("sleep 30 & echo $!"), &[]).unwrap();
        assert!(started.elapsed() < Duration::from_secs(5));
        let pid = Pid::from_raw(output.out().trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[test]
    fn large_input_and_output_do_not_block_each_other() {
        let text = "x".repeat(3 << 20);
        let output = Executor::default().run(&Cmd::new("cat").stdin(text.clone()), &[]).unwrap();
        assert_eq!(output.stdout.len(), text.len());
        let output = Executor::default().run(&Cmd::new("true").stdin(text), &[]).unwrap();
        assert_eq!(output.rc, 0);
    }

    #[test]
    fn says_which_program_is_missing() {
        let error = Executor::default().run(&Cmd::new("no-such-program-here"), &[]).unwrap_err();
        assert_eq!(error.msg, "cannot run no-such-program-here: no such program");
    }
}
