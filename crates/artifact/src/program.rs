//! Programs of a project: tests and builds, in the checked out source.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use debark_order::Digest;
use debark_project::Program;
use sha2::{Digest as _, Sha256};

/// The longest line that is handed on; a longer one comes in parts.
const MAX_LINE: u64 = 64 << 10;

/// How a program ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Milliseconds.
    pub took: u64,
    /// Of all that it printed.
    pub output: Digest,
}

impl Ended {
    /// `ended with 2`, `was killed by signal 9`.
    pub fn how(&self) -> String {
        use std::os::unix::process::ExitStatusExt as _;
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("ended with {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended".into(),
        }
    }
}

/// Runs a program; what it prints is handed on line by line. It sees this process's environment without keys and
/// passwords of debark's, and these variables.
///
/// # Errors
/// It cannot be run.
pub fn run(
    program: &Program,
    directory: &Path,
    variables: &[(&str, String)],
    line: &mut dyn FnMut(&str),
) -> io::Result<Ended> {
    let mut command = match program {
        Program::Shell(text) => {
            let mut command = Command::new("/bin/sh");
            command.args(["-e", "-c", text]);
            command
        }
        Program::Argv(words) => {
            let (first, rest) =
                words.split_first().ok_or_else(|| io::Error::other("there is no program to run"))?;
            let mut command = Command::new(first);
            command.args(rest);
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_none_or(is_secret) {
            command.env_remove(name);
        }
    }
    let begin = Instant::now();
    let (reader, writer) = io::pipe()?;
    command.current_dir(directory).envs(variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The pipe ends once nobody writes to it: this process holds ends of it in `command`.
    drop(command);
    let mut hash = Sha256::new();
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut bytes);
        if matches!(read, Ok(0)) {
            break;
        }
        read?;
        hash.update(&bytes);
        line(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']));
    }
    let status = child.wait()?;
    let took = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Ended { status, took, output: Digest::from_bytes(hash.finalize().into()) })
}

/// Variables that a build need not see.
fn is_secret(name: &str) -> bool {
    name.starts_with("DEBARK_")
        || matches!(
            name,
            "AWS_SECRET_ACCESS_KEY"
                | "AWS_SESSION_TOKEN"
                | "AWS_ACCESS_KEY_ID"
                | "SSH_AUTH_SOCK"
                | "GPG_AGENT_INFO"
                | "ANSIBLE_VAULT_PASSWORD_FILE"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_with_status_and_digest() {
        let mut lines = Vec::new();
        let program = Program::Shell("echo $X; echo err >&2; exit 3".into());
        let ended =
            run(&program, Path::new("/"), &[("X", "out".into())], &mut |line| lines.push(line.to_owned()))
                .unwrap();
        assert_eq!((ended.status.code(), ended.how().as_str()), (Some(3), "ended with 3"));
        assert_eq!(lines, ["out", "err"]);
        assert_eq!(ended.output, Digest::of(b"out\nerr\n"));
        assert!(is_secret("DEBARK_BUILD_KEY") && !is_secret("PATH"));
    }
}
