//! Gateways whose outer address changes while a run is in progress.

use std::path::Path;
use std::process::Command;

use super::capture::{Capture, astray};
use super::gateway::{Undo, WAITS, Waiting, at_gateway};
use super::{Site, succeeds};

/// Gives the gateway another address on the outer link instead of the one it has.
fn moved(site: &Site, from: &str, to: &str) {
    at_gateway(site, "ip", &["addr", "del", &format!("{from}/24"), "dev", "outside"]);
    at_gateway(site, "ip", &["addr", "add", &format!("{to}/24"), "dev", "outside"]);
    // It takes from outside only what is for its own address.
    let rule = ["pref", "1", "iif", "outside", "to"];
    at_gateway(site, "ip", &[&["rule", "del"], &rule[..], &[from, "lookup", "local"]].concat());
    at_gateway(site, "ip", &[&["rule", "add"], &rule[..], &[to, "lookup", "local"]].concat());
}

fn addresses(site: &Site) -> (String, String) {
    let range = site.lab.state().unwrap().range;
    (format!("10.214.{range}.1"), format!("10.214.{range}.7"))
}

/// All that left the machine went to the gateway, and some of it to where the gateway is now.
fn all_went_to(packets: &[String], old: &str, new: &str) {
    let lost: Vec<_> = packets.iter().filter(|line| astray(line, old) && astray(line, new)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let there = packets.iter().filter(|line| line.contains(&format!("> {new}.51820"))).count();
    assert!(there > 0, "none went to {new}");
}

/// The tunnel follows what is authentic and comes from elsewhere, though its configuration names the old address.
pub fn a_run_follows_its_gateway(site: &Site) {
    let (old, new) = addresses(site);
    let capture = Capture::start(site);
    let command = site.command(&site.config(), &|text| text, WAITS, &["-l", "h1", "--json"]);
    let run = Waiting::begin(site, command);
    moved(site, &old, &new);
    let _undo = Undo(|| moved(site, &new, &old));
    run.go();
    succeeds(&run.end());
    all_went_to(&capture.end(), &old, &new);
}

/// The same command with a file of its own as /etc/hosts.
fn with_hosts(command: &Command, hosts: &Path) -> Command {
    let mut inner = Command::new("unshare");
    inner.args(["--mount", "sh", "-c", "mount --bind \"$1\" /etc/hosts; shift; exec \"$@\"", "sh"]);
    inner.arg(hosts).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => inner.env(name, value),
            None => inner.env_remove(name),
        };
    }
    inner.current_dir(command.get_current_dir().unwrap()).stdin(std::process::Stdio::null());
    inner
}

/// A gateway that starts anew elsewhere knows nobody whom it could tell: its name has to be resolved again.
pub fn a_run_follows_its_gateways_name(site: &Site) {
    let (old, new) = addresses(site);
    let named = site.config().replace(&format!("Endpoint = {old}:"), "Endpoint = gate.test:");
    let hosts = site.dir.join("hosts.file");
    // In place, as the file is bound over the machine's own.
    let name = |address: &str| {
        std::fs::write(&hosts, format!("127.0.0.1 localhost\n{address} gate.test\n")).unwrap()
    };
    name(&old);
    let capture = Capture::start(site);
    let command = site.command(&named, &|text| text, WAITS, &["-l", "h1", "--json"]);
    let run = Waiting::begin(site, with_hosts(&command, &hosts));
    site.lab.stop_gateway().unwrap();
    moved(site, &old, &new);
    let _undo = Undo(|| moved(site, &new, &old));
    name(&new);
    site.lab.start_gateway().unwrap();
    run.go();
    succeeds(&run.end());
    all_went_to(&capture.end(), &old, &new);
}
