//! Inventories: INI, YAML and host patterns, from load to every host's variables.
#![no_main]

use std::path::PathBuf;
use std::time::Duration;

use debark_playbook::diagnostic::render;
use debark_playbook::inventory::{Inventory, Limit, Options};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // The first line is a pattern, the rest is a source that is read in both formats.
    let (pattern, text) = text.split_once('\n').unwrap_or(("all", text));
    read("hosts", text, pattern);
    read("hosts.yml", text, pattern);
});

fn read(name: &str, text: &str, pattern: &str) {
    let dir = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("room for it");
    let options = Options { script_timeout: Duration::from_secs(1), ..Options::default() };
    let sources = options.sources.clone();
    let source = path.to_string_lossy().into_owned();
    let inventory = match Inventory::load(&[source], options) {
        Ok(inventory) => inventory,
        Err(problems) => {
            assert!(!render(&problems, &sources, false).is_empty());
            return;
        }
    };
    for host in inventory.hosts().iter().take(20) {
        if let Err(problems) = inventory.vars(host, &[PathBuf::from(dir.path())]) {
            let _ = render(&problems, &sources, false);
        }
        let _ = inventory.magic(host);
    }
    // `@file` would read files of this machine.
    if pattern.contains('@') {
        return;
    }
    let limit = Limit::parse(Some(pattern)).unwrap_or_default();
    if let Ok(selection) = inventory.select(pattern, &limit) {
        for host in &selection.hosts {
            assert!(inventory.has_host(host), "{host} is nowhere");
        }
    }
    let _ = inventory.select("all", &limit);
}
