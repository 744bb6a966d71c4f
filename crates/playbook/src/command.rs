//! Programs that are run while reading: inventory scripts and password scripts. They have a limit of time and of
//! output, so that a script which hangs or prints without end is an error and not the end of the run.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// What a program may use, and how it meets the terminal.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long it may run.
    pub timeout: Duration,
    /// How many bytes it may print.
    pub output: usize,
    /// Whether it may talk with the user: it keeps the terminal, and its standard error is the user's.
    pub interactive: bool,
}

/// What a program printed.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, or its beginning; empty for an interactive program.
    pub stderr: String,
}

/// Why there is no output.
#[derive(Debug)]
pub enum Failure {
    /// It did not start.
    Start(std::io::Error),
    /// It was still running after that time.
    Timeout(Duration),
    /// It printed more than that many bytes.
    Output(usize),
}

impl Failure {
    /// The failure as the end of a sentence that begins with the program's name.
    pub fn describe(&self) -> String {
        match self {
            Self::Start(error) => format!("cannot be run: {error}"),
            Self::Timeout(limit) => {
                format!("did not finish within {} s and was stopped", limit.as_secs_f32())
            }
            Self::Output(limit) => format!("printed more than {} MiB and was stopped", (limit >> 20).max(1)),
        }
    }
}

enum Event {
    Closed(Vec<u8>),
    TooMuch,
}

/// Of standard error, this much is kept for the error message.
const STDERR: usize = 16 << 10;

/// What a program leaves running in the background may hold its output open: it is not waited for longer than this.
const AFTER_EXIT: Duration = Duration::from_millis(500);

/// Runs a program to its end or to its limit.
///
/// # Errors
/// It does not start, takes too long, or prints too much.
pub fn run(program: &Path, args: &[&str], limits: Limits) -> Result<Output, Failure> {
    let mut command = Command::new(program);
    command.args(args).stdout(Stdio::piped());
    if limits.interactive {
        command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
    } else {
        // A group of its own, so that what it started can be stopped with it.
        command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    }
    let mut child = command.spawn().map_err(Failure::Start)?;
    let deadline = Instant::now() + limits.timeout;
    let stdout = child.stdout.take().map(|pipe| collect(pipe, limits.output, false));
    let stderr = child.stderr.take().map(|pipe| collect(pipe, STDERR, true));
    let result = follow(&mut child, stdout.as_ref(), deadline, limits);
    if result.is_err() {
        stop(&mut child, limits.interactive);
    }
    let (status, stdout) = result?;
    let stderr = match stderr.as_ref().map(|events| events.recv_timeout(AFTER_EXIT)) {
        Some(Ok(Event::Closed(bytes))) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        _ => String::new(),
    };
    Ok(Output { status, stdout, stderr })
}

/// Waits for the end of the output and of the program.
fn follow(
    child: &mut Child,
    stdout: Option<&Receiver<Event>>,
    deadline: Instant,
    limits: Limits,
) -> Result<(ExitStatus, Vec<u8>), Failure> {
    let mut output = None;
    let mut ended: Option<(ExitStatus, Instant)> = None;
    let mut pause = Duration::from_millis(1);
    loop {
        if output.is_none() {
            match stdout.map(|events| events.recv_timeout(pause)) {
                Some(Ok(Event::Closed(bytes))) => output = Some(bytes),
                Some(Ok(Event::TooMuch)) => return Err(Failure::Output(limits.output)),
                Some(Err(RecvTimeoutError::Timeout)) => {}
                Some(Err(RecvTimeoutError::Disconnected)) | None => output = Some(Vec::new()),
            }
        } else {
            std::thread::sleep(pause);
        }
        pause = (pause * 2).min(Duration::from_millis(20));
        if ended.is_none() {
            ended = child.try_wait().map_err(Failure::Start)?.map(|status| (status, Instant::now()));
        }
        if let Some((status, at)) = ended {
            if let Some(bytes) = output.take() {
                return Ok((status, bytes));
            }
            if at.elapsed() > AFTER_EXIT {
                return Err(Failure::Timeout(limits.timeout));
            }
        }
        if Instant::now() >= deadline {
            return Err(Failure::Timeout(limits.timeout));
        }
    }
}

fn collect(mut pipe: impl Read + Send + 'static, most: usize, forgiving: bool) -> Receiver<Event> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut chunk = [0; 8192];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            if bytes.len() + count <= most {
                bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
            } else if !forgiving {
                let _ = sender.send(Event::TooMuch);
                return;
            }
        }
        // Nobody may be waiting any more: then the bytes are of no use.
        let _ = sender.send(Event::Closed(bytes));
    });
    receiver
}

fn stop(child: &mut Child, interactive: bool) {
    if !interactive && let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
        // It may have ended in the meantime.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: f32, output: usize) -> Result<Output, Failure> {
        let limits = Limits { timeout: Duration::from_secs_f32(timeout), output, interactive: false };
        run(Path::new("/bin/sh"), &["-c", script], limits)
    }

    #[test]
    fn gives_both_streams_and_the_status() {
        let output = shell("echo out; echo err >&2; exit 3", 20.0, 100).unwrap();
        assert_eq!((output.status.code(), &*output.stdout, &*output.stderr), (Some(3), &b"out\n"[..], "err"));
    }

    #[test]
    fn stops_what_hangs_with_all_it_started() {
        let begun = Instant::now();
        let failure = shell("sleep 60 & sleep 60", 0.3, 100).unwrap_err();
        assert!(matches!(failure, Failure::Timeout(_)), "{failure:?}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn stops_what_prints_without_end() {
        assert!(matches!(shell("yes", 20.0, 100_000).unwrap_err(), Failure::Output(100_000)));
    }
}
