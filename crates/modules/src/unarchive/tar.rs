//! Archives that tar(1) reads.

use super::{Job, Observed, missing_program, reason};
use crate::exec::Cmd;
use crate::{Failure, Host, fnmatch};

/// Asks tar(1) what is in the archive and how it differs from what is there.
pub(super) fn observe(job: &Job, host: &Host) -> Result<Observed, Failure> {
    let gzip = job.source.is_gzip()?;
    let members = members(job, host, gzip)?;
    let output = host.exec(&command(job, "--diff", gzip))?;
    let mut diff = String::new();
    for line in output.out().lines().chain(output.err().lines()).filter(|line| counts(line, job)) {
        diff.push_str(line);
        diff.push('\n');
    }
    Ok(Observed {
        handler: if gzip { "TgzArchive" } else { "TarArchive" },
        members,
        differs: !diff.is_empty(),
        diff,
        extract: command(job, "--extract", gzip),
    })
}

/// tar(1) in one of its modes. Without an option it finds out by itself how an archive is packed.
fn command(job: &Job, mode: &str, gzip: bool) -> Cmd {
    let mut cmd = Cmd::new("tar").arg(mode).arg("-C").arg(&job.dest).env("LC_ALL", "C.UTF-8");
    if gzip {
        cmd = cmd.arg("-z");
    }
    if !job.params.extra_opts.is_empty() {
        cmd = cmd.arg("--show-transformed-names").args(&job.params.extra_opts);
    }
    if job.params.keep_newer && mode != "--list" {
        cmd = cmd.arg("--keep-newer-files");
    }
    cmd = cmd.args(job.params.exclude.iter().map(|pattern| format!("--exclude={pattern}")));
    // A colon in the name would else be taken for that of another host.
    cmd = cmd.arg("--force-local").arg("-f").arg(&job.source.path);
    if !job.params.include.is_empty() {
        cmd = cmd.arg("--").args(&job.params.include);
    }
    cmd.cwd(&job.dest)
}

fn members(job: &Job, host: &Host, gzip: bool) -> Result<Vec<String>, Failure> {
    let cmd = command(job, "--list", gzip);
    let output = host.exec(&cmd)?;
    if output.rc != 0 {
        let why = reason(&output.err()).map(str::to_owned).unwrap_or_default();
        let mut failure =
            Failure::new(format!("tar cannot read {}: {why}", job.source.shown)).with(output.result());
        failure.hint = missing_program(&output.err());
        return Err(failure);
    }
    let mut names = Vec::new();
    for line in output.out().lines() {
        let name = unescape(line);
        // tar(1) itself unpacks absolute names below the destination.
        let name = name.strip_prefix('/').unwrap_or(&name).to_owned();
        if !job.params.exclude.iter().any(|pattern| fnmatch::matches(pattern, &name)) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return Err(Failure::new(format!("{} holds no files", job.source.shown)));
    }
    Ok(names)
}

/// A name without the escapes of GNU tar's quoting style `escape`.
fn unescape(line: &str) -> String {
    let mut out = Vec::new();
    let mut rest = line.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            (b'\\', [letter, tail @ ..]) => {
                out.push(match letter {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    other => *other,
                });
                tail
            }
            (byte, tail) => {
                out.push(*byte);
                tail
            }
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether a line of `tar --diff` tells of something that unpacking would mend. What the task sets itself (owner,
/// group, mode) does not count, nor, for an ordinary user, who owns a file.
fn counts(line: &str, job: &Job) -> bool {
    const ALWAYS: [&str; 5] = [
        ": Mod time differs",
        ": Cannot stat: No such file or directory",
        ": Symlink differs",
        ": Contents differ",
        ": Size differs",
    ];
    let root = rustix::process::geteuid().is_root();
    let line = line.trim_end();
    // Names of which `--strip-components` left nothing.
    if line.ends_with(": : Warning: Cannot stat: No such file or directory") {
        return false;
    }
    ALWAYS.iter().any(|end| line.ends_with(end))
        || (root && job.wanted.owner.is_none() && line.ends_with(": Uid differs"))
        || (root && job.wanted.group.is_none() && line.ends_with(": Gid differs"))
        || (job.wanted.mode.is_none() && line.ends_with(": Mode differs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undoes_escapes() {
        assert_eq!(unescape(r"a\\b\n\303\244 ü"), "a\\b\nä ü");
        assert_eq!(unescape("plain\\"), "plain\\");
    }
}
