//! Signatures by SSH keys, made and checked by OpenSSH's `ssh-keygen -Y` (ssh-keygen(1), PROTOCOL.sshsig).
//!
//! Keys may be files, in an agent, on a FIDO token, or certified: OpenSSH knows.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Identity;

/// A signature that was not made, or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// `ssh-keygen` cannot be run.
    #[error("cannot run ssh-keygen: {0}")]
    Program(String),
    /// A temporary file cannot be written.
    #[error("cannot write a temporary file: {0}")]
    Temporary(String),
    /// The key does not sign.
    #[error("cannot sign with {key}: {why}")]
    Sign {
        /// Path of the key.
        key: String,
        /// What ssh-keygen says.
        why: String,
    },
    /// The signature is bad, or its key belongs to nobody known.
    #[error("the signature does not hold: {0}")]
    Bad(String),
}

/// Who signs: a private key's file, or a public key's file whose private half is in the agent (`SSH_AUTH_SOCK`).
#[derive(Debug, Clone)]
pub struct Signer {
    /// Path of the key.
    pub key: PathBuf,
}

impl Signer {
    /// Signs `text` for `namespace`; an armored signature.
    ///
    /// # Errors
    /// The key cannot be read, needs a passphrase that nobody can type, or the agent does not have it.
    pub fn sign(&self, namespace: &str, text: &[u8]) -> Result<String, SignatureError> {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(&self.key);
        // A public key's file is looked up in the agent by ssh-keygen itself.
        let output = run(&mut command, text)?;
        if !output.status.success() {
            return Err(SignatureError::Sign {
                key: self.key.display().to_string(),
                why: last_words(&output.stderr),
            });
        }
        String::from_utf8(output.stdout).map_err(|_| SignatureError::Sign {
            key: self.key.display().to_string(),
            why: "no text came".into(),
        })
    }

    /// The principals that this key stands for in a file of allowed signers.
    ///
    /// # Errors
    /// As for [`Self::sign`]; or the key stands for nobody.
    pub fn identity(&self, allowed: &Path, namespace: &str) -> Result<Identity, SignatureError> {
        let signature = self.sign(namespace, b"who am I")?;
        principal(allowed, namespace, &signature)
    }
}

/// The first principal of a file of allowed signers whose key made a signature; the signature itself is **not** checked.
///
/// # Errors
/// There is none.
pub fn principal(allowed: &Path, namespace: &str, signature: &str) -> Result<Identity, SignatureError> {
    let file = temporary(signature)?;
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-q", "-Y", "find-principals", "-f"])
        .arg(allowed)
        .arg("-s")
        .arg(file.path())
        .args(["-n", namespace]);
    let output = run(&mut command, b"")?;
    let text = String::from_utf8_lossy(&output.stdout);
    // One line per matching key of the file, each a list; patterns are not identities.
    let names = text.lines().flat_map(|line| line.split(',')).filter_map(|name| name.trim().parse().ok());
    match { names }.next() {
        Some(name) if output.status.success() => Ok(name),
        _ => Err(SignatureError::Bad(format!("its key is none of those in {}", allowed.display()))),
    }
}

/// Checks that `signature` is one of `text`, for `namespace`, by a key that `allowed` gives to `identity`, at `time`
/// (seconds since 1970; now, if `None`).
///
/// # Errors
/// It is not.
pub fn verify(
    allowed: &Path,
    identity: &Identity,
    namespace: &str,
    text: &[u8],
    signature: &str,
    time: Option<u64>,
) -> Result<(), SignatureError> {
    let file = temporary(signature)?;
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-Y", "verify", "-n", namespace, "-I", identity.as_str(), "-f"]).arg(allowed);
    if let Some(time) = time.and_then(|time| jiff::Timestamp::from_second(i64::try_from(time).ok()?).ok()) {
        command.arg(format!("-Overify-time={}", time.strftime("%Y%m%d%H%M%SZ")));
    }
    let output = run(command.arg("-s").arg(file.path()), text)?;
    if output.status.success() {
        return Ok(());
    }
    let why = last_words(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
    Err(SignatureError::Bad(why))
}

fn temporary(text: &str) -> Result<tempfile::NamedTempFile, SignatureError> {
    let make = || {
        let mut file = tempfile::Builder::new().prefix("debark-").tempfile()?;
        file.write_all(text.as_bytes())?;
        file.flush()?;
        Ok(file)
    };
    make().map_err(|error: std::io::Error| SignatureError::Temporary(error.to_string()))
}

fn run(command: &mut Command, input: &[u8]) -> Result<std::process::Output, SignatureError> {
    let program = |error: std::io::Error| SignatureError::Program(error.to_string());
    // Nobody is there to be asked; a passphrase comes from the agent.
    command.env("SSH_ASKPASS_REQUIRE", "never").env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(program)?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may end before it has read everything: then its exit code tells.
        let _ = stdin.write_all(input);
    }
    let mut said = Vec::new();
    // What comes on the other pipe is a signature or a few names, for which the pipe itself has room.
    if let Some(stderr) = child.stderr.take() {
        let mut stderr = BufReader::new(stderr);
        let mut from = 0;
        while stderr.read_until(b'\n', &mut said).map_err(program)? > 0 {
            let line = said.get(from..).unwrap_or_default();
            // A token waits for a finger, and nobody would know.
            if line.starts_with(b"Confirm user presence") {
                let _ = std::io::stderr().write_all(line);
            }
            from = said.len();
        }
    }
    let output = child.wait_with_output().map_err(program)?;
    Ok(std::process::Output { stderr: said, ..output })
}

fn last_words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line =
        text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("ssh-keygen gives no reason");
    line.trim_end_matches('\r').chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(directory: &Path, name: &str) -> Signer {
        let key = directory.join(name);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(&key)
            .status();
        assert!(made.unwrap().success());
        Signer { key }
    }

    #[test]
    fn signatures_hold_for_their_text_namespace_and_signer() {
        let directory = tempfile::tempdir().unwrap();
        let (alice, mallory) = (key(directory.path(), "alice"), key(directory.path(), "mallory"));
        let public = std::fs::read_to_string(directory.path().join("alice.pub")).unwrap();
        let allowed = directory.path().join("signers");
        std::fs::write(&allowed, format!("alice@example.org namespaces=\"{0}\" {public}", "test")).unwrap();

        let who: Identity = "alice@example.org".parse().unwrap();
        assert_eq!(alice.identity(&allowed, "test"), Ok(who.clone()));
        let signature = alice.sign("test", b"text").unwrap();
        verify(&allowed, &who, "test", b"text", &signature, None).unwrap();
        verify(&allowed, &who, "test", b"other", &signature, None).unwrap_err();
        verify(&allowed, &who, "more", b"text", &signature, None).unwrap_err();
        verify(&allowed, &"bob@example.org".parse().unwrap(), "test", b"text", &signature, None).unwrap_err();
        let forged = mallory.sign("test", b"text").unwrap();
        verify(&allowed, &who, "test", b"text", &forged, None).unwrap_err();
        mallory.identity(&allowed, "test").unwrap_err();
    }
}
