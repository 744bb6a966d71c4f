//! The live display: finished lines scroll by, and below them each host's current task is redrawn.
//!
//! Everything goes out in one write per frame: the old display is erased, finished lines are printed in its place, the new
//! display is drawn below. What was printed is never drawn over, so a diff looks as it does in a file.

use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anstyle::Style;
use debark_controller::{Monitor, Note};

use super::board::Board;
use super::plain::Plain;
use super::text::width;

/// The least time between two frames.
const FRAME: Duration = Duration::from_millis(100);
/// Runs that take less are over before anybody reads.
const CALM: Duration = Duration::from_millis(400);
/// Terminals narrower than this are given the finished lines only.
const NARROWEST: usize = 20;

/// Draws on standard output, which is a terminal.
pub struct Live {
    plain: Plain,
    board: Board,
    screen: Arc<Mutex<Screen>>,
    started: Instant,
    drawn: Instant,
}

/// What stands on the terminal. Shared with whoever asks questions there.
struct Screen {
    /// Finished lines that were not printed yet.
    text: String,
    /// Lines of the display, as drawn last.
    lines: Vec<String>,
    /// Somebody is asked something: nothing is drawn.
    asking: bool,
    colour: bool,
}

impl Live {
    /// Draws below these lines.
    pub fn new(plain: Plain) -> Self {
        let colour = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
        let screen =
            Arc::new(Mutex::new(Screen { text: String::new(), lines: Vec::new(), asking: false, colour }));
        let asked = screen.clone();
        debark_controller::on_question(move |asking| lock(&asked).question(asking));
        let now = Instant::now();
        Self { plain, board: Board::default(), screen, started: now, drawn: now }
    }

    fn frame(&mut self, now: Instant, last: bool) {
        let mut screen = lock(&self.screen);
        if screen.asking && !last {
            return;
        }
        let (columns, rows) = size();
        let quiet = last || columns < NARROWEST || now.saturating_duration_since(self.started) < CALM;
        let lines = if quiet { Vec::new() } else { self.board.lines(columns, rows, now) };
        if !screen.text.is_empty() || lines != screen.lines {
            screen.draw(lines, columns);
        }
        self.drawn = now;
    }
}

impl Monitor for Live {
    fn note(&mut self, note: &Note<'_>) {
        let now = Instant::now();
        self.board.note(note, now);
        self.plain.note(note);
        let text = self.plain.take();
        lock(&self.screen).text.push_str(&text);
        if matches!(note, Note::Recap(_)) {
            self.frame(now, true);
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now.saturating_duration_since(self.drawn) >= FRAME {
            self.frame(now, false);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.frame(Instant::now(), true);
    }
}

impl Screen {
    fn draw(&mut self, lines: Vec<String>, columns: usize) {
        let text = std::mem::take(&mut self.text);
        let dim = Style::new().dimmed();
        let mut out = erase(&self.lines, columns);
        if self.colour {
            out.push_str(&text);
            let drawn: Vec<String> = lines.iter().map(|line| format!("{dim}{line}{dim:#}")).collect();
            out.push_str(&drawn.join("\r\n"));
        } else {
            out.push_str(&anstream::adapter::strip_str(&text).to_string());
            out.push_str(&lines.join("\r\n"));
        }
        self.lines = lines;
        // A terminal that is gone has no reader; the run goes on.
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    }

    fn question(&mut self, asking: bool) {
        if asking {
            self.draw(Vec::new(), size().0);
        }
        self.asking = asking;
    }
}

/// What erases these lines, if the cursor stands at the end of the last one. Terminals that have become narrower have
/// wrapped them.
fn erase(lines: &[String], columns: usize) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let rows: usize = lines.iter().map(|line| width(line).div_ceil(columns.max(1)).max(1)).sum();
    match rows - 1 {
        0 => "\r\x1b[J".to_owned(),
        up => format!("\r\x1b[{up}A\x1b[J"),
    }
}

fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erases_exactly_what_was_drawn() {
        assert_eq!(erase(&[], 80), "");
        let lines = ["  h1  1 s  packages".to_owned(), "  0 of 2".to_owned()];
        assert_eq!(erase(&lines[..1], 80), "\r\x1b[J");
        assert_eq!(erase(&lines, 80), "\r\x1b[1A\x1b[J");
        // 19 and 8 columns are two rows and one on a terminal of ten.
        assert_eq!(erase(&lines, 10), "\r\x1b[2A\x1b[J");
    }
}
