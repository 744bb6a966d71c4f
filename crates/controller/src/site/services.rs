//! What expressions ask on the controller.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use debark_expr::{Scope, Services};
use debark_playbook::inventory::Inventory;
use debark_playbook::vault::Vault;
use debark_value::{Map, Value};

use super::lock;
use crate::lookups::{self, Around};

/// Lookups and other hosts' variables, for names of hosts, files and connection settings.
pub struct SiteServices {
    inventory: Arc<Inventory>,
    vault: Arc<Vault>,
    /// Where the current play is.
    pub dir: Mutex<PathBuf>,
    raw: Mutex<HashMap<String, Value>>,
}

impl SiteServices {
    /// Services over an inventory.
    pub fn new(inventory: Arc<Inventory>, vault: Arc<Vault>) -> Self {
        Self { inventory, vault, dir: Mutex::default(), raw: Mutex::default() }
    }
}

impl Services for SiteServices {
    fn lookup(&self, name: &str, args: &[Value], kwargs: &Map, _: &Scope) -> Result<Value, String> {
        if name == "inventory_hostnames" {
            return lookups::inventory_hostnames(&self.inventory, args).map(super::single);
        }
        if name == debark_expr::TERA {
            return lookups::tera(args);
        }
        let dir = lock(&self.dir).clone();
        lookups::lookup(
            name,
            args,
            kwargs,
            Around { playbook_dir: &dir, role_path: None, vault: Some(&self.vault) },
        )
        .map(super::single)
    }

    fn hostvars(&self, host: &str) -> Result<Option<Value>, String> {
        if let Some(value) = lock(&self.raw).get(host) {
            return Ok(Some(value.clone()));
        }
        if !self.inventory.has_host(host) {
            return Ok(None);
        }
        let dir = lock(&self.dir).clone();
        let vars = self.inventory.vars(host, &[dir]).map_err(|errors| {
            errors.iter().map(|e| e.one_line(self.inventory.sources())).collect::<Vec<_>>().join("; ")
        })?;
        let mut vars = Map::clone(&vars);
        vars.extend(self.inventory.magic(host));
        let value = Value::from(vars);
        lock(&self.raw).insert(host.to_owned(), value.clone());
        Ok(Some(value))
    }

    fn file(&self, path: &str) -> Result<String, String> {
        let path = lock(&self.dir).join(path);
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    }
}
