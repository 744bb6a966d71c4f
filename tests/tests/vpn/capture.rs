//! What leaves the controller's namespace, by tcpdump.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Site;
use super::gateway::{at_controller, at_gateway};

/// Whether a packet, as `tcpdump -nnqt` prints it, is anything but a datagram of the tunnel (`IP a.b.c.d.port >
/// a.b.c.d.port: UDP, length n`) or what the link's two ends say of one that came too late (a port is closed).
pub fn astray(line: &str, gateway: &str) -> bool {
    let tunnel = line.contains(&format!("{gateway}.51820")) && line.contains(": UDP, length");
    let closed = line.contains(gateway)
        && line.contains(": ICMP ")
        && line.contains(" udp port ")
        && line.contains(" unreachable");
    !(tunnel || closed || line.is_empty())
}

pub struct Capture(Child, PathBuf);

impl Capture {
    /// One line a packet.
    pub fn start(site: &Site) -> Self {
        Self::with(site, &[])
    }

    /// With what their headers say of their sizes, as [`largest`] reads it.
    pub fn sizes(site: &Site) -> Self {
        Self::with(site, &["-v", "-B", "16384"])
    }

    fn with(site: &Site, flags: &[&str]) -> Self {
        // Packets as a real wire has them: both ends give the link many in one, which is cut up there only if something has to see them.
        at_controller(site, "ip", &["link", "set", "outside", "gso_max_segs", "1"]);
        at_gateway(site, "ip", &["link", "set", "outside", "gso_max_segs", "1"]);
        let path = site.dir.join("packets");
        let mut command = site.lab.controller_command("tcpdump");
        // Immediate, so that the last packets are there when it is told to end; ARP and IPv6's own chatter name no host beyond the
        // link.
        command.args(["-nn", "-q", "-t", "--immediate-mode", "-l", "-i", "outside"]).args(flags);
        command.args(["not arp and not icmp6 and not ip6 multicast"]);
        let log = fs::File::create(site.dir.join("tcpdump.log")).unwrap();
        let child = command.stdout(fs::File::create(&path).unwrap()).stderr(log).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !fs::read_to_string(site.dir.join("tcpdump.log")).unwrap().contains("listening on") {
            assert!(Instant::now() < deadline, "tcpdump does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Self(child, path)
    }

    pub fn end(mut self) -> Vec<String> {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::INT).unwrap();
        self.0.wait().unwrap();
        fs::read_to_string(&self.1).unwrap().lines().map(ToOwned::to_owned).collect()
    }
}

/// How many packets there are, the bytes of the largest with its IP header, and those that are parts of a larger one. Of IPv4 tcpdump prints `(...,
/// offset 0, flags [DF], proto UDP (17), length 1340)`, of IPv6 `(..., next-header UDP (17) payload length: 1460)`.
pub fn largest(lines: &[String]) -> (usize, usize, Vec<&String>) {
    let number = |line: &str, before: &str| -> Option<usize> {
        let rest = line.rsplit_once(before)?.1;
        rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    let size = |line: &str| match line.split_once("payload length: ") {
        Some(_) => number(line, "payload length: ").map(|length| length + 40),
        None => number(line, ", length "),
    };
    let heads: Vec<_> =
        lines.iter().filter(|line| line.starts_with("IP (") || line.starts_with("IP6 (")).collect();
    let most = heads.iter().filter_map(|line| size(line)).max().unwrap_or_default();
    let part = |line: &&&String| {
        let first = line.contains("flags [+") || line.contains("next-header Fragment");
        first || (line.starts_with("IP (") && !line.contains(", offset 0,"))
    };
    let parts = heads.iter().filter(part).copied().collect();
    (heads.len(), most, parts)
}
