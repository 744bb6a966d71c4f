//! Audits of hosts behind a VPN: what is shown outside of it, and what cannot be known.

use super::Site;

/// What is said of a host and a check: `HOST/CHECK`, `pass`, and what was observed.
type Told = (String, String, String);

/// What one check said of each host: `pass`, and what was observed.
fn audited(site: &Site, args: &[&str]) -> (Option<i32>, Vec<Told>) {
    checked(site, "ssh.outside,ssh.passwords", args)
}

fn checked(site: &Site, only: &str, args: &[&str]) -> (Option<i32>, Vec<Told>) {
    let output = site.debark().args(["audit", "--only", only, "--json"]).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let findings = said.lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&event["finding_info"]["uid"]),
            text(&event["status"]),
            event["unmapped"]["observed"].to_string(),
        )
    });
    let findings: Vec<_> = findings.collect();
    assert!(!findings.is_empty(), "{said} {}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), findings)
}

/// Hosts that answer inside only pass; one whose SSH is reached outside as well does not. By an inventory, and by an environment of a
/// project, whose VPN it is then.
pub fn what_is_open_outside_is_seen(site: &Site) {
    let inventory = site.write("hosts", &site.inventory(&site.config())).display().to_string();
    let plain: String = site
        .inventory(&site.config())
        .lines()
        .map(|line| line.split(" debark_vpn=").next().unwrap().to_owned() + "\n")
        .collect();
    site.write("plain.ini", &plain);
    site.write(
        "debark.yml",
        "environments:\n  prod:\n    inventory: plain.ini\n    vpn: {wireguard: {config: wg.conf}}\n  short:\n    inventory: plain.ini\n    vpn: {wireguard: wg.conf}\n  open:\n    inventory: plain.ini\n",
    );
    let ways = [vec!["all", "-i", &inventory], vec!["--env", "prod"]];
    for way in ways.iter().chain([&vec!["--env", "short"]]) {
        let (code, findings) = audited(site, way);
        assert!(code == Some(0) && findings.iter().all(|(_, status, _)| status == "pass"), "{findings:?}");
    }
    // Without its VPN nothing of this environment is reached.
    let (code, findings) = audited(site, &["--env", "open", "-T", "4"]);
    assert!(
        code == Some(4) && findings.iter().all(|(_, status, _)| status != "pass"),
        "{code:?} {findings:?}"
    );
    // The gateway lets through what is for h1.
    let address = site.lab.host("h1").unwrap().address().to_string();
    rule(site, "add", &address);
    let open = ways.iter().map(|way| audited(site, way)).collect::<Vec<_>>();
    rule(site, "del", &address);
    for (code, findings) in open {
        assert_eq!(code, Some(2), "{findings:?}");
        for (uid, status, observed) in findings {
            let wanted = if uid == "h1/ssh.outside" { "fail" } else { "pass" };
            assert_eq!(status, wanted, "{uid}: {observed}");
            assert!(status == "pass" || observed.contains(&format!("{address}:22")), "{observed}");
        }
    }
}

/// The host is reached over a jump host that is what goes through the tunnel; outside it is tried without either.
pub fn a_jump_host_leads_to_the_evidence(site: &Site) {
    let jump = site.lab.host("h1").unwrap().address();
    let over = site
        .inventory(&site.config())
        .replace("ansible_ssh_common_args='", &format!("ansible_ssh_common_args='-J root@{jump} "));
    let inventory = site.write("hosts", &over).display().to_string();
    let audit = || audited(site, &["h2", "-i", &inventory]);
    let (code, findings) = audit();
    assert!(code == Some(0) && findings.len() == 2, "{code:?} {findings:?}");
    let host = site.lab.host("h2").unwrap();
    // sshd's words take a moment to get into the journal; of whom they are, `-u`, it cannot tell if that process has ended already.
    let ends = "(Connection (closed|reset) by|Disconnected from)";
    let asked = format!("{ends} authenticating user root {jump} port");
    host.sh(&format!(
        "for n in $(seq 100); do journalctl -o cat --no-pager | grep -Eq '{asked}' && exit; sleep 0.1; done; exit 1"
    ))
    .unwrap();
    // The gateway lets through what is for h2: that shows, whatever leads to it inside.
    rule(site, "add", &host.address().to_string());
    let (code, findings) = audit();
    rule(site, "del", &host.address().to_string());
    let outside = findings.iter().find(|(uid, ..)| uid == "h2/ssh.outside").unwrap();
    assert!(code == Some(2) && outside.1 == "fail", "{code:?} {findings:?}");
}

/// A host that answers nowhere is not closed: it is unknown.
pub fn a_host_that_is_down_shows_nothing(site: &Site) {
    let inventory = site.write("hosts", &site.inventory(&site.config())).display().to_string();
    let host = site.lab.host("h2").unwrap();
    host.network_down().unwrap();
    let (code, findings) = checked(site, "ssh.outside", &["all", "-i", &inventory, "-T", "4"]);
    host.network_up().unwrap();
    assert_eq!(code, Some(4), "{findings:?}");
    let status = |uid: &str| findings.iter().find(|(known, ..)| known == uid).unwrap().1.clone();
    assert_eq!((status("h1/ssh.outside"), status("h2/ssh.outside")), ("pass".into(), "unknown".into()));
}

/// Whether the gateway lets through what is for that address, without any tunnel.
fn rule(site: &Site, verb: &str, address: &str) {
    let mut ip = site.lab.bridge_command("ip");
    ip.args(["rule", verb, "pref", "0", "iif", "outside", "to", address, "lookup", "main"]);
    assert!(ip.status().unwrap().success(), "ip rule {verb}");
}
