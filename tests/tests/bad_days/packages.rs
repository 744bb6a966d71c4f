//! apt and dpkg that are locked, cut off, killed, interrupted or out of room.

use super::*;

/// Makes packages whose maintainer scripts do as they are told, and an archive of them.
///
/// `slow` takes twelve seconds to configure, but none where it is to be quick, and says when it begins; `cut` kills its dpkg
/// while it is configured, once; `plain` does nothing.
pub const ARCHIVE: &str = r#"
set -e
mkdir -p /srv/archive && cd /srv/archive
make() {
    rm -rf build && mkdir -p build/DEBIAN "build/usr/share/$1" && echo "$1" > "build/usr/share/$1/content"
    [ "$1" != large ] || head -c 300000 /dev/urandom > build/usr/share/large/content
    printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: Lab <lab@example.com>\nDescription: %s\n' "$1" "$1" \
        > build/DEBIAN/control
    printf '#!/bin/sh\nset -e\n%s\n' "$2" > build/DEBIAN/postinst
    chmod 755 build/DEBIAN/postinst
    dpkg-deb --root-owner-group -b build "$1.deb" > /dev/null
    { dpkg-deb -f "$1.deb"; printf 'Filename: ./%s.deb\nSize: %s\nSHA256: %s\n\n' "$1" "$(stat -c %s "$1.deb")" \
        "$(sha256sum "$1.deb" | cut -d' ' -f1)"; } >> Packages
}
rm -f Packages
make plain ':'
make slow 'echo begun > /run/slow-begun; [ -e /run/slow-quick ] || sleep 12; echo ended > /run/slow-ended'
make large ':'
make cut 'if [ ! -e /run/cut-once ]; then : > /run/cut-once; kill -9 $PPID; sleep 1; fi'
rm -rf build
echo 'deb [trusted=yes] file:/srv/archive ./' > /etc/apt/sources.list.d/lab-archive.list
apt-get update -q -o Dir::Etc::sourcelist=sources.list.d/lab-archive.list -o Dir::Etc::sourceparts=- \
    -o APT::Get::List-Cleanup=0
"#;

/// dpkg's state of a package: `install ok installed`, or nothing.
fn state(host: &Host<'_>, package: &str) -> String {
    let show = format!("dpkg-query -W -f '${{Status}}' {package} 2>/dev/null || :");
    host.sh(&show).unwrap().trim().to_owned()
}

fn purge(site: &Site<'_>, packages: &str) {
    for host in [site.bad(), site.good()] {
        host.sh(&format!(
            "dpkg --purge --force-all {packages} >/dev/null 2>&1; rm -f /run/slow-* /run/cut-*; :"
        ))
        .unwrap();
    }
}

/// Takes the lock that apt takes first, as apt takes it, for so many seconds: `struct flock` of fcntl(2), F_SETLK.
const HOLDER: &str = r#"
$0 = 'unattended-upgrade';
open(my $file, '>>', '/var/lib/dpkg/lock-frontend') or die;
my $lock = pack('ssx4qqix4', 1, 0, 0, 0, 0);
fcntl($file, 6, $lock) or die;
open(my $ready, '>', '/run/lock-held');
sleep $ARGV[0];
"#;

fn hold_lock(host: &Host<'_>, seconds: u32) {
    let start = format!(
        "rm -f /run/lock-held; cat > /run/hold <<'E'\n{HOLDER}\nE\nsetsid perl /run/hold {seconds} </dev/null >/dev/null 2>&1 &"
    );
    host.sh(&start).unwrap();
    wait("the lock", || host.sh("test -e /run/lock-held").is_ok());
}

pub fn apt_is_locked(site: &Site<'_>) {
    let host = site.bad();
    let play =
        |seconds: u32| format!("{TASKS}    - {{name: get, apt: {{name: plain, lock_timeout: {seconds}}}}}\n");
    hold_lock(&host, 600);
    let run = site.run(&play(2), &[]);
    let holder = host.sh("pgrep -f ^unattended-upgrade").unwrap();
    host.sh(&format!("kill {holder}")).unwrap();
    let said = failure(&run, "h1", "get");
    let process = format!("process {} (unattended-upgrade", holder.trim());
    says(&said, &[&process, "/var/lib/dpkg/lock-frontend", "within 2 s", "lock_timeout"]);
    assert_eq!(state(&host, "plain"), "");
    others_go_on(&run, "get");
    // One that lets go in time is waited for.
    hold_lock(&host, 3);
    succeeds(&site.run(&play(60), &[]));
    assert_eq!(state(&host, "plain"), "install ok installed");
    purge(site, "plain");
}

const SLOW: &str = "    - {name: get, apt: {name: slow}}\n    - {name: last, command: id -un}\n";

/// Begins to install the slow package, and waits until dpkg is at it on h1. h2 is quick.
fn installing(site: &Site<'_>) -> Background {
    site.good().sh("touch /run/slow-quick").unwrap();
    let run = site.start(&format!("{TASKS}{SLOW}"), &[]);
    wait("the transaction", || site.bad().sh("test -e /run/slow-begun").is_ok());
    run
}

pub fn a_connection_that_drops_while_apt_works(site: &Site<'_>) {
    let host = site.bad();
    let run = installing(site);
    host.drop_connections();
    assert!(host.sh("test -e /run/slow-ended").is_err(), "it ended before the connection dropped");
    let run = run.end();
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    others_go_on(&run, "last");
    assert_eq!(state(&site.good(), "slow"), "install ok installed");
    let recap = run.events.iter().rev().find(|event| event["event"] == "recap").unwrap();
    assert_eq!(recap["left_running"]["h1"], "get", "{recap}");
    // At once: the next run waits for what still goes on, and says so.
    let again = site.run(&format!("{TASKS}{SLOW}"), &[]);
    succeeds(&again);
    says(&warnings(&again, "h1"), &["waiting for run", "still at work on this host"]);
    assert_eq!(task(&again, "h1", "get")["status"], "ok", "the first run had installed it");
    assert_eq!(state(&host, "slow"), "install ok installed");
    others_go_on(&again, "last");
    purge(site, "slow");
}

pub fn an_agent_that_is_killed_while_apt_works(site: &Site<'_>) {
    let host = site.bad();
    let run = installing(site);
    kill_agent(&host);
    let run = run.end();
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    others_go_on(&run, "last");
    assert_eq!(state(&site.good(), "slow"), "install ok installed");
    let unit = host.sh("systemctl list-units --no-legend --plain 'debark-apt-*.scope'").unwrap();
    assert!(unit.contains("debark-apt-"), "the transaction goes on in a unit of its own: {unit:?}");
    let again = site.run(&format!("{TASKS}{SLOW}"), &[]);
    succeeds(&again);
    others_go_on(&again, "last");
    says(&warnings(&again, "h1"), &["get: ", "an earlier run had begun", "has ended well"]);
    assert_eq!(state(&host, "slow"), "install ok installed");
    assert_eq!(host.sh("cat /run/slow-ended; ls /run/debark").unwrap(), "ended\n");
    purge(site, "slow");
}

pub fn an_interrupted_dpkg_is_repaired(site: &Site<'_>) {
    let host = site.bad();
    let cut = format!("{TASKS}    - {{name: get, apt: {{name: cut}}}}\n");
    site.good().sh(": > /run/cut-once").unwrap();
    let run = site.run(&cut, &[]);
    says(&failure(&run, "h1", "get"), &["apt-get install cut"]);
    others_go_on(&run, "get");
    assert_ne!(state(&host, "cut"), "install ok installed");
    // Another package as well: dpkg has to be mended before it can do anything.
    let run = site.run(&format!("{TASKS}    - {{name: get, apt: {{name: plain}}}}\n"), &[]);
    succeeds(&run);
    says(&warnings(&run, "h1"), &["dpkg had been interrupted; repaired", "cut"]);
    assert_eq!(state(&host, "cut"), "install ok installed");
    assert_eq!(state(&host, "plain"), "install ok installed");
    // What `dpkg --configure -a` does not mend: to be unpacked again.
    host.sh("sed -i '/^Package: plain$/,/^$/s/^Status: .*/Status: install reinstreq half-installed/' /var/lib/dpkg/status; \
             rm /usr/share/plain/content")
        .unwrap();
    assert_eq!(state(&host, "plain"), "install reinstreq half-installed");
    host.sh("touch /run/slow-quick").unwrap();
    let run = site.run(&format!("{TASKS}    - {{name: get, apt: {{name: [plain, slow]}}}}\n"), &["-l", "h1"]);
    succeeds(&run);
    says(&warnings(&run, "h1"), &["repaired plain"]);
    assert_eq!(state(&host, "plain"), "install ok installed");
    assert_eq!(host.sh("cat /usr/share/plain/content; dpkg --audit").unwrap(), "plain\n");
    purge(site, "cut plain slow");
}

/// What apt says when a disk fills up under dpkg, and what the next run makes of it.
pub fn a_disk_that_fills_up_under_dpkg(site: &Site<'_>) {
    let host = site.bad();
    host.sh("mkdir /usr/share/large && mount -t tmpfs -o size=64k tmpfs /usr/share/large").unwrap();
    let play = format!("{TASKS}    - {{name: get, apt: {{name: large}}}}\n");
    let run = site.run(&play, &[]);
    let left = host.sh("ls -A /usr/share/large; umount /usr/share/large").unwrap();
    let all = failure(&run, "h1", "get") + &task(&run, "h1", "get")["result"].to_string();
    says(&all, &["apt-get install large", "No space left on device"]);
    assert_eq!(left, "", "dpkg takes back what it had unpacked");
    others_go_on(&run, "get");
    succeeds(&site.run(&play, &["-l", "h1"]));
    assert_eq!(state(&host, "large"), "install ok installed");
    purge(site, "large");
}
