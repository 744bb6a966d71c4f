//! Real hosts on this machine. These tests need root and the packages of `scripts/setup-lab`; without them they fail.

// Helpers outside of the test functions fail by panicking, too.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use debark_lab::{Lab, Options, Suite};

const KEEPER: &str = env!("CARGO_BIN_EXE_debark-lab-keeper");

fn options(name: &str, hosts: usize) -> Options {
    Options { program: Some(KEEPER.into()), ..Options::new(&lab_name(name), hosts) }
}

fn lab_name(name: &str) -> String {
    format!("t{}-{name}", std::process::id())
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output));
    text(&output)
}

/// Where the machine still knows of something with this in its name: mounts, namespaces, control groups, nspawn's
/// files, processes.
fn traces(of: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |kind: &str, what: &str| {
        if what.contains(of) {
            found.push(format!("{kind}: {what}"));
        }
    };
    for line in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        note("mount", line);
    }
    for dir in ["/run/netns", "/run/systemd/nspawn/propagate", "/run/systemd/nspawn/unix-export"] {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            note(dir, &entry.file_name().to_string_lossy());
        }
    }
    let groups = Command::new("find").args(["/sys/fs/cgroup", "-type", "d"]).output().unwrap();
    for line in String::from_utf8_lossy(&groups.stdout).lines() {
        note("control group", line);
    }
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        note("process", &String::from_utf8_lossy(&words).replace('\0', " "));
    }
    found
}

#[test]
fn two_labs_stand_side_by_side_and_install_packages() {
    let one = Lab::up(options("one", 2)).unwrap();
    let two = Lab::up(options("two", 1)).unwrap();
    let (a, b) = (one.host("h1").unwrap(), two.host("h1").unwrap());
    assert_ne!(a.address(), b.address());
    for host in [&a, &b] {
        assert_eq!(host.sh("systemctl is-system-running").unwrap().trim(), "running");
        assert_eq!(run(&mut host.ssh(&["hostname"])).trim(), "h1");
    }
    // Hosts of one lab see each other, those of another they do not.
    let peer = one.host("h2").unwrap().address();
    let reaches =
        |address| a.exec(&["timeout", "2", "bash", "-c", &format!("exec 3<>/dev/tcp/{address}/22")]);
    assert!(reaches(peer).unwrap().status.success());
    assert!(!reaches(b.address()).unwrap().status.success());
    // Nothing but the proxy leads out.
    assert!(!reaches("192.0.2.1".parse().unwrap()).unwrap().status.success());

    assert!(!a.exec(&["sh", "-c", "command -v tree || command -v python3"]).unwrap().status.success());
    a.sh("apt-get install -qq -y tree >&2").unwrap();
    a.sh("tree --version").unwrap();
    b.sh("apt-get update -qq >&2 && apt-get install -qq -y tree >&2").unwrap();
    assert!(a.rootfs_path().join("usr/bin/tree").exists());
    assert!(!one.host("h2").unwrap().rootfs_path().join("usr/bin/tree").exists());

    // The proxy fetches from the archives and from nowhere else, not even from the machine itself.
    let ask = |url: &str| {
        let gateway =
            format!("exec 3<>/dev/tcp/{}/3142; printf 'GET {url} HTTP/1.0\\r\\n\\r\\n' >&3; head -1 <&3", {
                let address = a.address().octets();
                format!("{}.{}.{}.1", address[0], address[1], address[2])
            });
        String::from_utf8(a.exec(&["bash", "-c", &gateway]).unwrap().stdout).unwrap()
    };
    let archive =
        a.sh("grep -h URIs: /etc/apt/sources.list.d/debian.sources | head -1 | cut -d' ' -f2").unwrap();
    assert!(ask(&format!("{}/dists/bookworm/InRelease", archive.trim())).contains(" 200 "));
    for url in ["http://127.0.0.1:22/x.deb", "http://192.0.2.1/debian/x.deb", "http://localhost/etc/passwd"] {
        assert!(ask(url).contains(" 403 "), "{url}: {}", ask(url));
    }

    let (path, other) = (one.path().to_owned(), two.path().to_owned());
    one.down().unwrap();
    assert!(!path.exists() && other.exists());
    assert_eq!(run(&mut b.ssh(&["id", "-un"])).trim(), "root");
}

#[test]
fn hosts_let_in_nothing_but_the_labs_key() {
    let lab = Lab::up(options("door", 1)).unwrap();
    let host = lab.host("h1").unwrap();
    let ssh = |args: &[&str]| {
        let mut command = lab.controller_command("ssh");
        command.arg("-F").arg(lab.ssh_config_path()).args(args);
        command
    };
    assert_eq!(run(&mut ssh(&["debian@h1", "sudo", "-n", "id", "-un"])).trim(), "root");
    assert!(!ssh(&["plain@h1", "sudo", "-n", "id"]).output().unwrap().status.success());
    let asked = format!("echo {} | sudo -S id -un", debark_lab::PLAIN_PASSWORD);
    assert!(run(&mut ssh(&["plain@h1", &asked])).contains("root"));

    // Without the key there is nothing that could be tried next.
    let known = fs::read_to_string(lab.path().join("known_hosts")).unwrap();
    assert!(known.starts_with(&format!("{},h1 ssh-ed25519 ", host.address())), "{known}");
    let mut keyless = lab.controller_command("ssh");
    keyless.args(["-v", "-F", "none", "-o", "IdentityFile=/dev/null", "-o", "IdentityAgent=none"]);
    keyless.args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o"]);
    keyless.arg(format!("UserKnownHostsFile={}", lab.path().join("known_hosts").display()));
    let keyless = keyless.arg(host.address().to_string()).output().unwrap();
    let said = text(&keyless);
    let offered: Vec<_> = said.lines().filter_map(|line| line.split("can continue: ").nth(1)).collect();
    assert!(!keyless.status.success() && offered == ["publickey"], "{said}");

    // A host whose key is another one is refused.
    host.sh("rm /etc/ssh/ssh_host_*; ssh-keygen -qA; systemctl restart ssh").unwrap();
    let refused = host.ssh(&["true"]).output().unwrap();
    assert!(
        !refused.status.success() && text(&refused).contains("Host key verification failed"),
        "{refused:?}"
    );
    // A reset host has its own key again.
    lab.reset(&[], &(Box::new(|_: &str| ()) as debark_lab::Say)).unwrap();
    run(&mut host.ssh(&["true"]));
}

#[test]
fn a_host_reboots_and_is_reset() {
    let lab = Lab::up(options("boot", 1)).unwrap();
    let host = lab.host("h1").unwrap();
    host.sh("echo kept > /root/file; chattr +i /root/file || true").unwrap();
    let boots = host.boots();
    assert_eq!(boots, 1);
    let _ = host.ssh(&["reboot"]).output().unwrap();
    host.wait_boot(boots).unwrap();
    assert_eq!(run(&mut host.ssh(&["cat", "/root/file"])).trim(), "kept");
    assert_eq!(host.sh("systemctl is-system-running").unwrap().trim(), "running");

    // Switched off, it stays off; `up` boots it from the same disk.
    let _ = host.ssh(&["poweroff"]).output().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while host.supervisor().is_some() {
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!host.is_up() && host.sh("true").is_err());
    Lab::up(options("boot", 1)).unwrap().keep();
    assert_eq!(host.sh("cat /root/file").unwrap().trim(), "kept");

    lab.reset(&["h1".to_owned()], &(Box::new(|_: &str| ()) as debark_lab::Say)).unwrap();
    assert!(host.sh("cat /root/file").is_err());
    assert!(lab.reset(&["h9".to_owned()], &(Box::new(|_: &str| ()) as debark_lab::Say)).is_err());
}

#[test]
fn down_leaves_nothing_after_every_process_of_the_lab_was_killed_alone() {
    let mut lab = Lab::up(options("dead", 2)).unwrap();
    lab.keep();
    let name = lab.name().to_owned();
    let first = lab.host("h1").unwrap();
    // Somebody's connection is open, from the controller's namespace.
    let mut idle = first.ssh(&["sleep", "1000"]).spawn().unwrap();
    assert!(traces(&name).len() > 5);
    first.supervisor().unwrap().kill();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!first.is_up());
    assert!(first.leader().is_some(), "the container itself goes on");
    assert!(Lab::remove(&name, None).unwrap());
    let _ = idle.wait();
    assert_eq!(traces(&name), [""; 0]);
    assert!(!lab.path().exists());
    assert!(!Lab::remove(&name, None).unwrap(), "nothing is left to remove");
}

#[test]
fn up_repairs_a_lab_whose_processes_were_killed() {
    let lab = Lab::up(options("mend", 2)).unwrap();
    let (one, two) = (lab.host("h1").unwrap(), lab.host("h2").unwrap());
    one.sh("echo kept > /root/file").unwrap();
    one.supervisor().unwrap().kill();
    two.leader().unwrap().kill();
    let untouched = Instant::now();
    while two.leader().is_some() && untouched.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(10));
    }
    Lab::up(options("mend", 3)).unwrap().keep();
    for host in lab.hosts().unwrap() {
        assert!(host.is_up(), "{}", host.name());
        run(&mut host.ssh(&["true"]));
    }
    assert_eq!(one.sh("cat /root/file").unwrap().trim(), "kept");
}

/// A state directory of its own, removed with all its labs whatever happens.
struct Root(PathBuf);

impl Drop for Root {
    fn drop(&mut self) {
        for name in Lab::all_names(Some(&self.0)).unwrap_or_default() {
            let _ = Lab::remove(&name, Some(&self.0));
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn two_labs_at_once_make_one_base_system_and_share_a_proxy() {
    let root = Root(PathBuf::from(format!("/var/tmp/debark-lab-test-{}", std::process::id())));
    let own = |name: &str| Options { root: Some(root.0.clone()), ..options(name, 1) };
    std::thread::scope(|scope| {
        let labs: Vec<_> = ["x", "y"].map(|name| scope.spawn(move || Lab::up(own(name)).unwrap())).into();
        let labs: Vec<_> = labs.into_iter().map(|lab| lab.join().unwrap()).collect();
        for lab in &labs {
            assert!(lab.host("h1").unwrap().is_up());
        }
    });
    let bases: Vec<_> = fs::read_dir(root.0.join("base")).unwrap().flatten().collect();
    assert_eq!(bases.len(), 1, "{bases:?}");
    // With the last lab goes the proxy, and every trace of the directory.
    let here = root.0.to_string_lossy().into_owned();
    assert_eq!(traces(&here), [""; 0]);
    assert!(Lab::all(Some(&root.0)).unwrap().is_empty());
}

#[test]
fn trixie_boots_beside_bookworm() {
    let lab = Lab::up(options("mixed", 1)).unwrap();
    let grown = Lab::up(Options { suite: Suite::Trixie, ..options("mixed", 2) }).unwrap();
    let version = |name: &str| grown.host(name).unwrap().sh("cat /etc/debian_version").unwrap();
    assert!(version("h1").starts_with("12"), "bookworm");
    assert!(version("h2").starts_with("13"), "trixie");
    let host = grown.host("h2").unwrap();
    assert_eq!(host.sh("systemctl is-system-running").unwrap().trim(), "running");
    host.sh("apt-get install -qq -y tree >&2").unwrap();
    host.sh("systemd-run --wait --quiet true").unwrap();
    assert_eq!(run(&mut host.ssh(&["hostname", "-f"])).trim(), format!("h2.{}.lab", lab.name()));
}

#[test]
fn bare_hosts_delay_and_lose_their_network() {
    let lab = Lab::up(Options { bare: true, ..options("bare", 6) }).unwrap();
    for host in lab.hosts().unwrap() {
        assert_eq!(run(&mut host.ssh(&["hostname"])).trim(), host.name());
    }
    let host = lab.host("h3").unwrap();
    assert!(host.sh("pidof systemd").is_err());
    let direct = Instant::now();
    run(&mut host.ssh(&["true"]));
    let direct = direct.elapsed();

    let proxy = host.delay(200).unwrap();
    let far = || {
        let mut command = lab.controller_command("ssh");
        let host = format!("HostName={}", proxy.ip());
        command.arg("-F").arg(lab.ssh_config_path()).args([
            "-o",
            &host,
            "-p",
            &proxy.port().to_string(),
            "h3",
            "hostname",
        ]);
        command
    };
    let delayed = Instant::now();
    assert_eq!(run(&mut far()).trim(), "h3");
    // An SSH session takes several round trips before its command runs.
    assert!(delayed.elapsed() > direct + Duration::from_millis(4 * 200), "{:?}", delayed.elapsed());
    assert!(host.inventory_behind(proxy).unwrap().contains(&format!("ansible_port={}", proxy.port())));

    let quick = |host: &debark_lab::Host<'_>| {
        let mut command = lab.controller_command("ssh");
        command.arg("-F").arg(lab.ssh_config_path()).args(["-o", "ConnectTimeout=2", host.name(), "true"]);
        command.output().unwrap().status.success()
    };
    host.network_down().unwrap();
    assert!(!quick(&host) && host.sh("true").is_ok());
    host.network_up().unwrap();
    assert!(quick(&host));

    let mut open = host.ssh(&["sleep", "1000"]).spawn().unwrap();
    let connected = || host.sh("pidof sleep").is_ok();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !connected() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    host.drop_connections();
    assert_eq!(open.wait().unwrap().code(), Some(255));
    assert!(quick(&host), "the listening sshd is still there");
    host.power_off().unwrap();
    assert!(!host.is_up());
}

#[test]
fn names_that_cannot_be_are_refused_before_anything_is_made() {
    for name in ["../x", "", "UPPER"] {
        assert!(
            Lab::up(Options { program: Some(KEEPER.into()), ..Options::new(name, 1) }).is_err(),
            "{name}"
        );
    }
    let err = Lab::up(options("many", 500)).unwrap_err();
    assert!(err.to_string().contains("500 hosts"), "{err}");
    let err = Lab::open(&lab_name("none"), None).unwrap_err();
    assert!(err.to_string().contains("there is no lab"), "{err}");
    assert!(!Path::new("/var/lib/debark-lab/labs").join(lab_name("many")).exists());
}
