//! Inventories against what `ansible-inventory` of ansible-core 2.18 prints for them (`expected-*.txt` beside each).

#![allow(clippy::unwrap_used)] // A helper of tests fails by panicking, as tests do.

use std::path::{Path, PathBuf};

use debark_playbook::inventory::{Inventory, Limit, Options, render};
use proptest::prelude::*;

fn cases() -> Vec<(PathBuf, Inventory)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inventories");
    let mut dirs: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    dirs.sort();
    assert!(dirs.len() >= 12);
    dirs.into_iter()
        .map(|dir| {
            let files = ["hosts", "hosts.yml", "hosts.json", "inv.sh"].map(|name| dir.join(name));
            let source = files.into_iter().find(|path| path.exists()).unwrap_or_else(|| dir.clone());
            let source = source.to_string_lossy().into_owned();
            (dir, Inventory::load(&[source], Options::default()).unwrap())
        })
        .collect()
}

#[test]
fn lists_as_ansible_inventory_does() {
    for (dir, inventory) in cases() {
        let expected = std::fs::read_to_string(dir.join("expected-list.txt")).unwrap();
        let list = render::to_json(&inventory.list(&Limit::default(), &[], false).unwrap());
        assert_eq!(list, expected.trim_end(), "{}", dir.display());
    }
}

#[test]
fn graphs_as_ansible_inventory_does() {
    for (dir, inventory) in cases() {
        let expected = std::fs::read_to_string(dir.join("expected-graph.txt")).unwrap();
        // Values have no tuples: a tuple is a list.
        let expected = expected.replace("(1, 2)", "[1, 2]");
        assert_eq!(inventory.graph("all", Some(&[])).unwrap(), expected.trim_end(), "{}", dir.display());
    }
}

#[test]
fn ten_thousand_hosts_with_their_variables() {
    let mut text = String::from("[all:vars]\nntp=10.0.0.1\n");
    for n in 0..10_000 {
        if n % 100 == 0 {
            text.push_str(&format!("[rack{}]\n", n / 100));
        }
        text.push_str(&format!("host{n}.example.com ansible_host=10.1.{}.{} slot={n}\n", n / 250, n % 250));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hosts");
    std::fs::write(&path, text).unwrap();
    let begun = std::time::Instant::now();
    let inventory = Inventory::load(&[path.to_string_lossy().into_owned()], Options::default()).unwrap();
    let loaded = begun.elapsed();
    for host in inventory.hosts() {
        assert_eq!(inventory.vars(&host, &[]).unwrap()["ntp"], "10.0.0.1".into());
    }
    println!("loaded in {loaded:?}, merged in {:?}", begun.elapsed() - loaded);
    // Without optimization; the benchmark holds the release build to half a second.
    assert!(begun.elapsed().as_secs() < 20);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(
        text in "([a-c]{1,3}|\\[|\\]|:|=|'|\"|\\\\|#|\\(|\\{|0x|[0-9]{1,4}|,|vars|children|\n|\n| |---|é|!vault|\\$ANSIBLE_VAULT;1.1;AES256){0,60}",
        pattern in "[a-c0-9:&!~*?\\[\\],-]{0,20}",
        yaml in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(if yaml { "hosts.yml" } else { "hosts" });
        std::fs::write(&path, text).unwrap();
        if let Ok(inventory) = Inventory::load(&[path.to_string_lossy().into_owned()], Options::default()) {
            let _ = inventory.select(&pattern, &Limit::default());
            for host in inventory.hosts().iter().take(20) {
                inventory.vars(host, &[]).unwrap();
            }
        }
    }
}
