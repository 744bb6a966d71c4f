//! `include_vars` (Ansible's action of that name).

use std::path::{Path, PathBuf};

use debark_expr::regex;
use debark_value::{Map, Value, map};
use debark_wire::Place;

use super::Compiler;
use crate::source::read_bytes;
use crate::yaml::is_vault;

/// Directories within directories.
const MAX_DEPTH: i64 = 32;

/// Files of one directory tree.
const MAX_FILES: usize = 10_000;

/// What `include_vars` read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IncludedVars {
    /// The variables; may hold templates.
    pub vars: Map,
    /// The files they came from, in order.
    pub files: Vec<String>,
    /// Variables out of encrypted files.
    pub secrets: Map,
}

impl IncludedVars {
    /// The answer that the agent expects: `ansible_facts`, `ansible_included_var_files`, `_secrets`.
    pub fn answer(self) -> Value {
        let mut answer =
            map! { "ansible_facts" => self.vars, "ansible_included_var_files" => Value::list(self.files) };
        if !self.secrets.is_empty() {
            answer.insert("_secrets".into(), Value::from(self.secrets));
        }
        Value::from(answer)
    }
}

impl Compiler {
    /// `include_vars` with rendered parameters. `task_dir` is the directory of the file that the task is in.
    ///
    /// # Errors
    /// One sentence.
    pub fn include_vars(
        &self,
        args: &Map,
        playbook_dir: &Path,
        role_path: Option<&Path>,
        task_dir: Option<&Path>,
    ) -> Result<IncludedVars, String> {
        let text = |name: &str| {
            args.get(name).filter(|value| !value.is_null()).and_then(|value| value.to_text().ok())
        };
        let dir = task_dir.unwrap_or(playbook_dir);
        let mut included = IncludedVars::default();
        match (text("dir"), text("file").or_else(|| text("_raw_params"))) {
            (Some(_), Some(_)) => return Err("include_vars takes `dir` or a file, not both".into()),
            (Some(name), None) => {
                let root = directory(&name, role_path, dir);
                if !root.is_dir() {
                    return Err(format!(
                        "there is no directory {} to include variables from",
                        root.display()
                    ));
                }
                let filter = Filter::read(args)?;
                let main = role_path.map(|role| role.join("vars/main.yml"));
                for file in filter.files(&root)? {
                    // A role's own file is read already.
                    if Some(&file) != main.as_ref() {
                        self.read_vars(&file, &mut included)?;
                    }
                }
            }
            (None, Some(name)) => {
                let roots: Vec<PathBuf> = role_path.map(Path::to_owned).into_iter().collect();
                let file = self.locate(name.trim_end(), Place::Vars, &roots, dir, playbook_dir).map_err(
                    |tried| {
                        format!("there is no file of variables `{name}`; looked for {}", tried.join(", "))
                    },
                )?;
                self.read_vars(&file, &mut included)?;
            }
            (None, None) => return Err("include_vars names no file and no directory".into()),
        }
        if let Some(name) = text("name") {
            included.vars = Map::from_iter([(name.into(), Value::from(included.vars))]);
        }
        Ok(included)
    }

    fn read_vars(&self, path: &Path, included: &mut IncludedVars) -> Result<(), String> {
        let (vars, _) = self.vars_file(path).map_err(|error| error.one_line(self.sources()))?;
        if read_bytes(path, crate::source::MAX_BYTES).is_ok_and(|bytes| is_vault(&bytes)) {
            included.secrets.extend(vars.clone());
        }
        included.vars.extend(vars);
        included.files.push(path.display().to_string());
        Ok(())
    }
}

/// A role's directories are below its `vars/`, others beside the file of the task.
fn directory(name: &str, role_path: Option<&Path>, dir: &Path) -> PathBuf {
    match role_path {
        Some(role) if name.split('/').next() == Some("vars") => role.join(name),
        Some(role) => role.join("vars").join(name),
        None => dir.join(name),
    }
}

/// Which files of a directory are read.
struct Filter {
    depth: i64,
    matching: Option<std::sync::Arc<regex::Regex>>,
    ignored: Vec<std::sync::Arc<regex::Regex>>,
    extensions: Vec<String>,
    skip_unknown: bool,
}

impl Filter {
    fn read(args: &Map) -> Result<Self, String> {
        let pattern = |text: &str| regex::compile(text, regex::Flags::default());
        let texts = |name: &str| -> Result<Vec<String>, String> {
            match args.get(name).filter(|value| !value.is_null()) {
                Some(value) => {
                    let items = value.to_list().map_err(|why| format!("`{name}` of include_vars {why}"))?;
                    Ok(items.iter().filter_map(|item| item.to_text().ok()).collect())
                }
                None => Ok(Vec::new()),
            }
        };
        let mut extensions = texts("extensions")?;
        if extensions.is_empty() {
            extensions = ["yaml", "yml", "json"].map(str::to_owned).to_vec();
        }
        let matching = match args.get("files_matching").and_then(Value::as_str) {
            Some(text) => Some(pattern(text)?),
            None => None,
        };
        let ignored = texts("ignore_files")?;
        Ok(Self {
            depth: args.get("depth").and_then(|depth| depth.to_int().ok()).unwrap_or(0),
            matching,
            ignored: ignored.iter().map(|text| pattern(&format!("{text}$"))).collect::<Result<_, _>>()?,
            extensions,
            skip_unknown: args
                .get("ignore_unknown_extensions")
                .is_some_and(|flag| flag.to_bool().unwrap_or(false)),
        })
    }

    /// The files below a directory, each directory's own before those of the directories in it.
    fn files(&self, root: &Path) -> Result<Vec<PathBuf>, String> {
        let mut found = Vec::new();
        self.walk(root, 1, &mut found)?;
        Ok(found)
    }

    fn walk(&self, directory: &Path, depth: i64, found: &mut Vec<PathBuf>) -> Result<(), String> {
        if (self.depth != 0 && depth > self.depth) || depth > MAX_DEPTH {
            return Ok(());
        }
        let entries = std::fs::read_dir(directory)
            .map_err(|error| format!("cannot read {}: {error}", directory.display()))?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let (directories, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
        for path in files {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let hit = |regex: &regex::Regex| regex.is_match(&name).unwrap_or(false);
            if self.matching.as_ref().is_some_and(|regex| !hit(regex))
                || self.ignored.iter().any(|regex| hit(regex))
            {
                continue;
            }
            let known =
                path.extension().is_some_and(|end| self.extensions.iter().any(|known| end == known.as_str()));
            match (known, self.skip_unknown) {
                (true, _) => found.push(path),
                (false, true) => {}
                (false, false) => {
                    return Err(format!(
                        "{} does not end in one of {}: name it in `ignore_files` or set `ignore_unknown_extensions`",
                        path.display(),
                        self.extensions.join(", ")
                    ));
                }
            }
            if found.len() > MAX_FILES {
                return Err(format!("{} holds more files than can be meant", directory.display()));
            }
        }
        directories.iter().try_for_each(|path| self.walk(path, depth + 1, found))
    }
}
