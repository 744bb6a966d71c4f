//! Other users' workers: a second agent process, started through sudo, su or doas, that runs modules for this one.
//!
//! It speaks the same protocol on its standard streams: invocations in, outcomes and requests out. Requests are
//! answered from here or passed on to the controller, so a worker needs no connection of its own.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use debark_modules::upstream::Upstream;
use debark_value::map;
use debark_wire::{Answer, Become, FromAgent, Invocation, Outcome, PART, Request, ToAgent};
use zeroize::Zeroizing;

use crate::invoke::failed;
use crate::upstream::Remote;

/// How long `sudo` may take until the worker speaks.
const START: Duration = Duration::from_secs(30);

/// What sudo prints when it wants the password, so that nothing else can be taken for it.
const PROMPT: &str = "[debark-become-password]";

/// A worker that runs.
pub struct Worker {
    child: Child,
    /// `None` once nothing more is to be said.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    next: u32,
    /// A private copy of the agent that other users can execute, removed at the end.
    copy: Option<PathBuf>,
}

/// The command that starts a worker: program and arguments.
pub fn argv(become_: &Become, exe: &str, password: bool) -> Vec<String> {
    let words = |text: &Option<String>| -> Vec<String> {
        text.as_deref().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let method = become_.method.as_str();
    let mut argv = vec![become_.exe.clone().unwrap_or_else(|| method.to_owned())];
    match method {
        "su" => {
            argv.extend(words(&become_.flags));
            argv.extend([become_.user.clone(), "-s".into(), "/bin/sh".into(), "-c".into()]);
            argv.push(format!("exec '{}' --worker", exe.replace('\'', r"'\''")));
        }
        "doas" => {
            argv.extend(words(&become_.flags));
            if !password {
                argv.push("-n".into());
            }
            argv.extend(["-u".into(), become_.user.clone(), exe.to_owned(), "--worker".into()]);
        }
        _ => {
            if become_.flags.is_some() {
                argv.extend(words(&become_.flags));
            } else {
                argv.push("-H".into());
            }
            if password {
                argv.extend(["-S".into(), "-p".into(), PROMPT.into()]);
            } else {
                argv.push("-n".into());
            }
            argv.extend(["-u".into(), become_.user.clone(), "--".into(), exe.to_owned(), "--worker".into()]);
        }
    }
    argv
}

impl Worker {
    /// Starts a worker as another user, or with `None` as the same one (so that it can be killed).
    ///
    /// # Errors
    /// The program is missing, refuses, or wants a password that was not given.
    pub fn start(become_: Option<&Become>, password: Option<&str>) -> Result<Self, String> {
        let exe = std::fs::read_link("/proc/self/exe")
            .map_err(|e| format!("cannot find the agent's own file: {e}"))?;
        let (exe, copy) = match become_ {
            Some(become_) => executable_by_others(exe, &become_.user)?,
            None => (PathBuf::from("/proc/self/exe"), None),
        };
        let words = match become_ {
            Some(become_) => argv(become_, &exe.to_string_lossy(), password.is_some()),
            None => vec![exe.to_string_lossy().into_owned(), "--worker".into()],
        };
        let (program, args) = words.split_first().ok_or("there is no command to become another user by")?;
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir("/");
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("become needs {program}, which this host does not have"),
            _ => format!("cannot run {program}: {error}"),
        })?;
        let (Some(input), Some(output), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(format!("cannot talk to {program}"));
        };
        let mut worker = Self { child, input: Some(input), output: BufReader::new(output), next: 1, copy };
        worker.greet(stderr, password).map_err(|why| {
            let who = become_.map(|b| format!("cannot become {}: ", b.user)).unwrap_or_default();
            format!("{who}{why}")
        })?;
        Ok(worker)
    }

    /// Gives the password if it is asked for, and waits for the worker's first word.
    fn greet(&mut self, stderr: impl Read + Send + 'static, password: Option<&str>) -> Result<(), String> {
        let (sender, receiver) = mpsc::channel();
        let mut stderr = stderr;
        std::thread::spawn(move || {
            let mut chunk = [0; 512];
            while let Ok(count @ 1..) = stderr.read(&mut chunk) {
                // Reads on after the receiver is gone, so that the worker never blocks on its standard error.
                let text = String::from_utf8_lossy(chunk.get(..count).unwrap_or_default()).into_owned();
                let _ = sender.send(text);
            }
        });
        // The worker speaks at once when it runs; waiting for its stdout needs a poll, for it may never come.
        let deadline = Instant::now() + START;
        let mut said = String::new();
        let mut asked = 0;
        loop {
            if readable(self.output.get_ref(), Duration::from_millis(20)) {
                let mut magic = [0; debark_wire::MAGIC.len()];
                return match self.output.read_exact(&mut magic) {
                    Ok(()) if magic == debark_wire::MAGIC => Ok(()),
                    Ok(()) => Err("the command that starts the worker printed something else".into()),
                    Err(_) => {
                        while let Ok(text) = receiver.recv_timeout(Duration::from_millis(100)) {
                            said.push_str(&text);
                        }
                        Err(refusal(&said, password.is_some()))
                    }
                };
            }
            while let Ok(text) = receiver.try_recv() {
                said.push_str(&text);
            }
            let prompted =
                said.contains(PROMPT) || said.trim_end().ends_with("Password:") || said.contains("password:");
            if password.is_none() && said.trim_end().ends_with("Password:") {
                // su asks whoever calls it, and would wait for ever.
                return Err(refusal("a password is required", false));
            }
            if let Some(password) = password.filter(|_| prompted) {
                asked += 1;
                if asked > 1 {
                    return Err("the password was refused".into());
                }
                said.clear();
                let line = Zeroizing::new(format!("{password}\n"));
                let input = self.input.as_mut().ok_or("its input is closed")?;
                input.write_all(line.as_bytes()).and_then(|()| input.flush()).map_err(|e| e.to_string())?;
            }
            if Instant::now() > deadline {
                return Err(format!("nothing happened for {} s", START.as_secs()));
            }
        }
    }

    /// Runs a module there. Requests are answered through `remote`; `gate` is asked before anything changes.
    ///
    /// # Errors
    /// The worker is gone, or did not finish within the invocation's time (then it is killed).
    pub fn run(
        &mut self,
        invocation: &Invocation,
        remote: &Remote,
        gate: &dyn Fn() -> Result<(), String>,
    ) -> Result<Outcome, String> {
        let id = self.next;
        self.next += 1;
        let deadline = invocation.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        self.send(&ToAgent::Invoke { id, invocation: Box::new(invocation.clone()) })?;
        loop {
            if let Some(deadline) = deadline {
                while self.output.buffer().is_empty()
                    && !readable(self.output.get_ref(), Duration::from_millis(100))
                {
                    if Instant::now() > deadline {
                        self.kill();
                        let period = invocation.timeout.unwrap_or_default();
                        let timedout = map! { "timedout" => map! { "period" => period as i64 } };
                        return Ok(failed(format!("timed out after {period} s"), None, timedout));
                    }
                }
            }
            match debark_wire::read::<FromAgent>(&mut self.output) {
                Ok(FromAgent::Invoked { id: done, outcome }) if done == id => return Ok(outcome),
                Ok(FromAgent::Request { id, request: Request::Barrier { .. } }) => {
                    let answer = gate().map(|()| Answer::Done);
                    self.send(&ToAgent::Answer { id, answer })?;
                }
                Ok(FromAgent::Request { id, request: Request::Content { sha256 } }) => {
                    self.relay_content(id, &sha256, remote)?;
                }
                Ok(FromAgent::Request { id, request: Request::Find { path, place, .. } }) => {
                    let answer = remote.locate(&path, place).map(Answer::Tree);
                    self.send(&ToAgent::Answer { id, answer })?;
                }
                Ok(FromAgent::Request { id, request }) => {
                    let answer = remote.link.request(request);
                    self.send(&ToAgent::Answer { id, answer })?;
                }
                Ok(_) => {}
                Err(error) => return Err(format!("the worker ended early: {error}")),
            }
        }
    }

    fn relay_content(&mut self, id: u32, sha256: &str, remote: &Remote) -> Result<(), String> {
        let mut relay = Relay { worker: self, id, part: Vec::new() };
        let sent = remote.content(sha256, &mut relay);
        let part = std::mem::take(&mut relay.part);
        let answer =
            sent.map(|()| Answer::Content { bytes: part, last: true }).map_err(|failure| failure.msg);
        self.send(&ToAgent::Answer { id, answer })
    }

    fn send(&mut self, message: &ToAgent) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("the worker is gone")?;
        debark_wire::write(input, message).map_err(|e| format!("the worker is gone: {e}"))?;
        input.flush().map_err(|e| format!("the worker is gone: {e}"))
    }

    fn kill(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Ending its input lets the worker finish and go; one that was killed is only reaped.
        let _ = self.send(&ToAgent::End);
        // Closed before the wait: a sudo that asks for another password would read, and be waited for, forever.
        self.input = None;
        let _ = self.child.wait();
        if let Some(dir) = self.copy.as_deref().and_then(Path::parent) {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

/// Passes content on in parts as it arrives.
struct Relay<'a> {
    worker: &'a mut Worker,
    id: u32,
    part: Vec<u8>,
}

impl Write for Relay<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.part.extend_from_slice(bytes);
        if self.part.len() >= PART {
            let bytes = std::mem::take(&mut self.part);
            let answer = Ok(Answer::Content { bytes, last: false });
            self.worker.send(&ToAgent::Answer { id: self.id, answer }).map_err(std::io::Error::other)?;
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The workers of a run, by whom they are.
#[derive(Default)]
pub struct Workers {
    running: HashMap<Become, Worker>,
}

impl Workers {
    /// The worker for that user, started if need be.
    ///
    /// # Errors
    /// As [`Worker::start`].
    pub fn get(&mut self, become_: &Become, password: Option<&str>) -> Result<&mut Worker, String> {
        if !self.running.contains_key(become_) {
            let worker = Worker::start(Some(become_), password)?;
            self.running.insert(become_.clone(), worker);
        }
        self.running.get_mut(become_).ok_or_else(|| "the worker is gone".into())
    }

    /// Forgets a worker that broke.
    pub fn discard(&mut self, become_: &Become) {
        self.running.remove(become_);
    }
}

/// A path of the agent's file that `user` can execute; a copy where its own directory is private.
fn executable_by_others(exe: PathBuf, user: &str) -> Result<(PathBuf, Option<PathBuf>), String> {
    let open = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        path.ancestors().all(|p| std::fs::metadata(p).is_ok_and(|m| m.permissions().mode() & 0o005 == 0o005))
    };
    if exe.exists() && (user == "root" || open(&exe)) {
        return Ok((exe, None));
    }
    let bytes =
        std::fs::read("/proc/self/exe").map_err(|e| format!("cannot read the agent's own file: {e}"))?;
    for base in ["/var/tmp", "/tmp", "/run", "/dev/shm"] {
        if let Ok(path) = place_copy(Path::new(base), &bytes) {
            return Ok((path.clone(), Some(path)));
        }
    }
    Err(format!(
        "there is no directory from which {user} could execute the agent (tried /var/tmp, /tmp, /run, /dev/shm)"
    ))
}

fn place_copy(base: &Path, bytes: &[u8]) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
    let mut random = [0u8; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let dir = base.join(format!("debark-{:016x}", u64::from_le_bytes(random)));
    std::fs::DirBuilder::new().mode(0o755).create(&dir)?;
    let write = || -> std::io::Result<PathBuf> {
        let path = dir.join("debark-agent");
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&path)?;
        file.write_all(bytes)?;
        drop(file);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Command::new(&path).arg("--version").stdout(Stdio::null()).status()?;
        Ok(path)
    };
    write().inspect_err(|_| drop(std::fs::remove_dir_all(&dir)))
}

fn readable(pipe: &ChildStdout, wait: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(pipe, PollFlags::IN)];
    let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
    matches!(poll(&mut fds, Some(&wait)), Ok(1..))
}

/// What the last words of sudo, su or doas mean.
fn refusal(said: &str, password: bool) -> String {
    // What sudo says after it has said why.
    let telling = |line: &&str| !line.trim().is_empty() && !line.contains("error initializing audit plugin");
    let last = said.lines().rev().find(telling).unwrap_or("it ended without a word").trim();
    if said.contains("password is required") || said.contains("Authentication required") {
        return "a password is required (give it with -K, or as ansible_become_password from a vault)".into();
    }
    if password && (said.contains("incorrect password") || said.contains("Authentication failure")) {
        return "the password was refused".into();
    }
    last.trim_start_matches(PROMPT).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_to_become_somebody() {
        let to = |method: &str| Become { method: method.into(), user: "www".into(), exe: None, flags: None };
        assert_eq!(argv(&to("sudo"), "/a", false).join(" "), "sudo -H -n -u www -- /a --worker");
        assert_eq!(
            argv(&to("sudo"), "/a", true).join(" "),
            format!("sudo -H -S -p {PROMPT} -u www -- /a --worker")
        );
        assert_eq!(argv(&to("su"), "/a", false), ["su", "www", "-s", "/bin/sh", "-c", "exec '/a' --worker"]);
        assert_eq!(argv(&to("doas"), "/a", false).join(" "), "doas -n -u www /a --worker");
    }

    #[test]
    fn refusals_in_the_right_words() {
        assert!(refusal("sudo: a password is required\n", false).contains("-K"));
        assert_eq!(refusal("x is not in the sudoers file\n", false), "x is not in the sudoers file");
        let said = "sudo: unknown user x\nsudo: error initializing audit plugin sudoers_audit\n";
        assert_eq!(refusal(said, false), "sudo: unknown user x");
    }
}
