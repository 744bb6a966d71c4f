//! The shipped role `wireguard_gateway` makes a real gateway of a host, and `debark vpn new-peer` the files of who comes through it.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use debark_e2e::{Run, debark, inventory_of, lab, workspace};
use debark_lab::Lab;
use serde_json::json;

const LOOK: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: look, command: id -un}\n";

/// What a wg-quick file says of a name.
fn said(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
}

/// h1 with two peers, each in its own way: one in the inventory, one in the role's list.
fn provision(lab: &Lab, dir: &Path, peers: &[String; 2], private: &str) -> Run {
    let [one, other] = peers;
    let ci = format!(
        "ci wireguard_address=10.9.0.7/32 wireguard_public_key={} wireguard_preshared_key={}",
        said(one, "PublicKey"),
        said(one, "PresharedKey")
    );
    let inventory = inventory_of(lab, &lab.host("h1").unwrap(), "h1", &["gateway"]);
    fs::write(dir.join("hosts"), format!("{inventory}\n[wireguard_peers]\n{ci}\n")).unwrap();
    let vars = json!({
        "wireguard_gateway_private_key": private,
        "wireguard_gateway_networks": [format!("{}/32", lab.host("h2").unwrap().address())],
        "wireguard_gateway_masquerade": true,
        // Not every kernel that tests run on has WireGuard.
        "wireguard_gateway_userspace": true,
        "wireguard_gateway_peers": [{"name": "laptop", "public_key": said(other, "PublicKey"),
            "preshared_key": said(other, "PresharedKey"), "address": "10.9.0.8/32"}],
    });
    fs::write(dir.join("vars.json"), vars.to_string()).unwrap();
    let playbooks = workspace().join("playbooks");
    let mut command = debark(lab, dir);
    command.args(["run", "-i", "hosts", "-e", "@vars.json"]).arg(playbooks.join("gateway.yml"));
    Run::of(command.env("ANSIBLE_ROLES_PATH", playbooks.join("roles")))
}

/// A run on a host through the tunnel of that file.
fn through(lab: &Lab, dir: &Path, config: &str, host: &str) -> Run {
    let inventory = inventory_of(lab, &lab.host(host).unwrap(), host, &[]);
    let vpn = format!("{host} debark_vpn=\"{{'wireguard': {{'config': '{config}'}}}}\"\n");
    fs::write(dir.join("behind"), inventory + &vpn).unwrap();
    fs::write(dir.join("look.yml"), LOOK).unwrap();
    Run::of(debark(lab, dir).args(["run", "-i", "behind", "-T", "6", "look.yml"]))
}

#[test]
fn the_role_makes_a_gateway_that_new_peers_come_through() {
    let lab = lab("gwrole", 3, &[]);
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let (gateway, behind) = (lab.host("h1").unwrap(), lab.host("h2").unwrap());
    let key = debark_tunnel::SecretKey::generate();
    let (public, endpoint) = (key.public().to_string(), format!("{}:51820", gateway.address()));
    let [a, b, c, _] = gateway.address().octets();
    let networks = format!("{a}.{b}.{c}.0/24");
    let peers = [("ci", "10.9.0.7/32"), ("laptop", "10.9.0.8/32")].map(|(name, address)| {
        let mut command = debark(&lab, dir);
        command.args(["vpn", "new-peer", name, "--address", address, "--gateway-key", &public]);
        let made = command.args(["--endpoint", &endpoint, "--allowed-ips", &networks]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::read_to_string(dir.join(format!("{name}.peer.conf"))).unwrap()
    });
    let first = provision(&lab, dir, &peers, &key.encoded());
    assert!(first.status.success(), "{}", first.said());
    let second = provision(&lab, dir, &peers, &key.encoded());
    assert!(second.status.success() && second.names("changed").is_empty(), "{}", second.said());

    for config in ["ci.conf", "laptop.conf"] {
        let run = through(&lab, dir, config, "h2");
        assert!(run.status.success(), "{config}: {}", run.said());
        // sshd's words take a moment to get into the journal.
        let from = format!("Accepted publickey for root from {} port", gateway.address());
        behind
            .sh(&format!(
                "for n in $(seq 100); do journalctl -u ssh -o cat --no-pager | grep -q '{from}' && exit; sleep 0.1; done; exit 1"
            ))
            .unwrap();
    }
    // The gateway forwards to what is declared, whatever a peer asks for.
    let run = through(&lab, dir, "ci.conf", "h3");
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    let lost = run.events.iter().find(|event| event["event"] == "unreachable").unwrap();
    assert!(lost["message"].as_str().unwrap().contains("does not answer through the tunnel"), "{lost}");
    // Its file is root's alone, and survives a boot.
    let mode =
        gateway.sh("stat -c '%a %U' /etc/wireguard/wg0.conf; systemctl is-enabled wg-quick@wg0").unwrap();
    assert_eq!(mode, "600 root\nenabled\n");
}
