//! Hosts by name: asked of a real name server inside, through the tunnel.

use std::process::Stdio;

use debark_e2e::Run;

use super::capture::{Capture, astray};
use super::gateway::{Undo, at_gateway};
use super::{LOOK, Site, says, succeeds};

/// By whole name and by search domain; a name that the server does not know has its own words, and nothing of all this is asked of
/// the machine's own resolver.
pub fn hosts_are_found_by_the_tunnels_name_server(site: &Site) {
    let (h1, h2) = (site.lab.host("h1").unwrap().address(), site.lab.host("h2").unwrap().address());
    let range = site.lab.state().unwrap().range;
    let server = format!("10.215.{range}.1");
    let mut command = site.lab.bridge_command("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--user=root",
    ]);
    command.args([&format!("--listen-address={server}"), "--pid-file="]).arg("--local=/corp.example/");
    command
        .arg(format!("--host-record=web.corp.example,{h1}"))
        .arg(format!("--host-record=db.corp.example,{h2}"));
    let mut dnsmasq = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _undo = Undo(move || {
        dnsmasq.kill().unwrap();
        dnsmasq.wait().unwrap();
    });
    for _ in 0..100 {
        if at_gateway(site, "ss", &["-Hlun", "sport = :53"]).contains(&server) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let dns = site.config().replace("[Peer]", &format!("DNS = {server}, corp.example\n[Peer]"));
    let named = |text: String| {
        let known = std::fs::read_to_string(site.dir.join("known")).unwrap();
        let known = known.replace(&h1.to_string(), "web.corp.example").replace(&h2.to_string(), "db");
        site.write("known", &known);
        text.replace(&format!("ansible_host={h1} "), "ansible_host=web.corp.example ")
            .replace(&format!("ansible_host={h2} "), "ansible_host=db ")
    };
    let capture = Capture::start(site);
    let run = Run::of(&mut site.command(&dns, &named, LOOK, &[]));
    let unknown = |text: String| named(text).replace("web.corp.example ", "nobody.corp.example ");
    let said = site.unreachable(&dns, &unknown);
    let packets = capture.end();
    succeeds(&run);
    assert_eq!((run.recap("h1", "changed"), run.recap("h2", "changed")), (Some(1), Some(1)));
    says(
        &said,
        &["[vpn_name 116]", &format!("name server ({server}) knows no address of nobody.corp.example")],
    );
    let gateway = format!("10.214.{range}.1");
    let lost: Vec<_> = packets.iter().filter(|line| astray(line, &gateway)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
