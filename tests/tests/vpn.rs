//! Hosts behind a WireGuard gateway: runs through the embedded tunnel, and everything that can go wrong with it.
//!
//! The gateway is wireguard-go in a namespace of its own; the controller's namespace reaches its outside address by UDP
//! and nothing else. All steps share one lab; a step that fails does not keep the others from being tried.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use debark_e2e::{Run, debark_program, lab_options, run_steps};
use debark_lab::{Lab, Options};

use capture::{Capture, astray};

#[path = "vpn/audit.rs"]
mod audit;
#[path = "vpn/capture.rs"]
mod capture;
#[path = "vpn/families.rs"]
mod families;
#[path = "vpn/gateway.rs"]
mod gateway;
#[path = "vpn/hand.rs"]
mod hand;
#[path = "vpn/moves.rs"]
mod moves;
#[path = "vpn/names.rs"]
mod names;
#[path = "vpn/peers.rs"]
mod peers;
#[path = "vpn/sizes.rs"]
mod sizes;

/// A step, and what it is about.
type Step = (&'static str, fn(&Site));

/// A user with nothing: no group, no capability, no device.
const NOBODY: u32 = 65534;
const LOOK: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: look, command: id -un}\n";

struct Site {
    lab: Lab,
    dir: PathBuf,
}

impl Site {
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        let _ = fs::remove_file(&path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        path
    }

    /// The controller's wg-quick file.
    fn config(&self) -> String {
        fs::read_to_string(self.lab.wireguard_path()).unwrap()
    }

    /// The lab's inventory with files that the user may read.
    fn inventory(&self, config: &str) -> String {
        let key = self.write("key", &fs::read_to_string(self.lab.path().join("id_ed25519")).unwrap());
        let known = self.write("known", &fs::read_to_string(self.lab.path().join("known_hosts")).unwrap());
        let config = self.write("wg.conf", config);
        let text = self.lab.inventory(&[]).unwrap();
        [("id_ed25519", &key), ("known_hosts", &known), ("wg.conf", &config)].iter().fold(
            text,
            |text, (name, own)| {
                text.replace(&self.lab.path().join(name).display().to_string(), &own.display().to_string())
            },
        )
    }

    /// debark in the controller's namespace as a user without any rights.
    fn debark(&self) -> Command {
        let mut command = self.lab.controller_command("setpriv");
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--no-new-privs",
            "--bounding-set=-all",
        ]);
        command.arg("--inh-caps=-all").arg("--").arg(self.dir.join("debark"));
        command.current_dir(&self.dir).env("HOME", &self.dir).env("XDG_CACHE_HOME", self.dir.join("cache"));
        command
            .env("TMPDIR", self.dir.join("tmp"))
            .env("LC_ALL", "C.UTF-8")
            .env("DEBARK_AGENT", self.dir.join("agent"));
        command.env_remove("SSH_AUTH_SOCK").env_remove("XDG_RUNTIME_DIR").stdin(Stdio::null());
        command
    }

    fn command(
        &self,
        config: &str,
        change: &dyn Fn(String) -> String,
        playbook: &str,
        flags: &[&str],
    ) -> Command {
        let inventory = self.write("hosts", &change(self.inventory(config)));
        let playbook = self.write("site.yml", playbook);
        let mut command = self.debark();
        command.arg("run").arg("-i").arg(inventory).args(flags).arg(playbook);
        command
    }

    fn run(&self, config: &str, flags: &[&str]) -> Run {
        Run::of(&mut self.command(config, &|text| text, LOOK, flags))
    }

    /// The problem of a run that must not reach h1, as `[kind] message | hint`.
    #[track_caller]
    fn unreachable(&self, config: &str, change: &dyn Fn(String) -> String) -> String {
        let run = Run::of(&mut self.command(config, change, LOOK, &["-l", "h1", "-T", "4"]));
        let code = run.status.code().unwrap_or_default();
        let event = run.events.iter().find(|event| event["event"] == "unreachable");
        let event = event.unwrap_or_else(|| panic!("{}", run.said()));
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        format!("[{} {code}] {} | {}", text("kind"), text("message"), text("hint"))
    }

    fn left_over(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.join("tmp")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[track_caller]
fn succeeds(run: &Run) {
    let lost: Vec<_> = run.events.iter().filter(|event| event["event"] == "unreachable").collect();
    assert!(run.status.success(), "{lost:?} {}", run.said());
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

/// Without a gateway between them there is no way to a host.
fn a_user_without_rights_runs_through_the_tunnel(site: &Site) {
    let run = site.run(&site.config(), &[]);
    succeeds(&run);
    for host in ["h1", "h2"] {
        assert_eq!(run.recap(host, "changed"), Some(1), "{}", run.said());
    }
    assert_eq!(site.left_over(), Vec::<String>::new(), "the socket is gone");
    let direct = |text: String| {
        text.lines().map(|line| line.split(" debark_vpn=").next().unwrap().to_owned() + "\n").collect()
    };
    let said = site.unreachable(&site.config(), &direct);
    says(&said, &["did not answer in time"]);
}

/// The file of the tunnel is sealed, by age and by vault: a run opens it and goes through the tunnel; with a wrong password, or none, it
/// reaches nobody and says which file stays closed.
fn a_sealed_configuration_opens_the_tunnel(site: &Site) {
    let made = Command::new("age-keygen").stderr(Stdio::null()).output().unwrap().stdout;
    let identity = site.write("age.key", &String::from_utf8(made).unwrap());
    let recipient = Command::new("age-keygen").arg("-y").arg(&identity).output().unwrap().stdout;
    let recipient = String::from_utf8(recipient).unwrap();
    site.write("pw", "correct horse\n");
    site.write("wrong", "battery staple\n");
    let other = Command::new("age-keygen").stderr(Stdio::null()).output().unwrap().stdout;
    site.write("other.key", &String::from_utf8(other).unwrap());
    for (seal, open, wrong, words) in [
        (
            ["--recipient", recipient.trim()],
            ["--age-identity", "age.key"],
            ["--age-identity", "other.key"],
            "no known identity opens it",
        ),
        (
            ["--vault-password-file", "pw"],
            ["--vault-password-file", "pw"],
            ["--vault-password-file", "wrong"],
            "wg.conf",
        ),
    ] {
        let sealed = |flags: &[&str]| {
            let mut command =
                site.command(&site.config(), &|text| text, LOOK, &[&["-l", "h1"], flags].concat());
            let mut vault = site.debark();
            let output = vault.args(["vault", "encrypt", "wg.conf"]).args(seal).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let file = fs::read_to_string(site.dir.join("wg.conf")).unwrap();
            assert!(!file.contains("PrivateKey"), "{file}");
            Run::of(&mut command)
        };
        let run = sealed(&open);
        succeeds(&run);
        assert_eq!(run.recap("h1", "changed"), Some(1), "{}", run.said());
        for flags in [&wrong[..], &[]] {
            let run = sealed(flags);
            assert_eq!(run.status.code(), Some(4), "{}", run.said());
            let event = run.events.iter().find(|event| event["event"] == "unreachable").unwrap();
            assert_eq!(event["kind"], "vpn_config", "{event}");
            let said = event.to_string();
            says(&said, &["wg.conf"]);
            if !flags.is_empty() {
                says(&said, &[words]);
            }
        }
    }
    assert_eq!(site.left_over(), Vec::<String>::new(), "nothing of it is in a temporary file");
}

/// The gateway dies in the middle of a run and comes back: the run goes on, and all that left the machine went to it.
fn only_wireguard_leaves_and_a_run_outlives_its_gateway(site: &Site) {
    let capture = Capture::start(site);
    let playbook = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: begin, command: touch /run/begun}\n    \
                    - {name: wait, wait_for: {path: /run/go, timeout: 300}}\n    - {name: end, command: id -un}\n";
    let mut command = site.command(&site.config(), &|text| text, playbook, &["--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let hosts = site.lab.hosts().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    for host in &hosts {
        while host.sh("test -e /run/begun").is_err() {
            assert!(Instant::now() < deadline, "the run does not begin");
            thread::sleep(Duration::from_millis(100));
        }
    }
    site.lab.stop_gateway().unwrap();
    hosts.iter().for_each(|host| drop(host.sh("touch /run/go").unwrap()));
    // What is sent meanwhile is lost, and said again: half a minute is what a run has to survive.
    thread::sleep(Duration::from_secs(30));
    site.lab.start_gateway().unwrap();
    let run = Run::read(child.wait_with_output().unwrap());
    hosts.iter().for_each(|host| drop(host.sh("rm /run/go /run/begun").unwrap()));
    let packets = capture.end();
    succeeds(&run);
    assert!(packets.len() > 50, "{packets:?}");
    let range = site.lab.state().unwrap().range;
    let gateway = format!("10.214.{range}.1");
    let lost: Vec<_> = packets.iter().filter(|line| astray(line, &gateway)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

fn each_failure_has_its_own_words(site: &Site) {
    let config = site.config();
    let line = |name: &str| config.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let with = |name: &str, value: &str| config.replace(&line(name), &format!("{name} = {value}"));
    let same = |text: String| text;
    let other = debark_tunnel::SecretKey::generate();
    let said = site.unreachable(&with("PrivateKey", &other.encoded()), &same);
    says(&said, &["[vpn_handshake 92]", "has not answered the handshake", "`PublicKey` is its key"]);
    let said = site.unreachable(&with("AllowedIPs", "10.99.0.0/24"), &same);
    says(&said, &["[vpn_route 100]", "no peer of the tunnel allows the address", "AllowedIPs"]);
    let said = site.unreachable(&with("Endpoint", "no-such-gateway.invalid:51820"), &same);
    says(&said, &["[vpn_endpoint 76]", "the tunnel's endpoint no-such-gateway.invalid:51820 d", "resolve"]);
    // The gateway gives nobody this address, and forwards nothing of its own to nobody: the peer's side of allowed-ips.
    let said = site.unreachable(&with("Address", "10.215.250.9/32"), &same);
    says(&said, &["[timed_out 4]", "does not answer through the tunnel", "10.215.250.9"]);
    let address = site.lab.host("h1").unwrap().address().to_string();
    let named = |text: String| text.replace(&format!("ansible_host={address} "), "ansible_host=web.corp ");
    let said = site.unreachable(&config, &named);
    says(&said, &["web.corp is a name", "has no `DNS`"]);
    let dns = config.replace("[Peer]", &format!("DNS = {address}\n[Peer]"));
    let said = site.unreachable(&dns, &named);
    // A query that is refused and one that is lost end in different words.
    says(&said, &["[vpn_dns 108]", "name server", "web.corp"]);
    let refused = |text: String| text.replace("ansible_user=root", "ansible_user=root ansible_port=2222");
    let said = site.unreachable(&config, &refused);
    says(&said, &["[refused 4]", ":2222 refuses the connection"]);
    site.lab.stop_gateway().unwrap();
    let said = site.unreachable(&config, &same);
    site.lab.start_gateway().unwrap();
    says(
        &said,
        &["[vpn_down 84]", "is down: its machine says that nothing listens", "start WireGuard there"],
    );
    let said = site.unreachable(&with("PrivateKey", "nonsense"), &same);
    says(&said, &["[vpn_config 4]", "wg.conf:2: `PrivateKey` is no key"]);
    let absent = |text: String| {
        let vpn = text.find("debark_vpn=").unwrap();
        let end = text[vpn..].find('\n').unwrap();
        text.replace(&text[vpn..vpn + end], "debark_vpn=\"{'interface': 'wg77'}\"")
    };
    let said = site.unreachable(&config, &absent);
    says(&said, &["there is no interface wg77"]);
    let elsewhere = |text: String| absent(text).replace("wg77", "lo");
    let said = site.unreachable(&config, &elsewhere);
    says(&said, &["leaves by outside, not by lo"]);
}

fn a_jump_host_is_what_goes_through_the_tunnel(site: &Site) {
    let jump = site.lab.host("h1").unwrap().address();
    let through = |text: String| {
        text.replace("ansible_ssh_common_args='", &format!("ansible_ssh_common_args='-J root@{jump} "))
    };
    let run = Run::of(&mut site.command(&site.config(), &through, LOOK, &["-l", "h2"]));
    succeeds(&run);
    let from = site
        .lab
        .host("h2")
        .unwrap()
        .sh("journalctl -u ssh -o cat --no-pager | grep Accepted | tail -1")
        .unwrap();
    says(&from, &[&format!("from {jump} ")]);
}

fn fifty_hosts_at_once_through_one_tunnel(site: &Site) {
    let h1 = site.lab.host("h1").unwrap();
    // sshd drops strangers at random when more than ten have not yet said who they are.
    h1.sh("echo 'MaxStartups 200' > /etc/ssh/sshd_config.d/many.conf && systemctl reload ssh").unwrap();
    let fifty = |text: String| {
        let line = text.lines().find(|line| line.starts_with("h1 ")).unwrap().to_owned();
        let hosts: String = (1..=50).map(|n| line.replacen("h1 ", &format!("n{n} "), 1) + "\n").collect();
        format!("{hosts}\n[h:children]\nungrouped\n")
    };
    let begun = h1.sh("date '+%Y-%m-%d %H:%M:%S'").unwrap();
    let run = Run::of(&mut site.command(&site.config(), &fifty, LOOK, &["-f", "50"]));
    let accepted =
        h1.sh(&format!("journalctl -u ssh -o cat --since '{}' | grep -c Accepted", begun.trim())).unwrap();
    h1.sh("rm /etc/ssh/sshd_config.d/many.conf && systemctl reload ssh").unwrap();
    succeeds(&run);
    assert_eq!((run.names("changed").len(), run.tasks().len()), (1, 50), "{}", run.said());
    assert_eq!(accepted.trim(), "50");
    // WireGuard knows one place for a key: two tunnels with the same would have taken turns.
    assert!(site.left_over().is_empty(), "{:?}", site.left_over());
}

fn what_check_and_ssh_say(site: &Site) {
    let inventory = site.write("hosts", &site.inventory(&site.config()));
    let output = site.debark().args(["vpn", "check", "-i"]).arg(&inventory).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    says(&text, &["handshake in ", "h1  inside in ", "h2  inside in ", "closed outside"]);
    // The endpoint, and bytes both ways.
    let endpoint = format!("  10.214.{}.1:51820  ", site.lab.state().unwrap().range);
    let peer = text.lines().find(|line| line.contains(&endpoint)).unwrap_or_else(|| panic!("{text}"));
    let bytes = |before: &str| peer.split(before).next().unwrap().rsplit(' ').next().unwrap().parse::<u64>();
    assert!(bytes(" bytes sent").unwrap() > 148 && bytes(" received").unwrap() > 92, "{peer}");
    let output =
        site.debark().args(["ssh", "h2", "-i"]).arg(&inventory).args(["--", "hostname"]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "h2",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn prepared(lab: Lab, dir: &Path) -> Site {
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(dir, open.clone()).unwrap();
    let agent = debark_e2e::workspace().join("target/agent/debark-agent");
    for (from, name) in [(debark_program(), "debark"), (agent, "agent")] {
        fs::copy(from, dir.join(name)).unwrap();
        fs::set_permissions(dir.join(name), open.clone()).unwrap();
    }
    fs::create_dir(dir.join("tmp")).unwrap();
    chown(dir, Some(NOBODY), Some(NOBODY)).unwrap();
    chown(dir.join("tmp"), Some(NOBODY), Some(NOBODY)).unwrap();
    Site { lab, dir: dir.to_owned() }
}

/// Steps that share two hosts behind a gateway.
fn behind_a_gateway(lab: &str, steps: &[Step]) {
    let options = Options { gateway: true, ..lab_options(lab, 2, &[]) };
    let lab = Lab::up(options).unwrap_or_else(|err| panic!("the lab: {err}"));
    let home = tempfile::tempdir().unwrap();
    run_steps(&prepared(lab, home.path()), steps);
}

#[test]
fn through_the_tunnel_and_by_nothing_else() {
    behind_a_gateway(
        "vpn",
        &[
            ("a user without rights", a_user_without_rights_runs_through_the_tunnel),
            ("a gateway that comes back", only_wireguard_leaves_and_a_run_outlives_its_gateway),
            ("failures", each_failure_has_its_own_words),
            ("a sealed configuration", a_sealed_configuration_opens_the_tunnel),
            ("an audit", audit::what_is_open_outside_is_seen),
            ("a jump host", a_jump_host_is_what_goes_through_the_tunnel),
            ("an audit over a jump host", audit::a_jump_host_leads_to_the_evidence),
            ("a host that is down", audit::a_host_that_is_down_shows_nothing),
            ("check and ssh", what_check_and_ssh_say),
            ("a proxy", hand::a_proxy_leads_into_the_tunnel),
            ("a new peer", hand::a_new_peer_has_a_tunnel_of_its_own),
            ("fifty hosts", fifty_hosts_at_once_through_one_tunnel),
        ],
    );
}

#[test]
fn gateways_that_move_narrow_links_several_peers_both_families_and_names() {
    behind_a_gateway(
        "ways",
        &[
            ("a gateway that moves", moves::a_run_follows_its_gateway),
            ("a name that moves", moves::a_run_follows_its_gateways_name),
            ("a narrow path", sizes::what_mtu_says_is_kept),
            ("a narrow link", sizes::a_narrow_link_needs_no_setting),
            ("two gateways", peers::each_host_by_its_own_gateway),
            ("both families", families::either_inside_either_outside),
            ("keepalive", families::a_silent_tunnel_is_kept_alive),
            ("names", names::hosts_are_found_by_the_tunnels_name_server),
        ],
    );
}
