//! The agent binaries this debark can send, one per machine type.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::package::{self, Press};

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// A program within this binary: machine, SHA-256 and length, package.
type Embedded = (&'static str, &'static str, u64, &'static [u8]);

/// Beyond this an agent's file is surely something else.
const AGENT_LIMIT: u64 = 64 << 20;

/// One agent binary, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// `uname -m` of the hosts it runs on.
    pub machine: String,
    /// SHA-256 of the unpacked binary, in hex: its name on hosts.
    pub sha256: String,
    /// Length of the unpacked binary in bytes.
    pub size: u64,
    /// The binary, as a Debian package: see [`package`].
    pub packed: Arc<[u8]>,
}

impl Agent {
    /// The binary itself.
    ///
    /// # Errors
    /// The package is broken.
    pub fn unpacked(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        package::unpack(&self.packed, &mut bytes)?;
        Ok(bytes)
    }

    /// Unpacks the binary into `directory`, named by its digest, unless it is there.
    ///
    /// # Errors
    /// The directory or file cannot be written: a sentence that names it.
    pub fn unpack_into(&self, directory: &Path) -> Result<PathBuf, String> {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        let path = directory.join(format!("agent-{}", self.sha256));
        if path.metadata().is_ok_and(|found| found.is_file() && found.len() == self.size) {
            return Ok(path);
        }
        let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| failed(directory, error))?;
        let temporary = directory.join(format!(".agent-{}-{}", std::process::id(), &self.sha256[..8]));
        let written = (|| {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o755)
                .open(&temporary)?;
            package::unpack(&self.packed, &mut file)?;
            file.flush()?;
            drop(file);
            fs::rename(&temporary, &path)
        })();
        written.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            failed(&temporary, error)
        })?;
        Ok(path)
    }
}

/// All agents at hand.
#[derive(Debug, Clone, Default)]
pub struct Agents {
    agents: Arc<Vec<Agent>>,
}

impl Agents {
    /// Those within this binary; without any, the file that `DEBARK_AGENT` names, `debark-agent` beside this
    /// executable, or what `scripts/build-agent` left in the source tree (debug builds only).
    ///
    /// # Errors
    /// None is found: a sentence that says where it was looked for.
    pub fn find() -> Result<Self, String> {
        Self::look("agent", "DEBARK_AGENT", "debark-agent", EMBEDDED)
    }

    fn look(what: &str, variable: &str, program: &str, embedded: &[Embedded]) -> Result<Self, String> {
        if let Some(path) = std::env::var_os(variable) {
            return Self::from_file(Path::new(&path));
        }
        if !embedded.is_empty() {
            let agents = embedded
                .iter()
                .map(|(machine, sha256, size, packed)| Agent {
                    machine: (*machine).into(),
                    sha256: (*sha256).into(),
                    size: *size,
                    packed: Arc::from(*packed),
                })
                .collect();
            return Ok(Self { agents: Arc::new(agents) });
        }
        let places = places(program);
        match places.iter().find(|path| path.is_file()) {
            Some(path) => Self::from_file(path),
            None => Err(format!(
                "this debark carries no {what}, and none is at {}",
                places.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
            )),
        }
    }

    /// The gates (`debark-gate`) within this binary; without any, the file that `DEBARK_GATE` names, `debark-gate` beside
    /// this executable, or what `scripts/build-agent` left in the source tree (debug builds only).
    ///
    /// # Errors
    /// None is found: a sentence that says where it was looked for.
    pub fn gates() -> Result<Self, String> {
        Self::look("gate", "DEBARK_GATE", "debark-gate", EMBEDDED_GATES)
    }

    /// The agent in a file: for this machine's type.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn from_file(path: &Path) -> Result<Self, String> {
        let failed = |error| format!("{}: {error}", path.display());
        let file = fs::File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(AGENT_LIMIT).read_to_end(&mut bytes).map_err(failed)?;
        let packed = package::pack(&bytes, Press::None).map_err(failed)?;
        let agent = Agent {
            machine: std::env::consts::ARCH.into(),
            sha256: hex(&Sha256::digest(&bytes)),
            size: bytes.len() as u64,
            packed: packed.into(),
        };
        Ok(Self { agents: Arc::new(vec![agent]) })
    }

    /// The agent for hosts whose `uname -m` says this.
    pub fn for_machine(&self, machine: &str) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.machine == machine)
    }

    /// All of them.
    pub fn all(&self) -> &[Agent] {
        &self.agents
    }
}

fn places(program: &str) -> Vec<PathBuf> {
    // Beside a debug build lies what cargo made of the agent for this machine alone: not static, and old.
    if cfg!(debug_assertions) {
        return vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/agent").join(program)];
    }
    let executable = std::env::current_exe().ok();
    executable.iter().filter_map(|path| path.parent()).map(|directory| directory.join(program)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_named_by_the_digest_of_what_is_unpacked() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source");
        fs::write(&source, "abc").unwrap();
        let agents = Agents::from_file(&source).unwrap();
        let agent = agents.for_machine(std::env::consts::ARCH).unwrap();
        assert_eq!(agent.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let unpacked = agent.unpack_into(&directory.path().join("cache/debark")).unwrap();
        assert_eq!(fs::read(&unpacked).unwrap(), b"abc");
        assert_eq!(agent.unpack_into(&directory.path().join("cache/debark")).unwrap(), unpacked);
        assert!(agents.for_machine("riscv64").is_none());
    }
}
