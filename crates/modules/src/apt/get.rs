//! The words of `apt-get`, and what it answers.

use std::time::Duration;

use super::{Params, State};
use crate::exec::{Cmd, Output};
use crate::{Failure, Host, map};

/// What every run of apt and dpkg gets: nobody can answer questions, and answers must be in English to be read.
pub(crate) const ENVIRONMENT: [(&str, &str); 5] = [
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("DEBIAN_PRIORITY", "critical"),
    ("LC_ALL", "C.UTF-8"),
    ("LANGUAGE", "C"),
    ("APT_LISTCHANGES_FRONTEND", "none"),
];

/// The command with apt's environment.
pub(crate) fn environment(cmd: Cmd) -> Cmd {
    ENVIRONMENT.iter().fold(cmd, |cmd, (name, value)| cmd.env(*name, *value))
}

/// `apt-get` with what holds for every subcommand.
pub(super) fn bare(params: &Params) -> Cmd {
    let mut cmd = environment(Cmd::new("apt-get")).arg("-y").arg("-q");
    // A pseudo-terminal of apt's own would be gone with the agent, and only adds progress bars.
    cmd = cmd.arg("-o").arg("Dpkg::Use-Pty=0");
    for option in params.dpkg_options.split(',').map(str::trim).filter(|option| !option.is_empty()) {
        cmd = cmd.arg("-o").arg(format!("Dpkg::Options::=--{}", option.trim_start_matches("--")));
    }
    cmd.arg("-o").arg(format!("DPkg::Lock::Timeout={}", params.lock_timeout.max(0)))
}

/// The whole command for a subcommand and its arguments.
pub(super) fn command(params: &Params, words: &[String]) -> Cmd {
    let mut cmd = bare(params);
    let subcommand = words.first().map(String::as_str).unwrap_or_default();
    let installs = matches!(subcommand, "install" | "upgrade" | "dist-upgrade" | "build-dep");
    let mut options: Vec<(bool, &str)> = vec![
        (params.autoremove && subcommand != "autoremove" && subcommand != "build-dep", "--auto-remove"),
        (params.purge, "--purge"),
        (params.allow_change_held_packages || params.force, "--allow-change-held-packages"),
        (params.force, "--allow-remove-essential"),
    ];
    if installs {
        options.extend([
            (params.fail_on_autoremove, "--no-remove"),
            (params.only_upgrade, "--only-upgrade"),
            (params.state == State::Fixed && subcommand == "build-dep", "--fix-broken"),
            (params.allow_unauthenticated || params.force, "--allow-unauthenticated"),
            (params.allow_downgrade || params.force, "--allow-downgrades"),
        ]);
        if let Some(release) = &params.default_release {
            cmd = cmd.arg("-t").arg(release);
        }
        if let Some(wanted) = params.install_recommends {
            let wanted = if wanted { "yes" } else { "no" };
            cmd = cmd.arg("-o").arg(format!("APT::Install-Recommends={wanted}"));
        }
        // Without it a name that does not exist is taken as a regular expression, and a slip installs anything.
        cmd = cmd.arg("-o").arg("APT::Cmd::Pattern-Only=true");
    }
    cmd = cmd.args(options.into_iter().filter(|(given, _)| *given).map(|(_, option)| option));
    let (subcommand, rest) = words.split_first().map_or((None, words), |(first, rest)| (Some(first), rest));
    let (flags, names): (Vec<&String>, Vec<&String>) = rest.iter().partition(|word| word.starts_with("--"));
    cmd = cmd.args(subcommand).args(flags);
    // What starts with a dash is no package name, and must not become an option.
    if names.is_empty() { cmd } else { cmd.arg("--").args(names) }
}

/// Whether apt-get found nothing to do.
pub(super) fn did_nothing(stdout: &str) -> bool {
    stdout.lines().any(|line| line.starts_with("0 upgraded, 0 newly installed, 0 to remove"))
        && !stdout.contains(" not fully installed or removed")
        && !stdout.contains("DOWNGRADED")
        && !stdout.contains(" reinstalled,")
        && !stdout.contains(" downgraded,")
}

/// Why apt-get failed, in its own words, and what to do.
pub(super) fn failure(words: &[String], output: &Output, host: &Host) -> Failure {
    let stderr = output.err();
    let missing: Vec<&str> = stderr
        .lines()
        .filter_map(|line| {
            let line = line.strip_prefix("E: ")?;
            line.strip_prefix("Unable to locate package ").or_else(|| {
                line.strip_prefix("Package '")
                    .and_then(|rest| rest.strip_suffix("' has no installation candidate"))
            })
        })
        .collect();
    if let Some(name) = missing.first() {
        let named = missing.join("', '");
        return Failure::new(format!("No package matching '{named}' is available"))
            .hint(suggestion(name, host));
    }
    let errors: Vec<&str> = stderr.lines().filter_map(|line| line.strip_prefix("E: ")).collect();
    let why = if errors.is_empty() {
        let last = stderr.lines().rfind(|line| !line.trim().is_empty());
        last.unwrap_or("it says nothing").trim().to_owned()
    } else {
        errors.join("; ")
    };
    Failure::new(format!("'apt-get {}' failed: {why}", words.join(" ")))
}

/// A name that is like the one that does not exist, or what else may help.
pub(super) fn suggestion(name: &str, host: &Host) -> String {
    let fallback = "check the name, or add `update_cache: true`".to_owned();
    let Ok(names) = names(host) else { return fallback };
    if names.is_empty() {
        return "the host has no lists of packages yet: add `update_cache: true`".to_owned();
    }
    let score = |other: &&str| strsim::jaro_winkler(name, other);
    let close = names.lines().filter(|other| {
        other.len().abs_diff(name.len()) < 6 && other.as_bytes().first() == name.as_bytes().first()
    });
    let best = close.max_by(|a, b| score(a).total_cmp(&score(b))).filter(|best| score(best) > 0.85);
    best.map_or(fallback, |best| format!("did you mean `{best}`?"))
}

/// The names of all packages that apt knows, one a line.
pub(super) fn names(host: &Host) -> Result<String, Failure> {
    let cmd = environment(Cmd::new("apt-cache")).arg("pkgnames").timeout(Duration::from_secs(60));
    Ok(host.exec_ok(&cmd)?.out())
}

/// Marks packages as wanted by hand, as `apt-get install` does with those it installs.
pub(super) fn mark_manual(names: &[String], host: &Host) -> Result<(), Failure> {
    need_root()?;
    let cmd = environment(Cmd::new("apt-mark")).arg("manual").args(names);
    host.forget_all();
    host.exec_ok(&cmd).map(drop)
}

/// Whether `apt-get clean` has something to throw away.
pub(super) fn has_archives() -> bool {
    let archives = ["/var/cache/apt/archives", "/var/cache/apt/archives/partial"];
    archives.iter().any(|dir| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
        entries
            .into_iter()
            .any(|entry| entry.file_type().is_ok_and(|t| t.is_file()) && entry.file_name() != "lock")
    })
}

/// Refuses at once what would fail half-way.
pub(super) fn need_root() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new("only root may change packages").hint("add `become: true`").with(map! { "rc" => 100 }))
}
