//! The command that starts the agent on the far side, or receives it first, all in one channel.
//!
//! The controller sends its first messages at once. A cached agent reads them as soon as it runs: no round trip is
//! spent on asking. Without one the script says so, swallows exactly what was already sent, takes the agent from the
//! same stream, and the controller then sends its messages again.

use crate::agents::Agents;

/// Opens the line by which the script asks for the agent; the machine's type follows.
pub(crate) const NEED: &str = "DEBARK-NEED ";
/// Opens the line by which the script gives up; a kind and a detail follow.
pub(crate) const FAIL: &str = "DEBARK-FAIL ";

const MAIN: &str = include_str!("bootstrap.sh");
const MEMORY: &str = include_str!("bootstrap-memory.sh");

/// The remote command: for any login shell, which sees nothing but two words in single quotes.
///
/// `sent` is how many bytes the controller will have written before it can know whether the agent is there.
pub fn command(agents: &Agents, sent: usize) -> String {
    let machines: String = agents
        .all()
        .iter()
        .map(|agent| {
            let memfd = memfd_create(&agent.machine);
            let (machine, sha256, size, packed) =
                (&agent.machine, &agent.sha256, agent.size, agent.packed.len());
            format!("{machine}) n=agent-{sha256}; z={size}; g={packed}; s={memfd};; ")
        })
        .collect();
    let first = agents.all().first().map_or_else(String::new, |agent| format!("agent-{}", agent.sha256));
    let main = joined(MAIN)
        .replace("@FIRST@", &first)
        .replace("@MACHINES@", machines.trim_end())
        .replace("@SENT@", &sent.to_string());
    format!("exec sh -c '{main}' debark '{}'", joined(MEMORY))
}

/// The number of the system call: perl has no name for it.
fn memfd_create(machine: &str) -> u32 {
    match machine {
        "x86_64" => 319,
        "i686" | "i386" => 356,
        "armv7l" | "armv6l" => 385,
        "ppc64le" => 360,
        "s390x" => 350,
        // The generic table: aarch64, riscv64, loongarch64.
        _ => 279,
    }
}

fn joined(script: &str) -> String {
    let lines: Vec<&str> =
        script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    lines.join(" ")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn agents() -> (tempfile::TempDir, Agents) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent");
        // The script starts whatever has the digest: a stand-in program that repeats its input.
        std::fs::write(&path, "#!/bin/sh\necho started from $0\nexec cat\n").unwrap();
        let agents = Agents::from_file(&path).unwrap();
        (directory, agents)
    }

    #[test]
    fn any_login_shell_takes_the_command() {
        let (_directory, agents) = agents();
        let command = command(&agents, 7);
        assert_eq!(command.matches('\'').count(), 4);
        for forbidden in ['\n', '\\', '!', '@'] {
            assert!(!command.contains(forbidden), "{forbidden:?} in {command}");
        }
    }

    fn run(shell: &str, home: &std::path::Path, agents: &Agents, input: &[u8], sent: usize) -> String {
        let mut child = Command::new(shell)
            .arg("-c")
            .arg(command(agents, sent))
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn receives_the_agent_and_then_finds_it() {
        // As root the script writes to /var/cache: only a user's way can be tried without touching this machine.
        if rustix::process::getuid().is_root() {
            return;
        }
        let (directory, agents) = agents();
        let home = directory.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let agent = &agents.all()[0];
        let mut input = b"early".to_vec();
        input.extend_from_slice(&agent.packed);
        input.extend_from_slice(b"again");
        let first = run("/bin/sh", &home, &agents, &input, 5);
        let path = home.join(".cache/debark").join(format!("agent-{}", agent.sha256));
        assert_eq!(first, format!("DEBARK-NEED x86_64\nstarted from {}\nagain", path.display()));
        let second = run("/bin/bash", &home, &agents, b"early", 5);
        assert_eq!(second, format!("started from {}\nearly", path.display()));
    }
}
