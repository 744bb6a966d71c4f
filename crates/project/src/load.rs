//! From a file to a project.

use std::path::{Path, PathBuf};

use debark_playbook::diagnostic::Diagnostic;
use debark_playbook::yaml::{self, NoVault};
use debark_playbook::{SourceMap, Span};

use crate::Project;
use crate::read::Reader;

/// How a project file is called.
pub const FILE: &str = "debark.yml";

/// The project file of a directory or of the nearest one above it that has one.
///
/// # Errors
/// There is none.
pub fn find(from: &Path) -> Result<PathBuf, Diagnostic> {
    let from = std::path::absolute(from).unwrap_or_else(|_| from.to_owned());
    let candidates = from.ancestors().map(|directory| directory.join(FILE));
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Diagnostic::error(format!("there is no {FILE} in {} or above it", from.display()))
            .hint("`debark init` writes one; `--project FILE` names another")
    })
}

impl Project {
    /// Reads a project file.
    ///
    /// # Errors
    /// Everything that is wrong with it; warnings are [`Self::warnings`] if nothing else is.
    pub fn load(path: &Path, sources: &SourceMap) -> Result<Self, Vec<Diagnostic>> {
        let (file, parsed) = yaml::load(sources, path, &NoVault).map_err(|error| vec![error])?;
        let (node, mut warnings) = parsed.single().map_err(|error| vec![error])?;
        let Some(node) = node else {
            return Err(vec![
                Diagnostic::error("this project file is empty")
                    .at(Span::start_of(file))
                    .hint("`debark init` writes one"),
            ]);
        };
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let root = debark_playbook::source::directory_of(path);
        let reader = Reader::new(sources, &root);
        let project = reader.project(&node, absolute);
        let (errors, more): (Vec<_>, Vec<_>) =
            reader.into_found().into_iter().partition(Diagnostic::is_error);
        warnings.extend(more);
        match project {
            Some(project) if errors.is_empty() => Ok(Self { warnings, ..project }),
            _ => Err(errors.into_iter().chain(warnings).collect()),
        }
    }
}

#[cfg(test)]
mod tests;
