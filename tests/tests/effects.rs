//! What modules do on a real host, and that check mode and diff foretell it.
//!
//! Each step is a list of tasks and a script that looks at the host afterwards. It is run four times: a check, the run, a check
//! again and the run again. What the first check says of each task is what the run then does, with the same diffs; afterwards
//! neither finds anything to do.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::PathBuf;

use debark_e2e::{Outcome, Run, Which, debark, lab};
use debark_lab::{Host, Lab};

struct Site<'a> {
    lab: &'a Lab,
    dir: PathBuf,
    /// What was wrong, of all steps.
    wrong: Vec<String>,
}

/// Tasks, and a script that fails when the host is not as it should be.
struct Step {
    name: &'static str,
    tasks: &'static str,
    verify: &'static str,
    /// Tasks that change something each time, by their names.
    restless: &'static [&'static str],
}

impl Site<'_> {
    fn host(&self) -> Host<'_> {
        self.lab.host("h1").unwrap()
    }

    fn run(&self, flags: &[&str]) -> Run {
        let mut command = debark(self.lab, &self.dir);
        command.args(["run", "-i", "hosts", "-l", "h1", "--diff", "site.yml"]).args(flags);
        Run::of(&mut command)
    }

    fn step(&mut self, step: &Step) {
        let indented: String = step.tasks.lines().map(|line| format!("    {line}\n")).collect();
        fs::write(
            self.dir.join("site.yml"),
            format!("- hosts: all\n  gather_facts: false\n  tasks:\n{indented}"),
        )
        .unwrap();
        let (check, run) = (self.run(&["--check"]), self.run(&[]));
        let mut wrong = Vec::new();
        for (what, one) in [("check", &check), ("run", &run)] {
            if !one.status.success() || !one.noise.is_empty() {
                wrong.push(format!("the {what} failed: {}", one.said()));
            }
        }
        if wrong.is_empty() {
            wrong.extend(unlike(&check, &run));
            if let Err(error) = self.host().sh(&script(step.verify)) {
                wrong.push(format!("the host is not as it should be: {error}"));
            }
            let again = [self.run(&["--check"]), self.run(&[])];
            for (what, again) in ["check", "run"].iter().zip(&again) {
                if !again.status.success() {
                    wrong.push(format!("the second {what} failed: {}", again.said()));
                }
                for (which, outcome) in again.outcomes() {
                    if asks(&outcome) {
                        continue;
                    }
                    if outcome.status != "ok" && !step.restless.contains(&outcome.task.as_str()) {
                        wrong.push(format!(
                            "the second {what} finds {which} {:?} {}",
                            outcome.task, outcome.status
                        ));
                    }
                }
            }
            wrong.extend(unlike(&again[0], &again[1]));
        }
        println!("{}: {}", step.name, if wrong.is_empty() { "ok" } else { "WRONG" });
        wrong.iter().for_each(|line| println!("    {line}"));
        self.wrong.extend(wrong.into_iter().map(|line| format!("{}: {line}", step.name)));
    }
}

/// The commands as a script that ends with the first that fails. What begins with `!` must fail, which `set -e` alone would not
/// see to.
fn script(commands: &str) -> String {
    let mut script = "set -eu\n".to_owned();
    for command in commands.split('\n').flat_map(|line| line.split("; ")) {
        match command.strip_prefix("! ") {
            Some(not) => script.push_str(&format!("if {not}; then exit 9; fi\n")),
            None => script.push_str(&format!("{command}\n")),
        }
    }
    script
}

/// How a task went that a check has to foretell: its status and its diffs. A check does not know the digest of what it has not
/// downloaded.
fn told(outcome: &Outcome) -> (String, String) {
    let diff = match outcome.action.as_str() {
        "get_url" => outcome
            .diff
            .to_string()
            .split("sha1: ")
            .map(|part| part.split_once("\\n").map_or(part, |(_, rest)| rest))
            .collect(),
        _ => outcome.diff.to_string(),
    };
    (outcome.status.clone(), diff)
}

/// A request that a check leaves out, as with Ansible: it may do anything.
fn asks(outcome: &Outcome) -> bool {
    outcome.action == "uri" && outcome.status == "skipped"
}

/// Where check and run differ. Nothing is left out: the host has all that the tasks need before the first of them runs.
fn unlike(check: &Run, run: &Run) -> Vec<String> {
    let (foreseen, done) = (check.outcomes(), run.outcomes());
    let mut wrong = Vec::new();
    let mut places: Vec<&Which> = foreseen.keys().chain(done.keys()).collect();
    places.sort();
    places.dedup();
    for which in places {
        match (foreseen.get(which), done.get(which)) {
            (Some(one), Some(two)) if told(one) == told(two) || asks(one) => {}
            (Some(one), Some(two)) => wrong.push(format!(
                "{which} {:?}: foreseen {} {}, then {} {}",
                one.task, one.status, one.diff, two.status, two.diff
            )),
            (one, two) => wrong.push(format!("{which}: foreseen {}, done {}", one.is_some(), two.is_some())),
        }
    }
    wrong
}

/// Makes what the steps work with: an archive with two versions of `tool`, `app` that needs `dep`, and `solo`; its signature;
/// a server for it on port 8099; a unit, a template unit, and one for users.
const PREPARE: &str = r#"
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null
apt-get install -y -q --no-install-recommends iptables ufw locales gnupg kmod debconf procps cron git >/dev/null
mkdir -p /srv/archive /srv/fragments && cd /srv/archive
make() {
    rm -rf build && mkdir -p build/DEBIAN "build/usr/share/$1"
    echo "$2" > "build/usr/share/$1/version"
    printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Lab <lab@example.com>\nDescription: %s\n%s' \
        "$1" "$2" "$1" "$3" > build/DEBIAN/control
    dpkg-deb --root-owner-group -b build "$1_$2.deb" >/dev/null
    { dpkg-deb -f "$1_$2.deb"; printf 'Filename: ./%s_%s.deb\nSize: %s\nSHA256: %s\n\n' "$1" "$2" \
        "$(stat -c %s "$1_$2.deb")" "$(sha256sum "$1_$2.deb" | cut -d' ' -f1)"; } >> Packages
}
make tool 1 ''
make tool 2 ''
make dep 1 ''
make app 1 'Depends: dep
'
make solo 1 ''
make other 1 ''
rm -r build
printf 'Origin: Lab\nLabel: Lab\nSuite: lab\nDate: %s\nSHA256:\n %s %s Packages\n' "$(date -Ru | sed 's/+0000/UTC/')" \
    "$(sha256sum Packages | cut -d' ' -f1)" "$(stat -c %s Packages)" > Release
export GNUPGHOME=/srv/gnupg
mkdir -p -m 700 $GNUPGHOME
gpg --batch -q --passphrase '' --quick-generate-key 'Lab <lab@example.com>' rsa2048 sign never
gpg --batch -q --yes --clearsign -o InRelease Release
gpg --batch -q --yes --armor --export > /srv/archive/key.asc
gpg --batch -q --yes --export > /srv/key.gpg
gpgconf --kill all
echo one > /srv/fragments/1; echo two > /srv/fragments/2
mkdir -p /srv/tree/sub && echo leaf > /srv/tree/sub/leaf && tar -C /srv -czf /srv/archive/tree.tar.gz tree
git init -q -b main /srv/repo && cd /srv/repo
commit() { echo "$1" > file; git add file; git -c user.name=lab -c user.email=lab@example.com commit -q -m "$1"; }
commit one; git tag v1; commit two
printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' > /etc/systemd/system/web.service
cp /etc/systemd/system/web.service /etc/systemd/system/worker@.service
mkdir -p /etc/systemd/user
printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=default.target\n' > /etc/systemd/user/mine.service
loginctl enable-linger plain
systemctl daemon-reload
# A lab host has no modules of its kernel: this one counts as built in, so that nothing has to be loaded.
mkdir -p "/lib/modules/$(uname -r)"; echo kernel/drivers/block/loop.ko >> "/lib/modules/$(uname -r)/modules.builtin"
systemd-run -q --unit www python3 -m http.server 8099 --bind 127.0.0.1 -d /srv/archive
for try in $(seq 100); do
    python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8099)).close()' 2>/dev/null && exit 0
    sleep 0.3
done
exit 1
"#;

/// From here on apt knows the local archive and nothing else.
const LOCAL_ARCHIVE: &str = r#"
set -eu
mkdir -p /srv/sources
find /etc/apt -name 'sources.list' -o -path '*/sources.list.d/*' -type f | while read -r file; do mv "$file" /srv/sources; done
echo 'deb [trusted=yes] file:/srv/archive ./' > /etc/apt/sources.list.d/local.list
apt-get update -q
"#;

const STEPS: &[Step] = &[
    Step {
        name: "mounts in fstab",
        tasks: "\
- ansible.posix.mount: {path: /mnt/t, src: tmpfs, fstype: tmpfs, opts: 'size=1m', state: present}
",
        verify: "
grep -qx 'tmpfs /mnt/t tmpfs size=1m 0 0' /etc/fstab
! mountpoint -q /mnt/t",
        restless: &[],
    },
    Step {
        name: "mounts",
        tasks: "\
- ansible.posix.mount: {path: /mnt/t, src: tmpfs, fstype: tmpfs, opts: 'size=1m', state: mounted}
- ansible.posix.mount: {path: '/mnt/a b', src: /srv/tree, fstype: none, opts: bind, state: mounted}
- {name: by hand, ansible.posix.mount: {path: /mnt/e, src: tmpfs, fstype: tmpfs, opts: 'size=3m', state: ephemeral}}
",
        verify: "
test \"$(findmnt -no OPTIONS /mnt/t | tr , '\\n' | grep size)\" = size=1024k
test \"$(cat '/mnt/a b/sub/leaf')\" = leaf
grep -qx '/srv/tree /mnt/a.040b none bind 0 0' /etc/fstab
mountpoint -q /mnt/e; ! grep -q /mnt/e /etc/fstab",
        restless: &["by hand"],
    },
    Step {
        name: "mounts that change",
        tasks: "\
- ansible.posix.mount: {path: /mnt/t, src: tmpfs, fstype: tmpfs, opts: 'size=2m', state: mounted}
- ansible.posix.mount: {path: '/mnt/a b', state: unmounted}
- {name: anew, ansible.posix.mount: {path: /mnt/e, state: remounted, opts: 'size=4m'}}
",
        verify: "
grep -qx 'tmpfs /mnt/t tmpfs size=2m 0 0' /etc/fstab
test \"$(findmnt -no OPTIONS /mnt/t | tr , '\\n' | grep size)\" = size=2048k
test \"$(findmnt -no OPTIONS /mnt/e | tr , '\\n' | grep size)\" = size=4096k
! mountpoint -q '/mnt/a b'; grep -q 040b /etc/fstab",
        restless: &["anew"],
    },
    Step {
        name: "mounts that go",
        tasks: "\
- ansible.posix.mount: {path: /mnt/t, state: absent}
- ansible.posix.mount: {path: /mnt/e, state: unmounted}
",
        verify: "
! mountpoint -q /mnt/t; test ! -e /mnt/t; ! mountpoint -q /mnt/e
! grep /mnt/t /etc/fstab",
        restless: &[],
    },
    Step {
        name: "a mount that goes from fstab",
        tasks: "- ansible.posix.mount: {path: '/mnt/a b', state: absent_from_fstab}\n",
        verify: "! grep /mnt /etc/fstab; test -d '/mnt/a b'",
        restless: &[],
    },
    Step {
        name: "kernel modules and settings",
        tasks: "\
- community.general.modprobe: {name: loop, state: present, persistent: present, params: max_loop=8}
- ansible.posix.sysctl: {name: net.ipv4.ip_forward, value: '1', sysctl_file: /etc/sysctl.d/60-lab.conf, reload: true}
",
        verify: "
test \"$(cat /etc/modules-load.d/loop.conf)\" = loop
grep -qx 'options loop max_loop=8' /etc/modprobe.d/loop.conf
test \"$(cat /proc/sys/net/ipv4/ip_forward)\" = 1
grep -qx 'net.ipv4.ip_forward=1' /etc/sysctl.d/60-lab.conf",
        restless: &[],
    },
    Step {
        name: "kernel modules and settings that go",
        tasks: "\
- community.general.modprobe: {name: loop, state: present, persistent: absent}
- ansible.posix.sysctl: {name: net.ipv4.ip_forward, state: absent, sysctl_file: /etc/sysctl.d/60-lab.conf, reload: true}
",
        verify: "
! grep -rqs '^ *loop' /etc/modules-load.d; ! grep -rqs '^options loop' /etc/modprobe.d
! grep -q ip_forward /etc/sysctl.d/60-lab.conf",
        restless: &[],
    },
    Step {
        name: "archives",
        tasks: "\
- slurp: {src: /srv/archive/key.asc}
  register: key
- deb822_repository: {name: by path, uris: 'http://127.0.0.1:8099', suites: ./, signed_by: /srv/key.gpg}
- deb822_repository: {name: inline, uris: 'file:/srv/archive', suites: ./, signed_by: '{{ key.content | b64decode }}'}
- deb822_repository: {name: by URL, uris: 'http://localhost:8099', suites: ./, signed_by: 'http://127.0.0.1:8099/key.asc', types: [deb]}
",
        verify: "
test -s /etc/apt/keyrings/by-url.asc
said=$(apt-get update 2>&1) || { echo \"$said\"; exit 1; }
! echo \"$said\" | grep '^[EW]:'
test \"$(apt-cache policy solo | grep -c 8099)\" = 2
apt-cache policy solo | grep -q 'file:/srv/archive'",
        restless: &[],
    },
    Step {
        name: "archives that go",
        tasks: "\
- deb822_repository: {name: by path, state: absent}
- deb822_repository: {name: inline, state: absent}
- deb822_repository: {name: by URL, state: absent}
",
        verify: "
test -z \"$(ls /etc/apt/sources.list.d | grep -E 'by-path|inline|by-url')\"; test ! -e /etc/apt/keyrings/by-url.asc
apt-get update -q",
        restless: &[],
    },
    Step {
        name: "an archive and its lists",
        tasks: "- apt_repository: {repo: 'deb [trusted=yes] http://127.0.0.1:8099 ./', filename: lab, update_cache: true}\n",
        verify: "apt-cache policy solo | grep -q 8099",
        restless: &[],
    },
    Step {
        name: "an archive that goes with its lists",
        tasks: "\
- apt_repository: {repo: 'deb [trusted=yes] http://127.0.0.1:8099 ./', filename: lab, update_cache: true, state: absent}
- debconf: {name: tzdata, question: tzdata/Areas, vtype: select, value: Europe}
",
        verify: "
! apt-cache policy solo | grep -q 8099
debconf-show tzdata | grep -q 'tzdata/Areas: Europe'",
        restless: &[],
    },
    Step {
        name: "keys for all archives",
        tasks: "\
- apt_key: {url: 'http://127.0.0.1:8099/key.asc', keyring: /etc/apt/trusted.gpg.d/lab.gpg}
- apt_repository: {repo: 'deb http://127.0.0.1:8099 ./', filename: keyed, update_cache: false}
",
        verify: "
said=$(apt-get update 2>&1) || { echo \"$said\"; exit 1; }
! echo \"$said\" | grep '^[EW]:'
apt-cache policy solo | grep -q 8099",
        restless: &[],
    },
    Step {
        name: "keys that go",
        tasks: "\
- apt_key: {file: /srv/archive/key.asc, keyring: /etc/apt/trusted.gpg.d/lab.gpg, state: absent}
- apt_repository: {repo: 'deb http://127.0.0.1:8099 ./', filename: keyed, update_cache: false, state: absent}
",
        verify: "test ! -s /etc/apt/trusted.gpg.d/lab.gpg; apt-get update -q",
        restless: &[],
    },
    Step {
        name: "repositories",
        tasks: "\
- git: {repo: /srv/repo, dest: /opt/clone, version: v1}
- git: {repo: 'file:///srv/repo', dest: /opt/shallow, version: main, depth: 1}
- git: {repo: /srv/repo, dest: /opt/bare.git, bare: true}
",
        verify: "
grep -qx one /opt/clone/file; grep -qx two /opt/shallow/file
test \"$(git -C /opt/shallow rev-list --count HEAD)\" = 1
test \"$(git -C /opt/bare.git show main:file)\" = two",
        restless: &[],
    },
    Step {
        name: "repositories that move on",
        tasks: "\
- git: {repo: /srv/repo, dest: /opt/clone, version: main}
",
        verify: "grep -qx two /opt/clone/file; test -z \"$(git -C /opt/clone status --porcelain)\"",
        restless: &[],
    },
    Step {
        name: "a version of a package",
        tasks: "\
- apt: {name: tool=1}
- apt: {name: [app, solo]}
- apt: {name: other, state: latest, only_upgrade: true}
",
        verify: "
grep -qx 1 /usr/share/tool/version; test ! -e /usr/share/other
test \"$(apt-mark showauto dep)\" = dep",
        restless: &[],
    },
    Step {
        name: "the latest version",
        tasks: "\
- apt: {name: tool, state: latest, only_upgrade: true}
- apt: {deb: /srv/archive/other_1.deb}
- apt: {name: app, state: absent, autoremove: true}
",
        verify: "
grep -qx 2 /usr/share/tool/version; grep -qx 1 /usr/share/other/version
test ! -e /usr/share/app; test ! -e /usr/share/dep",
        restless: &[],
    },
    Step {
        name: "a lower version",
        tasks: "- apt: {name: tool=1, allow_downgrade: true}\n",
        verify: "grep -qx 1 /usr/share/tool/version",
        restless: &[],
    },
    Step {
        name: "an upgrade",
        tasks: "- apt: {upgrade: dist}\n",
        verify: "grep -qx 2 /usr/share/tool/version",
        restless: &[],
    },
    Step {
        name: "what nothing needs",
        tasks: "\
- apt: {update_cache: true, cache_valid_time: 86400}
  register: lists
- assert: {that: [not lists.cache_updated, lists.cache_update_time > 0]}
- apt: {name: [tool, solo, other], state: absent, purge: true}
- apt: {autoremove: true}
",
        verify: "test ! -e /usr/share/tool; test ! -e /usr/share/other",
        restless: &[],
    },
    Step {
        name: "firewall",
        tasks: "\
- community.general.ufw: {rule: allow, port: '22', proto: tcp}
- community.general.ufw: {default: deny, direction: incoming}
- community.general.ufw: {state: enabled}
",
        verify: "
ufw status verbose | grep -q '^Status: active'; ufw status | grep -q '22/tcp *ALLOW'
iptables -S ufw-user-input | grep -q 'dport 22 -j ACCEPT'",
        restless: &[],
    },
    Step {
        name: "firewall that changes",
        tasks: "\
- community.general.ufw: {rule: allow, port: '80', proto: tcp}
- {name: anew, community.general.ufw: {state: reloaded}}
- community.general.ufw: {rule: allow, port: '22', proto: tcp, comment: logins}
",
        verify: "iptables -S ufw-user-input | grep -q 'dport 80 -j ACCEPT'; ufw status | grep -q logins",
        restless: &["anew"],
    },
    Step {
        name: "firewall that goes",
        tasks: "\
- {name: anew, community.general.ufw: {state: reset}}
",
        // ufw names what it keeps by the second, and does not reset twice in one.
        verify: "ufw status | grep -q inactive; ! iptables -S | grep -q 'dport 80'; sleep 1",
        restless: &["anew"],
    },
    Step {
        name: "packet filter",
        tasks: "\
- iptables: {chain: INPUT, protocol: tcp, destination_port: '22', jump: ACCEPT, comment: logins}
- iptables: {chain: INPUT, ctstate: [ESTABLISHED, RELATED], jump: ACCEPT, action: insert}
- iptables: {chain: LOGGING, chain_management: true}
- iptables: {chain: FORWARD, policy: DROP}
- iptables: {chain: INPUT, protocol: udp, destination_port: '53', jump: DROP, state: absent}
",
        verify: "
iptables -S INPUT | grep -q 'dport 22 .*ACCEPT'; iptables -S INPUT | sed -n 2p | grep -q ESTABLISHED
iptables -S | grep -qx -- '-N LOGGING'; iptables -S | grep -qx -- '-P FORWARD DROP'",
        restless: &[],
    },
    Step {
        name: "units",
        tasks: "\
- systemd: {name: web, state: started, enabled: true, daemon_reload: true}
- systemd_service: {name: worker@7, state: started, enabled: true}
- service: {name: cron, state: stopped, enabled: false}
- {name: of a user, systemd: {name: mine, scope: user, state: started, enabled: true}, become: true, become_user: plain, \
environment: {XDG_RUNTIME_DIR: /run/user/1001}}
",
        verify: "
systemctl is-active web worker@7; systemctl is-enabled web worker@7
! systemctl is-active cron; ! systemctl is-enabled cron
runuser -u plain -- env XDG_RUNTIME_DIR=/run/user/1001 systemctl --user is-active mine
runuser -u plain -- env XDG_RUNTIME_DIR=/run/user/1001 systemctl --user is-enabled mine",
        restless: &[],
    },
    Step {
        name: "units that change",
        tasks: "\
- copy: {content: \"[Service]\\nExecStart=/bin/sleep 99999\\n[Install]\\nWantedBy=multi-user.target\\n\", dest: /etc/systemd/system/web.service}
- {name: anew, systemd: {name: web, state: restarted, daemon_reload: true}}
- systemd: {name: worker@7, state: stopped, enabled: false}
- systemd: {name: cron, masked: true}
",
        verify: "
systemctl show -p ExecStart web | grep -q 99999; ! systemctl is-active worker@7; ! systemctl is-enabled worker@7
test \"$(systemctl is-enabled cron)\" = masked",
        restless: &["anew"],
    },
    Step {
        name: "files from elsewhere",
        tasks: "\
- assemble: {src: /srv/fragments, dest: /opt/assembled, mode: '0640'}
- unarchive: {src: /srv/archive/tree.tar.gz, dest: /opt, remote_src: true}
- get_url: {url: 'http://127.0.0.1:8099/key.asc', dest: /opt/key.asc, mode: '0600'}
- uri: {url: 'http://127.0.0.1:8099/Release'}
- uri: {url: 'http://127.0.0.1:8099/Release', dest: /opt/Release, status_code: [200, 304]}
- community.general.locale_gen: {name: de_DE.UTF-8}
- copy: {content: through, dest: /opt/link, follow: true}
- template: {src: template.j2, dest: /opt/template-link, follow: true}
- copy: {content: instead, dest: /opt/replaced, follow: false}
",
        verify: "
test \"$(cat /opt/assembled)\" = \"one
two\"; test \"$(stat -c %a /opt/assembled)\" = 640
grep -qx leaf /opt/tree/sub/leaf; cmp /opt/key.asc /srv/archive/key.asc; cmp /opt/Release /srv/archive/Release
locale -a | grep -qi de_DE.utf8
test -L /opt/link; test \"$(cat /opt/target)\" = through
test -L /opt/template-link; test \"$(cat /opt/template-target)\" = templated
test ! -L /opt/replaced; test \"$(cat /opt/kept)\" = kept",
        restless: &[],
    },
];

const LINKS: &str = "cd /opt; echo old > target; ln -s target link; echo old > template-target; ln -s template-target template-link; \
    echo kept > kept; ln -s kept replaced";

#[test]
fn effects_are_foretold_and_come() {
    let lab = lab("effects", 1, &["python3", "python3-apt"]);
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("hosts"), lab.inventory(&[]).unwrap()).unwrap();
    fs::write(home.path().join("template.j2"), "templated").unwrap();
    let mut site = Site { lab: &lab, dir: home.path().to_owned(), wrong: Vec::new() };
    site.host().sh(PREPARE).unwrap();
    site.host().sh(LINKS).unwrap();
    let only = std::env::var("DEBARK_ONLY").unwrap_or_default();
    for step in STEPS.iter().filter(|step| step.name.contains(&only)) {
        if step.name == "a version of a package" {
            site.host().sh(LOCAL_ARCHIVE).unwrap();
        }
        site.step(step);
    }
    assert!(site.wrong.is_empty(), "{}", site.wrong.join("\n"));
}
