use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use age::secrecy::ExposeSecret as _;

use super::*;

const PLAIN: &[u8] = b"token: c4n@ry\n";

/// Identities that answer every question alike, and what they were asked.
fn asked(files: Vec<PathBuf>, answer: &'static str) -> (Identities, Arc<Mutex<Vec<String>>>) {
    let questions = Arc::new(Mutex::new(Vec::new()));
    let heard = questions.clone();
    let ask = move |question: &str| {
        heard.lock().unwrap().push(question.to_owned());
        Ok(Zeroizing::new(answer.to_owned()))
    };
    (Identities::new(files, Arc::new(ask)), questions)
}

fn silent(files: Vec<PathBuf>) -> Identities {
    Identities::new(files, Arc::new(|_: &str| Err(std::io::Error::other("no terminal"))))
}

fn ssh_key(directory: &std::path::Path, kind: &str, passphrase: &str) -> (PathBuf, String) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let path = directory.join(format!("id{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    let mut made = Command::new("ssh-keygen");
    made.args(["-q", "-t", kind, "-N", passphrase, "-C", "me@here", "-f"]).arg(&path);
    assert!(made.status().unwrap().success());
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    (path, public)
}

fn seal(recipients: &[&str], armor: bool) -> Vec<u8> {
    let mut all = Recipients::default();
    recipients.iter().for_each(|one| all.add(one).unwrap());
    all.seal(PLAIN, armor).unwrap()
}

#[test]
fn opened_by_age_identities_and_ssh_keys() {
    let directory = tempfile::tempdir().unwrap();
    let key = age::x25519::Identity::generate();
    let file = directory.path().join("keys.txt");
    std::fs::write(&file, format!("# created: today\n{}\n", key.to_string().expose_secret())).unwrap();
    let (ed, ed_public) = ssh_key(directory.path(), "ed25519", "");
    let (rsa, rsa_public) = ssh_key(directory.path(), "rsa", "");
    for armor in [false, true] {
        let sealed = seal(&[&key.to_public().to_string(), &ed_public, &rsa_public], armor);
        assert!(is_sealed(&sealed) && is_armored(&sealed) == armor);
        for file in [&file, &ed, &rsa] {
            assert_eq!(
                &*silent(vec![file.clone()]).open(&sealed, "it").unwrap(),
                PLAIN,
                "{}",
                file.display()
            );
        }
        let mut changed = sealed.clone();
        let at = changed.len() - 40;
        changed[at] ^= 1;
        assert!(silent(vec![file.clone()]).open(&changed, "it").is_err());
    }
    let other = seal(&[&ed_public], true);
    let closed = silent(vec![file]).open(&other, "it").unwrap_err();
    assert_eq!(closed.message, "is sealed by age, and no known identity opens it");
    assert!(closed.hint.unwrap().contains("--age-identity"));
}

#[test]
fn passphrases_are_asked_for_once_and_only_if_needed() {
    let directory = tempfile::tempdir().unwrap();
    let (locked, public) = ssh_key(directory.path(), "ed25519", "open sesame");
    let key = age::x25519::Identity::generate();
    let mut recipient = age::scrypt::Recipient::new("open sesame".to_owned().into());
    recipient.set_work_factor(4);
    let sealed_identity = {
        let encryptor =
            age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
        let mut out = Vec::new();
        let mut writer = encryptor.wrap_output(&mut out).unwrap();
        std::io::Write::write_all(&mut writer, key.to_string().expose_secret().as_bytes()).unwrap();
        writer.finish().unwrap();
        out
    };
    let file = directory.path().join("key.age");
    std::fs::write(&file, sealed_identity).unwrap();
    let (identities, questions) = asked(vec![locked.clone(), file.clone()], "open sesame");
    let mine = seal(&[&public], true);
    let (age, other) =
        (key.to_public().to_string(), age::x25519::Identity::generate().to_public().to_string());
    for _ in 0..3 {
        assert_eq!(&*identities.open(&mine, "a").unwrap(), PLAIN);
        assert_eq!(&*identities.open(&seal(&[&public], false), "b").unwrap(), PLAIN);
        assert_eq!(&*identities.open(&seal(&[&age], false), "c").unwrap(), PLAIN);
        assert!(identities.open(&seal(&[&other], false), "d").is_err());
    }
    let expected =
        [format!("Passphrase of {}: ", locked.display()), format!("Passphrase of {}: ", file.display())];
    assert_eq!(*questions.lock().unwrap(), expected);

    let (identities, questions) = asked(vec![locked.clone()], "wrong");
    let closed = identities.open(&mine, "a").unwrap_err();
    assert_eq!(closed.message, format!("stays sealed: that is not the passphrase of {}", locked.display()));
    assert!(identities.open(&seal(&[&other], false), "d").is_err());
    assert_eq!(questions.lock().unwrap().len(), 1);
    let closed = silent(vec![locked.clone()]).open(&mine, "a").unwrap_err();
    let told = format!("cannot ask for the passphrase of {}: no terminal", locked.display());
    assert!(closed.message.ends_with(&told), "{closed:?}");
}

#[test]
fn files_under_a_passphrase() {
    let mut recipient = age::scrypt::Recipient::new("open sesame".to_owned().into());
    recipient.set_work_factor(4);
    let sealed = age::encrypt_and_armor(&recipient, PLAIN).unwrap();
    let (identities, questions) = asked(Vec::new(), "open sesame");
    assert_eq!(&*identities.open(sealed.as_bytes(), "vars.yml").unwrap(), PLAIN);
    assert_eq!(&*identities.open(sealed.as_bytes(), "vars.yml").unwrap(), PLAIN);
    assert_eq!(*questions.lock().unwrap(), ["Passphrase of vars.yml: "]);
    let closed = asked(Vec::new(), "wrong").0.open(sealed.as_bytes(), "vars.yml").unwrap_err();
    assert_eq!(closed.message, "stays sealed: the passphrase is wrong, or it was changed");
}

#[test]
fn what_is_wrong_is_told_without_quoting_keys() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("r");
    let secret = age::x25519::Identity::generate();
    let key = secret.to_string().expose_secret().to_owned();
    let told = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Recipients::default().add_file(&path).unwrap_err()
    };
    assert!(
        told("# me\nhello\n").ends_with("r:2: this is no recipient: age1... or an SSH public key is one")
    );
    assert!(told("# nobody\n").ends_with("names no recipients"));
    let error = told(&key);
    assert!(error.contains("age-keygen -y") && !error.contains(&key), "{error}");
    let sealed = seal(&[&secret.to_public().to_string()], true);
    std::fs::write(&path, format!("{key}x\n")).unwrap();
    let closed = silent(vec![path.clone()]).open(&sealed, "it").unwrap_err();
    assert!(
        closed.message.ends_with("holds a line that is no age identity") && !closed.message.contains(&key)
    );
    assert!(
        silent(vec!["/nonexistent".into()]).open(&sealed, "it").unwrap_err().message.contains("cannot read")
    );
    for broken in [&b"age-encryption.org/v1\n"[..], b"age-encryption.org/v9\n-> x\n", ARMOR] {
        assert!(silent(Vec::new()).open(broken, "it").is_err());
    }
    std::fs::create_dir(directory.path().join(".debark")).unwrap();
    std::fs::write(directory.path().join(".debark/recipients"), secret.to_public().to_string()).unwrap();
    let below = directory.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    let mut found = Recipients::default();
    assert!(found.add_project(&below).unwrap() && found.len() == 1);
}
