//! Commands on the host: plain data built by modules, run by one executor.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use debark_value::{Map, map};

use crate::plan::Failure;

/// Output beyond this is cut: a command that prints without end must not fill the host's memory.
const OUTPUT_LIMIT: usize = 32 << 20;

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
        let (sender, receiver) = mpsc::channel();
        let mut readers = 0;
        let pipes: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ];
        for (index, pipe) in pipes.into_iter().enumerate() {
            let Some(pipe) = pipe else { continue };
            readers += 1;
            let sender = sender.clone();
            std::thread::spawn(move || {
                // The receiver may be gone after a time-out: nobody is left to tell.
                let _ = sender.send((index, read_limited(pipe)));
            });
        }
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), cmd.stdin.clone()) {
            // A program that does not read all of its input is no error of ours.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let deadline = cmd.timeout.map(|limit| started + limit);
        let mut streams = [Vec::new(), Vec::new()];
        for _ in 0..readers {
            let received = match deadline {
                None => receiver.recv().ok(),
                Some(deadline) => {
                    receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
                }
            };
            let Some((index, bytes)) = received else {
                kill_group(&child);
                let _ = child.wait();
                let seconds = cmd.timeout.unwrap_or_default().as_secs();
                return Err(Failure::new(format!(
                    "{} did not end within {seconds} s and was killed",
                    cmd.program()
                )));
            };
            if let Some(stream) = streams.get_mut::<usize>(index) {
                *stream = bytes;
            }
        }
        let status = child
            .wait()
            .map_err(|error| Failure::new(format!("cannot wait for {}: {error}", cmd.program())))?;
        let rc = status.code().unwrap_or_else(|| -status.signal().unwrap_or(1));
        let [stdout, stderr] = streams;
        Ok(Output { rc, stdout, stderr, elapsed: started.elapsed() })
    }
}

fn kill_group(child: &std::process::Child) {
    if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

/// Reads to the end but keeps only the first part, so that the writer never blocks.
fn read_limited(mut pipe: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut chunk = [0u8; 16 << 10];
    while let Ok(count @ 1..) = pipe.read(&mut chunk) {
        let room = OUTPUT_LIMIT.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(chunk.get(..room).unwrap_or_default());
    }
    kept
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
    fn says_which_program_is_missing() {
        let error = Executor::default().run(&Cmd::new("no-such-program-here"), &[]).unwrap_err();
        assert_eq!(error.msg, "cannot run no-such-program-here: no such program");
    }
}
