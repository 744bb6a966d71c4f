//! A package's signature, checked by the program that the host's apt uses: `gpgv`, or `sqv` from Debian 13 on.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use debark_order::gate::{Failure, FailureKind};

use crate::deb::{self, Layout};
use crate::failure::{Failing as _, Result, fail, file};
use crate::trust::Keyring;
use crate::{openpgp, place};

/// Checks the signature of a package; the fingerprint of the key that made it.
///
/// # Errors
/// [`FailureKind::Unsigned`], [`FailureKind::PackageSignature`].
pub fn package(deb: &File, layout: &Layout, keyring: &Keyring) -> Result<String> {
    let Some(signature) = &layout.signature else {
        return Err(fail(FailureKind::Unsigned, "the package is not signed: it has no member _gpgorigin")
            .hint("build it with `debark build`, which signs"));
    };
    if keyring.bytes.is_empty() {
        return Err(fail(FailureKind::PackageSignature, "this host trusts no build key")
            .hint("run `debark enroll` with a key in the project's .debark/build-keys"));
    }
    let id = std::process::id();
    let (keys, signed) = (place::run(&format!("keys-{id}.gpg")), place::run(&format!("signature-{id}")));
    let write = |path: &Path, bytes: &[u8]| {
        place::create(path).and_then(|mut to| to.write_all(bytes)).map_err(|error| file(path, &error))
    };
    write(&keys, &keyring.bytes)?;
    write(&signed, signature)?;
    let checked = check(deb, layout, &keys, &signed, keyring);
    for path in [&keys, &signed] {
        let _ = std::fs::remove_file(path);
    }
    checked
}

fn check(deb: &File, layout: &Layout, keys: &Path, signature: &Path, keyring: &Keyring) -> Result<String> {
    let internal =
        |error: io::Error| fail(FailureKind::Internal, format!("cannot check the signature: {error}"));
    let gpgv = Path::new("/usr/bin/gpgv");
    let sqv = Path::new("/usr/bin/sqv");
    let mut command = if gpgv.exists() {
        let mut command = Command::new(gpgv);
        command
            .args(["--status-fd", "1", "--weak-digest", "SHA1", "--keyring"])
            .arg(keys)
            .arg(signature)
            .arg("-");
        command
    } else if sqv.exists() {
        let mut command = Command::new(sqv);
        command.arg("--keyring").arg(keys).arg(signature).arg("/dev/stdin");
        command
    } else {
        return Err(fail(
            FailureKind::PackageSignature,
            "this host can check no signature: it has neither gpgv nor sqv",
        )
        .hint("apt-get install gpgv"));
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(internal)?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = rustix::pipe::fcntl_setpipe_size(&stdin, 1 << 20);
        match deb::write_signed(deb, layout, &mut stdin) {
            Ok(()) => {}
            // It has seen enough: its exit code tells.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => {
                drop(stdin);
                let _ = child.wait();
                return Err(internal(error));
            }
        }
    }
    let output = child.wait_with_output().map_err(internal)?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(refusal(&stdout, &stderr));
    }
    let found = fingerprints(&stdout);
    if found.is_empty() {
        return Err(refusal("", "it does not say whose signature it is"));
    }
    if let Some(revoked) = found.iter().find(|one| keyring.revoked.contains(one)) {
        return Err(fail(
            FailureKind::PackageSignature,
            format!("the package is signed by the revoked key {revoked}"),
        ));
    }
    // gpgv names the signing key and, last, its primary key.
    found.last().cloned().ok_or_else(|| refusal("", "it does not say whose signature it is"))
}

/// The fingerprints of the keys that made a good signature: of a `VALIDSIG` line of gpgv (doc/DETAILS of GnuPG: the first
/// and the tenth argument), or the lines of sqv.
fn fingerprints(stdout: &str) -> Vec<String> {
    for line in stdout.lines() {
        if let Some(rest) = line.strip_prefix("[GNUPG:] VALIDSIG ") {
            let words: Vec<&str> = rest.split_whitespace().collect();
            return [words.first(), words.get(9)]
                .into_iter()
                .flatten()
                .filter_map(|word| openpgp::normal(word))
                .collect();
        }
    }
    stdout.lines().filter_map(openpgp::normal).collect()
}

fn refusal(stdout: &str, stderr: &str) -> Failure {
    let unknown = stdout.contains("NO_PUBKEY") || stderr.contains("No key") || stderr.contains("missing key");
    let message = if unknown {
        let key = stdout.lines().find_map(|line| line.strip_prefix("[GNUPG:] NO_PUBKEY "));
        let key = key.map(|key| format!(" {key}")).unwrap_or_default();
        format!("the package is signed by a key{key} that this host does not trust")
    } else {
        let why = crate::command::last_lines(stderr, 1).pop().unwrap_or_else(|| "no reason is given".into());
        format!("the package's signature does not hold: {why}")
    };
    fail(FailureKind::PackageSignature, message)
        .hint("`debark inspect` shows whose key it is; `debark enroll` brings keys to hosts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_programs_tell_the_key() {
        let key = "0123456789ABCDEF0123456789ABCDEF01234567";
        let other = "1123456789ABCDEF0123456789ABCDEF01234567";
        let line = format!("[GNUPG:] VALIDSIG {key} 2026-01-01 1 0 4 0 22 10 00 {other}\n");
        assert_eq!(fingerprints(&line), [key, other]);
        assert_eq!(fingerprints(&format!("{key}\n")), [key]);
        assert!(fingerprints("[GNUPG:] GOODSIG 1 x").is_empty());
    }
}
