//! How a lab is removed, whatever is left of it.

use crate::background;
use crate::base;
use crate::cgroup::Trees;
use crate::disk;
use crate::error::Result;
use crate::names;
use crate::network;
use crate::nspawn;
use crate::proxy;
use crate::store::Store;
use crate::tools;

/// Removes a lab by its name alone; false if nothing was. Nothing that it needs to know comes from the lab's own
/// files, so an `up` that was killed anywhere is no obstacle.
pub fn remove(store: &Store, name: &str) -> Result<bool> {
    names::check_lab(name)?;
    tools::check_root()?;
    store.prepare()?;
    let (names, dir, trees) = (store.names(name), store.lab(name), Trees::find()?);
    let lock = store.lock(&format!("lab-{name}"))?;
    let mut found = dir.path.exists() || trees.is_populated(&names.cgroup());
    // The processes first: nothing can be started again, and nothing holds what is removed below.
    let group = names.cgroup();
    background::kill_newborn(&["supervise", &store.root().to_string_lossy(), name]);
    background::kill_newborn(&["relay", &format!("{group}/relays")]);
    trees.kill(&group)?;
    for entry in std::fs::read_dir(dir.path.join("hosts")).into_iter().flatten().flatten() {
        if let Ok(host) = entry.file_name().into_string() {
            disk::unmount(&dir.host(&host))?;
            nspawn::forget(&names.host(&host));
        }
    }
    for namespace in network::of_lab(&names) {
        found = true;
        network::kill_strays(&namespace);
        network::delete(&namespace)?;
    }
    // wireguard-go that was killed leaves its socket.
    let _ = std::fs::remove_file(crate::gateway::control(&names));
    let _all = store.lock("all")?;
    base::remove_tree(&dir.path)?;
    if store.labs()?.is_empty() {
        proxy::stop(store, &trees)?;
        trees.kill(&store.prefix())?;
    }
    lock.retire();
    Ok(found)
}
