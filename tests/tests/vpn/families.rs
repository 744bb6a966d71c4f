//! IPv6 inside and outside of the tunnel, with a preshared key; and what keeps a tunnel alive.

use std::thread;
use std::time::{Duration, Instant};

use debark_tunnel::SecretKey;

use super::capture::Capture;
use super::gateway::{Undo, WAITS, Waiting, at_controller, at_gateway, device};
use super::{Site, says, sizes, succeeds};

/// h1 by its IPv6 address, as the inventory and the known keys have it.
fn by_six(site: &Site, text: &str) -> String {
    let h1 = site.lab.host("h1").unwrap().address().to_string();
    let known = std::fs::read_to_string(site.lab.path().join("known_hosts")).unwrap();
    site.write("known", &known.replace(&h1, "fd13::11"));
    text.replace(&format!("ansible_host={h1} "), "ansible_host=fd13::11 ")
}

/// The gateway gets IPv6 on all its sides, and a key more for this side.
pub fn either_inside_either_outside(site: &Site) {
    let config = site.config();
    let line = |name: &str| config.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let own = SecretKey::parse(line("PrivateKey").split_once('=').unwrap().1).unwrap().public().to_string();
    let (dev, inside) = (device(site), line("Address").split_once(" = ").unwrap().1.to_owned());
    at_gateway(site, "sysctl", &["-qw", "net.ipv6.conf.all.forwarding=1"]);
    for (address, dev) in [("fd13::1/64", "lab0"), ("fd14::1/64", "outside"), ("fd15::1/64", &dev)] {
        at_gateway(site, "ip", &["-6", "addr", "add", address, "dev", dev, "nodad"]);
    }
    at_controller(site, "ip", &["-6", "addr", "add", "fd14::2/64", "dev", "outside", "nodad"]);
    let h1 = site.lab.host("h1").unwrap();
    h1.sh("ip -6 addr add fd13::11/64 dev eth0 nodad; ip -6 route add default via fd13::1").unwrap();
    let shared = SecretKey::generate();
    let path = site.write("shared.key", &shared.encoded());
    let allowed = format!("{inside},fd15::2/128");
    let peer = ["set", &dev, "peer", &own];
    let with = ["preshared-key", path.to_str().unwrap(), "allowed-ips", &allowed];
    at_gateway(site, "wg", &[&peer[..], &with[..]].concat());
    let without = ["preshared-key", "/dev/null", "allowed-ips", &inside];
    let _undo = Undo(|| drop(at_gateway(site, "wg", &[&peer[..], &without[..]].concat())));

    let both = config
        .replace(&line("Address"), &format!("{}, fd15::2/128", line("Address")))
        .replace(&line("AllowedIPs"), &format!("{}, fd13::/64, fd15::/64", line("AllowedIPs")));
    let shared =
        |text: &str| text.replace("[Peer]", &format!("[Peer]\nPresharedKey = {}", *shared.encoded()));
    let six = both.replace(&line("Endpoint"), "Endpoint = [fd14::1]:51820");
    let said = site.unreachable(&both, &|text| text);
    says(&said, &["[vpn_handshake 92]", "`PresharedKey` the same on both sides"]);
    let change = |text: String| by_six(site, &text);
    let (four, six) = (shared(&both), shared(&six));
    // Inside by IPv6; outside by IPv4, then by IPv6: 60 and 80 bytes around packets of 1420.
    let (_, most) = sizes::there_and_back(site, &four, &change);
    assert!((1400..=1480).contains(&most), "{most}");
    let (_, most) = sizes::there_and_back(site, &six, &change);
    assert!((1420..=1500).contains(&most), "{most}");
    let from = h1.sh("journalctl -u ssh -o cat --no-pager | grep Accepted | tail -1").unwrap();
    says(&from, &["from fd15::2 "]);
    // IPv4 inside IPv6.
    let run = site.run(&six, &["-l", "h1"]);
    succeeds(&run);
    // Without an address of IPv6 the tunnel says so, and nothing is tried.
    let one = shared(&config.replace(&line("AllowedIPs"), &format!("{}, fd13::/64", line("AllowedIPs"))));
    let said = site.unreachable(&one, &change);
    says(&said, &["[vpn_route 100]", "the tunnel has no address of the family of fd13::11"]);
}

/// Nothing is said in a run that waits; the gateway hears of it nevertheless, as often as the file says.
pub fn a_silent_tunnel_is_kept_alive(site: &Site) {
    let keepalives = |setting: &str| {
        let config = site.config();
        let line = config.lines().find(|line| line.starts_with("PersistentKeepalive")).unwrap().to_owned();
        let command =
            site.command(&config.replace(&line, setting), &|text| text, WAITS, &["-l", "h1", "--json"]);
        let run = Waiting::begin(site, command);
        // What the beginning made them say is over.
        thread::sleep(Duration::from_secs(3));
        let capture = Capture::start(site);
        let begun = Instant::now();
        thread::sleep(Duration::from_secs(8));
        let packets = capture.end();
        let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
        run.go();
        succeeds(&run.end());
        let range = site.lab.state().unwrap().range;
        let sent = format!(" > 10.214.{range}.1.51820: UDP, length 32");
        (packets.iter().filter(|line| line.ends_with(&sent)).count(), seconds)
    };
    let (often, seconds) = keepalives("PersistentKeepalive = 1");
    assert!((5..=seconds + 2).contains(&often), "{often} in {seconds} s");
    // WireGuard's own answer to what was heard may be among them.
    let (seldom, _) = keepalives("");
    assert!(seldom <= 2, "{seldom}");
}
