//! Links that are narrower than usual: large transfers go through, and no packet is larger than the link or cut into parts.

use std::fs;

use debark_e2e::Run;

use super::capture::{Capture, largest};
use super::gateway::{Undo, at_controller, at_gateway};
use super::{Site, succeeds};

const SIZE: usize = 6 << 20;
const THERE_AND_BACK: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: there, copy: {src: big, dest: /root/big}}\n    \
                              - {name: back, fetch: {src: /root/big, dest: fetched/, flat: true}}\n";

/// A large file goes to h1 and comes back. How many packets there were outside, and the size of the largest; none was cut.
pub fn there_and_back(site: &Site, config: &str, change: &dyn Fn(String) -> String) -> (usize, usize) {
    let bytes: Vec<u8> = (0..SIZE / 4)
        .flat_map(|number: usize| (number as u32).wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    fs::write(site.dir.join("big"), &bytes).unwrap();
    let _ = fs::remove_dir_all(site.dir.join("fetched"));
    let capture = Capture::sizes(site);
    let run = Run::of(&mut site.command(config, change, THERE_AND_BACK, &["-l", "h1"]));
    let packets = capture.end();
    site.lab.host("h1").unwrap().sh("rm -f /root/big").unwrap();
    succeeds(&run);
    assert!(fs::read(site.dir.join("fetched/big")).unwrap() == bytes, "what came back is something else");
    let (count, most, parts) = largest(&packets);
    assert!(count > 2 * SIZE / 1500, "{count} packets");
    assert!(parts.is_empty(), "{} of {count}: {:?}", parts.len(), parts.first());
    (count, most)
}

fn link(site: &Site, near: &str, far: &str) {
    at_controller(site, "ip", &["link", "set", "outside", "mtu", near]);
    at_gateway(site, "ip", &["link", "set", "outside", "mtu", far]);
}

/// Beyond the first link, and unknown to this machine, the path takes 1340 bytes and drops what is larger: IPv4's and UDP's headers
/// (28), WireGuard's (32) and a packet of 1280.
pub fn what_mtu_says_is_kept(site: &Site) {
    link(site, "1500", "1340");
    let _undo = Undo(|| link(site, "1500", "1500"));
    let narrow = site.config().replace("[Peer]", "MTU = 1280\n[Peer]");
    let (_, most) = there_and_back(site, &narrow, &|text| text);
    assert!((1300..=1340).contains(&most), "{most}");
}

/// The machine's own link takes 1400 bytes: a file without `MTU` makes packets that fit.
pub fn a_narrow_link_needs_no_setting(site: &Site) {
    link(site, "1400", "1400");
    let _undo = Undo(|| link(site, "1500", "1500"));
    let (_, most) = there_and_back(site, &site.config(), &|text| text);
    // As wg-quick: 80 bytes less inside, of which IPv4 uses 60; the gateway fills packets up to whole sixteen bytes.
    assert!((1340..=1400).contains(&most), "{most}");
}
