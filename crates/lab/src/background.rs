//! The processes that a lab leaves running: one supervisor per host, relays, and the caching proxy. All of them are
//! debark itself under the hidden command `lab background`, in sessions and control groups of their own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use crate::cgroup::Trees;
use crate::command::Cmd;
use crate::error::{Error, Result};
use crate::process;
use crate::relay::{self, Relay};
use crate::supervise;

/// Runs one background process to its end. `words` are what follows `lab background`.
pub fn main(words: Vec<OsString>) -> ExitCode {
    // A process group leader cannot start a session: then it has one of its own already.
    let _ = rustix::process::setsid();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            println!("failed {}", err.to_string().replace('\n', "; "));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[OsString]) -> Result<()> {
    let text: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    match text.as_slice() {
        ["supervise", root, lab, host] => supervise::run(Path::new(root), lab, host),
        ["relay", group, namespace, listen, side, target, delay] => {
            let relay = Relay::parse(namespace, listen, side, target, delay)?;
            Trees::find()?.enter(group)?;
            relay::run(&relay)
        }
        ["launch", group, program, args @ ..] => {
            Trees::find()?.enter(group)?;
            let err = Command::new(program).args(args).exec();
            Err(Error::file("start", Path::new(program))(err))
        }
        _ => Err(Error::input("`lab background` is not for people", "see `debark lab --help`")),
    }
}

/// Starts a background process and waits for its first line, which begins with `ready` or says what went wrong.
/// Returns the rest of that line.
pub(crate) fn start(program: &Path, words: &[&str], log: &Path) -> Result<String> {
    let cmd = Cmd::new(program).args(["lab", "background"]).args(words);
    let stderr = File::options().create(true).append(true).open(log).map_err(Error::file("open", log))?;
    let mut child = cmd
        .to_command()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(|err| failed(&cmd, format!("did not start: {err}")))?;
    let mut line = String::new();
    if let Some(pipe) = child.stdout.take() {
        // End of file is an answer too: the process has ended.
        let _ = BufReader::new(pipe).read_line(&mut line);
    }
    reap(child);
    match line.trim_end().split_once(' ').unwrap_or((line.trim_end(), "")) {
        ("ready", rest) => Ok(rest.to_owned()),
        ("failed", why) => Err(failed(&cmd, format!("failed: {why}"))),
        _ => Err(failed(&cmd, "ended early".to_owned())),
    }
}

/// The words that run a program in a control group of its own.
pub(crate) fn launched(program: &Path, group: &str, argv: &[OsString]) -> Vec<OsString> {
    let words =
        [program.as_os_str(), "lab".as_ref(), "background".as_ref(), "launch".as_ref(), group.as_ref()];
    words.iter().map(|word| (*word).to_owned()).chain(argv.iter().cloned()).collect()
}

/// Starts a program that does not know that it is watched, in a control group of its own.
pub(crate) fn launch(program: &Path, group: &str, argv: &[OsString], log: &Path) -> Result<u32> {
    let cmd = Cmd { argv: launched(program, group, argv), env: Vec::new(), stdin: None };
    let open = || File::options().create(true).append(true).open(log).map_err(Error::file("open", log));
    let child = cmd
        .to_command()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(open()?)
        .stderr(open()?)
        .spawn()
        .map_err(|err| failed(&cmd, format!("did not start: {err}")))?;
    let pid = child.id();
    reap(child);
    Ok(pid)
}

/// Kills background processes whose words begin like this: those that were started by an `up` that was killed, and
/// that have not yet moved into the control group where they would be found.
pub(crate) fn kill_newborn(words: &[&str]) {
    for process in process::all() {
        let all = process.words();
        let wanted = ["lab", "background"].iter().chain(words);
        if all.len() > words.len() + 2 && all.iter().skip(1).zip(wanted).all(|(is, wanted)| is == wanted) {
            process.kill();
        }
    }
}

/// A long-lived caller (a test) must not collect the zombies of what `down` kills.
fn reap(mut child: std::process::Child) {
    std::thread::spawn(move || child.wait());
}

fn failed(cmd: &Cmd, status: String) -> Error {
    Error::Command { command: cmd.line(), status, stderr: String::new() }
}

/// Asks again every few milliseconds until it is so or patience ends.
pub(crate) fn wait_until(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = std::time::Instant::now() + patience;
    loop {
        if done() {
            return true;
        }
        if std::time::Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
