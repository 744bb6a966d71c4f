//! `tempfile`: a temporary file or directory that only its maker can open.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use debark_value::map;

use crate::atomic::write_failure;
use crate::file_args::{path_info, path_value};
use crate::param::NO_RULES;
use crate::plan::Failure;
use crate::{Host, Plan, choices, params};

choices! {
    /// What is made.
    pub enum State { File = "file", Directory = "directory" }
}

params! {
    /// Makes a temporary file or directory.
    pub struct Params for "ansible.builtin.tempfile" {
        /// Whether to make a file or a directory.
        state: State = State::File,
        /// The directory to make it in; the system's for temporary files by default.
        path: Option<PathBuf>,
        /// What its name starts with.
        prefix: String = "ansible.".to_owned(),
        /// What its name ends with.
        suffix: String = String::new(),
    }
    rules NO_RULES
}

/// Makes it. Its name is known only then: a check says nothing about it.
///
/// # Errors
/// The name holds a NUL byte. Applying: the directory is missing, full or read-only.
pub fn plan(params: Params, _: &Host) -> Result<Plan, Failure> {
    if params.prefix.contains('\0') || params.suffix.contains('\0') {
        return Err(Failure::new(
            "a NUL byte in `prefix` or `suffix` cannot be in the name of a temporary file",
        ));
    }
    Ok(Plan::run(move |_| {
        let dir = params.path.clone().unwrap_or_else(std::env::temp_dir);
        let dir = std::path::absolute(&dir).map_err(|e| Failure::io("cannot look at", &dir, e))?;
        let path = make(&dir, &params)?;
        let mut result = map! { "changed" => true, "path" => path_value(&path) };
        result.extend(path_info(&path)?);
        Ok(result)
    }))
}

fn make(dir: &Path, params: &Params) -> Result<PathBuf, Failure> {
    let mut tries = 100;
    loop {
        let path = dir.join(format!("{}{}{}", params.prefix, random()?, params.suffix));
        let made = match params.state {
            State::File => OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map(drop),
            State::Directory => DirBuilder::new().mode(0o700).create(&path),
        };
        tries -= 1;
        match made {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tries > 0 => {}
            Err(error) => return Err(write_failure(&path, error)),
        }
    }
}

/// Eight characters that nobody can guess.
fn random() -> Result<String, Failure> {
    // 32 characters: each takes five bits of a byte, none is likelier than another.
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";
    let source = Path::new("/dev/urandom");
    let mut bytes = [0u8; 8];
    let read = File::open(source).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| Failure::io("cannot read", source, error))?;
    let letter = |byte: &u8| LETTERS.get(usize::from(byte & 31)).copied().map_or('a', char::from);
    Ok(bytes.iter().map(letter).collect())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::file_args::{FileKind, Stat};
    use crate::upstream::NoUpstream;
    use crate::{Action, Map};

    fn run(args: &Map) -> Result<PathBuf, Failure> {
        let host = Host::new(Rc::new(NoUpstream));
        let Action::Run(apply) = plan(Params::parse(args)?, &host)?.action else { panic!("must run") };
        let result = apply(&host)?;
        assert_eq!(result.get("changed"), Some(&true.into()));
        assert!(result.contains_key("uid") && result["state"] != "absent".into());
        Ok(result["path"].as_str().unwrap().into())
    }

    #[test]
    fn makes_private_files_and_directories_of_different_names() {
        let dir = tempfile::tempdir().unwrap();
        let file = map! { "path" => path_value(dir.path()), "suffix" => ".txt" };
        let (one, two) = (run(&file).unwrap(), run(&file).unwrap());
        assert_ne!(one, two);
        let name = one.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("ansible.") && name.ends_with(".txt") && name.len() == 20, "{name}");
        let stat = Stat::of(&one).unwrap().unwrap();
        assert_eq!((stat.kind, stat.mode, stat.size), (FileKind::File, 0o600, 0));
        let args = map! { "path" => path_value(dir.path()), "state" => "directory", "prefix" => "b_" };
        let stat = Stat::of(&run(&args).unwrap()).unwrap().unwrap();
        assert_eq!((stat.kind, stat.mode), (FileKind::Directory, 0o700));
    }

    #[test]
    fn a_missing_directory_is_named() {
        let failure = run(&map! { "path" => "/nonexistent/dir" }).unwrap_err();
        assert!(failure.msg.starts_with("cannot write /nonexistent/dir/ansible."), "{}", failure.msg);
        assert!(run(&map! { "prefix" => "a\0" }).is_err());
    }
}
