//! Variables that Ansible sets by itself and nothing overrides.

use std::path::Path;

use debark_value::{Map, Value, map};

/// What a run knows of itself.
#[derive(Debug, Clone, Default)]
pub struct Run<'a> {
    /// Where the playbook is.
    pub playbook_dir: Option<&'a Path>,
    /// `--check`.
    pub check: bool,
    /// `--diff`.
    pub diff: bool,
    /// `-f`.
    pub forks: usize,
    /// `-v` count.
    pub verbosity: u8,
    /// `--limit` as given.
    pub limit: Option<&'a str>,
    /// `-i` as given.
    pub inventory: &'a [String],
    /// `-t` as given.
    pub tags: &'a [String],
    /// `--skip-tags` as given.
    pub skip_tags: &'a [String],
}

/// The release of ansible-core whose behaviour `ansible_version` claims.
const VERSION: [i64; 3] = [2, 19, 0];

/// The variables of a run that are the same for all hosts.
pub fn of_run(run: &Run<'_>) -> Map {
    let [major, minor, revision] = VERSION;
    let full = format!("{major}.{minor}.{revision}");
    let texts = |items: &[String]| Value::list(items.iter().map(String::as_str));
    let tags = if run.tags.is_empty() { Value::list(["all"]) } else { texts(run.tags) };
    let mut vars = map! {
        "ansible_version" => map! {
            "full" => full.as_str(), "string" => full.as_str(),
            "major" => major, "minor" => minor, "revision" => revision,
        },
        "ansible_check_mode" => run.check,
        "ansible_diff_mode" => run.diff,
        "ansible_forks" => run.forks,
        "ansible_verbosity" => i64::from(run.verbosity),
        "ansible_inventory_sources" => texts(run.inventory),
        "ansible_run_tags" => tags,
        "ansible_skip_tags" => texts(run.skip_tags),
        "ansible_config_file" => super::config::Config::path().map(|path| path.to_string_lossy().into_owned()),
    };
    if let Some(dir) = run.playbook_dir {
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        vars.insert("playbook_dir".into(), Value::from(dir.to_string_lossy().into_owned()));
    }
    if let Some(limit) = run.limit {
        vars.insert("ansible_limit".into(), limit.into());
    }
    vars
}
