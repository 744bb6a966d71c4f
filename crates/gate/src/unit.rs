//! Work in a systemd unit of its own, which outlives the connection that asked for it; and the guard's timer.

use std::fs;
use std::time::{Duration, Instant};

use debark_order::Digest;
use debark_order::gate::{Failure, FailureKind, PROGRAM, Version};
use serde::{Deserialize, Serialize};

use crate::failure::{Failing as _, Result, fail, file};
use crate::store::Trace;
use crate::{command, locks, place};

/// The unit that works. One name: systemd itself sees to it that there is one at a time.
pub const WORK: &str = "debark-work.service";
/// The guard's timer; its service is installed by `debark enroll` and also started at every boot.
pub const GUARD_TIMER: &str = "debark-guard.timer";
const GUARD: &str = "debark-guard.service";
/// A program of systemd's answers within that.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the unit is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Tells this job from all others since the boot.
    pub nonce: String,
    /// The open order.
    pub id: Digest,
    /// Back to what was live before, else forward.
    pub back: bool,
    /// Why it goes back.
    pub why: String,
    /// Whether the plan was that no other package changes.
    #[serde(default)]
    pub alone: bool,
    /// The package that is to be installed, if it came a moment ago.
    #[serde(default)]
    pub came: Option<Trace>,
}

/// What it did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    /// Of the job.
    pub nonce: String,
    /// What people should know, or what went wrong.
    pub outcome: std::result::Result<Outcome, Failure>,
}

/// How it went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// What is live.
    pub live: Option<Version>,
    /// What people should know.
    pub notes: Vec<String>,
}

/// The job that was started last, since the boot.
///
/// # Errors
/// It cannot be read.
pub fn job() -> Result<Option<Job>> {
    read("job.json")
}

/// Notes that an order is about to be begun; no boot survives that.
///
/// # Errors
/// It cannot be written.
pub fn begins(id: Digest) -> Result<()> {
    place::replace(&place::run("begun"), id.hex().as_bytes())
}

/// Whether an order was begun since the boot, and its worker has not started yet.
///
/// # Errors
/// It cannot be found out.
pub fn is_starting(id: Digest) -> Result<bool> {
    if !fs::read_to_string(place::run("begun")).is_ok_and(|text| text == id.hex()) {
        return Ok(false);
    }
    let nonce = job()?.filter(|job| job.id == id).map(|job| job.nonce);
    let started = fs::read_to_string(place::run("started")).ok();
    Ok(nonce.is_none() || nonce != started)
}

/// What was done, if it was that job.
///
/// # Errors
/// It cannot be read.
pub fn done(nonce: &str) -> Result<Option<Done>> {
    Ok(read::<Done>("done.json")?.filter(|done| done.nonce == nonce))
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> Result<Option<T>> {
    let bytes = place::read(&place::run(name), 4 << 20)?;
    // Written by this program as a whole: what cannot be read is from another version of it.
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Writes a file below /run.
///
/// # Errors
/// It cannot be written.
pub fn write<T: Serialize>(name: &str, what: &T) -> Result<()> {
    let text = serde_json::to_vec(what)
        .map_err(|error| fail(FailureKind::Internal, format!("{name} cannot be written: {error}")))?;
    place::replace(&place::run(name), &text)
}

/// Starts the unit; [`follow`] waits for its end.
///
/// # Errors
/// [`FailureKind::Busy`]: it works for somebody else. Or systemd refuses.
pub fn start(job: &Job, limit: u64) -> Result<()> {
    let log = place::run("work.log");
    place::create(&log).map_err(|error| file(&log, &error))?;
    write("job.json", job)?;
    // Long enough for what the worker does within its own limits; this ends it only if it fails to.
    let most = format!("RuntimeMaxSec={}", limit.saturating_mul(3).saturating_add(600));
    let argv = [
        "systemd-run",
        "--quiet",
        "--collect",
        "--unit",
        WORK,
        "--service-type=exec",
        "--description",
        "debark installs a package",
        "-p",
        &most,
        "-p",
        "KillMode=control-group",
        "-p",
        "TimeoutStopSec=20",
        "-p",
        "OOMPolicy=continue",
        "--",
        PROGRAM,
        "work",
    ];
    let ended = command::output(&argv, None, PATIENCE)
        .map_err(|error| fail(FailureKind::Internal, format!("cannot run systemd-run: {error}")))?;
    if ended.is_fine() {
        return Ok(());
    }
    let said = ended.last_lines(3);
    let exists = said.iter().any(|line| line.contains("already"));
    let kind = if exists { FailureKind::Busy } else { FailureKind::Internal };
    Err(fail(kind, format!("systemd does not start {WORK}")).log(said))
}

/// Waits for the end of a job; `None` if its worker is gone without having said how it went.
///
/// # Errors
/// It cannot be followed.
pub fn follow(nonce: &str, said: &mut dyn FnMut(&str) -> Result<()>) -> Result<Option<Done>> {
    let mut tail = Tail::default();
    let begin = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        // In this order: who has started and works no more is at its end. Asked the other way round, a worker that starts between the
        // two looks would be taken for one that has ended.
        let started = fs::read_to_string(place::run("started")).is_ok_and(|text| text == nonce);
        let working = locks::works()?;
        tail.lines(said)?;
        if let Some(done) = done(nonce)? {
            return Ok(Some(done));
        }
        if !working && started {
            // It may have ended between the two looks.
            return done(nonce);
        }
        if !working && begin.elapsed() > PATIENCE {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Follows the worker's log.
#[derive(Default)]
struct Tail {
    at: u64,
    rest: String,
    spoke: Option<Instant>,
}

impl Tail {
    fn lines(&mut self, said: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        use std::os::unix::fs::FileExt as _;
        let Ok(log) = fs::File::open(place::run("work.log")) else { return Ok(()) };
        let mut buffer = [0; 16 << 10];
        if let Ok(read @ 1..) = log.read_at(&mut buffer, self.at) {
            self.at += read as u64;
            self.rest.push_str(&String::from_utf8_lossy(buffer.get(..read).unwrap_or_default()));
            while let Some((line, rest)) = self.rest.split_once('\n') {
                let line: String = line.chars().filter(|letter| !letter.is_control()).take(500).collect();
                self.rest = rest.to_owned();
                if !line.trim().is_empty() {
                    self.spoke = Some(Instant::now());
                    said(line.trim_end())?;
                }
            }
            if self.rest.len() > 64 << 10 {
                self.rest.clear();
            }
        }
        // So that the controller knows that the host lives.
        if self.spoke.get_or_insert_with(Instant::now).elapsed() > Duration::from_secs(10) {
            self.spoke = Some(Instant::now());
            said("still at work")?;
        }
        Ok(())
    }
}

/// Starts the guard's timer anew.
///
/// # Errors
/// systemd refuses, or the host is enrolled by half.
pub fn arm(seconds: u64) -> Result<()> {
    let active = format!("--on-active={}s", seconds.max(1));
    let argv = [
        "systemd-run",
        "--quiet",
        "--unit",
        GUARD,
        &active,
        "--timer-property=AccuracySec=100ms",
        "--timer-property=RemainAfterElapse=no",
    ];
    let run = || {
        command::output(&argv, None, PATIENCE)
            .map_err(|error| fail(FailureKind::Internal, format!("cannot run systemd-run: {error}")))
    };
    if run()?.is_fine() {
        return Ok(());
    }
    // One of an order before.
    disarm()?;
    let ended = run()?;
    if ended.is_fine() {
        return Ok(());
    }
    Err(fail(FailureKind::Internal, "systemd does not start the guard's timer")
        .hint("run `debark enroll` again, which installs debark-guard.service")
        .log(ended.last_lines(3)))
}

/// Stops the guard's timer; nothing happens if there is none.
///
/// # Errors
/// systemctl cannot be run.
pub fn disarm() -> Result<()> {
    command::output(&["systemctl", "stop", GUARD_TIMER], None, PATIENCE)
        .map_err(|error| fail(FailureKind::Internal, format!("cannot run systemctl: {error}")))?;
    Ok(())
}
