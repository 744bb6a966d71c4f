//! `debark lab test`: does a playbook do its work, and does it do nothing the second time?

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use debark_lab::{Error, Lab, Options, Result, Suite};

use super::verdict::Verdict;

/// The exit code of a playbook that failed its test, told from a lab that could not be made.
const TEST_FAILED: u8 = 2;

/// What to test, and on which hosts.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The playbook that is applied, twice
    playbook: PathBuf,
    /// A playbook that is run after it and must not fail
    #[arg(long, value_name = "PLAYBOOK")]
    verify: Option<PathBuf>,
    /// How many hosts to boot
    #[arg(short = 'n', long, default_value_t = 1)]
    hosts: usize,
    /// A group and its hosts, as in `web=h1,h2` (repeatable)
    #[arg(short, long, value_name = "NAME=HOSTS", value_parser = parse_group)]
    group: Vec<(String, Vec<String>)>,
    /// A further inventory, with groups and variables for h1, h2, ... (repeatable)
    #[arg(short, long, value_name = "FILE")]
    inventory: Vec<PathBuf>,
    /// The Debian release of the hosts: bookworm or trixie
    #[arg(long, default_value = "bookworm")]
    suite: Suite,
    /// The hosts have these packages from the start (comma-separated, repeatable)
    #[arg(long, value_name = "PACKAGE", value_delimiter = ',')]
    with: Vec<String>,
    /// Leave the hosts running, in a lab of this name
    #[arg(long, value_name = "LAB")]
    keep: Option<String>,
    /// Further arguments for each `debark run`
    #[arg(last = true)]
    extra: Vec<String>,
}

fn parse_group(text: &str) -> std::result::Result<(String, Vec<String>), String> {
    let (name, hosts) = text.split_once('=').ok_or("write NAME=HOST,HOST")?;
    let plain = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
    if plain(name) && hosts.iter().all(|host| plain(host)) {
        Ok((name.to_owned(), hosts))
    } else {
        Err("names are letters, digits, `_` and `-`".to_owned())
    }
}

/// Boots, applies, applies again, verifies, removes.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    for path in [Some(&arguments.playbook), arguments.verify.as_ref()]
        .into_iter()
        .flatten()
        .chain(&arguments.inventory)
    {
        std::fs::metadata(path).map_err(|source| Error::File {
            action: "read",
            path: path.clone(),
            source,
        })?;
    }
    // Ctrl-C reaches the run itself, which ends; the hosts are removed all the same.
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let flag = Arc::clone(&interrupted);
        signal_hook::flag::register(signal, flag).map_err(|source| Error::File {
            action: "watch signals in",
            path: "/proc/self".into(),
            source,
        })?;
    }
    let name = arguments.keep.clone().unwrap_or_else(|| format!("test-{}", std::process::id()));
    let mut lab = Lab::up(Options {
        suite: arguments.suite,
        packages: arguments.with.clone(),
        say: super::say(),
        ..Options::new(&name, arguments.hosts)
    })?;
    if arguments.keep.is_some() {
        lab.keep();
    }
    let groups = lab.path().join("test.ini");
    write(&groups, &lab.inventory(&arguments.group)?)?;
    let passed =
        Test { lab: &lab, arguments: &arguments, inventory: &groups, interrupted: &interrupted }.steps()?;
    if arguments.keep.is_none() {
        lab.down()?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(TEST_FAILED) })
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|source| Error::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

struct Test<'a> {
    lab: &'a Lab,
    arguments: &'a Arguments,
    inventory: &'a Path,
    interrupted: &'a AtomicBool,
}

impl Test<'_> {
    fn steps(&self) -> Result<bool> {
        let playbook = &self.arguments.playbook;
        if !self.step("apply", |test| test.human(playbook))? {
            return Ok(false);
        }
        if !self.step("apply again: nothing may change", |test| test.again())? {
            return Ok(false);
        }
        if let Some(verify) = &self.arguments.verify {
            return self.step("verify", |test| test.human(verify));
        }
        Ok(true)
    }

    fn step(&self, what: &str, work: impl FnOnce(&Self) -> Result<bool>) -> Result<bool> {
        anstream::eprintln!("== {what}");
        let started = Instant::now();
        let passed = work(self)? && !self.interrupted.load(Ordering::Relaxed);
        let word = if passed { "passed" } else { "FAILED" };
        anstream::eprintln!("== {what}: {word} in {:.1} s", started.elapsed().as_secs_f64());
        Ok(passed)
    }

    /// This same executable, inside the lab's namespace.
    fn debark(&self, playbook: &Path) -> Result<Command> {
        let me = std::env::current_exe().map_err(|source| Error::File {
            action: "find",
            path: "/proc/self/exe".into(),
            source,
        })?;
        let mut command = self.lab.controller_command(me);
        command.arg("run").arg("-i").arg(self.inventory);
        for inventory in &self.arguments.inventory {
            command.arg("-i").arg(inventory);
        }
        command.arg(playbook).args(&self.arguments.extra).stdin(Stdio::null());
        Ok(command)
    }

    fn human(&self, playbook: &Path) -> Result<bool> {
        Ok(self.debark(playbook)?.status().map_err(not_started)?.success())
    }

    fn again(&self) -> Result<bool> {
        let mut command = self.debark(&self.arguments.playbook)?;
        let mut child =
            command.args(["--json", "--diff"]).stdout(Stdio::piped()).spawn().map_err(not_started)?;
        let lines = child.stdout.take().map(BufReader::new);
        let events = lines.into_iter().flat_map(|lines| lines.lines().map_while(std::result::Result::ok));
        let verdict = Verdict::of(events.filter_map(|line| serde_json::from_str(&line).ok()));
        let status = child.wait().map_err(not_started)?;
        anstream::eprint!("{}", verdict.report(status));
        Ok(status.success() && verdict.is_idle())
    }
}

fn not_started(source: std::io::Error) -> Error {
    Error::File { action: "run", path: "debark".into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_names_with_hosts() {
        assert_eq!(
            parse_group("web=h1,h2").unwrap(),
            ("web".to_owned(), vec!["h1".to_owned(), "h2".to_owned()])
        );
        for text in ["web", "web=", "a b=h1", "web=h1,,h2", "x]=h1"] {
            assert!(parse_group(text).is_err(), "{text}");
        }
    }
}
