//! The usual way, and the way back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use debark_e2e::Releases;

/// Enrolled, built, published, in staging, in production.
pub fn first_release(shop: &Releases<'_>) {
    for environment in ["staging", "prod"] {
        let _ = shop.debark("alice", &["enroll", "--env", environment]).ends(0);
    }
    shop.publish("1.0.0", true);
    let plan = shop.debark("alice", &["deploy", "shop", "--to", "staging", "--plan"]).ends(0);
    assert!(plan.out.contains("wave 1 of 1") && plan.out.contains("h1: 1.0.0 is new there"), "{}", plan.out);
    assert_eq!(shop.dpkg("h1"), "", "a plan touches nothing");

    let early = shop.debark("alice", &["deploy", "shop@1.0.0", "--to", "prod"]).ends(3);
    let _ = early.says("refused (promote_from): shop 1.0.0 has not been live in staging");
    let mallory = shop.debark("mallory", &["deploy", "shop@1.0.0", "--to", "staging"]);
    assert_ne!(mallory.code, 0, "{}", mallory.out);

    let _ = shop
        .debark("alice", &["deploy", "shop@1.0.0", "--to", "staging", "--reason", "first"])
        .ends(0)
        .says("shop 1.0.0 is live in staging on 1 of 1 hosts");
    assert_eq!(shop.version("h1"), "1.0.0");
    let _ = shop
        .debark("alice", &["promote", "shop", "--from", "staging", "--to", "prod"])
        .ends(0)
        .says("shop 1.0.0 is live in prod on 2 of 2 hosts");
    assert_eq!([shop.version("h2"), shop.version("h3")], ["1.0.0", "1.0.0"]);
    let _ = shop.debark("alice", &["status"]).ends(0);
}

/// An upgrade; what is live already is left alone.
pub fn second_release(shop: &Releases<'_>) {
    shop.publish("1.1.0", true);
    let _ = shop.debark("alice", &["deploy", "shop", "--to", "staging"]).ends(0);
    let diff = shop.debark("alice", &["diff", "staging", "prod"]).ends(2);
    assert!(
        diff.out.starts_with("! shop: staging has 1.1.0 (") && diff.out.contains("; prod has 1.0.0 ("),
        "{}",
        diff.out
    );
    let _ = shop.debark("bob", &["promote", "shop", "--to", "prod"]).ends(0);
    assert!(shop.debark("alice", &["diff", "staging", "prod"]).ends(0).out.starts_with("= shop: "));
    assert_eq!([shop.version("h1"), shop.version("h2"), shop.version("h3")], ["1.1.0"; 3]);
    let again = shop.debark("alice", &["deploy", "shop", "--to", "staging", "--json"]).ends(0);
    assert!(again.out.lines().all(|line| line.starts_with('{')), "{}", again.out);
}

/// A version that is not healthy: every host is as before, the exit code says so, and it is not tried again.
pub fn bad_release_is_put_back(shop: &Releases<'_>) {
    shop.publish("1.2.0", false);
    let bad = shop.debark("alice", &["deploy", "shop", "--to", "staging"]).ends(2);
    let _ = bad.says("status 500").says("was put back in staging");
    assert_eq!(shop.version("h1"), "1.1.0");
    assert_eq!(shop.dpkg("h1"), "install ok installed 1.1.0");
    let _ = shop.debark("alice", &["deploy", "shop", "--to", "staging"]).ends(3).says("refused (bad)");
    let _ = shop.debark("alice", &["status", "--env", "staging"]).ends(0);
}

/// From what the hosts have kept.
pub fn rollback_needs_neither_store_nor_remote(shop: &Releases<'_>) {
    let away = shop.home.join("away");
    fs::rename(shop.store(), &away).unwrap();
    let _ = shop
        .debark("bob", &["rollback", "shop", "--env", "prod", "--reason", "it is slow"])
        .ends(0)
        .says("shop 1.0.0 is live in prod on 2 of 2 hosts");
    fs::rename(&away, shop.store()).unwrap();
    assert_eq!([shop.version("h2"), shop.version("h3")], ["1.0.0", "1.0.0"]);
    let _ = shop.debark("alice", &["status", "--env", "prod"]).ends(0);
}

/// A pipeline that is run again cannot bring it back; a person with a reason can.
pub fn what_was_rolled_back_stays_away(shop: &Releases<'_>) {
    let _ = shop.debark("alice", &["promote", "shop", "--to", "prod"]).ends(3).says("refused (bad)");
    let _ = shop
        .debark("alice", &["rollback", "shop", "--env", "prod", "--to", "1.1.0"])
        .ends(3)
        .says("shop 1.1.0 was live until it was rolled back in prod")
        .says("it is slow")
        .says("debark unhold shop@1.1.0 --env prod");
    let _ = shop
        .debark("bob", &["unhold", "shop@1.1.0", "--env", "prod", "--reason", "it was the network"])
        .ends(0);
    let _ = shop.debark("alice", &["promote", "shop", "--to", "prod"]).ends(0);
    assert_eq!(shop.version("h3"), "1.1.0");
}

/// From the commit to the process that runs; one byte that is not as it should be is named.
pub fn the_chain_is_verified(shop: &Releases<'_>) {
    let whole = shop.debark("alice", &["verify"]).ends(0);
    for link in ["ledger", "digest", "signature", "provenance", "commit", "installed", "kept", "files"] {
        assert!(whole.out.contains(&format!("  {link}: ")), "{link} is missing in {}", whole.out);
    }
    // What perl has read cannot be told from outside.
    assert!(whole.out.contains("unknown staging h1  processes: shop.service: process "), "{}", whole.out);
    let _ = shop.debark("alice", &["verify", "staging", "--strict"]).ends(2);
    let flip = "f=/usr/share/shop/release; printf X | dd of=$f bs=1 count=1 conv=notrunc status=none";
    let _ = shop.on("h2", flip).ends(0);
    let bad = shop.debark("alice", &["verify", "prod"]).ends(2).says("/usr/share/shop/release");
    assert_eq!(bad.out.matches("FAILED").count(), 1, "{}", bad.out);
    let _ = shop.debark("alice", &["verify", "h3"]).ends(0);
    let _ = shop.on("h2", "sed -i '1s/^X/v/' /usr/share/shop/release").ends(0);
    let _ = shop.debark("alice", &["verify", "h2"]).ends(0);

    let package =
        walk(&shop.store()).into_iter().find(|path| path.ends_with("shop_1.1.0_all.deb")).expect("a .deb");
    let bytes = fs::read(&package).unwrap();
    let mut changed = bytes.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&package, &changed).unwrap();
    let _ = shop.debark("alice", &["verify", "shop@1.1.0"]).ends(2).says("FAILED");
    fs::write(&package, &bytes).unwrap();
    let _ = shop.debark("alice", &["verify", "shop@1.1.0"]).ends(0);

    // Provenance: what it says, and who signed it.
    let mut provenance = package.into_os_string();
    provenance.push(".intoto.json");
    let text = fs::read_to_string(&provenance).unwrap();
    for (field, flipped) in [("\"payload\":\"", 20), ("\"sig\":\"", 60)] {
        let compact = text.replace("\": \"", "\":\"");
        let at = compact.find(field).expect(field) + field.len() + flipped;
        let mut changed = compact.into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        fs::write(&provenance, changed).unwrap();
        let bad = shop.debark("alice", &["verify", "shop@1.1.0"]).ends(2);
        let line = bad.out.lines().find(|line| line.contains("FAILED")).expect("a failure").to_owned();
        assert!(line.contains("provenance"), "{field} {line}");
    }
    fs::write(&provenance, text).unwrap();
    let _ = shop.debark("alice", &["verify", "shop@1.1.0"]).ends(0);

    // The .deb that a host keeps for its way back.
    let flip = "cp -a /var/lib/debark/gate/store /root/store; for f in /var/lib/debark/gate/store/*.deb; do printf X | dd of=$f bs=1 seek=200 count=1 conv=notrunc status=none; done";
    let _ = shop.on("h2", flip).ends(0);
    let bad = shop.debark("alice", &["verify", "h2"]).ends(2);
    assert!(bad.out.contains("kept: the .deb that it keeps has been changed"), "{}", bad.out);
    let _ = shop.on("h2", "cp -a /root/store/. /var/lib/debark/gate/store/; rm -r /root/store").ends(0);
    let _ = shop.debark("alice", &["verify", "h2"]).ends(0);
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

/// Every step is there, signed by who made it, and git agrees.
pub fn the_record_is_whole(shop: &Releases<'_>) {
    let history = shop.debark("alice", &["history", "--env", "prod", "--json"]).ends(0).out;
    for text in ["it is slow", "bob@example.org", "rollback", "promote"] {
        assert!(history.contains(text), "{text} is missing in {history}");
    }
    let _ = shop.debark("alice", &["ledger", "verify"]).ends(0);
    let signers = shop.dir.join(".debark/signers");
    let log = Command::new("git")
        .args(["-c", &format!("gpg.ssh.allowedSignersFile={}", signers.display())])
        .args(["--git-dir", shop.ledger().to_str().unwrap(), "log", "--format=%G? %GS", "env/prod"])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    assert!(log.lines().count() >= 8 && log.lines().all(|line| line.starts_with("G ")), "{log}");

    // The same for people who have no debark: one file.
    let page = shop.home.join("report.html");
    let _ = shop.debark("alice", &["report", "--output", page.to_str().unwrap()]).ends(0);
    let page = fs::read_to_string(page).unwrap();
    for text in ["staging", "prod", "1.2.0", "it is slow", "it was the network", "bob@example.org"] {
        assert!(page.contains(text), "{text} is missing in {page}");
    }
    assert!(!["src=", "href=\"http", "@import", "url("].iter().any(|text| page.contains(text)), "{page}");
}
