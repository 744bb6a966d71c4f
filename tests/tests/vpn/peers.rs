//! Two gateways in one file.

use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use debark_e2e::Run;
use debark_tunnel::SecretKey;

use super::gateway::{Undo, at_gateway};
use super::{LOOK, Site, says, succeeds};

/// A second WireGuard interface beside the lab's gateway, on a port of its own.
struct Second {
    child: Child,
    device: String,
}

const PORT: &str = "51821";

impl Second {
    fn start(site: &Site, key: &SecretKey, controller: &str, inside: &str) -> Self {
        let device = format!("dbt{}", std::process::id());
        let log = std::fs::File::create(site.dir.join("second.log")).unwrap();
        let mut command = site.lab.bridge_command("wireguard-go");
        let child = command.args(["-f", &device]).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let second = Self { child, device };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !site.lab.bridge_command("wg").args(["show", &second.device]).output().unwrap().status.success()
        {
            assert!(Instant::now() < deadline, "wireguard-go does not answer");
            thread::sleep(Duration::from_millis(50));
        }
        let path = site.write("second.key", &key.encoded());
        let set = ["set", &second.device, "listen-port", PORT, "private-key", path.to_str().unwrap()];
        at_gateway(site, "wg", &[&set[..], &["peer", controller, "allowed-ips", inside]].concat());
        at_gateway(site, "ip", &["link", "set", &second.device, "mtu", "1420", "up"]);
        second
    }

    /// Bytes that its peer sent it.
    fn heard(&self, site: &Site) -> u64 {
        let told = at_gateway(site, "wg", &["show", &self.device, "transfer"]);
        told.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The first peer allows the whole network, the second h2 alone: h2 goes by the second, and everything else by the first, in whichever
/// order they stand; one that is down takes its own hosts with it and no others.
pub fn each_host_by_its_own_gateway(site: &Site) {
    let config = site.config();
    let value = |name: &str| {
        let line = config.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once('=').unwrap().1.trim().to_owned()
    };
    let own = SecretKey::parse(&value("PrivateKey")).unwrap().public().to_string();
    let (inside, h2) = (value("Address"), site.lab.host("h2").unwrap().address().to_string());
    let key = SecretKey::generate();
    let second = Second::start(site, &key, &own, &inside);
    // What h2 answers goes back by the second one, and by nothing else.
    let rule = ["pref", "5", "from", &h2, "to", &inside, "lookup", "77"];
    at_gateway(site, "ip", &["route", "add", "default", "dev", &second.device, "table", "77"]);
    at_gateway(site, "ip", &[&["rule", "add"], &rule[..]].concat());
    let _undo = Undo(|| drop(at_gateway(site, "ip", &[&["rule", "del"], &rule[..]].concat())));
    let endpoint = value("Endpoint").replace("51820", PORT);
    let peer = format!("[Peer]\nPublicKey = {}\nAllowedIPs = {h2}/32\nEndpoint = {endpoint}\n", key.public());
    let (interface, first) = config.split_once("[Peer]").unwrap();
    let orders = [format!("{interface}[Peer]{first}\n{peer}"), format!("{interface}{peer}[Peer]{first}")];
    for both in &orders {
        let before = second.heard(site);
        succeeds(&site.run(both, &["-l", "h1"]));
        let after = second.heard(site);
        // A greeting has 148 bytes; keys may be agreed on anew meanwhile.
        assert!(after - before < 1000, "{before} {after}: h1 went by the second");
        let run = site.run(both, &[]);
        succeeds(&run);
        assert_eq!((run.recap("h1", "changed"), run.recap("h2", "changed")), (Some(1), Some(1)));
        assert!(second.heard(site) - after > 3000, "h2 went by the first");
    }
    let elsewhere = |text: String| {
        let h1 = site.lab.host("h1").unwrap().address().to_string();
        text.replace(&format!("ansible_host={h1} "), "ansible_host=192.0.2.9 ")
    };
    let said = site.unreachable(&orders[0], &elsewhere);
    says(&said, &["[vpn_route 100]", "no peer of the tunnel allows the address 192.0.2.9"]);
    site.lab.stop_gateway().unwrap();
    let run = Run::of(&mut site.command(&orders[0], &|text| text, LOOK, &["-T", "4"]));
    site.lab.start_gateway().unwrap();
    assert_eq!((run.status.code(), run.recap("h2", "changed")), (Some(84), Some(1)), "{}", run.said());
    let lost: Vec<_> = run.events.iter().filter(|event| event["event"] == "unreachable").collect();
    assert!(lost.len() == 1 && lost[0]["host"] == "h1" && lost[0]["kind"] == "vpn_down", "{lost:?}");
    says(&lost[0].to_string(), &[&value("Endpoint")]);
}
