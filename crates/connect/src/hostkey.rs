//! Fingerprints of host keys.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

/// `SHA256:...` of a key in base64, as OpenSSH prints it; `None`: it is not base64.
pub fn fingerprint(key: &str) -> Option<String> {
    Some(format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(STANDARD.decode(key).ok()?))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// ssh-keygen is the judge.
    #[test]
    fn agrees_with_ssh_keygen() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        let shown = Command::new("ssh-keygen").arg("-lf").arg(key.with_extension("pub")).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        let ours = fingerprint(public.split_whitespace().nth(1).unwrap()).unwrap();
        assert_eq!(shown.split_whitespace().nth(1), Some(ours.as_str()));
        assert_eq!(fingerprint("no base64!"), None);
    }
}
