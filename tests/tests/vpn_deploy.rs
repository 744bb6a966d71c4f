//! Releases to hosts behind a WireGuard gateway, by a user without any rights: as a CI container does it.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use debark_e2e::{Ended, Releases, debark_program, lab_options};
use debark_lab::{Lab, Options};

/// A user with nothing: no group, no capability, no device.
const NOBODY: &str = "65534";

/// Everything below belongs to the user.
fn given_away(dir: &Path) {
    let owner = format!("{NOBODY}:{NOBODY}");
    assert!(Command::new("chown").args(["-R", &owner]).arg(dir).status().unwrap().success());
}

/// `debark` in the project as that user.
fn as_nobody(shop: &Releases<'_>, bin: &Path, args: &[&str]) -> Ended {
    let mut command = shop.lab.controller_command("setpriv");
    command.args([
        "--reuid",
        NOBODY,
        "--regid",
        NOBODY,
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
    ]);
    command.arg("--inh-caps=-all").arg("--").arg(bin.join("debark")).args(args).current_dir(&shop.dir);
    command.env("HOME", &shop.home).env("XDG_CACHE_HOME", shop.home.join("cache")).env("TMPDIR", &shop.home);
    command
        .env("DEBARK_KEY", shop.key("alice"))
        .env("DEBARK_BUILD_KEY", shop.build_key())
        .env("LC_ALL", "C.UTF-8");
    command.env("DEBARK_AGENT", bin.join("debark-agent")).env("DEBARK_GATE", bin.join("debark-gate"));
    for name in ["SSH_AUTH_SOCK", "XDG_RUNTIME_DIR", "CIRCLECI", "GITHUB_ACTIONS", "GITLAB_CI", "CI"] {
        command.env_remove(name);
    }
    Ended::of(&command.stdin(Stdio::null()).output().unwrap())
}

#[test]
fn a_user_without_rights_releases_through_the_tunnel() {
    let options = Options { gateway: true, ..lab_options("vpndeploy", 2, &[]) };
    let lab = Lab::up(options).unwrap_or_else(|err| panic!("the lab: {err}"));
    let shop = Releases::new(&lab, "");
    // What only root may read of the lab, as files of the project's.
    for name in ["staging.ini", "prod.ini"] {
        let path = shop.dir.join(name);
        let text = fs::read_to_string(&path).unwrap();
        let text = ["id_ed25519", "known_hosts", "wg.conf"].iter().fold(text, |text, name| {
            let own = shop.home.join(name);
            fs::copy(lab.path().join(name), &own).unwrap();
            fs::set_permissions(&own, fs::Permissions::from_mode(0o600)).unwrap();
            text.replace(&lab.path().join(name).display().to_string(), &own.display().to_string())
        });
        assert!(text.contains("debark_vpn="), "{text}");
        fs::write(path, text).unwrap();
    }
    let bin = tempfile::tempdir().unwrap();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bin.path(), open.clone()).unwrap();
    let built = debark_e2e::workspace().join("target/agent");
    for from in [debark_program(), built.join("debark-agent"), built.join("debark-gate")] {
        let to = bin.path().join(from.file_name().unwrap());
        fs::copy(&from, &to).unwrap();
        fs::set_permissions(&to, open.clone()).unwrap();
    }
    shop.publish("1.0.0", true);
    shop.publish("2.0.0", true);
    given_away(shop.home.parent().unwrap());
    let run = |args: &[&str]| as_nobody(&shop, bin.path(), args);
    for environment in ["staging", "prod"] {
        let _ = run(&["enroll", "--env", environment]).ends(0);
    }
    for version in ["1.0.0", "2.0.0"] {
        let _ = run(&["deploy", &format!("shop@{version}"), "--to", "staging"]).ends(0);
        let _ = run(&["promote", "shop", "--from", "staging", "--to", "prod"]).ends(0);
        assert_eq!([shop.version("h1"), shop.version("h2")], [version, version]);
    }
    let _ = run(&["rollback", "shop", "--env", "prod", "--reason", "a test"]).ends(0);
    assert_eq!([shop.version("h1"), shop.version("h2")], ["2.0.0", "1.0.0"]);
    let _ = run(&["verify", "prod"]).ends(0);
    // And there is no other way.
    let mut outside = lab.controller_command("timeout");
    let host = lab.host("h2").unwrap().address();
    outside.args(["3", "bash", "-c", &format!("exec 3<>/dev/tcp/{host}/22")]);
    assert!(!outside.stderr(Stdio::null()).status().unwrap().success());
}
