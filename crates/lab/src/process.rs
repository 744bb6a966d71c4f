//! Processes, told apart from others that got the same number later.

use std::fs;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// A process: its number and when it started, in clock ticks since boot (proc_pid_stat(5), field 22).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The process's number.
    pub pid: u32,
    /// When it started.
    pub start: u64,
}

impl Process {
    /// The process that has this number now.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, start) = parse_stat(&stat)?;
        (state != 'Z' && state != 'X').then_some(Self { pid, start })
    }

    /// Whether it still runs (and is not just a zombie).
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Kills it, if it is still the one that was meant.
    pub fn kill(self) {
        if !self.is_alive() {
            return;
        }
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // It may end by itself in between, which is as good.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }

    /// The name of its program, as the kernel cuts it (15 bytes).
    pub fn name(self) -> Option<String> {
        Some(fs::read_to_string(format!("/proc/{}/comm", self.pid)).ok()?.trim_end().to_owned())
    }

    /// Its words, program first.
    pub fn words(self) -> Vec<String> {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    fn pid_namespace(self) -> Option<std::path::PathBuf> {
        fs::read_link(format!("/proc/{}/ns/pid", self.pid)).ok()
    }

    /// All processes in the same PID namespace: of a host's first process, all of that host's.
    pub fn neighbours(self) -> Vec<Self> {
        let Some(namespace) = self.pid_namespace() else { return Vec::new() };
        all().filter(|other| other.pid_namespace().as_ref() == Some(&namespace)).collect()
    }

    /// Its parent's number.
    pub fn parent(self) -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_whitespace().nth(1)?.parse().ok()
    }
}

/// Every process that can be seen.
pub fn all() -> impl Iterator<Item = Process> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
        Process::of(pid)
    })
}

/// State and start time. The program's name may itself hold parentheses and spaces, so count from the last one.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_mislead() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4 0 0 0 0 1 2 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse_stat(stat), Some(('S', 4242)));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn a_process_is_known_by_its_start_too() {
        let me = Process::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Process { start: me.start + 1, ..me }.is_alive());
        assert!(me.neighbours().contains(&me));
        assert_eq!(me.words(), std::env::args().collect::<Vec<_>>());
    }
}
