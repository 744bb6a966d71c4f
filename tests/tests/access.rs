//! Who a host is and who may log in: host keys recorded and refused, certificates signed, expired and revoked. With the
//! real OpenSSH against a lab host; each refusal has its own words.
//!
//! All steps share one host, one after the other, and each leaves it as it found it.
//!
//! Where each way of not getting in is shown, with its `kind` in events and an exit code of its own:
//!
//! | trouble | kind | test |
//! |---|---|---|
//! | passwords only | `keys_not_taken` | here, `a_host_that_takes_passwords_only` |
//! | unknown, changed, revoked host key | `unknown_host_key`, `changed_host_key`, `revoked_host_key` | here; of a deployment: `release/rules.rs`, `a_changed_host_key` |
//! | expired host certificate | `host_certificate` | here, `a_host_is_known_by_its_certificate` |
//! | expired certificate, revoked key | `expired_certificate`, `revoked_key` | here, `people_log_in_by_certificates_until_these_end` |
//! | wrong WireGuard key | `vpn_handshake`, no answer | `vpn.rs`, `each_failure_has_its_own_words`, as all that follow |
//! | endpoint down | `vpn_down`, nothing listens; `vpn_endpoint` if its name does not resolve | |
//! | wrong allowed-ips, on this side and on the gateway's | `vpn_route`, `timed_out` | |
//! | DNS down; no such name | `vpn_dns`, `vpn_name` | |

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use debark_e2e::{Run, debark, debark_program, lab, on_terminal, run_steps, workspace};
use debark_lab::{Host, Lab};
use serde_json::Value;

const LOOK: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: look, command: id -un}\n";

struct Site<'a> {
    lab: &'a Lab,
    dir: PathBuf,
}

impl Site<'_> {
    fn host(&self) -> Host<'_> {
        self.lab.host("h1").unwrap()
    }

    fn address(&self) -> String {
        self.host().address().to_string()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// An inventory in a directory of its own with its own known_hosts, and a key to log in with.
    fn inventory(&self, known: &str, key: &Path) -> PathBuf {
        self.write("inventory/known_hosts", known);
        let line = format!(
            "h1 ansible_host={} ansible_user=root ansible_ssh_private_key_file={}\n",
            self.address(),
            key.display()
        );
        self.write("inventory/hosts", &line)
    }

    fn own_key(&self) -> PathBuf {
        self.lab.path().join("id_ed25519")
    }

    fn known(&self) -> String {
        fs::read_to_string(self.dir.join("inventory/known_hosts")).unwrap()
    }

    /// The host's key as known_hosts has it: `ADDRESS TYPE BASE64`.
    fn host_line(&self) -> String {
        format!("{} {}\n", self.address(), public(&self.host_key()))
    }

    fn host_key(&self) -> PathBuf {
        self.host().rootfs_path().join("etc/ssh/ssh_host_ed25519_key.pub")
    }

    fn debark(&self, args: &[&str]) -> Output {
        debark(self.lab, &self.dir).args(args).output().unwrap()
    }

    /// It must end with this code; what it said, on both streams.
    #[track_caller]
    fn ends(&self, code: i32, args: &[&str]) -> String {
        let output = self.debark(args);
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        said
    }

    /// A run: it must not reach the host; kind, message and hint in one text.
    #[track_caller]
    fn unreachable(&self, inventory: &Path) -> String {
        let playbook = self.write("site.yml", LOOK);
        let mut command = debark(self.lab, &self.dir);
        let run = Run::of(command.arg("run").arg("-i").arg(inventory).arg(playbook));
        let code = run.status.code().unwrap_or_default();
        let event = run.events.iter().find(|event| event["event"] == "unreachable");
        let event = event.unwrap_or_else(|| panic!("{}", run.said()));
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        format!("[{} {code}] {} | {}", text("kind"), text("message"), text("hint"))
    }

    #[track_caller]
    fn reached(&self, inventory: &Path) {
        let inventory = inventory.display().to_string();
        let said = self.ends(0, &["exec", "h1", "-i", &inventory, "-a", "id -un"]);
        says(&said, &["root"]);
    }

    /// Does something on the host, and has sshd listen anew. It may be started but five times in ten seconds else.
    fn restart(&self, script: &str) {
        let script = format!("{script} && systemctl reset-failed ssh && systemctl restart ssh");
        self.host().sh(&script).unwrap();
    }

    /// Brings certificates to the host, by the role; waits until sshd listens anew.
    #[track_caller]
    fn role(&self, inventory: &str, variables: &str) -> String {
        let playbook = workspace().join("playbooks/certificates.yml").display().to_string();
        let said = self.ends(0, &["run", "-i", inventory, "-e", variables, &playbook]);
        self.restart("sshd -t");
        said
    }

    /// Lines for the host's sshd, ahead of all others, until it is called with none.
    fn sshd(&self, lines: &str) {
        let file = self.host().rootfs_path().join("etc/ssh/sshd_config.d/00-test.conf");
        fs::write(file, lines).unwrap();
        self.restart("sshd -t");
    }
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}

/// `ssh-ed25519 AAAA...`.
fn public(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

fn fingerprint(public: &Path) -> String {
    let output = Command::new("ssh-keygen").arg("-lf").arg(public).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

fn an_unknown_key_is_recorded_only_when_it_is_confirmed(site: &Site<'_>) {
    let text = "# ours\nother.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBvdfVPpTUpUUIqHUeHJKDhXwWkQRiRUzJo7nlU4b7Lw\n";
    let inventory = site.inventory(text, &site.own_key());
    let inventory_text = inventory.display().to_string();
    let print = fingerprint(&site.host_key());
    says(
        &site.unreachable(&inventory),
        &["[unknown_host_key 44]", "is unknown", &print, "debark hosts trust h1"],
    );
    let trust = |more: &[&str], code: i32| {
        site.ends(code, &[&["hosts", "trust", "h1", "-i", &inventory_text][..], more].concat())
    };
    says(&trust(&[], 1), &["no terminal", &print, "--from FILE"]);
    let stranger = site.dir.join("stranger");
    keygen(&stranger);
    let file = stranger.with_extension("pub").display().to_string();
    says(&trust(&["--from", &file], 3), &["does not confirm", &print]);
    says(&trust(&["--sshfp"], 3), &["no SSHFP record", &print]);
    assert_eq!(site.known(), text, "nothing was recorded");
    // What a cloud shows of the first boot, and what the host itself prints for its zone.
    let console = site.write(
        "console",
        &format!("ec2: -----BEGIN SSH HOST KEY KEYS-----\nec2: {} root@h1\n", public(&site.host_key())),
    );
    says(
        &trust(&["--from", &console.display().to_string()], 0),
        &["recorded in", "confirmed by the file", &print],
    );
    assert_eq!(site.known(), format!("{text}{}", site.host_line()));
    site.reached(&inventory);
    says(&trust(&[], 0), &["known already"]);
    let inventory = site.inventory("", &site.own_key());
    let records = site.host().sh("ssh-keygen -r h1 -f /etc/ssh/ssh_host_ed25519_key.pub").unwrap();
    let records = site.write("zone", &records).display().to_string();
    says(&trust(&["--from", &records], 0), &["confirmed by the file"]);
    site.reached(&inventory);
    site.inventory("", &site.own_key());
    says(&trust(&["--yes"], 0), &["not compared with anything"]);
    assert_eq!(site.known(), site.host_line());
    let other = site.dir.join("elsewhere").display().to_string();
    trust(&["--yes", "--known-hosts", &other, "--json"], 0);
    assert_eq!(fs::read_to_string(&other).unwrap(), site.host_line());
}

/// Somebody is shown the fingerprints, and says no or yes.
fn a_person_is_asked_on_a_terminal(site: &Site<'_>) {
    let inventory = site.inventory("", &site.own_key());
    let print = fingerprint(&site.host_key());
    let asked = |answer: &str| {
        let mut command = site.lab.controller_command("timeout");
        command
            .current_dir(&site.dir)
            .env("HOME", &site.dir)
            .env("LC_ALL", "C.UTF-8")
            .env_remove("SSH_AUTH_SOCK");
        let line = format!("exec {} hosts trust h1 -i {}", debark_program().display(), inventory.display());
        let shown = on_terminal(command, &line, &[("[y/N] ", answer)]);
        says(&shown.text, &["h1 (root@", "shows", &print, "record in "]);
        shown
    };
    for no in ["n\n", "\n", "nonsense\n"] {
        let shown = asked(no);
        assert_eq!(shown.code, Some(3), "{}", shown.text);
        says(&shown.text, &["h1: not recorded"]);
        assert_eq!(site.known(), "");
    }
    let shown = asked("yes\n");
    assert_eq!(shown.code, Some(0), "{}", shown.text);
    assert_eq!(site.known(), site.host_line());
    site.reached(&inventory);
}

/// A resolver that validates, and is all of DNS: a signed zone and one that is not, with what `ssh-keygen -r` prints of the host's key and of
/// another. What was signed as another's key and then changed to the host's is forged. `test.` is a zone that unbound answers itself, else.
const RESOLVER: &str = r#"set -e; export DEBIAN_FRONTEND=noninteractive; systemctl mask -q unbound
apt-get update >/dev/null; apt-get install -y --no-install-recommends unbound ldnsutils >/dev/null
mkdir /srv/zones; cd /srv/zones; ssh-keygen -q -t ed25519 -N '' -f other
hex() { ssh-keygen -r x -f "$1" | awk '$5 == 2 { print $6 }'; }
own=$(hex /etc/ssh/ssh_host_ed25519_key.pub); other=$(hex other.pub)
for zone in sealed.test plain.test; do
printf '$ORIGIN %s.\n$TTL 60\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\nns A ADDRESS\n' $zone > $zone
for name in good bad none forged; do echo "$name A ADDRESS" >> $zone; done
printf 'good SSHFP 4 2 %s\nbad SSHFP 4 2 %s\nforged SSHFP 4 2 %s\n' $own $other $other >> $zone; done
key=$(ldns-keygen -a ECDSAP256SHA256 -k sealed.test); ldns-signzone -f sealed sealed.test $key
sed -i "/^forged.*SSHFP[[:blank:]]*4/s/$other/$own/" sealed; [ "$(grep -c $own sealed)" = 2 ]
cat > conf <<END
server:
  interface: ADDRESS
  access-control: 0.0.0.0/0 allow
  do-daemonize: no
  chroot: ""
  username: ""
  pidfile: ""
  local-zone: "test." nodefault
  trust-anchor-file: /srv/zones/$key.key
auth-zone:
  name: sealed.test
  zonefile: /srv/zones/sealed
  for-downstream: no
  fallback-enabled: no
auth-zone:
  name: plain.test
  zonefile: /srv/zones/plain.test
  for-downstream: no
  fallback-enabled: no
END
unbound-checkconf conf >/dev/null
systemd-run -q --unit access-dns unbound -d -c /srv/zones/conf
for i in $(seq 600); do ss -Hlun 'sport = :53' | grep -q . && exit; sleep 0.1; done; exit 1"#;

/// Keys that DNS has are trusted if a resolver that this machine trusts says that the records were signed: nothing else is.
fn dns_confirms_a_key_or_does_not(site: &Site<'_>) {
    let address = site.address();
    site.host().sh(&RESOLVER.replace("ADDRESS", &address)).unwrap();
    let trust = |name: &str, options: &str, code: i32| {
        let inventory = site.inventory("", &site.own_key());
        let text = fs::read_to_string(&inventory).unwrap();
        let named = text.replace(&format!("ansible_host={address}"), &format!("ansible_host={name}"));
        assert_ne!(named, text);
        fs::write(&inventory, named).unwrap();
        let resolv = site.write("resolv.conf", &format!("nameserver {address}\n{options}"));
        // A resolv.conf of its own, in a mount namespace that ends with the command.
        let mut command = site.lab.controller_command("unshare");
        command
            .args(["-m", "sh", "-c", "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"", "sh"])
            .arg(&resolv);
        command.arg(debark_program()).args(["hosts", "trust", "h1", "--sshfp", "-i"]).arg(&inventory);
        command
            .current_dir(&site.dir)
            .env("HOME", &site.dir)
            .env("LC_ALL", "C.UTF-8")
            .env_remove("SSH_AUTH_SOCK");
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        said
    };
    let print = fingerprint(&site.host_key());
    let trusting = "options edns0 trust-ad\n";
    for name in ["bad.sealed.test", "none.sealed.test", "forged.sealed.test", "none.plain.test"] {
        says(&trust(name, trusting, 3), &["no SSHFP record in DNS confirms", &print]);
        assert_eq!(site.known(), "", "{name}");
    }
    for (name, options) in [("good.plain.test", trusting), ("good.sealed.test", "")] {
        says(&trust(name, options, 3), &["not protected by DNSSEC", &print, "trust-ad"]);
        assert_eq!(site.known(), "", "{name}");
    }
    says(&trust("good.sealed.test", trusting, 0), &["recorded in", "confirmed by DNS", &print]);
    assert_eq!(site.known(), format!("good.sealed.test {}\n", public(&site.host_key())));
    site.host().sh("systemctl stop access-dns; rm -r /srv/zones").unwrap();
}

fn a_changed_key_is_refused_by_every_command(site: &Site<'_>) {
    let other = site.dir.join("other");
    keygen(&other);
    let other = other.with_extension("pub");
    let line = format!("# of another host\nweb,{} {}\n", site.address(), public(&other));
    let inventory = site.inventory(&line, &site.own_key());
    let text = inventory.display().to_string();
    let place = format!("{}:2", site.dir.join("inventory/known_hosts").display());
    let (old, new) = (fingerprint(&other), fingerprint(&site.host_key()));
    let parts = ["has changed", &place, &old, &new];
    let said = site.unreachable(&inventory);
    says(&said, &parts);
    says(&said, &["[changed_host_key 52]", "hosts trust --replace"]);
    says(&site.ends(52, &["exec", "h1", "-i", &text, "-a", "id"]), &parts);
    says(&site.ends(52, &["ssh", "h1", "-i", &text, "--", "id"]), &parts);
    says(&site.ends(3, &["hosts", "trust", "h1", "-i", &text, "--yes"]), &parts);
    assert_eq!(site.known(), line);
    let said = site.ends(0, &["hosts", "trust", "h1", "-i", &text, "--yes", "--replace", "--json"]);
    let event: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&event["replaced"][0]["fingerprint"], &event["keys"][0]["fingerprint"]),
        (&old.into(), &new.into())
    );
    let rest = format!("# of another host\nweb {}\n", public(&other));
    assert_eq!(site.known(), format!("{rest}{}", site.host_line()));
    site.reached(&inventory);
}

fn a_revoked_host_key_is_refused(site: &Site<'_>) {
    let line = format!("@revoked * {}\n{}", public(&site.host_key()), site.host_line());
    let inventory = site.inventory(&line, &site.own_key());
    let text = inventory.display().to_string();
    let place = format!("{}:1", site.dir.join("inventory/known_hosts").display());
    let print = fingerprint(&site.host_key());
    says(&site.unreachable(&inventory), &["[revoked_host_key 60]", "is revoked by", &place, &print]);
    says(
        &site.ends(3, &["hosts", "trust", "h1", "-i", &text, "--yes", "--replace"]),
        &["is revoked by", &place],
    );
    assert_eq!(site.known(), line);
}

fn a_host_is_known_by_its_certificate(site: &Site<'_>) {
    let inventory = site.inventory(&site.host_line(), &site.own_key());
    let text = inventory.display().to_string();
    let ca = site.dir.join("ca/ca").display().to_string();
    says(
        &site.ends(0, &["ssh-ca", "init", "--no-passphrase", "--ca", &ca]),
        &["@cert-authority * ssh-ed25519"],
    );
    says(&site.ends(1, &["ssh-ca", "init", "--no-passphrase", "--ca", &ca]), &["there is a CA already"]);
    let certificates = site.dir.join("certificates").display().to_string();
    let sign = ["ssh-ca", "sign-host", "h1", "-i", &text, "--ca", &ca, "-o", &certificates];
    says(&site.ends(0, &sign), &["h1-cert.pub: h1 for h1, ", "serial 1"]);
    let variable = format!("ssh_certificates_host_directory={certificates}");
    site.role(&text, &variable);
    let again = site.role(&text, &variable);
    says(&again, &["changed 0"]);
    let trusting = format!("@cert-authority * {}\n", public(Path::new(&format!("{ca}.pub"))));
    let inventory = site.inventory(&trusting, &site.own_key());
    site.reached(&inventory);
    says(&site.ends(0, &["hosts", "trust", "h1", "-i", &text]), &["known already"]);
    assert_eq!(site.known(), trusting);
    // One that is over: signed by ssh-keygen itself, as debark signs nothing for the past.
    let public_key = site.write("expired.pub", &fs::read_to_string(site.host_key()).unwrap());
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-s", &ca, "-h", "-I", "h1", "-n", &site.address(), "-V", "20200101:20200102"]);
    assert!(command.arg(&public_key).status().unwrap().success());
    let place = site.host().rootfs_path().join("etc/ssh/ssh_host_ed25519_key-cert.pub");
    fs::copy(site.dir.join("expired-cert.pub"), place).unwrap();
    site.restart("sshd -t");
    says(&site.unreachable(&inventory), &["[host_certificate 68]", "does not hold", "expired", "sign-host"]);
    says(&site.ends(3, &["hosts", "trust", "h1", "-i", &text, "--yes"]), &["expired"]);
    site.restart("rm /etc/ssh/sshd_config.d/20-certificates.conf");
}

fn people_log_in_by_certificates_until_these_end(site: &Site<'_>) {
    let inventory = site.inventory(&site.host_line(), &site.own_key());
    let text = inventory.display().to_string();
    let ca = site.dir.join("people/ca").display().to_string();
    site.ends(0, &["ssh-ca", "init", "--no-passphrase", "--ca", &ca]);
    // A list of nothing yet, so that the role can bring it.
    site.ends(0, &["ssh-ca", "revoke", "--ca", &ca, "--serial", "99999"]);
    let vars = serde_json::json!({
        "ssh_certificates_user_ca": fs::read_to_string(format!("{ca}.pub")).unwrap(),
        "ssh_certificates_revoked": format!("{ca}.krl"),
    })
    .to_string();
    site.role(&text, &vars);
    let key = site.dir.join("alice");
    keygen(&key);
    let public_key = key.with_extension("pub").display().to_string();
    let sign = ["ssh-ca", "sign-user", &public_key, "--identity", "alice@example.org", "--ca", &ca];
    // For somebody else than root first.
    site.ends(0, &[&sign[..], &["--principals", "deploy"]].concat());
    let inventory = site.inventory(&site.host_line(), &key);
    says(&site.unreachable(&inventory), &["[denied 20]", "is for deploy, not for root"]);
    let said = site
        .ends(0, &[&sign[..], &["--principals", "deploy,root", "--source-address", "0.0.0.0/0"]].concat());
    says(&said, &["alice@example.org for deploy, root", "serial 2"]);
    site.reached(&inventory);
    let log =
        site.host().sh("journalctl -u ssh -o cat --no-pager | grep 'Accepted publickey' | tail -1").unwrap();
    says(&log, &["alice@example.org", "serial 2"]);
    let certificate = site.dir.join("alice-cert.pub").display().to_string();
    says(
        &site.ends(0, &["ssh-ca", "show", &certificate]),
        &["alice@example.org", "serial      2", "source-address=0.0.0.0/0"],
    );
    says(
        &site.ends(0, &["ssh-ca", "list", "--ca", &ca]),
        &["    1  ", "    2  ", "user alice@example.org for deploy, root"],
    );
    let mut command = debark(site.lab, &site.dir);
    command.env("DEBARK_SSH_CA", &ca);
    site.ends(0, &["ssh-ca", "revoke", &certificate, "--ca", &ca, "--reason", "a laptop was lost"]);
    // The lab's own key, as alice's is of no use from here on.
    let own = site.inventory(&site.host_line(), &site.own_key()).display().to_string();
    site.role(&own, &vars);
    let inventory = site.inventory(&site.host_line(), &key);
    let run = Run::of(command.args(["exec", "h1", "-i", &inventory.display().to_string(), "-a", "id"]));
    assert_eq!(run.status.code(), Some(36), "{}", run.said());
    let event = run.events.iter().find(|event| event["event"] == "unreachable").unwrap();
    assert_eq!(event["kind"], "revoked_key", "{event}");
    says(event["message"].as_str().unwrap(), &["alice-cert.pub (serial 2) is revoked by", "ca.krl"]);
    // Whoever has no list is refused all the same, and is told less.
    says(&site.unreachable(&inventory), &["[denied 20]", "refuses the login"]);
    // A certificate that is over.
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-s", &ca, "-I", "bob@example.org", "-n", "root", "-V", "20200101:20200102"]);
    let key = site.dir.join("bob");
    keygen(&key);
    assert!(command.arg(key.with_extension("pub")).env("TZ", "UTC").status().unwrap().success());
    let inventory = site.inventory(&site.host_line(), &key);
    says(
        &site.unreachable(&inventory),
        &[
            "[expired_certificate 28]",
            "bob-cert.pub of bob@example.org expired at 2020-01-02 00:00:00 UTC",
            "sign-user",
        ],
    );
    site.restart("rm /etc/ssh/sshd_config.d/20-certificates.conf");
}

/// Of the CA's key only the public half is there: an agent signs, and without one it is said what is missing.
fn an_agent_holds_the_key_of_the_ca(site: &Site<'_>) {
    let inventory = site.inventory(&site.host_line(), &site.own_key()).display().to_string();
    let file = site.dir.join("held/ca");
    let ca = file.display().to_string();
    site.ends(0, &["ssh-ca", "init", "--no-passphrase", "--ca", &ca]);
    let vars =
        serde_json::json!({ "ssh_certificates_user_ca": fs::read_to_string(format!("{ca}.pub")).unwrap() });
    site.role(&inventory, &vars.to_string());
    let socket = site.dir.join("agent");
    let mut agent = Command::new("ssh-agent");
    let mut agent = agent.args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !socket.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let added = Command::new("ssh-add").arg("-q").arg(&file).env("SSH_AUTH_SOCK", &socket).status().unwrap();
    fs::remove_file(&file).unwrap();
    let key = site.dir.join("carol");
    keygen(&key);
    let public_key = key.with_extension("pub").display().to_string();
    let sign = [
        "ssh-ca",
        "sign-user",
        &public_key,
        "--identity",
        "carol@example.org",
        "--principals",
        "root",
        "--ca",
        &ca,
    ];
    let refused = site.debark(&sign);
    let signed = debark(site.lab, &site.dir).args(sign).env("SSH_AUTH_SOCK", &socket).output();
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(added.success());
    says(&String::from_utf8_lossy(&refused.stderr), &["the agent has to hold the CA's key"]);
    let signed = signed.unwrap();
    assert!(
        signed.status.success() && !refused.status.success(),
        "{}",
        String::from_utf8_lossy(&signed.stderr)
    );
    site.reached(&site.inventory(&site.host_line(), &key));
    site.restart("rm /etc/ssh/sshd_config.d/20-certificates.conf");
}

fn a_host_that_takes_passwords_only(site: &Site<'_>) {
    let inventory = site.inventory(&site.host_line(), &site.own_key());
    site.sshd("PubkeyAuthentication no\nPasswordAuthentication yes\nAuthenticationMethods any\n");
    let said = catch_unwind(AssertUnwindSafe(|| site.unreachable(&inventory)));
    site.sshd("");
    let said = said.unwrap_or_else(|cause| std::panic::resume_unwind(cause));
    says(&said, &["[keys_not_taken 12]", "takes no keys", "password", "with keys only"]);
}

#[test]
fn who_hosts_are_and_who_may_log_in() {
    let lab = lab("access", 1, &[]);
    let home = tempfile::tempdir().unwrap();
    let site = Site { lab: &lab, dir: home.path().to_owned() };
    type Step = (&'static str, fn(&Site<'_>));
    let steps: &[Step] = &[
        ("unknown keys", an_unknown_key_is_recorded_only_when_it_is_confirmed),
        ("a person is asked", a_person_is_asked_on_a_terminal),
        ("DNS", dns_confirms_a_key_or_does_not),
        ("changed keys", a_changed_key_is_refused_by_every_command),
        ("revoked host keys", a_revoked_host_key_is_refused),
        ("certificates of hosts", a_host_is_known_by_its_certificate),
        ("certificates of people", people_log_in_by_certificates_until_these_end),
        ("a CA in an agent", an_agent_holds_the_key_of_the_ca),
        ("passwords only", a_host_that_takes_passwords_only),
    ];
    run_steps(&site, steps);
}
