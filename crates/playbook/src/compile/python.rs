//! Plugins and modules of a project's own, in Python: debark does not run them, and says which file it is that is missed.

use std::path::{Path, PathBuf};

use super::context::Ctx;

/// More files than that in one directory are no plugins of a project.
const MOST: usize = 200;
/// A larger file is no plugin.
const LARGEST: u64 = 1 << 20;

impl Ctx<'_> {
    /// The module of that name in a directory `library` of the role, beside the playbook, or where `ansible.cfg` says.
    pub(super) fn python_module(&self, name: &str, file: u32) -> Option<PathBuf> {
        if name.contains(['/', '.']) {
            return None;
        }
        let name = format!("{name}.py");
        self.places(file, "library").into_iter().map(|dir| dir.join(&name)).find(|path| path.is_file())
    }

    /// What to say of a filter or test (`kind`) that a plugin of the project defines.
    pub(super) fn python_plugin(&self, kind: &str, name: &str, file: u32) -> Option<String> {
        let quoted = [format!("'{name}'"), format!("\"{name}\"")];
        let found = self.places(file, &format!("{kind}_plugins")).into_iter().find_map(|dir| {
            let mut files: Vec<PathBuf> =
                std::fs::read_dir(dir).ok()?.flatten().take(MOST).map(|entry| entry.path()).collect();
            files.sort();
            files.into_iter().find(|path| mentions(path, &quoted))
        })?;
        Some(format!(
            "{} is a plugin in Python, which debark does not run: write a macro, or set a variable to what the {kind} yields",
            found.display()
        ))
    }

    /// Directories of plugins: of the role that the file is of, beside the playbook, and those of `ansible.cfg`.
    fn places(&self, file: u32, name: &str) -> Vec<PathBuf> {
        let source = self.compiler.sources.get(file);
        // A role's tasks lie one level below it, or deeper.
        let above = source.iter().flat_map(|source| Path::new(&source.path).ancestors().skip(1).take(4));
        let beside = above.chain([&*self.playbook_dir]).map(|dir| dir.join(name));
        beside.chain(self.compiler.options.plugin_paths.iter().cloned()).collect()
    }
}

fn mentions(path: &Path, words: &[String; 2]) -> bool {
    let is_plugin = path.extension().is_some_and(|extension| extension == "py")
        && path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= LARGEST);
    is_plugin
        && std::fs::read(path).is_ok_and(|bytes| {
            let text = String::from_utf8_lossy(&bytes);
            words.iter().any(|word| text.contains(word.as_str()))
        })
}
