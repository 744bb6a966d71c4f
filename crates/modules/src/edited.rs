//! What modules that edit a file share beyond [`crate::editing`]: where the file must be, directories on the way to
//! it, and the word about its owner and mode.

use std::path::{Path, PathBuf};

use debark_value::{Map, map};

use crate::atomic::parent_of;
use crate::editing::Edited;
use crate::file_args::{FileKind, Stat};
use crate::plan::{Action, Failure};
use crate::{Host, Plan};

/// Fails if a path leads to a directory.
///
/// # Errors
/// It does (with `rc` 256, as Ansible has it), or it cannot be told.
pub fn no_directory(path: &Path) -> Result<(), Failure> {
    match Stat::followed(path)? {
        Some(stat) if stat.kind == FileKind::Directory => {
            Err(Failure::new(format!("{} is a directory", path.display())).with(map! { "rc" => 256 }))
        }
        _ => Ok(()),
    }
}

/// The failure of a file that should be there, with `rc` 257 as Ansible has it.
pub fn missing(path: &Path) -> Failure {
    Failure::new(format!("{} does not exist", path.display())).with(map! { "rc" => 257 })
}

/// The plan for new content, with a message that ends with the change of owner and mode, if there is one.
///
/// # Errors
/// The attributes of the file system cannot be read.
pub fn plan(
    file: Edited,
    host: &Host,
    after: Vec<u8>,
    message: &str,
    mut result: Map,
) -> Result<Plan, Failure> {
    let mut told = message.to_owned();
    if !file.replace.attrs(host)?.is_empty() {
        if file.before.as_ref() != Some(&after) {
            told.push_str(" and ");
        }
        told.push_str("ownership, perms or SE linux context changed");
    }
    result.insert("msg".into(), told.into());
    let dest = file.replace.dest.clone();
    Ok(with_parents(file.plan(host, after, result)?, dest))
}

/// The plan, made to begin with the directories above `dest`. Those that it made go away again if it fails.
pub fn with_parents(plan: Plan, dest: PathBuf) -> Plan {
    let Plan { result, diff, action: Action::Change(apply) } = plan else { return plan };
    Plan::change(result, diff, move |host| {
        let made = make_parents(&dest)?;
        apply(host).inspect_err(|_| remove(&made))
    })
}

/// Makes the missing directories above a path; yields them, outermost first.
fn make_parents(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let parent = parent_of(path);
    let absent = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let mut missing: Vec<PathBuf> = parent.ancestors().take_while(absent).map(Path::to_path_buf).collect();
    missing.reverse();
    for (index, dir) in missing.iter().enumerate() {
        let made = crate::guard::keep(dir).and_then(|()| {
            std::fs::create_dir(dir).map_err(|error| Failure::io("cannot make the directory", dir, error))
        });
        if let Err(failure) = made {
            remove(missing.get(..index).unwrap_or_default());
            return Err(failure);
        }
    }
    Ok(missing)
}

fn remove(made: &[PathBuf]) {
    for dir in made.iter().rev() {
        // Someone else may have put something in it meanwhile; then it stays.
        let _ = std::fs::remove_dir(dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn directories_are_made_and_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("a/b/f");
        let host = Host::new(Rc::new(crate::upstream::NoUpstream));
        let run = |plan: Plan| match with_parents(plan, dest.clone()).action {
            Action::Change(apply) => apply(&host).is_ok(),
            _ => panic!("nothing to do"),
        };
        assert!(!run(Plan::change(Map::new(), Vec::new(), |_| Err(Failure::new("no")))));
        assert!(!dir.path().join("a").exists());
        assert!(run(Plan::change(Map::new(), Vec::new(), |_| Ok(Map::new()))));
        assert!(dir.path().join("a/b").is_dir());
    }
}
