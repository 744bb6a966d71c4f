//! Questions on the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Whether somebody can be asked.
pub fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Asks on the controlling terminal; what is typed is shown only with `echo`.
///
/// # Errors
/// There is no terminal, or it broke.
pub fn ask(question: &str, echo: bool) -> io::Result<String> {
    let mut tty = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    tty.write_all(question.as_bytes())?;
    tty.flush()?;
    let before = tcgetattr(&tty)?;
    if !echo {
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&tty, OptionalActions::Flush, &quiet)?;
    }
    let typed = line(&tty);
    if !echo {
        tcsetattr(&tty, OptionalActions::Flush, &before)?;
        tty.write_all(b"\n")?;
    }
    typed
}

fn line(tty: &File) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(tty).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
