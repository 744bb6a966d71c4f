//! Questions on the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

type Hook = Box<dyn Fn(bool) + Send>;

/// Whoever draws on the terminal: there is one terminal, and so one of these.
static HOOK: Mutex<Option<Hook>> = Mutex::new(None);
static CANCELLED: AtomicBool = AtomicBool::new(false);
/// Questions come one after the other, from whatever threads.
static ASKING: Mutex<()> = Mutex::new(());

/// How often a question looks whether it was cancelled.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// Longer answers are cut: nobody types them.
const LONGEST: usize = 64 << 10;
/// Bytes that are read at once.
const PART: usize = 4096;

/// Whether somebody can be asked.
pub fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Calls `hook` with true before a question is written on the terminal, and with false once it is answered.
pub fn on_question(hook: impl Fn(bool) + Send + 'static) {
    *HOOK.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(hook));
}

/// Ends the question that waits, if one does, and refuses all that come: the user wants out.
pub fn cancel_questions() {
    CANCELLED.store(true, Ordering::SeqCst);
    // Whoever asks has put the terminal back when this can be had.
    drop(ASKING.lock());
}

/// Asks on the controlling terminal; what is typed is shown only with `echo`.
///
/// # Errors
/// There is no terminal, it broke, or [`cancel_questions`] was called.
pub fn ask(question: &str, echo: bool) -> io::Result<String> {
    asked(question, echo, None).map(Option::unwrap_or_default)
}

/// Asks for a line that is shown; nothing if the input is at its end (Ctrl-D).
///
/// # Errors
/// As [`ask`].
pub fn line_of(question: &str) -> io::Result<Option<String>> {
    asked(question, true, None)
}

/// Asks, but goes on with an empty answer after a while.
///
/// # Errors
/// As [`ask`].
pub fn ask_for(question: &str, echo: bool, most: Duration) -> io::Result<String> {
    asked(question, echo, Some(Instant::now() + most)).map(Option::unwrap_or_default)
}

fn asked(question: &str, echo: bool, until: Option<Instant>) -> io::Result<Option<String>> {
    let _one = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut tty = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let tell = |asking| {
        if let Some(hook) = &*HOOK.lock().unwrap_or_else(PoisonError::into_inner) {
            hook(asking);
        }
    };
    tell(true);
    let typed = typed(&mut tty, question, echo, until);
    tell(false);
    typed
}

fn typed(tty: &mut File, question: &str, echo: bool, until: Option<Instant>) -> io::Result<Option<String>> {
    let before = tcgetattr(&*tty)?;
    if !echo {
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&*tty, OptionalActions::Flush, &quiet)?;
    }
    // Asked when the terminal is ready: what is typed from here on is the answer.
    tty.write_all(question.as_bytes())?;
    tty.flush()?;
    let typed = line(tty, until);
    if !echo {
        tcsetattr(&*tty, OptionalActions::Flush, &before)?;
    }
    if !echo || !matches!(typed, Ok(Some(_))) {
        tty.write_all(b"\n")?;
    }
    typed
}

/// A line without its end; nothing if the time is over, or the input.
fn line(tty: &File, until: Option<Instant>) -> io::Result<Option<String>> {
    // Of its full size at once: what grows leaves copies of a password behind.
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST + PART));
    loop {
        if CANCELLED.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(None);
        }
        // The terminal hands out whole lines.
        match poll(&mut [PollFd::new(tty, PollFlags::IN)], Some(&LOOK)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut part = Zeroizing::new([0; PART]);
        let count = rustix::io::read(tty, part.as_mut_slice())?;
        line.extend(part.iter().take(count));
        if count == 0 && line.is_empty() {
            return Ok(None);
        }
        if count == 0 || line.ends_with(b"\n") || line.len() > LONGEST {
            let text = String::from_utf8_lossy(&line);
            return Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()));
        }
    }
}
