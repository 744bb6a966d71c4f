//! `slurp`: a file's content as a return value.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use debark_value::map;

use crate::atomic::read_limited;
use crate::file_args::{FileKind, Stat, path_value};
use crate::param::NO_RULES;
use crate::plan::Failure;
use crate::{Host, Plan, params};

params! {
    /// Returns the content of a file on the host, in base64.
    pub struct Params for "ansible.builtin.slurp" {
        /// The file.
        src | path: PathBuf,
    }
    rules NO_RULES
}

/// Larger files would be held several times over, as result and as variable.
const LIMIT: u64 = 64 << 20;

/// Reads the file.
///
/// # Errors
/// There is none, it is a directory, it cannot be read, or it is larger than 64 MiB.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let src = &params.src;
    match Stat::followed(src)? {
        // A task before this one may be about to make it.
        None if host.may_come() => Ok(Plan::run(move |host| {
            let done = plan(params, host)?;
            Ok(done.result)
        })),
        None => Err(Failure::new(format!("file not found: {}", src.display()))),
        Some(stat) if stat.kind == FileKind::Directory => {
            Err(Failure::new(format!("{} is a directory, not a file", src.display())))
        }
        Some(stat) if stat.size > LIMIT => Err(Failure::new(format!(
            "{} has {} bytes, too many for a variable (at most {LIMIT})",
            src.display(),
            stat.size
        ))
        .hint("`fetch` brings files of any size to the controller")),
        Some(_) => {
            let content = STANDARD.encode(read_limited(src, LIMIT)?);
            let result = map! { "content" => content, "source" => path_value(src), "encoding" => "base64" };
            Ok(Plan::ok(result))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::Map;
    use crate::upstream::NoUpstream;

    fn slurp(args: Map) -> Result<Map, Failure> {
        let host = Host::new(Rc::new(NoUpstream));
        plan(Params::parse(&args)?, &host).map(|plan| plan.result)
    }

    #[test]
    fn any_bytes_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, [0u8, 255, b'\n']).unwrap();
        let result = slurp(map! { "path" => path_value(&path) }).unwrap();
        assert_eq!(result.get("content"), Some(&"AP8K".into()));
        assert_eq!(result.get("encoding"), Some(&"base64".into()));
        assert_eq!(result.get("source"), Some(&path_value(&path)));
    }

    #[test]
    fn says_what_is_wrong() {
        let missing = slurp(map! { "src" => "/nonexistent/f" }).unwrap_err();
        assert_eq!(missing.msg, "file not found: /nonexistent/f");
        let directory = slurp(map! { "src" => "/etc" }).unwrap_err();
        assert_eq!(directory.msg, "/etc is a directory, not a file");
        // The kernel says that such files are empty.
        assert!(
            slurp(map! { "src" => "/proc/self/status" }).unwrap()["content"].as_str().unwrap().len() > 40
        );
    }

    #[test]
    fn large_files_are_refused_unread() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(LIMIT + 1).unwrap();
        let failure = slurp(map! { "src" => path_value(file.path()) }).unwrap_err();
        assert!(failure.msg.contains("too many for a variable"), "{}", failure.msg);
    }
}
