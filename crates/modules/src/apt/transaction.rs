//! Running apt-get so that it outlives us.
//!
//! dpkg that is killed half-way leaves a broken host. When the connection drops, sshd and logind may kill all that
//! belongs to the session, and whatever writes into a pipe whose reader is gone gets killed by that. So apt-get runs
//! in a scope of its own (`systemd-run --scope`), with its output in files, and the next run waits for it.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{Params, locks};
use crate::exec::{Cmd, Output};
use crate::{Failure, Host};

/// Output of running transactions; gone with a reboot, as they are.
const DIR: &str = "/run/debark";
const PREFIX: &str = "debark-apt-";
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// `$1` names the files for output, exit code and end; `$2` is the exit code for policy-rc.d, if any.
///
/// The old policy-rc.d is put back here and not by us: we may be gone by then.
const SCRIPT: &str = r#"
base=$1 code=$2
shift 2
exec >"$base.out" 2>"$base.err" </dev/null
policy=/usr/sbin/policy-rc.d
if [ -n "$code" ]; then
    if [ -e "$policy" ] && [ ! -e "$policy.debark" ]; then mv "$policy" "$policy.debark"; fi
    printf '#!/bin/sh\nexit %d\n' "$code" >"$policy"
    chmod 0755 "$policy"
fi
"$@"
rc=$?
if [ -n "$code" ]; then
    rm -f "$policy"
    if [ -e "$policy.debark" ]; then mv "$policy.debark" "$policy"; fi
fi
echo "$rc" >"$base.rc"
exit "$rc"
"#;

/// Runs the command in a unit of its own, waits for it, and yields what it printed, whatever its exit code.
///
/// # Errors
/// The locks are not free in time, or it cannot be started.
pub(super) fn run(cmd: Cmd, params: &Params, host: &Host) -> Result<Output, Failure> {
    let deadline = Instant::now() + Duration::from_secs(u64::try_from(params.lock_timeout).unwrap_or(0));
    loop {
        locks::wait(params.lock_timeout)?;
        let output = run_once(&cmd, params.policy_rc_d, host)?;
        // Another process was faster between our look and apt's.
        if output.rc != 0 && output.err().contains("Could not get lock") && Instant::now() < deadline {
            continue;
        }
        return Ok(output);
    }
}

fn run_once(cmd: &Cmd, policy_rc_d: Option<i64>, host: &Host) -> Result<Output, Failure> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let dir = Path::new(DIR);
    if let Err(error) = fs::DirBuilder::new().mode(0o700).create(dir)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(Failure::io("cannot create", dir, error));
    }
    let unit = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let base = dir.join(&unit);
    let code = policy_rc_d.map(|code| code.to_string()).unwrap_or_default();
    let shell = host.exec(&wrapped(cmd, &unit, &base, &code, systemd_runs()))?;
    let read = |end: &str| fs::read(base.with_extension(end)).ok();
    let rc = read("rc").and_then(|text| String::from_utf8_lossy(&text).trim().parse().ok());
    let output = Output {
        rc: rc.unwrap_or(if shell.rc == 0 { 1 } else { shell.rc }),
        stdout: read("out").unwrap_or_default(),
        // Without our files, whatever kept them from being made says why.
        stderr: read("err").unwrap_or(shell.stderr),
        elapsed: shell.elapsed,
        cut: shell.cut,
    };
    forget(&base);
    Ok(output)
}

fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The command within the script, within a scope.
fn wrapped(cmd: &Cmd, unit: &str, base: &Path, code: &str, systemd: bool) -> Cmd {
    let mut outer = if systemd {
        Cmd::new("systemd-run")
            .args(["--scope", "--quiet", "--collect", "--slice=system.slice"])
            .arg(format!("--unit={unit}"))
            .arg("--description=debark: a package transaction")
            .args(["--", "/bin/sh"])
    } else {
        Cmd::new("/bin/sh")
    };
    outer = outer.arg("-c").arg(SCRIPT).arg("debark").arg(base).arg(code).args(cmd.argv.clone());
    outer.env.clone_from(&cmd.env);
    outer
}

fn forget(base: &Path) {
    for end in ["out", "err", "rc"] {
        // What stays is removed with the next transaction, or by a reboot.
        let _ = fs::remove_file(base.with_extension(end));
    }
}

/// Scopes of transactions that still run, from the control groups: that takes no process.
fn active() -> Vec<String> {
    let slices = [
        "/sys/fs/cgroup/system.slice",
        "/sys/fs/cgroup/systemd/system.slice",
        "/sys/fs/cgroup/unified/system.slice",
    ];
    let mut units: Vec<String> = Vec::new();
    for slice in slices {
        for entry in fs::read_dir(slice).into_iter().flatten().filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(unit) = name.strip_suffix(".scope").filter(|unit| unit.starts_with(PREFIX)) else {
                continue;
            };
            let processes = fs::read_to_string(entry.path().join("cgroup.procs")).unwrap_or_default();
            if !processes.trim().is_empty() && !units.iter().any(|known| known == unit) {
                units.push(unit.to_owned());
            }
        }
    }
    units
}

/// Whether an earlier run left a transaction, at work or over: one look at a directory that most often is not there.
pub(super) fn any_begun() -> bool {
    let mut names = fs::read_dir(DIR).into_iter().flatten().filter_map(Result::ok);
    names.any(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
}

/// Waits for transactions of earlier runs, cleans up after them, and says what became of them.
///
/// # Errors
/// One still runs after `seconds`.
pub(super) fn settle(seconds: i64, host: &Host) -> Result<Vec<String>, Failure> {
    let mut running = active();
    let started = Instant::now();
    let limit = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let waited = !running.is_empty();
    while !running.is_empty() {
        if started.elapsed() >= limit {
            return Err(Failure::new(format!(
                "a package transaction of an earlier run ({}.scope) still runs after {seconds} s",
                running.join(".scope, ")
            ))
            .hint("wait until it has ended, or raise `lock_timeout`"));
        }
        std::thread::sleep(Duration::from_millis(200));
        running = active();
    }
    if waited {
        host.forget_all();
    }
    Ok(leftovers(Path::new(DIR)))
}

/// Reports and removes what transactions left whose agent was gone before their end.
fn leftovers(dir: &Path) -> Vec<String> {
    let mut reports = Vec::new();
    let names: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    for out in names.iter().filter(|path| path.extension().is_some_and(|end| end == "out")) {
        let base = out.with_extension("");
        if !base.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
            continue;
        }
        // One of another agent that is at work right now: its process is still there.
        let pid = base.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX)?.split('-').next());
        if pid.is_some_and(|pid| Path::new("/proc").join(pid).exists()) {
            continue;
        }
        let rc = fs::read_to_string(base.with_extension("rc")).ok();
        reports.push(match rc.as_deref().map(str::trim) {
            Some("0") => {
                "a package transaction that an earlier run had begun has ended well meanwhile".to_owned()
            }
            Some(rc) => {
                format!("a package transaction that an earlier run had begun ended with exit code {rc}")
            }
            None => "a package transaction that an earlier run had begun was interrupted".to_owned(),
        });
        forget(&base);
    }
    if Path::new(POLICY).with_extension("d.debark").exists() {
        // The script that should have put it back was killed.
        let _ = fs::rename(Path::new(POLICY).with_extension("d.debark"), POLICY);
    }
    reports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_in_a_scope_of_its_own() {
        let cmd = Cmd::new("apt-get").arg("install").env("A", "b");
        let argv = wrapped(&cmd, "debark-apt-1-0", Path::new("/run/debark/x"), "", true);
        let words: Vec<&str> = argv.argv.iter().filter_map(|word| word.to_str()).collect();
        assert_eq!(words[..4], ["systemd-run", "--scope", "--quiet", "--collect"]);
        assert!(words.contains(&"--unit=debark-apt-1-0"));
        assert_eq!(words[words.len() - 4..], ["/run/debark/x", "", "apt-get", "install"]);
        assert_eq!(argv.env, [("A".to_owned(), "b".to_owned())]);
        assert_eq!(wrapped(&cmd, "u", Path::new("/x"), "101", false).program(), "/bin/sh");
    }

    #[test]
    fn the_script_keeps_output_and_exit_code() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("debark-apt-0-0");
        let cmd = Cmd::new("sh").arg("-c").arg("echo out; echo err >&2; exit 7");
        let shell = crate::exec::Executor::default().run(&wrapped(&cmd, "u", &base, "", false), &[]).unwrap();
        assert_eq!(shell.rc, 7);
        let read = |end: &str| fs::read_to_string(base.with_extension(end)).unwrap();
        assert_eq!((read("out"), read("err"), read("rc")), ("out\n".into(), "err\n".into(), "7\n".into()));
        let reports = leftovers(dir.path());
        assert_eq!(reports, ["a package transaction that an earlier run had begun ended with exit code 7"]);
        assert!(leftovers(dir.path()).is_empty());
    }
}
