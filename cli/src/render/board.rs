//! What each host is doing, in a few lines that fit the terminal.

use std::time::{Duration, Instant};

use debark_controller::Note;
use debark_wire::Event;
use indexmap::IndexMap;

use super::text::{fit, width};

/// At most this many hosts are named; the rest is counted.
const MOST_ROWS: usize = 10;
/// Shorter states come and go unseen: drawing them would only flicker.
const LASTING: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Doing {
    /// Its turn has not come.
    Waiting,
    Connecting,
    /// The agent is sent: so many kB.
    Sending(u64),
    /// Between tasks, or in one that does not last.
    Working,
    Task(String),
    Done,
}

struct Host {
    doing: Doing,
    since: Instant,
}

/// The hosts of the current play.
#[derive(Default)]
pub struct Board {
    hosts: IndexMap<String, Host>,
    began: Option<Instant>,
    stopping: bool,
}

impl Board {
    /// Takes note, at that time.
    pub fn note(&mut self, note: &Note<'_>, now: Instant) {
        match note {
            Note::Play { hosts, .. } => {
                self.hosts = hosts
                    .iter()
                    .map(|host| (host.clone(), Host { doing: Doing::Waiting, since: now }))
                    .collect();
                self.began.get_or_insert(now);
            }
            Note::Connecting { host } => self.set(host, Doing::Connecting, now),
            Note::Uploading { host, bytes } => self.set(host, Doing::Sending(bytes / 1000), now),
            Note::Connected { host } => self.set(host, Doing::Working, now),
            Note::Event { host, event: Event::Started { name, .. } } => {
                self.set(host, Doing::Task(name.clone()), now);
            }
            Note::Event { host, event: Event::Task(_) } => self.set(host, Doing::Working, now),
            Note::Unreachable { host, .. } | Note::HostDone { host, .. } => self.set(host, Doing::Done, now),
            Note::Stopping(_) => self.stopping = true,
            _ => {}
        }
    }

    fn set(&mut self, host: &str, doing: Doing, now: Instant) {
        // Hosts that are only delegated to have no row.
        if let Some(host) = self.hosts.get_mut(host) {
            *host = Host { doing, since: now };
        }
    }

    /// Lines for a terminal of that size: none if nothing lasts long enough to be worth it. None is as wide as the
    /// terminal, so that none wraps.
    pub fn lines(&self, columns: usize, rows: usize, now: Instant) -> Vec<String> {
        let columns = columns.saturating_sub(1);
        let busy: Vec<(&str, String, Duration)> = self
            .hosts
            .iter()
            .filter_map(|(name, host)| {
                let lasted = now.saturating_duration_since(host.since);
                let words = words(&host.doing)?;
                (lasted >= LASTING).then_some((name.as_str(), words, lasted))
            })
            .collect();
        if busy.is_empty() {
            return Vec::new();
        }
        let most = MOST_ROWS.min(rows / 2).max(1);
        let mut shown: Vec<usize> = (0..busy.len()).collect();
        if busy.len() > most {
            // Those that take longest are what one waits for.
            shown.sort_by_key(|index| std::cmp::Reverse(busy.get(*index).map(|(.., lasted)| *lasted)));
            shown.truncate(most);
            shown.sort_unstable();
        }
        let shown = || shown.iter().filter_map(|index| busy.get(*index));
        let names = shown().map(|(name, ..)| width(name)).max().unwrap_or(0).min(columns / 3);
        let mut lines: Vec<String> = shown()
            .map(|(name, words, lasted)| {
                let name = fit(name, names);
                let pad = names.saturating_sub(width(&name));
                fit(&format!("  {name}{:pad$}  {:>6}  {words}", "", clock(*lasted)), columns)
            })
            .collect();
        if let Some(line) = self.sum(busy.len(), lines.len(), now) {
            lines.push(fit(&line, columns));
        }
        lines
    }

    /// The last line, where there is more to say than the lines of hosts do.
    fn sum(&self, busy: usize, shown: usize, now: Instant) -> Option<String> {
        let count = |wanted: fn(&Doing) -> bool| self.hosts.values().filter(|h| wanted(&h.doing)).count();
        let mut parts = Vec::new();
        if self.hosts.len() > 1 {
            parts.push(format!("{} of {} hosts done", count(|d| *d == Doing::Done), self.hosts.len()));
        }
        if busy > shown {
            for (number, word) in [
                (count(|doing| matches!(doing, Doing::Task(_) | Doing::Working)), "running"),
                (count(|doing| matches!(doing, Doing::Connecting | Doing::Sending(_))), "connecting"),
                (count(|doing| *doing == Doing::Waiting), "waiting"),
            ] {
                if number > 0 {
                    parts.push(format!("{number} {word}"));
                }
            }
        }
        if self.stopping {
            parts.push("stopping after the running tasks; Ctrl-C again leaves them".to_owned());
        }
        if parts.is_empty() {
            return None;
        }
        let since = self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        Some(format!("  {}  {}", clock(since), parts.join(", ")))
    }
}

fn words(doing: &Doing) -> Option<String> {
    match doing {
        Doing::Waiting | Doing::Working | Doing::Done => None,
        Doing::Connecting => Some("connecting".to_owned()),
        Doing::Sending(kilobytes) => Some(format!("sending the agent ({kilobytes} kB)")),
        Doing::Task(name) => Some(name.clone()),
    }
}

/// `3.2 s`, `1:05`, `2:00:07`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", (time.as_millis() / 100) as f64 / 10.0),
        60..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A board of a play on so many hosts, at a time from which clocks count.
    fn board(hosts: usize) -> (Board, Instant) {
        let start = Instant::now();
        let names: Vec<String> = (1..=hosts).map(|number| format!("h{number}")).collect();
        let mut board = Board::default();
        board.note(&Note::Play { index: 0, name: "all", hosts: &names }, start);
        (board, start)
    }

    fn started(board: &mut Board, host: &str, task: &str, at: Instant) {
        let event = Event::Started { task: 1, name: task.into() };
        board.note(&Note::Event { host, event: &event }, at);
    }

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn each_host_has_its_task_and_its_clock() {
        let (mut board, start) = board(2);
        assert!(board.lines(80, 24, start).is_empty());
        started(&mut board, "h1", "packages", start);
        board.note(&Note::Connecting { host: "h2" }, after(start, 60_000));
        let lines = board.lines(80, 24, after(start, 65_250));
        assert_eq!(
            lines,
            ["  h1    1:05  packages", "  h2   5.2 s  connecting", "  1:05  0 of 2 hosts done"]
        );
        board.note(
            &Note::HostDone { host: "h1", failed: false, cost: Default::default() },
            after(start, 66_000),
        );
        let lines = board.lines(80, 24, after(start, 66_000));
        assert_eq!(lines, ["  h2   6.0 s  connecting", "  1:06  1 of 2 hosts done"]);
    }

    #[test]
    fn what_does_not_last_is_not_drawn() {
        let (mut board, start) = board(1);
        started(&mut board, "h1", "quick", start);
        assert!(board.lines(80, 24, after(start, 100)).is_empty());
        assert_eq!(board.lines(80, 24, after(start, 300)), ["  h1   0.3 s  quick"]);
        // Of a host that the play does not have, nothing is said.
        board.note(&Note::Connecting { host: "other" }, start);
        assert_eq!(board.lines(80, 24, after(start, 300)).len(), 1);
    }

    #[test]
    fn of_many_hosts_the_slowest_are_named_and_the_rest_is_counted() {
        let (mut board, start) = board(50);
        for number in 1..=30 {
            started(&mut board, &format!("h{number}"), "packages", after(start, 100 * (50 - number)));
        }
        for number in 31..=45 {
            board.note(&Note::Connecting { host: &format!("h{number}") }, after(start, 6_000));
        }
        board.note(&Note::HostDone { host: "h46", failed: false, cost: Default::default() }, start);
        let lines = board.lines(80, 40, after(start, 10_000));
        assert_eq!(lines.len(), 11);
        assert!(lines[0].starts_with("  h21") && lines[9].starts_with("  h30"), "{lines:#?}");
        assert_eq!(lines[10], "  10.0 s  1 of 50 hosts done, 30 running, 15 connecting, 4 waiting");
        // A low terminal is never filled.
        assert_eq!(board.lines(80, 8, after(start, 10_000)).len(), 5);
        assert_eq!(board.lines(80, 1, after(start, 10_000)).len(), 2);
    }

    #[test]
    fn no_line_is_as_wide_as_the_terminal() {
        let (mut board, start) = board(2);
        started(&mut board, "h1", &"install everything there is ".repeat(5), start);
        started(&mut board, "h2", "日本語の名前を持つタスク\x1b[2J", start);
        for columns in 0..100 {
            for line in board.lines(columns, 24, after(start, 1_000)) {
                assert!(width(&line) < columns.max(1), "{columns}: {line}");
                assert!(!line.contains('\x1b'), "{line}");
            }
        }
    }
}
