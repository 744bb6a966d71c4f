use super::*;
use crate::keyring::{Distrust, Keyring};

fn unlock(ask: &mut dyn FnMut(&str) -> io::Result<Zeroizing<String>>) -> Unlock<'_> {
    Unlock { passphrase_file: None, passphrase: None, age_identity: None, ask }
}

fn nobody(_: &str) -> io::Result<Zeroizing<String>> {
    Err(io::Error::other("no terminal"))
}

fn open(path: &Path, passphrase: Option<&str>) -> Result<BuildKey, KeyError> {
    let mut ask = |_: &str| {
        passphrase.map(|text| Zeroizing::new(text.to_owned())).ok_or_else(|| io::Error::other("no"))
    };
    BuildKey::open(path.to_str().unwrap(), &mut unlock(&mut ask))
}

#[test]
fn a_key_signs_and_is_trusted_until_it_is_revoked() {
    let directory = tempfile::tempdir().unwrap();
    let key = BuildKey::generate("Builds <builds@example.org>", None).unwrap();
    let other = BuildKey::generate("Other <other@example.org>", None).unwrap();
    fs::write(directory.path().join("a.asc"), key.public().unwrap()).unwrap();
    let revoked = directory.path().join("revoked");
    let keyring = Keyring::load(directory.path(), &revoked).unwrap();
    let signature = key.sign(&mut &b"data"[..]).unwrap();
    let found = keyring.verify(Some(&signature), &b"data"[..], 0).unwrap();
    assert_eq!(
        (found.fingerprint.as_str(), found.user.as_str()),
        (key.fingerprint().as_str(), "Builds <builds@example.org>")
    );
    let why = |signature: Option<&[u8]>, data: &[u8]| keyring.verify(signature, data, 0).unwrap_err();
    assert_eq!(why(None, b"data"), Distrust::Unsigned);
    assert_eq!(why(Some(&signature), b"date"), Distrust::Bad(key.fingerprint()));
    assert!(matches!(why(Some(b"xyz"), b"data"), Distrust::Malformed(_)));
    let foreign = other.sign(&mut &b"data"[..]).unwrap();
    assert_eq!(why(Some(&foreign), b"data"), Distrust::Unknown(other.fingerprint()));
    fs::write(&revoked, format!("# lost\n{}\n", key.fingerprint().to_lowercase())).unwrap();
    let keyring = Keyring::load(directory.path(), &revoked).unwrap();
    assert_eq!(
        keyring.verify(Some(&signature), &b"data"[..], 0).unwrap_err(),
        Distrust::Revoked(key.fingerprint())
    );
    for at in 0..signature.len() {
        let mut broken = signature.clone();
        broken[at] ^= 0x10;
        let _ = keyring.verify(Some(&broken), &b"data"[..], 0);
    }
}

#[test]
fn locked_keys_open_with_their_passphrase() {
    let directory = tempfile::tempdir().unwrap();
    let passphrase = Zeroizing::new("open sesame".to_owned());
    let key = BuildKey::generate("Builds <builds@example.org>", Some(&passphrase)).unwrap();
    let file = directory.path().join("key");
    write_secret(&file, &key.secret().unwrap()).unwrap();
    assert!(write_secret(&file, "x").is_err(), "nothing is replaced");
    assert_eq!(open(&file, Some("open sesame")).unwrap().fingerprint(), key.fingerprint());
    assert!(open(&file, Some("wrong")).unwrap_err().message.contains("does not open"));
    assert!(open(&file, None).unwrap_err().message.contains("needs a passphrase"));
}

#[test]
fn keys_that_age_encrypted() {
    let directory = tempfile::tempdir().unwrap();
    let key = BuildKey::generate("Builds <builds@example.org>", None).unwrap();
    let identity = age::x25519::Identity::generate();
    let sealed = age::encrypt(&identity.to_public(), key.secret().unwrap().as_bytes()).unwrap();
    let (file, id) = (directory.path().join("key.age"), directory.path().join("id"));
    fs::write(&file, sealed).unwrap();
    fs::write(&id, age::secrecy::ExposeSecret::expose_secret(&identity.to_string())).unwrap();
    let mut ask = nobody;
    let mut with = Unlock { age_identity: Some(id), ..unlock(&mut ask) };
    assert_eq!(BuildKey::open(file.to_str().unwrap(), &mut with).unwrap().fingerprint(), key.fingerprint());
    assert!(open(&file, None).unwrap_err().hint.unwrap().contains("DEBARK_AGE_IDENTITY"));
}

#[test]
fn what_is_no_key_is_not_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    for text in [
        "hunter2",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nhunter2\n",
    ] {
        fs::write(&file, text).unwrap();
        let error = open(&file, None).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        let error = BuildKey::open(&format!("{text}\n"), &mut unlock(&mut nobody)).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
