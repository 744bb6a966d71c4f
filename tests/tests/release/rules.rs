//! Gates through the commands, the ledger at a remote, old versions that go; and what is there although nobody deployed it.

use std::fs;
use std::process::Command;

use debark_e2e::{Ended, Releases};

/// Every gate says no by itself, says what it wants, and is opened by that; rollbacks pass.
pub fn gates(shop: &Releases<'_>) {
    shop.edit("      - perl -c bin/shop\n", "      - {name: syntax, run: perl -c bin/shop}\n");
    shop.publish("1.3.0", true);
    let _ = shop.debark("alice", &["deploy", "shop@1.3.0", "--to", "staging"]).ends(0);
    let promote = |who: &str| shop.debark(who, &["promote", "shop", "--to", "prod"]);
    let old = "    gates:\n      tests: all\n";
    let closed = "    gates:\n      tests: [syntax, load]\n      soak: 1h\n      approvals: {count: 1, by: [alice@example.org, bob@example.org]}\n    freezes:\n      - {weekdays: [mon, tue, wed, thu, fri, sat, sun]}\n";
    // The package was built before there was that test.
    shop.edit("run: perl -c bin/shop}\n", "run: perl -c bin/shop}\n      - {name: load, run: \"true\"}\n");
    shop.edit(old, closed);
    let all = promote("alice").ends(3);
    let said = format!("{}{}", all.out, all.err);
    for rule in ["soak", "tests", "approvals", "calendar"] {
        assert!(said.contains(&format!("refused ({rule})")), "{rule} is missing in {said}");
    }
    // Rollbacks pass whatever the calendar says.
    let _ = shop.debark("bob", &["rollback", "shop", "--env", "prod", "--reason", "friday"]).ends(0);
    let _ =
        shop.debark("bob", &["unhold", "shop@1.1.0", "--env", "prod", "--reason", "it was a test"]).ends(0);

    shop.edit("    freezes:\n      - {weekdays: [mon, tue, wed, thu, fri, sat, sun]}\n", "");
    shop.edit("      soak: 1h\n", "      soak: 1s\n");
    shop.edit("tests: [syntax, load]", "tests: [syntax]");
    let approve = |who: &str| shop.debark(who, &["approve", "shop@1.3.0", "--env", "prod"]).ends(0);
    let _ = approve("alice");
    let _ = promote("alice").ends(3).says("one's own does not count");
    let _ = approve("bob");
    for (close, rule, open) in [
        (
            &["freeze", "prod", "--for", "1h", "--reason", "audit"][..],
            "frozen",
            &["thaw", "prod", "--reason", "x"][..],
        ),
        (
            &["hold", "shop", "--env", "prod", "--reason", "ticket 7"],
            "held",
            &["unhold", "shop", "--env", "prod", "--reason", "x"],
        ),
    ] {
        let _ = shop.debark("bob", close).ends(0);
        let one = promote("alice").ends(3);
        assert_eq!(one.err.matches("refused (").count(), 1, "{}", one.err);
        let _ = one.says(&format!("refused ({rule})"));
        let _ = shop.debark("bob", open).ends(0);
    }
    let _ = promote("alice").ends(0);
    assert_eq!([shop.version("h2"), shop.version("h3")], ["1.3.0", "1.3.0"]);
    let verified = shop.debark("alice", &["verify", "prod"]).ends(0);
    let _ = verified.says("approvals: 1 of 1 (bob@example.org)");
}

/// The remote is gone: nothing begins that others do not see, and nothing stands in the way of a rollback. The artifact store is gone:
/// nothing is touched.
pub fn remote_and_store_are_gone(shop: &Releases<'_>) {
    let remote = shop.home.join("remote.git");
    assert!(Command::new("git").args(["init", "-q", "--bare"]).arg(&remote).status().unwrap().success());
    shop.edit(
        "  path: .debark/ledger.git\n",
        &format!("  path: .debark/ledger.git\n  remote: {}\n", remote.display()),
    );
    let _ = shop.debark("alice", &["ledger", "push"]).ends(0).says("pushed");
    let away = shop.home.join("away.git");
    fs::rename(&remote, &away).unwrap();
    let _ = shop.debark("alice", &["deploy", "shop@1.3.0", "--to", "staging"]).ends(4);
    let plan = shop.debark("alice", &["rollback", "shop", "--env", "prod", "--plan"]).ends(0);
    let _ = plan.says("h2: 1.3.0 -> ").says("the ledger's remote").says("was asked ");
    let back = shop.debark("alice", &["rollback", "shop", "--env", "prod", "--reason", "slow"]).ends(0);
    let _ = back.says("going by what is known here").says("later: debark ledger push");
    fs::rename(&away, &remote).unwrap();
    let _ = shop.debark("alice", &["ledger", "push"]).ends(0).says("2 entries pushed");
    let _ = shop.debark("alice", &["unhold", "shop@1.3.0", "--env", "prod", "--reason", "x"]).ends(0);

    let before = shop.on("h1", "wc -l </var/log/dpkg.log").out;
    let dear = shop.store().display().to_string();
    let moved = shop.home.join("moved");
    fs::rename(&dear, &moved).unwrap();
    let gone = shop.debark("alice", &["deploy", "shop@1.3.0", "--to", "staging"]);
    assert_ne!(gone.code, 0, "{}{}", gone.out, gone.err);
    fs::rename(&moved, &dear).unwrap();
    assert_eq!(shop.on("h1", "wc -l </var/log/dpkg.log").out, before);
}

/// What is live or was, and what is newest, stays, each with its reason; hosts need no store for what they keep.
pub fn old_versions_go(shop: &Releases<'_>) {
    for version in ["1.4.0", "1.5.0"] {
        shop.publish(version, true);
    }
    let dry = shop.debark("alice", &["prune", "--keep", "1", "--dry-run"]).ends(0);
    let _ = dry.says("would go shop 1.4.0");
    let _ = shop.debark("alice", &["releases", "shop"]).ends(0).says("1.4.0");
    let pruned = shop.debark("alice", &["prune", "--keep", "1"]).ends(0).out;
    let kept = |version: &str| {
        let line = pruned.lines().find(|line| line.starts_with(&format!("keeps    shop {version}: ")));
        line.unwrap_or_else(|| panic!("{version} is not kept: {pruned}")).to_owned()
    };
    assert!(kept("1.3.0").contains("live in staging"), "{pruned}");
    assert!(kept("1.1.0").contains("live in "), "{pruned}");
    let _ = kept("1.5.0");
    assert!(pruned.contains("removed  shop 1.4.0"), "{pruned}");
    let releases = shop.debark("alice", &["releases", "shop"]).ends(0).out;
    assert!(!releases.contains("1.4.0") && releases.contains("1.5.0"), "{releases}");
    let _ = shop.debark("alice", &["deploy", "shop@1.5.0", "--to", "staging"]).ends(0);
    let _ = shop.debark("bob", &["rollback", "shop", "--env", "staging", "--reason", "x"]).ends(0);
    assert_eq!(shop.version("h1"), "1.3.0");
}

/// Somebody works on a host by hand.
pub fn drift(shop: &Releases<'_>) {
    let other = "cp -a /usr/share/shop/release /root/release; set -e; cd /root; rm -rf x; deb=$(ls -t /var/lib/debark/gate/store/* | head -n 1); \
                 for f in /var/lib/debark/gate/store/*; do [ \"$(dpkg-deb -f $f Version 2>/dev/null)\" = 1.3.0 ] && deb=$f; done; \
                 dpkg-deb -R $deb x; sed -i s/1.3.0/1.2.9/ x/DEBIAN/control; dpkg-deb -b x x.deb >/dev/null; dpkg -i --force-downgrade x.deb";
    let _ = shop.on("h1", other).ends(0);
    let _ = shop.debark("alice", &["status", "--env", "staging"]).ends(2).says("behind");
    let _ = shop.debark("alice", &["verify", "staging"]).ends(2).says("1.2.9 is installed");
    let _ = shop.on("h1", "dpkg -r shop").ends(0);
    let _ = shop.debark("alice", &["status", "--env", "staging"]).ends(2).says("missing");
    // The same order again puts it right.
    let again = || {
        let _ = shop.debark("alice", &["deploy", "shop@1.3.0", "--to", "staging"]).ends(0);
        let _ = shop.debark("alice", &["status", "--env", "staging"]).ends(0);
    };
    again();
    // The very same file by hand is no drift; another one of that version is.
    let kept = "set -e; cd /root; rm -rf x; for f in /var/lib/debark/gate/store/*.deb; do [ \"$(dpkg-deb -f $f Version)\" != 1.3.0 ] || deb=$f; done";
    let _ = shop.on("h1", &format!("{kept}; dpkg -i $deb")).ends(0);
    let _ = shop.debark("alice", &["status", "--env", "staging"]).ends(0);
    let other = format!(
        "{kept}; dpkg-deb -R $deb x; echo more >>x/usr/bin/shop; rm x/DEBIAN/md5sums; dpkg-deb -b x x.deb; dpkg -i x.deb"
    );
    let _ = shop.on("h1", &other).ends(0);
    assert_eq!(shop.dpkg("h1"), "install ok installed 1.3.0");
    let _ = shop.debark("alice", &["status", "--env", "staging"]).ends(2).says("drift");
    let verified = shop.debark("alice", &["verify", "staging"]).ends(2);
    let _ = verified.says("is installed, from another file than").says("/usr/bin/shop: other content");
    again();
    let _ = shop.debark("alice", &["verify", "staging"]).ends(0);
}

/// A host keeps so many versions; to what it has dropped there is no way back without the store.
pub fn hosts_keep_some_versions(shop: &Releases<'_>) {
    shop.edit("deploy:\n", "deploy:\n  keep: 2\n");
    for version in ["1.6.0", "1.7.0", "1.8.0"] {
        shop.publish(version, true);
        let _ = shop.debark("alice", &["deploy", "shop", "--to", "staging"]).ends(0);
    }
    let versions = "for f in /var/lib/debark/gate/store/*.deb; do dpkg-deb -f $f Version; done | sort";
    assert_eq!(shop.on("h1", versions).ends(0).out, "1.7.0\n1.8.0\n");
    let away = shop.home.join("store-away");
    fs::rename(shop.store(), &away).unwrap();
    let before = shop.on("h1", "wc -l </var/log/dpkg.log").out;
    let args = ["rollback", "shop", "--env", "staging", "--to", "1.6.0", "--reason", "x"];
    let gone = shop.debark("bob", &args).ends(3);
    let _ = gone.says("shop 1.6.0 was not begun").says("h1 does not have that version any more");
    assert_eq!(shop.version("h1"), "1.8.0");
    assert_eq!(shop.on("h1", "wc -l </var/log/dpkg.log").out, before, "nothing was touched");
    let _ = shop.debark("bob", &["rollback", "shop", "--env", "staging", "--reason", "x"]).ends(0);
    assert_eq!(shop.version("h1"), "1.7.0");
    fs::rename(&away, shop.store()).unwrap();
}

/// A host that shows another key than the one that is on file is not spoken with: the refusal names both keys and the place, and nothing is
/// touched.
pub fn a_changed_host_key(shop: &Releases<'_>) {
    let print = |public: &std::path::Path| {
        let output = Command::new("ssh-keygen").arg("-lf").arg(public).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().nth(1).unwrap().to_owned()
    };
    let h1 = shop.lab.host("h1").unwrap();
    let own = h1.rootfs_path().join("etc/ssh/ssh_host_ed25519_key.pub");
    let other = shop.key("mallory").with_extension("pub");
    let text = fs::read_to_string(&other).unwrap();
    let key: Vec<&str> = text.split_whitespace().take(2).collect();
    let known = shop.home.join("known_other");
    fs::write(&known, format!("# of another host\n{} {}\n", h1.address(), key.join(" "))).unwrap();
    let inventory = shop.dir.join("staging.ini");
    let kept = fs::read_to_string(&inventory).unwrap();
    let lab = shop.lab.path().join("known_hosts").display().to_string();
    assert!(kept.contains(&lab), "{kept}");
    fs::write(&inventory, kept.replace(&lab, &known.display().to_string())).unwrap();
    let touched = || {
        shop.on(
            "h1",
            "wc -l </var/log/dpkg.log; ls /var/lib/debark/gate/store; sha256sum /var/lib/debark/gate/*.json",
        )
        .out
    };
    let before = touched();
    for words in [
        &["deploy", "shop@1.3.0", "--to", "staging"][..],
        &["rollback", "shop", "--env", "staging", "--reason", "x"],
    ] {
        let refused = shop.debark("alice", words).ends(52);
        for part in ["has changed", &format!("{}:2", known.display()), &print(&other), &print(&own)] {
            assert!(
                refused.err.contains(part) || refused.out.contains(part),
                "{part}: {}{}",
                refused.out,
                refused.err
            );
        }
    }
    fs::write(&inventory, kept).unwrap();
    assert_eq!(touched(), before);
    assert_eq!(shop.version("h1"), "1.3.0");
}

/// With a source of `debark enroll`, plain apt installs a version by name, and `apt-get upgrade` is no deployment.
pub fn an_apt_source(shop: &Releases<'_>) {
    let (plain, told) =
        ("store: .debark/store\n", "store: {url: .debark/store, hosts_url: \"file:/srv/store\"}\n");
    shop.edit(plain, told);
    let enroll = || shop.debark("alice", &["enroll", "--env", "staging"]).ends(0);
    let said = enroll().out;
    for path in [
        "keyrings/debark-staging.gpg",
        "preferences.d/debark-staging",
        "sources.list.d/debark-staging.sources",
    ] {
        assert!(said.contains(&format!("  new /etc/apt/{path}")), "{said}");
    }
    assert!(enroll().out.contains("nothing to change"));
    let root = shop.lab.host("h1").unwrap().rootfs_path().join("srv");
    debark_e2e::copy_tree(&shop.store(), &root);
    let only = "-o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/root/only -o Acquire::AllowInsecureRepositories=false";
    let apt = |what: &str| {
        shop.on("h1", &format!("mkdir -p /root/only; ln -sf /etc/apt/sources.list.d/debark-staging.sources /root/only/; LC_ALL=C {what}"))
    };
    let _ = apt(&format!("apt-get {only} update")).ends(0);
    let policy = apt(&format!("apt-cache {only} policy shop")).ends(0).out;
    assert!(policy.contains("Installed: 1.3.0") && policy.contains("Candidate: 1.3.0"), "{policy}");
    assert!(policy.contains("1.5.0 50"), "{policy}");
    let upgrade = apt(&format!("apt-get {only} -s dist-upgrade")).ends(0).out;
    assert!(!upgrade.contains("Inst shop"), "{upgrade}");
    let named = apt(&format!("apt-get {only} -s install shop=1.5.0")).ends(0).out;
    assert!(named.contains("Inst shop [1.3.0] (1.5.0"), "{named}");
    shop.edit(told, plain);
    let gone = enroll();
    assert!(gone.out.contains("  gone /etc/apt/sources.list.d/debark-staging.sources"), "{}", gone.out);
    let _ = gone.says("hosts get no apt source");
}

/// Whoever deploys by a clock that is an hour off is refused by the host, which tells both times, and nothing is touched. Nor is anything
/// in the way of the next one.
pub fn clocks_an_hour_apart(shop: &Releases<'_>) {
    shop.publish("1.9.0", true);
    let before = shop.version("h1");
    let deploy = ["deploy", "shop@1.9.0", "--to", "staging"];
    for (shift, words) in [("+61m", "the order was issued at"), ("-61m", "the order expired at")] {
        let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
        let mut command = shop.command("alice", &deploy);
        let refused =
            Ended::of(&command.env("LD_PRELOAD", library).env("FAKETIME", shift).output().unwrap()).ends(3);
        let _ = refused.says(words).says("and the host's clock says").says("compare the clocks");
        assert_eq!(shop.version("h1"), before);
    }
    let _ = shop.debark("alice", &deploy).ends(0);
    assert_eq!(shop.version("h1"), "1.9.0");
    let _ = shop.debark("alice", &["verify", "staging"]).ends(0);
}
