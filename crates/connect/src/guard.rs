//! Confirms what was changed under a guard, through a connection that has nothing to do with the one that changed it.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Problem, ProblemKind, SshTalk, Target};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// What one try may take beyond ssh's own time for connecting: a login on a busy host.
const LOGIN: Duration = Duration::from_secs(30);
/// What one try may take for connecting, in seconds: a host that is locked out lets packets vanish.
const CONNECT: u32 = 10;

/// A guard on a host.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Its name there.
    pub id: String,
    /// When it reverts, if it is not confirmed.
    pub deadline: Instant,
    /// How long after that the host may take to be reachable again.
    pub grace: Duration,
}

/// What a fresh connection found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is confirmed.
    Confirmed,
    /// The host went back by itself, and can be reached; what the last connection before that ran into.
    Reverted(Option<Problem>),
    /// There is no such guard: it was never armed, or its agent has settled it.
    Gone,
    /// The host cannot be reached.
    Unreachable(Problem),
}

/// What the guard's script keeps for the user of the connection to see.
const SCRIPT: &str = r#"f=/var/lib/debark-guard/ID
if [ -e $f.reverted ]; then echo debark-guard reverted
elif [ ! -e $f ]; then echo debark-guard gone
elif printf ok | dd of=$f.ok conv=nocreat,fsync 2>/dev/null && [ -e $f.ok ]; then echo debark-guard confirmed
else echo debark-guard busy; fi"#;

/// Confirms it, trying again until the host has answered or had all the time it may take. `None`: no guard goes by such a name.
pub fn confirm(target: &Target, guard: &Guard) -> Option<Verdict> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if guard.id.is_empty() || guard.id.len() > 100 || !guard.id.chars().all(plain) {
        return None;
    }
    let target = Target { timeout: target.timeout.clamp(1, CONNECT), ..target.clone() };
    let script = SCRIPT.replace("ID", &guard.id);
    let mut last = None;
    loop {
        match once(&target, &script) {
            Ok(said) => match said.as_str() {
                "confirmed" => return Some(Verdict::Confirmed),
                "reverted" => return Some(Verdict::Reverted(last)),
                "gone" if Instant::now() > guard.deadline => return Some(Verdict::Reverted(last)),
                "gone" => return Some(Verdict::Gone),
                // Its tasks still run, or it reverts right now.
                _ => {}
            },
            Err(problem) => last = Some(problem),
        }
        if Instant::now() > guard.deadline + guard.grace {
            let late = || Problem::new(ProblemKind::TimedOut, format!("{} is still reverting", target.name));
            return Some(Verdict::Unreachable(last.unwrap_or_else(late)));
        }
        std::thread::sleep(PAUSE);
    }
}

/// One connection; the word that the script prints.
fn once(target: &Target, script: &str) -> Result<String, Problem> {
    let mut command = if target.local {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    } else {
        let mut argv = target.ssh().argv.into_iter();
        let mut command = Command::new(argv.next().unwrap_or_default());
        // Whatever the user's login shell is.
        command.args(argv).arg(format!("exec sh -c '{script}'"));
        command
    };
    let local = |error: std::io::Error| Problem::new(ProblemKind::Local, format!("cannot run ssh: {error}"));
    // A group of its own, with its ProxyCommand, so that Ctrl-C is the controller's to handle.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(local)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read = |pipe: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            // What was read until it broke off is what there is.
            let _ = pipe.map(|pipe| pipe.take(1 << 20).read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let out = read(stdout.map(|pipe| Box::new(pipe) as _));
    let err = read(stderr.map(|pipe| Box::new(pipe) as _));
    let status = ended(&mut child, Duration::from_secs(target.timeout.into()) + LOGIN).map_err(local)?;
    let said = out.join().unwrap_or_default();
    if let Some(word) = said.lines().find_map(|line| line.strip_prefix("debark-guard ")) {
        return Ok(word.to_owned());
    }
    let mut talk = SshTalk::default();
    err.join().unwrap_or_default().lines().for_each(|line| talk.line(line));
    Err(talk.explain(target, status))
}

/// Waits for its end, or ends it; its exit code.
fn ended(child: &mut Child, most: Duration) -> std::io::Result<Option<i32>> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if begin.elapsed() > most {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            }
            return Ok(child.wait()?.code());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_of_a_guard_gets_into_a_command() {
        let target = Target { local: true, ..Target::default() };
        for id in ["", "a b", "x;id", "$(id)", "../x"] {
            let guard = Guard { id: id.into(), deadline: Instant::now(), grace: Duration::ZERO };
            assert_eq!(confirm(&target, &guard), None, "{id}");
        }
    }
}
