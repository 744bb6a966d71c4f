//! `debark audit` against two real hosts: one as it should be, and one with everything wrong that a lab host can have.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use debark_e2e::{debark, lab};
use serde_json::Value;

/// What is set up wrong on the second host.
const BROKEN: &str = "set -e
printf 'PasswordAuthentication yes\\nPermitRootLogin yes\\nAuthenticationMethods any\\nTrustedUserCAKeys /root/user_ca.pub\\n' > /etc/ssh/sshd_config.d/00-broken.conf
ssh-keygen -q -t ed25519 -N '' -C 'CA of mallory' -f /root/user_ca
ssh-keygen -q -t ed25519 -N '' -C eve@example.com -f /root/eve
mkdir -p /home/debian/.ssh; cat /root/eve.pub >> /home/debian/.ssh/authorized_keys
echo 'deb [trusted=yes] http://unsigned.example.org/ ./' > /etc/apt/sources.list.d/unsigned.list
touch /run/reboot-required; echo linux-image > /run/reboot-required.pkgs
mkdir -p /srv/backup; echo plain > /srv/backup/dump.sql
openssl req -x509 -newkey rsa:2048 -nodes -days 3 -subj /CN=localhost -keyout /root/tls.key -out /root/tls.pem 2>/dev/null
systemd-run --unit tls-endpoint openssl s_server -accept 8443 -cert /root/tls.pem -key /root/tls.key -www
openssl req -new -newkey rsa:2048 -nodes -subj /CN=localhost -keyout /root/old.key -out /root/old.csr 2>/dev/null
mkdir /root/ca; : > /root/ca/index; echo 01 > /root/ca/serial
printf '[ca]\\ndefault_ca=c\\n[c]\\ndatabase=/root/ca/index\\nserial=/root/ca/serial\\nnew_certs_dir=/root/ca\\ndefault_md=sha256\\npolicy=p\\n[p]\\ncommonName=supplied\\n' > /root/ca/conf
openssl ca -batch -selfsign -notext -config /root/ca/conf -keyfile /root/old.key -in /root/old.csr -out /root/old.pem -startdate 20200101000000Z -enddate 20200102000000Z 2>/dev/null
systemd-run --unit tls-old openssl s_server -accept 8444 -cert /root/old.pem -key /root/old.key -www -tls1_1 -cipher ALL:@SECLEVEL=0
until [ \"$(ss -Hltn 'sport = :8443 or sport = :8444' | wc -l)\" = 2 ]; do sleep 0.1; done
sshd -t && systemctl restart ssh";

/// A package that is installed and in no source, and its newer version in an archive that calls itself a security archive.
const PENDING: &str = "set -e
repo=/srv/sec/dists/own/main/binary-amd64; mkdir -p $repo
for v in 1.0 1.1; do mkdir -p /root/n/DEBIAN
printf 'Package: nowhere\\nVersion: %s\\nArchitecture: all\\nMaintainer: t <t@example.org>\\nDescription: x\\n' $v > /root/n/DEBIAN/control
dpkg-deb -b /root/n /srv/sec/nowhere_$v.deb >/dev/null; done
dpkg -i /srv/sec/nowhere_1.0.deb >/dev/null
{ cat /root/n/DEBIAN/control; printf 'Filename: nowhere_1.1.deb\\nSize: %s\\nSHA256: %s\\n\\n' \"$(stat -c %s /srv/sec/nowhere_1.1.deb)\" \"$(sha256sum < /srv/sec/nowhere_1.1.deb | cut -c 1-64)\"; } > $repo/Packages
printf 'Label: Debian-Security\\nSuite: own\\nCodename: own\\nDate: %s\\nComponents: main\\nArchitectures: amd64\\nSHA256:\\n %s %s main/binary-amd64/Packages\\n' \
\"$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S UTC')\" \"$(sha256sum < $repo/Packages | cut -c 1-64)\" \"$(stat -c %s $repo/Packages)\" > /srv/sec/dists/own/Release
echo 'deb [trusted=yes] file:/srv/sec own main' > /etc/apt/sources.list.d/own.list
apt-get update -o Dir::Etc::SourceList=/etc/apt/sources.list.d/own.list -o Dir::Etc::SourceParts=/nowhere -o APT::Get::List-Cleanup=0 >/dev/null";

/// What the first host has to be all right.
const GOOD: &str = "set -e
printf 'MACs hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com\\nPermitRootLogin prohibit-password\\nTrustedUserCAKeys /root/user_ca.pub\\n' > /etc/ssh/sshd_config.d/00-good.conf
ssh-keygen -q -t ed25519 -N '' -C 'our CA' -f /root/user_ca
mkdir -p /srv/backup; printf 'age-encryption.org/v1\\n-> x\\n' > /srv/backup/dump.age
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -keyout /root/tls.key -out /root/tls.pem 2>/dev/null
systemd-run --unit tls-endpoint openssl s_server -accept 127.0.0.1:8443 -cert /root/tls.pem -key /root/tls.key -www
until ss -Hltn 'sport = :8443' | grep -q .; do sleep 0.1; done
nft add table inet filter
nft 'add chain inet filter input { type filter hook input priority 0; policy drop; }'
nft add rule inet filter input iif lo accept
nft add rule inet filter input tcp dport 22 accept
sshd -t && systemctl restart ssh";

/// A check of a team's own, for hosts and from here.
const OWN: &str = "- {id: own.host, title: a file is there, policy: ['4.2: files'], command: cat /etc/own, expect: observed.stdout == 'yes'}\n\
- {id: own.here, title: it has a name, on: controller, command: 'echo $DEBARK_HOST', expect: observed.stdout == 'h1'}\n";

const PLAYBOOK: &str = "- {hosts: all, gather_facts: false, tasks: [{name: own file, copy: {content: 'yes', dest: /etc/own}}]}\n";

fn write(path: &Path, text: &str) -> String {
    fs::write(path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_good_host_and_a_broken_one() {
    let lab = lab("audit", 2, &["nftables"]);
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let (good, broken) = (lab.host("h1").unwrap(), lab.host("h2").unwrap());
    good.sh(GOOD).unwrap();
    good.sh("printf yes > /etc/own").unwrap();
    broken.sh(BROKEN).unwrap();
    broken.sh(PENDING).unwrap();
    let key = fs::read_to_string(lab.path().join("id_ed25519.pub")).unwrap();
    let sources = write(&dir.join("lab"), &lab.inventory(&[]).unwrap());
    let mut command = debark(&lab, dir);
    let output =
        command.args(["audit", "h1", "-i", &sources, "--only", "apt.sources", "--json"]).output().unwrap();
    let sources: Value = serde_json::from_slice(&output.stdout).unwrap();
    let vars = serde_json::json!({
        "debark_people": {"alice@example.org": key.trim(), "the CA": good.sh("cat /root/user_ca.pub").unwrap().trim()},
        "debark_backups": ["/srv/backup"],
        "debark_apt_uris": sources["unmapped"]["observed"],
    });
    let vars = write(&dir.join("vars.json"), &vars.to_string());
    let inventory = lab.inventory(&[]).unwrap()
        + "\nh1 debark_tls_endpoints='[\"localhost:8443\"]'\nh2 debark_tls_endpoints='[\"localhost:8443\",\"localhost:8444\",\"localhost:9\"]'\n";
    let inventory = write(&dir.join("hosts"), &inventory);
    let (own, playbook) = (write(&dir.join("own.yml"), OWN), write(&dir.join("site.yml"), PLAYBOOK));
    let report = dir.join("audit.html");
    let extra = format!("@{vars}");
    let mut command = debark(&lab, dir);
    command.args(["audit", "all", "-i", &inventory, "-e", &extra, "--json", "--checks", &own]);
    let output = command.args(["--playbook", &playbook, "--report"]).arg(&report).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{said} {}", String::from_utf8_lossy(&output.stderr));
    let events: BTreeMap<String, Value> = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|event| (event["finding_info"]["uid"].as_str().unwrap().to_owned(), event))
        .collect();
    let status =
        |uid: &str| events.get(uid).unwrap_or_else(|| panic!("{uid}: {said}"))["status"].as_str().unwrap();
    let observed = |uid: &str| events[uid]["unmapped"]["observed"].to_string();
    for check in
        ["ssh.passwords", "ssh.algorithms", "access.people", "network.ports", "apt.sources", "updates.reboot"]
    {
        assert_eq!(status(&format!("h1/{check}")), "pass", "{check}: {said}");
    }
    for check in [
        "ssh.root",
        "network.firewall",
        "backups.encrypted",
        "own.host",
        "own.here",
        "drift",
        "apt.expected",
        "apt.packages",
        "tls.endpoints",
    ] {
        assert_eq!(status(&format!("h1/{check}")), "pass", "{check}: {said}");
    }
    assert_eq!(status("h1/ssh.outside"), "skipped");
    // The hosts have this machine's clock, disciplined or not.
    for host in [&good, &broken] {
        let word = host.sh("timedatectl show -p NTPSynchronized --value").unwrap();
        let wanted = if word.trim() == "yes" { "pass" } else { "fail" };
        let uid = format!("{}/time.synchronized", host.name());
        assert_eq!(status(&uid), wanted, "{word} {}", observed(&uid));
        let offset = events[&uid]["unmapped"]["observed"]["offset"].as_i64();
        assert!(offset.is_some_and(|offset| offset.abs() < 30), "{}", observed(&uid));
    }
    assert!(
        observed("h1/tls.endpoints").contains("localhost:8443 with tls1_2 tls1_3"),
        "{}",
        observed("h1/tls.endpoints")
    );
    for (check, evidence) in [
        ("ssh.passwords", "password"),
        ("ssh.root", "PermitRootLogin yes"),
        ("ssh.algorithms", "hmac-sha1"),
        ("access.people", "eve@example.com"),
        ("access.people", "CA of mallory"),
        ("network.ports", "tcp/8443"),
        ("network.firewall", "accept"),
        ("apt.sources", "unsigned.list:1 http://unsigned.example.org/ trusted=yes"),
        ("updates.reboot", "linux-image"),
        ("backups.encrypted", "/srv/backup/dump.sql"),
        ("apt.expected", "http://unsigned.example.org/"),
        ("apt.packages", "nowhere 1.0"),
        ("updates.security", "nowhere"),
        ("tls.endpoints", "localhost:8443 has a certificate for 2 days more"),
        ("tls.endpoints", "localhost:8444 has a certificate that expired "),
        ("tls.endpoints", "localhost:8444 takes TLS 1.1"),
        ("tls.endpoints", "localhost:9 shows no certificate"),
        ("own.host", "No such file"),
        ("own.here", "h2"),
        ("drift", "own file"),
    ] {
        let uid = format!("h2/{check}");
        assert_eq!(status(&uid), "fail", "{check}: {said}");
        assert!(observed(&uid).contains(evidence), "{check}: {}", observed(&uid));
    }
    assert_eq!(events["h2/own.host"]["compliance"]["requirements"][0], "4.2: files");
    assert_eq!(events["h2/access.people"]["class_uid"], 2003);
    let page = fs::read_to_string(report).unwrap();
    assert!(page.contains("eve@example.com") && page.contains("4.2: files") && !page.contains("src="));
    // What holds ends with 0; a host that is not there with 4.
    let audit = |code: i32, args: &[&str]| {
        let mut command = debark(&lab, dir);
        let output =
            command.args(["audit", "h1", "-i", &inventory, "-e", &extra]).args(args).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&said));
    };
    let away = ["-e", "ansible_port=9", "-T", "3"];
    audit(0, &["--only", "ssh.passwords,access"]);
    audit(4, &[&["--only", "ssh.passwords,access"], &away[..]].concat());
    // The same where only this machine looks, and where a playbook has to be compared.
    audit(4, &[&["--only", "ssh.passwords"], &away[..]].concat());
    audit(0, &["--only", "drift", "--playbook", &playbook]);
    audit(4, &[&["--only", "drift", "--playbook", &playbook], &away[..]].concat());
    audit(1, &["--only", "no.such"]);
}
