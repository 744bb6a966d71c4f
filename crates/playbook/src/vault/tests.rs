use std::io::Error;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vault").join(name)
}

fn no_terminal(_: &str) -> std::io::Result<String> {
    Err(Error::other("no terminal"))
}

fn with(ids: &[&str], files: &[&str]) -> Vault {
    let sources = Sources {
        ids: ids.iter().map(|id| format!("{id}@{}", fixture("prod-password").display())).collect(),
        files: files.iter().map(|name| fixture(name)).collect(),
        ..Sources::default()
    };
    Vault::open(&sources, &mut no_terminal).unwrap()
}

fn open(vault: &Vault, name: &str) -> Vec<u8> {
    vault.decrypt(&std::fs::read(fixture(name)).unwrap(), name).unwrap().to_vec()
}

#[test]
fn reads_what_ansible_vault_wrote() {
    let vault = with(&["prod"], &["password"]);
    let plain = b"db_password: s3cret\nlist:\n  - a\n";
    assert_eq!(open(&vault, "v11.yml"), plain);
    assert_eq!(open(&vault, "v12.yml"), plain);
    assert_eq!(open(&vault, "empty.bin"), b"");
    assert_eq!(open(&vault, "block.bin"), [0xff; 4096]);
}

#[test]
fn writes_what_it_reads() {
    let vault = with(&["prod"], &["password"]);
    for (id, header) in
        [("prod", "$ANSIBLE_VAULT;1.2;AES256;prod\n"), ("default", "$ANSIBLE_VAULT;1.1;AES256\n")]
    {
        for len in [0, 1, 15, 16, 17, 1000] {
            let plain = vec![7; len];
            let text = vault.encrypt(&plain, Some(id)).unwrap();
            assert!(text.starts_with(header), "{text}");
            assert_eq!(*vault.decrypt(text.as_bytes(), "it").unwrap(), plain);
        }
    }
    assert_ne!(vault.encrypt(b"x", None).unwrap(), vault.encrypt(b"x", None).unwrap(), "salts differ");
}

#[test]
fn a_wrong_password_names_file_and_id() {
    let text = std::fs::read(fixture("v12.yml")).unwrap();
    let wrong = with(&[], &["password"]).decrypt(&text, "v12.yml").unwrap_err();
    assert_eq!(wrong.message, "wrong vault password for v12.yml: no known one opens vault id `prod`");
    assert_eq!(
        wrong.hint.as_deref(),
        Some("the known passwords are for default; give --vault-id prod@SOURCE")
    );
    let none = Vault::default().decrypt(&text, "v12.yml").unwrap_err();
    assert!(none.message.contains("no vault password is known"), "{}", none.message);
}

#[test]
fn one_changed_digit_is_noticed() {
    let vault = with(&[], &["password"]);
    let mut text = std::fs::read(fixture("v11.yml")).unwrap();
    let at = text.len() - 3;
    text[at] = if text[at] == b'3' { b'4' } else { b'3' };
    assert!(vault.decrypt(&text, "v11.yml").is_err());
}

#[test]
fn only_the_own_label_when_ids_must_match() {
    let sources = Sources { files: vec![fixture("prod-password")], match_id: true, ..Sources::default() };
    let vault = Vault::open(&sources, &mut no_terminal).unwrap();
    assert!(vault.decrypt(&std::fs::read(fixture("v12.yml")).unwrap(), "v12.yml").is_err());
}

#[test]
fn scripts_are_asked() {
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let plain = script("pass.sh", "#!/bin/sh\necho hunter2\n");
    let client = script(
        "keyring-client.sh",
        "#!/bin/sh\n[ \"$1 $2\" = '--vault-id prod' ] || exit 2\necho 'correct horse'\n",
    );
    let open = |ids: Vec<String>| Vault::open(&Sources { ids, ..Sources::default() }, &mut no_terminal);
    let vault = open(vec![format!("dev@{}", plain.display()), format!("prod@{}", client.display())]).unwrap();
    assert_eq!(vault.ids().collect::<Vec<_>>(), ["dev", "prod"]);
    assert!(vault.decrypt(&std::fs::read(fixture("v12.yml")).unwrap(), "v12.yml").is_ok());
    assert!(vault.decrypt(&std::fs::read(fixture("v11.yml")).unwrap(), "v11.yml").is_ok());
    let unknown = open(vec![format!("qa@{}", client.display())]).unwrap_err();
    assert!(unknown.message.ends_with("has no password for vault id qa"), "{}", unknown.message);
}

#[test]
fn passwords_can_be_typed_and_must_not_be_empty() {
    let sources = Sources { ids: vec!["prod@prompt".into()], ask: true, ..Sources::default() };
    let mut prompts = Vec::new();
    let vault = Vault::open(&sources, &mut |prompt| {
        prompts.push(prompt.to_owned());
        Ok("hunter2\n".into())
    });
    assert_eq!(vault.unwrap().ids().collect::<Vec<_>>(), ["prod", "default"]);
    assert_eq!(prompts, ["Vault password (prod): ", "Vault password: "]);
    assert!(Vault::open(&sources, &mut |_| Ok(String::new())).is_err());
    let missing = Sources { files: vec!["/nonexistent/file".into()], ..Sources::default() };
    let error = Vault::open(&missing, &mut no_terminal).unwrap_err();
    assert_eq!(error.message, "cannot read the vault password file /nonexistent/file: there is no such file");
}

#[test]
fn single_values_stay_closed_until_they_are_used() {
    let mut theirs = Vault::default();
    theirs.add("prod", b"pw".to_vec().into());
    let sealed = theirs.encrypt(b"token", None).unwrap();
    let indented = sealed.lines().map(|line| format!("  {line}\n")).collect::<String>();
    let read = |vault: &Vault| {
        let sources = crate::SourceMap::default();
        let file =
            sources.add(std::path::Path::new("x.yml"), &format!("secret: !vault |\n{indented}"), false);
        crate::yaml::parse(&sources, file, vault).and_then(|parsed| parsed.single())
    };
    let text = |vault: &Vault| read(vault).unwrap().0.unwrap().to_map().get("secret").unwrap().to_string();
    assert_eq!(text(&theirs), "token");
    // No password at all, or none for that id: whoever uses the value is told.
    assert!(text(&Vault::default()).contains("no vault password is known"), "{}", text(&Vault::default()));
    let mut other = Vault::default();
    other.add("dev", b"pw2".to_vec().into());
    assert!(text(&other).contains("vault id `prod`"), "{}", text(&other));
    // A password that is wrong is an error at once.
    let mut wrong = Vault::default();
    wrong.add("prod", b"pw2".to_vec().into());
    assert!(read(&wrong).is_err());
}
