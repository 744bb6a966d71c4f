//! The life of a package that debark built, on a real host: installed, upgraded, downgraded, removed, purged; what lintian
//! says of it, and whether Debian's own debsig-verify accepts its signature.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use debark_e2e::{PACKAGING, Shop, debark_program, lab};
use debark_lab::Host;

/// debsig-verify(1): who may sign, by the key's fingerprint.
const POLICY: &str = r#"<?xml version="1.0"?>
<!DOCTYPE Policy SYSTEM "https://www.debian.org/debsig/1.0/policy.dtd">
<Policy xmlns="https://www.debian.org/debsig/1.0/">
  <Origin Name="shop" id="KEY" Description="builds of the shop"/>
  <Selection><Required Type="origin" File="key.gpg" id="KEY"/></Selection>
  <Verification MinOptional="0"><Required Type="origin" File="key.gpg" id="KEY"/></Verification>
</Policy>
"#;

fn put(host: &Host<'_>, file: &Path, to: &str) {
    fs::copy(file, host.rootfs_path().join(to.trim_start_matches('/'))).unwrap();
}

/// What the service answers, once it does.
#[track_caller]
fn answer(host: &Host<'_>, path: &str) -> String {
    let ask = format!(
        "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(\"127.0.0.1:8080\") or exit 1; print $s \"GET {path} HTTP/1.1\\r\\n\\r\\n\"; print <$s>'"
    );
    let begin = Instant::now();
    loop {
        match host.sh(&ask) {
            Ok(text) if text.starts_with("HTTP/1.1") => {
                return text.rsplit("\r\n").next().unwrap().trim().to_owned();
            }
            other => assert!(begin.elapsed() < Duration::from_secs(60), "{path}: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_package_lives_and_dies_as_debian_s_do() {
    let lab = lab("life", 1, PACKAGING);
    let host = lab.host("h1").unwrap();
    let home = tempfile::tempdir().unwrap();
    let program = debark_program();
    let shop = Shop::new(home.path(), &program);
    shop.release("1.1.0", true);
    let (one, two) = (shop.build(&program, "1.0.0"), shop.build(&program, "1.1.0"));
    put(&host, &one, "/root/one.deb");
    put(&host, &two, "/root/two.deb");

    lintian(&host);
    debsig(&host, &shop);

    let apt = "DEBIAN_FRONTEND=noninteractive apt-get -y -q --allow-downgrades";
    host.sh(&format!("{apt} install /root/one.deb")).unwrap();
    assert_eq!(answer(&host, "/version"), "1.0.0");
    assert_eq!(host.sh("systemctl is-enabled shop").unwrap().trim(), "enabled");
    // What the administrator changed and disabled stays so over an upgrade, and a running service is the new one.
    host.sh("echo 'greeting = mine' >> /etc/shop/shop.conf; systemctl disable shop").unwrap();
    host.sh(&format!("{apt} -o Dpkg::Options::=--force-confold install /root/two.deb")).unwrap();
    assert_eq!(answer(&host, "/version"), "1.1.0");
    assert_eq!(answer(&host, "/"), "mine");
    assert_eq!(host.sh("systemctl is-enabled shop || :").unwrap().trim(), "disabled");
    host.sh(&format!("{apt} install /root/one.deb")).unwrap();
    assert_eq!(answer(&host, "/version"), "1.0.0");
    assert_eq!(
        host.sh("dpkg --verify shop; dpkg -s shop | grep ^Status").unwrap().trim().lines().last(),
        Some("Status: install ok installed")
    );

    host.sh(&format!("{apt} remove shop")).unwrap();
    assert_eq!(host.sh("systemctl is-active shop || :").unwrap().trim(), "inactive");
    host.sh("test -e /etc/shop/shop.conf && test ! -e /usr/bin/shop").unwrap();
    host.sh(&format!("{apt} purge shop")).unwrap();
    host.sh("test ! -e /etc/shop && test ! -e /usr/share/shop && test ! -e /var/lib/systemd/deb-systemd-helper-enabled/shop.service.dsh-also").unwrap();
    assert_eq!(host.sh("dpkg -l shop 2>/dev/null | grep -c '^.i' || :").unwrap().trim(), "0");
}

fn lintian(host: &Host<'_>) {
    // The signature is where debsigs(1) puts it, and debsig-verify(1) and the gate look for it; lintian wants it further ahead.
    let lint = "lintian --allow-root --suppress-tags misplaced-extra-member-in-deb /root/one.deb";
    let said = host.sh(&format!("LC_ALL=C.UTF-8 {lint} 2>&1 || :")).unwrap();
    assert!(!said.lines().any(|line| line.starts_with("E:") || line.contains("rror")), "{said}");
}

/// Accepts what is signed, and nothing else.
fn debsig(host: &Host<'_>, shop: &Shop) {
    let keys = shop.root.join(".debark/build-keys");
    let public = fs::read_dir(&keys).unwrap().next().unwrap().unwrap().path();
    let fingerprint = public.file_stem().unwrap().to_str().unwrap().to_owned();
    put(host, &public, "/root/key.asc");
    fs::write(host.rootfs_path().join("root/policy"), POLICY.replace("KEY", &fingerprint)).unwrap();
    // By fingerprint since debsig-verify 0.23, by the key's long id before.
    for id in [fingerprint.as_str(), fingerprint.get(24..).unwrap()] {
        host.sh(&format!(
            "mkdir -p /etc/debsig/policies/{id} /usr/share/debsig/keyrings/{id}
             sed 's/{fingerprint}/{id}/g' /root/policy > /etc/debsig/policies/{id}/shop.pol
             gpg --batch --yes --dearmor -o /usr/share/debsig/keyrings/{id}/key.gpg < /root/key.asc"
        ))
        .unwrap();
    }
    let said = host.sh("debsig-verify -v /root/one.deb 2>&1; echo \"ended with $?\"").unwrap();
    assert!(said.ends_with("ended with 0\n"), "{said}");
    // One byte of the packed files.
    let said = host.sh("cp /root/one.deb /root/bad.deb
         at=$(($(stat -c %s /root/bad.deb) - 400))
         printf '\\377\\377' | dd of=/root/bad.deb bs=1 seek=$at conv=notrunc status=none
         debsig-verify -v /root/bad.deb 2>&1; echo \"ended with $?\"");
    let said = said.unwrap();
    assert!(!said.ends_with("ended with 0\n"), "{said}");
}
