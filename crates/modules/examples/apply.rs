//! Runs one module on this machine and prints its result as JSON: `apply [--check] [--diff] MODULE [JSON-ARGS]`.
//!
//! For trying modules on a lab host without agent and controller. Files "of the controller" are those of the
//! current directory. Exit code 1 if the module failed, 2 if it could not be asked.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use debark_modules::upstream::{Entry, EntryKind, Search, Tree, Upstream};
use debark_modules::{Action, Failure, Host, Map, Value, map};
use sha2::{Digest, Sha256};

/// A controller whose files are here.
#[derive(Default)]
struct Here {
    by_hash: RefCell<HashMap<String, PathBuf>>,
}

impl Here {
    fn entry(&self, root: &Path, below: &Path) -> Result<Entry, Failure> {
        use std::os::unix::fs::PermissionsExt;
        let path = if below.as_os_str().is_empty() { root.to_owned() } else { root.join(below) };
        let io = |error| Failure::io("cannot read", &path, error);
        let meta = if below.as_os_str().is_empty() { path.metadata() } else { path.symlink_metadata() }
            .map_err(io)?;
        let kind = if meta.is_dir() {
            EntryKind::Directory
        } else if meta.is_symlink() {
            EntryKind::Link(path.read_link().map_err(io)?)
        } else {
            let content = std::fs::read(&path).map_err(io)?;
            let sha256: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
            self.by_hash.borrow_mut().insert(sha256.clone(), path.clone());
            EntryKind::File { sha256, size: content.len() as u64 }
        };
        Ok(Entry { path: below.to_owned(), kind, mode: meta.permissions().mode() & 0o7777 })
    }

    fn walk(&self, root: &Path, below: &Path, entries: &mut Vec<Entry>) -> Result<(), Failure> {
        let dir = root.join(below);
        let mut names: Vec<_> = std::fs::read_dir(&dir)
            .and_then(|dir| dir.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>())
            .map_err(|error| Failure::io("cannot list", &dir, error))?;
        names.sort();
        for name in names {
            let entry = self.entry(root, &below.join(name))?;
            let (path, is_dir) = (entry.path.clone(), entry.kind == EntryKind::Directory);
            entries.push(entry);
            if is_dir {
                self.walk(root, &path, entries)?;
            }
        }
        Ok(())
    }
}

impl Upstream for Here {
    fn find(&self, path: &str, search: Search) -> Result<Tree, Failure> {
        let folder = if search == Search::Files { "files" } else { "templates" };
        let root = [Path::new(folder).join(path), PathBuf::from(path)]
            .into_iter()
            .find(|candidate| candidate.exists())
            .ok_or_else(|| Failure::new(format!("{path} is neither in {folder}/ nor here")))?;
        let name = root.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let top = self.entry(&root, Path::new(""))?;
        if top.kind != EntryKind::Directory {
            return Ok(Tree { name, entries: vec![top], directory: false });
        }
        let mut entries = Vec::new();
        self.walk(&root, Path::new(""), &mut entries)?;
        Ok(Tree { name, entries, directory: true })
    }

    fn content(&self, sha256: &str, out: &mut dyn Write) -> Result<(), Failure> {
        let path = self.by_hash.borrow().get(sha256).cloned();
        let path = path.ok_or_else(|| Failure::new(format!("no file has the hash {sha256}")))?;
        let mut file = std::fs::File::open(&path).map_err(|e| Failure::io("cannot read", &path, e))?;
        std::io::copy(&mut file, out).map_err(|e| Failure::io("cannot copy", &path, e))?;
        Ok(())
    }

    fn store(&self, dest: &Path, _: u64, content: &mut dyn Read) -> Result<(), Failure> {
        let mut file = std::fs::File::create(dest).map_err(|e| Failure::io("cannot create", dest, e))?;
        std::io::copy(content, &mut file).map_err(|e| Failure::io("cannot write", dest, e))?;
        Ok(())
    }

    fn stored_sha1(&self, dest: &Path) -> Result<Option<String>, Failure> {
        use sha1::Sha1;
        match std::fs::read(dest) {
            Ok(content) => Ok(Some(Sha1::digest(content).iter().map(|byte| format!("{byte:02x}")).collect())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::io("cannot read", dest, error)),
        }
    }
}

/// What the interpreter does with one task, without its keywords.
fn run(name: &str, args: &Map, host: &Host) -> Result<Map, Failure> {
    let module =
        debark_modules::find(name).ok_or_else(|| Failure::new(format!("there is no module {name}")))?;
    let mut plan = (module.plan)(args, host)?;
    while let Action::Prepare(prepare) = plan.action {
        plan = prepare(host)?;
    }
    let mut result = map! { "changed" => plan.changes() };
    result.extend(plan.result);
    if host.wants_diff() && !plan.diff.is_empty() {
        let diff = plan.diff.iter().map(|diff| {
            map! {
                "before_header" => diff.before_header.as_str(), "before" => diff.before.as_str(),
                "after_header" => diff.after_header.as_str(), "after" => diff.after.as_str(),
            }
        });
        result.insert("diff".into(), Value::list(diff));
    }
    match plan.action {
        Action::Nothing | Action::Prepare(_) => {}
        Action::Skip(reason) => {
            result.extend(map! { "changed" => false, "skipped" => true, "msg" => reason });
        }
        Action::Run(_) if host.is_check() => result.extend(map! { "changed" => false, "skipped" => true }),
        Action::Change(_) if host.is_check() => {}
        Action::Change(apply) | Action::Run(apply) => result.extend(apply(host)?),
    }
    Ok(result)
}

fn main() {
    let host = Host::new(Rc::new(Here::default()));
    let mut words = Vec::new();
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--check" => host.options.borrow_mut().check = true,
            "--diff" => host.options.borrow_mut().diff = true,
            _ => words.push(arg),
        }
    }
    let (name, args) = match words.as_slice() {
        [name] => (name, "{}"),
        [name, args] => (name, args.as_str()),
        _ => {
            eprintln!("usage: apply [--check] [--diff] MODULE [JSON-ARGS]");
            std::process::exit(2);
        }
    };
    let args = match serde_json::from_str(args).map(debark_modules::from_json) {
        Ok(Value::Map(args)) => args.as_ref().clone(),
        Ok(_) | Err(_) => {
            eprintln!("arguments are no JSON object: {args}");
            std::process::exit(2);
        }
    };
    match run(name, &args, &host) {
        Ok(result) => println!("{}", debark_modules::to_json_string(&result.into())),
        Err(failure) => {
            let mut result = map! { "failed" => true, "msg" => failure.msg };
            result.extend(failure.hint.map(|hint| ("hint".into(), Value::from(hint))));
            result.extend(failure.result);
            println!("{}", debark_modules::to_json_string(&result.into()));
            std::process::exit(1);
        }
    }
}
