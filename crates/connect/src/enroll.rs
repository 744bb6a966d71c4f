//! Sets a host up for releases: the gate, whom it trusts, and its guard, in one connection.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use crate::{Agent, Problem, ProblemKind, SshTalk, Target};

const SCRIPT: &str = include_str!("enroll.sh");

/// What a host is to have.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The gate.
    pub gate: Agent,
    /// `/etc/debark/gate.json`.
    pub settings: String,
    /// `/etc/debark/signers`.
    pub signers: Vec<u8>,
    /// `/etc/debark/revoked`.
    pub revoked: Vec<u8>,
    /// `/etc/debark/build-keys/NAME.asc`: names without slashes, and content.
    pub build_keys: Vec<(String, Vec<u8>)>,
    /// `/etc/systemd/system/debark-guard.service`.
    pub unit: String,
    /// Where apt finds the environment's packages, if hosts can reach the store.
    pub source: Option<Source>,
}

/// An apt source: files named `debark-NAME`.
#[derive(Debug, Clone)]
pub struct Source {
    /// The environment.
    pub name: String,
    /// `https://packages.example.org/shop`, as in sources.list(5).
    pub url: String,
    /// `stable`.
    pub suite: String,
    /// The store's keys, as packets.
    pub keyring: Vec<u8>,
}

impl Source {
    /// The deb822 file (sources.list(5)).
    fn sources(&self) -> String {
        format!(
            "# Written by debark enroll: what is changed here does not last.\nTypes: deb\nURIs: {}\nSuites: {}\nComponents: main\n\
             Signed-By: /etc/apt/keyrings/debark-{}.gpg\n",
            self.url, self.suite, self.name
        )
    }

    /// Whoever runs `apt-get upgrade` on a host does not get past the environment's gates: below 100, a version is installed
    /// only where there is none, or when it is asked for by name (apt_preferences(5)).
    fn preferences(&self) -> String {
        format!(
            "# Written by debark enroll: `apt-get upgrade` is no deployment.\nPackage: *\nPin: release o=debark,n={}\nPin-Priority: 50\n",
            self.suite
        )
    }
}

/// Why a host was not enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrolError {
    /// It cannot be reached.
    Unreachable(Problem),
    /// It was reached; a sentence, and what to do.
    Failed(String, Option<String>),
}

impl Enrolment {
    /// The archive that is sent, once for all hosts.
    ///
    /// # Errors
    /// The gate's package is broken.
    pub fn archive(&self) -> std::io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |path: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(0);
            archive.append_data(&mut header, path, bytes)
        };
        add("etc/debark/gate.json", self.settings.as_bytes())?;
        add("etc/debark/signers", &self.signers)?;
        add("etc/debark/revoked", &self.revoked)?;
        for (name, bytes) in &self.build_keys {
            add(&format!("etc/debark/build-keys/{name}"), bytes)?;
        }
        if let Some(source) = &self.source {
            let name = format!("debark-{}", source.name);
            add(&format!("etc/apt/keyrings/{name}.gpg"), &source.keyring)?;
            add(&format!("etc/apt/preferences.d/{name}"), source.preferences().as_bytes())?;
            add(&format!("etc/apt/sources.list.d/{name}.sources"), source.sources().as_bytes())?;
        }
        add("etc/systemd/system/debark-guard.service", self.unit.as_bytes())?;
        add("usr/lib/debark/debark-gate", &self.gate.unpacked()?)?;
        archive.into_inner()
    }
}

/// Brings a host up to date with an archive of [`Enrolment::archive`]; what was different: `new /etc/debark/signers`. With
/// `check`, nothing is changed.
///
/// # Errors
/// It cannot be reached, or is no host for the gate.
pub fn enroll(
    target: &Target,
    machine: &str,
    archive: &[u8],
    check: bool,
) -> Result<Vec<String>, EnrolError> {
    let mode = if check { "check" } else { "change" };
    let script = format!("sh -c {} enroll {mode} {}", quoted(SCRIPT), quoted(machine));
    let script = format!("if [ \"$(id -u)\" = 0 ]; then exec {script}; else exec sudo -n {script}; fi");
    let mut command = if target.local {
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        command
    } else {
        let mut argv = target.ssh().argv.into_iter();
        let mut command = Command::new(argv.next().unwrap_or_default());
        command.args(argv).arg(&script);
        command
    };
    let local = |error: std::io::Error| {
        EnrolError::Unreachable(Problem::new(ProblemKind::Local, format!("cannot run ssh: {error}")))
    };
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(local)?;
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let mut talk = SshTalk::default();
    let mut stdout = String::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A host that does not want it says why.
            stdin.map(|mut stdin| stdin.write_all(archive))
        });
        scope.spawn(|| {
            let mut text = Vec::new();
            if let Some(stderr) = stderr {
                let _ = stderr.take(1 << 20).read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).lines().for_each(|line| talk.line(line));
        });
        if let Some(out) = child.stdout.take() {
            let _ = out.take(1 << 20).read_to_string(&mut stdout);
        }
    });
    let status = child.wait().map_err(local)?;
    let mut lines: Vec<String> = stdout.lines().map(str::to_owned).collect();
    if let Some(error) = lines.iter().find_map(|line| line.strip_prefix("error ")) {
        return Err(unfit(target, error, machine));
    }
    if lines.pop().as_deref() == Some("done") && status.success() {
        return Ok(lines);
    }
    let last = talk.last().unwrap_or_default().to_owned();
    if last.contains("sudo") {
        return Err(EnrolError::Failed(
            format!("{} lets this user become root by no sudo without a password: {last}", target.name),
            Some("enrol as root, or as a user that may run everything by `sudo -n`".into()),
        ));
    }
    if status.code() == Some(255) {
        return Err(EnrolError::Unreachable(talk.explain(target, status.code())));
    }
    Err(EnrolError::Failed(format!("{} could not be enrolled: {last}", target.name), None))
}

fn unfit(target: &Target, error: &str, machine: &str) -> EnrolError {
    let name = &target.name;
    match error.split_once(' ').unwrap_or((error, "")) {
        ("machine", found) => EnrolError::Failed(
            format!("{name} is a machine of type {found}, and this debark has a gate for {machine} only"),
            None,
        ),
        ("program", program) => EnrolError::Failed(
            format!("{name} has no {program}, which the gate needs"),
            Some(match program {
                "gpgv" | "sqv" => "apt-get install gpgv".into(),
                "ssh-keygen" => "apt-get install openssh-client".into(),
                _ => "the gate works on Debian hosts with systemd".into(),
            }),
        ),
        _ => EnrolError::Failed(format!("{name} does not run systemd, which the gate needs"), None),
    }
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }

    #[test]
    fn the_script_is_one_that_sh_reads() {
        let mut child = Command::new("sh").args(["-n"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(SCRIPT.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
}
