use super::*;

fn words(cmd: &Cmd) -> String {
    cmd.argv.iter().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn params(args: Map) -> Params {
    let mut all = map! { "name" => "ann" };
    all.extend(args);
    Params::parse(&all).unwrap()
}

fn seen() -> Seen {
    Seen {
        user: User::parse("ann:x:1001:1001:Ann:/home/ann:/bin/sh").unwrap(),
        shadow: Shadow::find("ann:$6$s$h:19000:0:99999:7:::", "ann").unwrap(),
        groups: vec!["adm".into(), "sudo".into()],
    }
}

fn groups(name: &str) -> Option<Group> {
    let known = [("ann", 1001), ("adm", 4), ("sudo", 27), ("www-data", 33)];
    let found = known.iter().find(|(known, gid)| *known == name || gid.to_string() == name)?;
    Some(Group { name: found.0.into(), gid: found.1, members: Vec::new() })
}

fn modified(args: Map) -> Vec<String> {
    commands::modify(&params(args), &seen(), groups).0.iter().map(words).collect()
}

#[test]
fn adds_with_the_exact_words() {
    assert_eq!(words(&commands::add(&params(map! {}), false)), "useradd -m -- ann");
    let full = map! {
        "uid" => 1500, "group" => "users", "groups" => "adm,sudo", "comment" => "Ann", "home" => "/srv/ann",
        "shell" => "/bin/bash", "expires" => 1_700_000_000, "system" => true, "create_home" => false,
    };
    assert_eq!(
        words(&commands::add(&params(full), true)),
        "useradd -u 1500 -g users -G adm,sudo -c Ann -d /srv/ann -s /bin/bash -e 2023-11-14 -N -M -r -- ann"
    );
}

#[test]
fn a_converged_account_needs_nothing() {
    let args = map! {
        "uid" => 1001, "group" => "ann", "groups" => "sudo,adm", "comment" => "Ann", "home" => "/home/ann",
        "shell" => "/bin/sh", "password" => "$6$s$h", "expires" => -1, "password_expire_max" => 99999,
        "password_lock" => false,
    };
    assert_eq!(modified(args), Vec::<String>::new());
    assert_eq!(modified(map! { "groups" => "adm", "append" => true }), Vec::<String>::new());
    assert_eq!(
        modified(map! { "password" => "$6$new$x", "update_password" => "on_create" }),
        Vec::<String>::new()
    );
}

#[test]
fn modifies_what_differs_only() {
    assert_eq!(modified(map! { "shell" => "/bin/bash", "uid" => 1001 }), ["usermod -s /bin/bash -- ann"]);
    assert_eq!(modified(map! { "groups" => "adm" }), ["usermod -G adm -- ann"]);
    assert_eq!(modified(map! { "groups" => Value::list([] as [&str; 0]) }), ["usermod -G  -- ann"]);
    assert_eq!(modified(map! { "groups" => "33", "append" => true }), ["usermod -a -G www-data -- ann"]);
    assert_eq!(modified(map! { "home" => "/x", "move_home" => true }), ["usermod -d /x -m -- ann"]);
    assert_eq!(modified(map! { "password_lock" => true }), ["usermod -L -- ann"]);
    assert_eq!(modified(map! { "password_expire_min" => 3 }), ["chage -m 3 -- ann"]);
}

#[test]
fn a_password_never_is_an_argument() {
    let args = map! { "password" => "$6$new$x", "password_lock" => true };
    let (cmds, changes) = commands::modify(&params(args), &seen(), groups);
    assert_eq!(cmds.iter().map(words).collect::<Vec<_>>(), ["chpasswd -e"]);
    assert_eq!(cmds[0].stdin.as_deref(), Some(b"ann:!$6$new$x\n".as_slice()));
    assert!(!format!("{changes:?}").contains("$6$"));
    let key = key::command(&params(map! { "ssh_key_passphrase" => "secret" }), Path::new("/k"), "h");
    assert!(!words(&key).contains("secret"));
}

#[test]
fn a_lock_without_a_password_cannot_be_opened() {
    let mut seen = seen();
    seen.shadow.password = "!".into();
    let (cmds, _) = commands::modify(&params(map! { "password_lock" => false }), &seen, groups);
    assert!(cmds.is_empty());
}

#[test]
fn input_cannot_smuggle_another_account() {
    let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
    let args = map! { "name" => "no-such-user-here", "password" => "x\nroot:y" };
    let error = plan(Params::parse(&args).unwrap(), &host).err().unwrap();
    assert!(error.msg.contains("is no hash"), "{}", error.msg);
}

#[test]
fn makes_keys_with_and_without_passphrase() {
    let dir = std::env::temp_dir().join(format!("debark-user-key-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let user = accounts::user_by_id(rustix::process::getuid().as_raw()).unwrap();
    let host = Host::new(std::rc::Rc::new(crate::upstream::NoUpstream));
    for (kind, phrase) in [("ed25519", None), ("ecdsa", Some("some phrase"))] {
        let mut args = map! { "generate_ssh_key" => true, "ssh_key_type" => kind, "ssh_key_comment" => "c" };
        if let Some(phrase) = phrase {
            args.insert("ssh_key_passphrase".into(), phrase.into());
        }
        let params = params(args);
        assert!(key::is_wanted(&params, &dir));
        key::generate(&params, &dir, &user, &host).unwrap();
        assert!(!key::is_wanted(&params, &dir));
        let facts = key::facts(&params, &dir, &host);
        assert!(facts["ssh_public_key"].to_string().ends_with(" c"), "{facts:?}");
        assert!(facts["ssh_fingerprint"].to_string().contains("SHA256:"), "{facts:?}");
        let key = key::path(&params, &dir);
        let opened =
            host.exec(&Cmd::new("ssh-keygen").args(["-y", "-P", phrase.unwrap_or("")]).arg("-f").arg(key));
        assert_eq!(opened.unwrap().rc, 0, "{kind}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
