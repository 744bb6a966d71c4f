use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::plan::Action;

fn host() -> Host {
    Host::new(std::rc::Rc::new(crate::upstream::NoUpstream))
}

/// Plans, applies if something is to change, and says whether it was.
fn run(args: Map) -> Result<(bool, Map), Failure> {
    let host = host();
    let Plan { mut result, action, .. } = plan(Params::parse(&args)?, &host)?;
    let Action::Change(apply) = action else { return Ok((false, result)) };
    result.extend(apply(&host)?);
    Ok((true, result))
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn makes_keeps_mends_and_removes() {
    let dir = PrivateDir::new(0).unwrap();
    let (path, public) = (dir.path().join("key"), dir.path().join("key.pub"));
    let args = || map! { "path" => path_value(&path), "type" => "ed25519", "comment" => "of a test" };
    let foreseen = plan(Params::parse(&args()).unwrap(), &host()).unwrap();
    assert!(foreseen.result["public_key"].unknown().is_some() && !path.exists());
    let (changed, made) = run(args()).unwrap();
    assert!(changed && made["fingerprint"].to_string().starts_with("SHA256:"), "{made:?}");
    assert_eq!((mode(&path), mode(&public)), (0o600, 0o644));
    assert_eq!(std::fs::read_to_string(&public).unwrap(), format!("{}\n", made["public_key"]));
    assert_eq!(run(args()).unwrap(), (false, made.clone()));

    // What is lost of the public half comes from the private one.
    std::fs::remove_file(&public).unwrap();
    assert!(run(args()).unwrap().0);
    assert_eq!(std::fs::read_to_string(&public).unwrap(), format!("{}\n", made["public_key"]));

    let mut other = args();
    other.insert("comment".into(), "another".into());
    other.insert("mode".into(), "0640".into());
    let (changed, commented) = run(other.clone()).unwrap();
    assert!(changed && commented["fingerprint"] == made["fingerprint"]);
    assert!(std::fs::read_to_string(&public).unwrap().ends_with(" another\n"));
    assert_eq!((mode(&path), mode(&public)), (0o640, 0o640));
    assert!(!run(other).unwrap().0);

    let mut absent = args();
    absent.insert("state".into(), "absent".into());
    assert!(run(absent.clone()).unwrap().0 && !path.exists() && !public.exists());
    assert!(!run(absent).unwrap().0);
}

#[test]
fn another_key_is_replaced_as_told() {
    let dir = PrivateDir::new(0).unwrap();
    let path = dir.path().join("key");
    let args =
        |kind: &str, how: &str| map! { "path" => path_value(&path), "type" => kind, "regenerate" => how };
    let (_, first) = run(args("ed25519", "fail")).unwrap();
    assert!(run(args("ecdsa", "fail")).unwrap_err().msg.contains("is no key of 256 bits of the type ecdsa"));
    assert!(!run(args("ecdsa", "never")).unwrap().0);
    let (changed, second) = run(args("ecdsa", "partial_idempotence")).unwrap();
    assert!(changed && second["fingerprint"] != first["fingerprint"]);
    assert!(run(args("ecdsa", "always")).unwrap().0);

    let seal = Cmd::new("ssh-keygen").args(["-q", "-p", "-P", "", "-N", "secret", "-f"]).arg(&path);
    let _ = host().exec_ok(&seal).unwrap();
    assert!(run(args("ecdsa", "partial_idempotence")).unwrap_err().msg.contains("has a passphrase"));
    assert!(run(args("ecdsa", "full_idempotence")).unwrap().0);
    std::fs::write(&path, "no key").unwrap();
    assert!(run(args("ecdsa", "never")).is_err());
    assert!(run(map! { "path" => path_value(&path), "type" => "ecdsa", "force" => true }).unwrap().0);
}

#[test]
fn sizes_go_with_the_type() {
    let size = |kind: &str, size: i64| {
        bits(&Params::parse(&map! { "path" => "/k", "type" => kind, "size" => size }).unwrap())
    };
    assert_eq!(size("rsa", 2048), Ok(2048));
    assert_eq!(size("ed25519", 7), Ok(256));
    for (kind, bad) in [("rsa", 512), ("ecdsa", 300), ("dsa", 2048), ("rsa1", 2048)] {
        assert!(size(kind, bad).is_err(), "{kind}");
    }
}
