//! The tunnel by hand: a proxy for other programs, and a new peer's own files.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Site, says, succeeds};

/// A page on port 8443.
const PAGE: &str = "cd /root; openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=page -keyout page.key -out page.pem 2>/dev/null
systemd-run --quiet --unit page openssl s_server -accept 8443 -cert /root/page.pem -key /root/page.key -www
until ss -Hltn 'sport = :8443' | grep -q .; do sleep 0.1; done";

/// A page that curl gets through a proxy, or by itself; how curl ended.
fn page(site: &Site, way: &[&str], host: &str, port: u16) -> (Option<i32>, String) {
    let mut curl = site.lab.controller_command("curl");
    let url = format!("https://{host}:{port}/");
    let output = curl.args(["-q", "-k", "-sS", "--max-time", "20"]).args(way).arg(url).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

pub fn a_proxy_leads_into_the_tunnel(site: &Site) {
    let inventory = site.write("hosts", &site.inventory(&site.config()));
    let (inside, closed) = (site.lab.host("h1").unwrap(), site.lab.host("h2").unwrap());
    inside.sh(PAGE).unwrap();
    let address = inside.address().to_string();
    let mut command = site.debark();
    command
        .args(["vpn", "proxy", "h2", "--listen", "127.0.0.1:0", "-i"])
        .arg(inventory)
        .stderr(Stdio::piped());
    let mut proxy = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(proxy.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let place = line.trim().strip_prefix("SOCKS5 on ").unwrap_or_else(|| panic!("{line}")).to_owned();
    let way = ["--proxy", &format!("socks5h://{place}")];
    let pages = [(); 5].map(|()| page(site, &way, &address, 8443));
    // sshd's greeting is no TLS; nobody listens on the other port.
    let (other, nobody) =
        (page(site, &way, &closed.address().to_string(), 22), page(site, &way, &address, 9));
    let direct = page(site, &["--noproxy", "*", "--connect-timeout", "3"], &address, 8443);
    kill_process(Pid::from_child(&proxy), Signal::INT).unwrap();
    proxy.wait().unwrap();
    inside.sh("systemctl stop page; rm /root/page.*").unwrap();
    for (code, text) in pages {
        assert!(code == Some(0) && text.contains("s_server"), "{code:?} {text}");
    }
    says(&other.1, &["curl: (35)"]);
    // 5 is "connection refused" (RFC 1928).
    says(&nobody.1, &["curl: (97)", "(5)"]);
    assert_eq!(direct.0, Some(28), "{}", direct.1);
    assert!(site.left_over().is_empty(), "{:?}", site.left_over());
}

/// The files of `debark vpn new-peer` are all that either side needs: the gateway takes its own as it stands.
pub fn a_new_peer_has_a_tunnel_of_its_own(site: &Site) {
    let config = site.config();
    let value = |name: &str| {
        let line = config.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once('=').unwrap().1.trim().to_owned()
    };
    let own = value("Address");
    let address = format!("{}.77/32", own.rsplit_once('.').unwrap().0);
    let mut command = site.debark();
    command.args(["vpn", "new-peer", "ci", "--address", &address, "--gateway-key", &value("PublicKey")]);
    command.args(["--endpoint", &value("Endpoint"), "--allowed-ips", &value("AllowedIPs")]);
    let made = command.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let near = fs::read_to_string(site.dir.join("ci.conf")).unwrap();
    let said = site.unreachable(&near, &|text| text);
    says(&said, &["[vpn_handshake 92]", "has not answered the handshake"]);

    let links = site.lab.bridge_command("ip").args(["-o", "link"]).output().unwrap();
    let links = String::from_utf8(links.stdout).unwrap();
    let tunnel = links.lines().filter_map(|line| line.split([':', '@']).nth(1));
    let tunnel = tunnel.map(str::trim).find(|name| name.starts_with("dbwg")).unwrap().to_owned();
    let wg = |args: &[&str]| {
        let output = site.lab.bridge_command("wg").args(args).output().unwrap();
        assert!(output.status.success(), "wg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    wg(&["addconf", &tunnel, site.dir.join("ci.peer.conf").to_str().unwrap()]);
    let run = site.run(&near, &["-l", "h1"]);
    // The preshared key counts: without it nobody is let in.
    let without: String = near
        .lines()
        .filter(|line| !line.starts_with("PresharedKey"))
        .map(|line| format!("{line}\n"))
        .collect();
    let without = site.unreachable(&without, &|text| text);
    let public = String::from_utf8_lossy(&made.stdout).into_owned();
    let public = public.lines().next().unwrap().split_whitespace().last().unwrap().to_owned();
    wg(&["set", &tunnel, "peer", &public, "remove"]);
    succeeds(&run);
    let from =
        site.lab.host("h1").unwrap().sh("journalctl -u ssh -o cat --no-pager | grep Accepted | tail -1");
    says(&from.unwrap(), &[&format!("from {} ", address.trim_end_matches("/32"))]);
    says(&without, &["[vpn_handshake 92]"]);
    for name in ["ci.conf", "ci.peer.conf"] {
        let mode = Command::new("stat").args(["-c", "%a"]).arg(site.dir.join(name)).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&mode.stdout).trim(), "600", "{name}");
    }
}
