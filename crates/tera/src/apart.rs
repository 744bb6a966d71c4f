//! The child process that renders, and its limits.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::render::answer;
use crate::{Order, Outcome};

/// The hidden command of the `debark` binary that calls [`work`].
pub const WORKER: &str = "tera-worker";

/// Processor time of one text, in seconds.
const SECONDS: u64 = 5;
/// Address space of the child, in bytes: several times the longest text.
const MEMORY: u64 = 768 << 20;
/// Children at once: hosts that ask together wait for one another.
const TOGETHER: usize = 4;

/// The child's part: takes limits, reads an [`Order`] in JSON from standard input, writes an [`Outcome`] to standard output.
///
/// # Errors
/// The limits cannot be set, or the streams do not hold what they should.
pub fn work() -> io::Result<()> {
    let limits = [
        (Resource::Core, 0, 0),
        (Resource::Cpu, SECONDS, SECONDS + 1),
        (Resource::As, MEMORY, MEMORY),
        (Resource::Nofile, 16, 16),
    ];
    for (resource, current, maximum) in limits {
        setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })?;
    }
    let mut text = Vec::new();
    io::stdin().lock().read_to_end(&mut text)?;
    let order: Order = serde_json::from_slice(&text)?;
    let outcome = serde_json::to_vec(&answer(&order))?;
    io::stdout().lock().write_all(&outcome)
}

/// Renders in a child process: this program, started anew with the argument [`WORKER`], without environment.
pub fn apart(order: &Order) -> Outcome {
    let _turn = Turn::take();
    let main = &order.main;
    let failed = |what: &str, error: io::Error| {
        Outcome::wrong(format!("{main}: the process that renders it cannot be {what}: {error}"), None)
    };
    let text = match serde_json::to_vec(order) {
        Ok(text) => text,
        Err(error) => return failed("told what to do", error.into()),
    };
    // By this path it is the program that runs, even if its file has been replaced.
    let child = Command::new("/proc/self/exe")
        .arg(WORKER)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return failed("started", error),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // If it is gone, how it ended says why.
        let _ = stdin.write_all(&text);
    }
    let output = match child.wait_with_output() {
        Ok(output) => output,
        Err(error) => return failed("read", error),
    };
    match output.status.signal() {
        Some(signal)
            if [rustix::process::Signal::XCPU, rustix::process::Signal::KILL]
                .iter()
                .any(|s| s.as_raw() == signal) =>
        {
            Outcome::wrong(
                format!("{main}: the template takes too long"),
                Some("look for a loop over too many items"),
            )
        }
        Some(_) => Outcome::wrong(
            format!("{main}: the template takes more than {} MiB of memory", MEMORY >> 20),
            Some("look for a text or a list that grows with every turn of a loop"),
        ),
        None => serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            Outcome::wrong(format!("{main}: the process that renders it ended with {}", output.status), None)
        }),
    }
}

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

struct Turn;

impl Turn {
    fn take() -> Self {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        while *running >= TOGETHER {
            running = ENDED.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        *running += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}
