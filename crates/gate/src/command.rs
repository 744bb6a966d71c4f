//! Programs that the gate runs: as plain data, with an end to the time and the output that they may take.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::place;

/// What is kept of a program's output, from its end, in bytes.
const TAIL: u64 = 256 << 10;

/// A program that has ended, or was ended.
#[derive(Debug)]
pub struct Ended {
    /// `None`: its time was over.
    pub status: Option<ExitStatus>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ended {
    /// Whether it ended with 0.
    pub fn is_fine(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Its last lines, standard error last.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        last_lines(&format!("{}\n{}", self.stdout, self.stderr), count)
    }
}

/// The last lines that are not blank.
pub fn last_lines(text: &str, count: usize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(count);
    lines
        .iter()
        .skip(from)
        .map(|line| line.chars().filter(|one| !one.is_control()).take(500).collect())
        .collect()
}

/// Runs a program to its end, or kills it and all that it started in its process group when its time is over.
///
/// # Errors
/// It cannot be started.
pub fn output(argv: &[&str], stdin: Option<File>, limit: Duration) -> io::Result<Ended> {
    let (mut stdout, mut stderr) = (scratch()?, scratch()?);
    let (program, words) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = Command::new(program)
        .args(words)
        .stdin(stdin.map_or_else(Stdio::null, Stdio::from))
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .process_group(0)
        .spawn()?;
    let status = wait(&mut child, Instant::now() + limit)?;
    if status.is_none() {
        if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        child.wait()?;
    }
    Ok(Ended { status, stdout: tail(&mut stdout)?, stderr: tail(&mut stderr)? })
}

/// Waits for a child; `None` at the deadline.
///
/// # Errors
/// It cannot be waited for.
pub fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or(io::ErrorKind::InvalidInput)?;
    let watched = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        // Kernels before 5.3 have no pidfd.
        let Some(watched) = &watched else {
            std::thread::sleep(left.min(Duration::from_millis(20)));
            continue;
        };
        let mut polled = [rustix::event::PollFd::new(watched, rustix::event::PollFlags::IN)];
        let left = left.min(Duration::from_secs(60));
        let timeout = rustix::event::Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A file without a name.
///
/// # Errors
/// It cannot be made.
pub fn scratch() -> io::Result<File> {
    let number = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let name = format!("out-{}-{}-{}", std::process::id(), number.tv_sec, number.tv_nsec);
    let path = place::run(&name);
    let file = place::create(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn tail(file: &mut File) -> io::Result<String> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The other processes of this process's own systemd service; empty in anything but a service of the gate's.
///
/// Every maintainer script and what it started is among them: a process leaves its control group for no `setsid`.
pub fn companions() -> Vec<Pid> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let me = std::process::id();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let unit = path.rsplit('/').next().unwrap_or_default();
        if !(unit.starts_with("debark-work") || unit.starts_with("debark-guard"))
            || !unit.ends_with(".service")
        {
            continue;
        }
        let roots: &[&str] = match controllers {
            "" => &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"],
            "name=systemd" => &["/sys/fs/cgroup/systemd"],
            _ => &[],
        };
        for root in roots {
            let file = PathBuf::from(format!("{root}{path}/cgroup.procs"));
            let Ok(text) = fs::read_to_string(file) else { continue };
            let pids: Vec<u32> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
            if pids.contains(&me) {
                let others = pids.into_iter().filter(|pid| *pid != me);
                return others.filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect();
            }
        }
    }
    Vec::new()
}

/// Ends what still runs in this service, within some seconds: first what apt and dpkg wait for, so that they can clean up,
/// then all.
pub fn end_companions(child: &mut Child) {
    let start = Instant::now();
    loop {
        let ended = matches!(child.try_wait(), Ok(Some(_)) | Err(_));
        let polite = start.elapsed() < Duration::from_secs(10) && !ended;
        let mut left = companions();
        if left.is_empty() && !ended && !polite {
            left.extend(Pid::from_raw(child.id().cast_signed()));
        }
        for pid in &left {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if !(polite && matches!(name.trim(), "dpkg" | "apt-get")) {
                let _ = rustix::process::kill_process(*pid, Signal::KILL);
            }
        }
        if (ended && left.is_empty()) || start.elapsed() > Duration::from_secs(30) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_are_short_and_printable() {
        assert_eq!(last_lines("a\n\nb\x1b[1m\nc\n", 2), ["b[1m", "c"]);
        assert!(last_lines("", 5).is_empty());
    }

    #[test]
    fn a_child_is_waited_for_until_its_time_is_over() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(wait(&mut child, Instant::now() + Duration::from_millis(30)).unwrap().is_none());
        child.kill().unwrap();
        assert!(wait(&mut child, Instant::now() + Duration::from_secs(60)).unwrap().is_some());
        assert!(companions().is_empty(), "tests are in no service of the gate's");
    }
}
