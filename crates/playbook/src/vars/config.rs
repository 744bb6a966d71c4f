//! `ansible.cfg`: which one counts, where inventories, roles and vault passwords are, and defaults of a run.

mod settings;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::vault;

pub use settings::Settings;

/// How long an inventory script may take unless `DEBARK_INVENTORY_TIMEOUT` says otherwise.
pub const INVENTORY_TIMEOUT: Duration = Duration::from_secs(120);

/// How long an inventory script may take: seconds in `DEBARK_INVENTORY_TIMEOUT`.
pub fn inventory_timeout() -> Duration {
    let given = std::env::var("DEBARK_INVENTORY_TIMEOUT").ok().and_then(|text| text.trim().parse().ok());
    // A day is as good as for ever.
    given
        .filter(|seconds| (0.0..=86_400.0).contains(seconds))
        .map_or(INVENTORY_TIMEOUT, Duration::from_secs_f64)
}

/// An `ansible.cfg`.
#[derive(Debug, Default)]
pub struct Config {
    path: PathBuf,
    /// By section and key: the line, counted from 1, and the value.
    values: HashMap<(String, String), (usize, String)>,
}

impl Config {
    /// Which file counts: `ANSIBLE_CONFIG`, `./ansible.cfg` (unless others may write to this directory),
    /// `~/.ansible.cfg`, `/etc/ansible/ansible.cfg`.
    pub fn path() -> Option<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        if let Some(path) = std::env::var_os("ANSIBLE_CONFIG").map(PathBuf::from) {
            let path = if path.is_dir() { path.join("ansible.cfg") } else { path };
            if path.is_file() {
                return Some(path);
            }
        }
        let private = std::fs::metadata(".").is_ok_and(|meta| meta.permissions().mode() & 0o002 == 0);
        let here = private.then(|| std::env::current_dir().ok()).flatten().map(|dir| dir.join("ansible.cfg"));
        let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".ansible.cfg"));
        let global = Some(PathBuf::from("/etc/ansible/ansible.cfg"));
        [here, home, global].into_iter().flatten().find(|path| path.is_file())
    }

    /// The file that counts, if there is one that can be read.
    pub fn load() -> Self {
        let Some(path) = Self::path() else { return Self::default() };
        let text = crate::source::read_bytes(&path, 1 << 20).unwrap_or_default();
        Self::of(path, &String::from_utf8_lossy(&text))
    }

    fn of(path: PathBuf, text: &str) -> Self {
        Self { path, values: parse(text) }
    }

    /// Where a value is set: `file:line`, or the environment.
    fn place(&self, section: &str, key: &str) -> String {
        match self.values.get(&(section.to_owned(), key.to_owned())) {
            Some((line, _)) => format!("{}:{line}", self.path.display()),
            None => "the environment".to_owned(),
        }
    }

    /// The keys of a section, in order.
    fn keys(&self, section: &str) -> Vec<&str> {
        let mut keys: Vec<(usize, &str)> = self
            .values
            .iter()
            .filter(|((of, _), _)| of == section)
            .map(|((_, key), (line, _))| (*line, key.as_str()))
            .collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// A value, or what the environment says instead.
    pub fn get(&self, env: &str, section: &str, key: &str) -> Option<String> {
        let own = || self.values.get(&(section.to_owned(), key.to_owned())).map(|(_, text)| text.clone());
        std::env::var(env).ok().or_else(own).filter(|text| !text.is_empty())
    }

    /// A path: relative to the file when it is from there, to the working directory when from the environment.
    fn located(&self, env: &str, text: &str) -> PathBuf {
        let path = settings::expand(text);
        let from_file = std::env::var_os(env).is_none();
        match self.path.parent() {
            Some(dir) if from_file => dir.join(path),
            _ => path,
        }
    }
}

/// The directories that `ANSIBLE_ROLES_PATH` or else `roles_path` in `ansible.cfg` names, or else the usual ones.
pub fn roles_path() -> Vec<PathBuf> {
    let usual = ["~/.ansible/roles", "/usr/share/ansible/roles", "/etc/ansible/roles"];
    search_path("ANSIBLE_ROLES_PATH", "roles_path", &usual)
}

/// The directories that `ANSIBLE_COLLECTIONS_PATH` or else `collections_path` in `ansible.cfg` names, or else the usual ones.
pub fn collections_path() -> Vec<PathBuf> {
    let usual = ["~/.ansible/collections", "/usr/share/ansible/collections"];
    search_path("ANSIBLE_COLLECTIONS_PATH", "collections_path", &usual)
}

/// The directories of modules, filters and tests in Python that the environment or `ansible.cfg` names.
pub fn plugin_paths() -> Vec<PathBuf> {
    const NAMED: [(&str, &str); 3] = [
        ("ANSIBLE_LIBRARY", "library"),
        ("ANSIBLE_FILTER_PLUGINS", "filter_plugins"),
        ("ANSIBLE_TEST_PLUGINS", "test_plugins"),
    ];
    NAMED.iter().flat_map(|(env, key)| search_path(env, key, &[])).collect()
}

fn search_path(env: &str, key: &str, usual: &[&str]) -> Vec<PathBuf> {
    let config = Config::load();
    match config.get(env, "defaults", key) {
        Some(text) => text
            .split(':')
            .map(str::trim)
            .filter(|path| !path.is_empty())
            .map(|path| config.located(env, path))
            .collect(),
        None => usual.iter().copied().map(settings::expand).collect(),
    }
}

/// The inventory sources of one who gives no `-i`.
pub fn default_inventory() -> Vec<String> {
    let config = Config::load();
    match config.get("ANSIBLE_INVENTORY", "defaults", "inventory") {
        Some(text) => {
            let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
            if text.contains(',')
                && !parts.iter().any(|part| config.located("ANSIBLE_INVENTORY", part).exists())
            {
                return vec![text];
            }
            parts
                .iter()
                .map(|part| config.located("ANSIBLE_INVENTORY", part).to_string_lossy().into_owned())
                .collect()
        }
        None => Some("/etc/ansible/hosts")
            .filter(|path| Path::new(path).exists())
            .map(str::to_owned)
            .into_iter()
            .collect(),
    }
}

/// Vault passwords that the environment and `ansible.cfg` name, besides those of the command line.
pub fn vault_sources(ids: &[String], files: &[PathBuf], ask: bool) -> vault::Sources {
    let config = Config::load();
    let truth = |text: Option<String>| {
        text.is_some_and(|text| ["1", "true", "yes", "on"].contains(&&*text.to_lowercase()))
    };
    let mut sources = vault::Sources {
        ids: Vec::new(),
        files: files.to_vec(),
        ask: ask || truth(config.get("ANSIBLE_ASK_VAULT_PASS", "defaults", "ask_vault_pass")),
        match_id: truth(config.get("ANSIBLE_VAULT_ID_MATCH", "defaults", "vault_id_match")),
    };
    let listed =
        config.get("ANSIBLE_VAULT_IDENTITY_LIST", "defaults", "vault_identity_list").unwrap_or_default();
    for id in listed.split(',').map(str::trim).filter(|id| !id.is_empty()) {
        let (label, source) = id.split_once('@').unwrap_or(("default", id));
        let source = match source {
            "prompt" => source.to_owned(),
            path => config.located("ANSIBLE_VAULT_IDENTITY_LIST", path).to_string_lossy().into_owned(),
        };
        sources.ids.push(format!("{label}@{source}"));
    }
    sources.ids.extend(ids.iter().cloned());
    if let Some(path) = config.get("ANSIBLE_VAULT_PASSWORD_FILE", "defaults", "vault_password_file") {
        sources.files.push(config.located("ANSIBLE_VAULT_PASSWORD_FILE", &path));
    }
    sources
}

fn parse(text: &str) -> HashMap<(String, String), (usize, String)> {
    let mut values = HashMap::new();
    let mut section = String::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = name.trim().to_owned();
        } else if let Some((key, value)) = line.split_once(['=', ':']) {
            let value = value.split(" ;").next().unwrap_or_default().trim();
            values.insert((section.clone(), key.trim().to_lowercase()), (index + 1, value.to_owned()));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sections() {
        let values =
            parse("[defaults]\n# c\ninventory = ./hosts ; here\n[privilege_escalation]\nbecome: true\n");
        assert_eq!(values[&("defaults".into(), "inventory".into())], (3, "./hosts".into()));
        assert_eq!(values[&("privilege_escalation".into(), "become".into())], (5, "true".into()));
    }
}
