//! Keys and passwords are not in a process's memory any more once they are done with: it looks for them in its own.
//!
//! What is looked for is made by another process and told masked, so that the one that looks has it from what it read alone.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use debark_age::Identities;
use debark_playbook::vault::{Sources, Vault};
use debark_tunnel::{Config, SecretKey, Tunnel};
use debark_value::wiping;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// As the programs have it.
#[global_allocator]
static ALLOCATOR: wiping::Wiping = wiping::Wiping;

const MASK: u8 = 0xa5;
/// Where the process that looks finds its files.
const PLACE: &str = "DEBARK_TEST_WIPED";

/// What is looked for, by name; its bytes are masked.
struct Canary(String, Vec<u8>);

/// Writes down what is to be looked for.
fn canary(dir: &Path, name: &str, plain: &[u8]) {
    let masked: Vec<u8> = plain.iter().map(|byte| byte ^ MASK).collect();
    fs::write(dir.join(format!("{name}.canary")), masked).unwrap();
}

fn canaries(dir: &Path, of: &str) -> Vec<Canary> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|ext| ext == "canary"))
        .map(|path| Canary(path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .filter(|Canary(name, _)| name.starts_with(of))
        .collect();
    assert!(!found.is_empty(), "{of}");
    found
}

/// Which of them are in this process's writable memory, and how often.
fn held(canaries: &[Canary]) -> Vec<(String, usize)> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let memory = File::open("/proc/self/mem").unwrap();
    let mut buffer = vec![0; 4 << 20];
    let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + buffer.len() as u64;
    let mut found: Vec<(String, usize)> = canaries.iter().map(|Canary(name, _)| (name.clone(), 0)).collect();
    for line in
        maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|flags| flags.starts_with("rw")))
    {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let (mut at, end) = (number(start), number(end));
        // What is cut by the end of a piece is whole in the next.
        while at < end {
            let length = buffer.len().min(usize::try_from(end - at).unwrap());
            let Ok(length) = memory.read_at(&mut buffer[..length], at) else { break };
            for (Canary(_, masked), (_, count)) in canaries.iter().zip(&mut found) {
                let first = masked[0] ^ MASK;
                for (offset, window) in buffer[..length].windows(masked.len()).enumerate() {
                    let here = window[0] == first
                        && window.iter().zip(masked).all(|(byte, mask)| byte ^ MASK == *mask);
                    *count += usize::from(here && !own.contains(&(at + offset as u64)));
                }
            }
            if length as u64 == end - at || length < 4096 {
                break;
            }
            at += length as u64 - 4095;
        }
    }
    found.retain(|(_, count)| *count > 0);
    found
}

/// What is read is there (so that the search is one that finds); when it is dropped it is gone.
fn gone_after<T>(dir: &Path, of: &str, read: impl FnOnce() -> T) {
    let canaries = canaries(dir, of);
    let kept = read();
    let while_kept = held(&canaries);
    assert!(!while_kept.is_empty(), "{of}: the search finds nothing at all");
    drop(kept);
    let left = held(&canaries);
    assert!(left.is_empty(), "{of}: left behind: {left:?}; while in use: {while_kept:?}");
}

fn private(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn bytes_of(base64: &str) -> Vec<u8> {
    let mut child = Command::new("base64")
        .arg("-d")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), base64.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Everything secret, in files, and what is to be looked for.
fn prepare(dir: &Path) {
    let (own, shared, far) = (SecretKey::generate(), SecretKey::generate(), SecretKey::generate());
    let config = format!(
        "[Interface]\nPrivateKey = {}\nAddress = 10.9.0.2/24\n[Peer]\nPublicKey = {}\nPresharedKey = {}\nAllowedIPs = 10.9.0.0/24\n\
         Endpoint = 127.0.0.1:9\n",
        *own.encoded(),
        far.public(),
        *shared.encoded()
    );
    private(&dir.join("wg.conf"), config);
    for (name, key) in [("wireguard-private", &own), ("wireguard-preshared", &shared)] {
        canary(dir, name, &bytes_of(&key.encoded()));
        canary(dir, &format!("{name}-text"), key.encoded().as_bytes());
    }

    let password = SecretKey::generate().encoded();
    private(&dir.join("password"), format!("{}\n", *password));
    canary(dir, "vault-password", password.as_bytes());
    let plain = SecretKey::generate().encoded();
    let mut vault = Vault::default();
    vault.add("default", Zeroizing::new(password.as_bytes().to_vec()));
    private(&dir.join("plain"), plain.as_bytes());
    canary(dir, "vault-plain", plain.as_bytes());

    output(Command::new("age-keygen").arg("-o").arg(dir.join("age.key")));
    let text = fs::read_to_string(dir.join("age.key")).unwrap();
    canary(
        dir,
        "age-text",
        text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap().as_bytes(),
    );
    output(
        Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(dir.join("ssh.key")),
    );
    let text = fs::read_to_string(dir.join("ssh.key")).unwrap();
    let inner: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    // The private half is `u32 64, seed (32), public (32)`, after the second public half; what follows are comment and padding.
    let bytes = bytes_of(&inner);
    let at = bytes.windows(4).rposition(|window| window == [0, 0, 0, 64]).unwrap() + 4;
    canary(dir, "ssh-seed", &bytes[at..at + 32]);
    canary(dir, "ssh-text", text.lines().nth(3).unwrap().as_bytes());
    for (sealed, recipient) in [
        ("age.sealed", output(Command::new("age-keygen").arg("-y").arg(dir.join("age.key")))),
        ("ssh.sealed", fs::read_to_string(dir.join("ssh.key.pub")).unwrap()),
    ] {
        output(
            Command::new("age")
                .args(["-r", recipient.trim(), "-o"])
                .arg(dir.join(sealed))
                .arg(dir.join("plain")),
        );
    }
    canary(dir, "age-plain", plain.as_bytes());
    canary(dir, "ssh-plain", plain.as_bytes());
    canary(dir, "become", plain.as_bytes());
}

fn look(dir: &Path) {
    gone_after(dir, "wireguard", || {
        let load = || Config::load(&dir.join("wg.conf"), None, &|_, _, _| unreachable!()).unwrap();
        let tunnel = Tunnel::open(load(), None).unwrap();
        // It greets a gateway that is not there, with all its keys.
        assert!(tunnel.connect("10.9.0.1", 22, Duration::from_millis(500)).is_err());
        (tunnel, load())
    });
    gone_after(dir, "vault-password", || {
        let sources = Sources { files: vec![dir.join("password")], ..Sources::default() };
        Vault::open(&sources, &mut |_| unreachable!()).unwrap()
    });
    for kind in ["age", "ssh"] {
        gone_after(dir, kind, || {
            let nobody: debark_age::Ask = Arc::new(|_: &str| unreachable!());
            let identities = Identities::new(vec![dir.join(format!("{kind}.key"))], nobody);
            let sealed = fs::read(dir.join(format!("{kind}.sealed"))).unwrap();
            drop(identities.open(&sealed, "a text").unwrap());
            identities
        });
    }
    gone_after(dir, "become", || {
        let text = Zeroizing::new(fs::read_to_string(dir.join("plain")).unwrap());
        debark_wire::Password::from(text)
    });
}

#[test]
fn keys_are_gone_from_memory_once_they_are_done_with() {
    if let Some(dir) = std::env::var_os(PLACE) {
        return look(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "keys_are_gone_from_memory_once_they_are_done_with", "--nocapture"]);
    let output = again.env(PLACE, dir.path()).env_remove("DEBARK_AGE_IDENTITY").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stdout));
}

/// The compiler's word: what holds a key wipes itself.
#[test]
fn types_that_hold_keys_wipe_themselves() {
    fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<SecretKey>();
    wiped::<debark_playbook::vault::Password>();
    wiped::<debark_wire::Password>();
}
