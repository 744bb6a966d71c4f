//! `fetch`: a file of the host, brought to the controller.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Component, Path, PathBuf};

use debark_value::{Map, Value, map};

use crate::file_args::{FileKind, Stat, path_value};
use crate::find::normal;
use crate::hash::{self, Algorithm};
use crate::param::NO_RULES;
use crate::plan::{Diff, Failure};
use crate::{Host, Plan, params};

params! {
    /// Brings a file of the host to the controller.
    pub struct Params for "ansible.builtin.fetch" {
        /// The file on the host; a link is followed.
        src: PathBuf,
        /// Where to on the controller: a directory that gets HOST/PATH, or with `flat` the file itself or, with a
        /// slash at the end, the directory it is put in.
        dest: String,
        /// Do not put it below the host's name and its path there.
        flat: bool = false,
        /// Fail if there is no such file.
        fail_on_missing: bool = true,
        /// What arrived must have the digest of what was sent.
        validate_checksum: bool = true,
        /// Set by debark itself: the host's name in the inventory.
        _host: Option<String>,
    }
    rules NO_RULES
}

/// What has no length of its own (`/proc`, a growing log) is kept aside while it is sent; no more than this.
const SPOOLED: u64 = 1 << 30;

/// Compares digests; only what differs is sent.
///
/// # Errors
/// There is no such file (unless that is fine), it is a directory, or the controller cannot be asked.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let src = params.src.clone();
    let result = map! { "file" => path_value(&src) };
    let refused = match Stat::followed(&src) {
        Ok(Some(stat)) if stat.kind == FileKind::Directory => {
            Some(format!("{} is a directory, fetch takes files", src.display()))
        }
        Ok(Some(_)) => File::open(&src).err().map(|error| format!("cannot read {}: {error}", src.display())),
        // A task before this one may be about to make it.
        Ok(None) if host.may_come() && params.fail_on_missing => {
            return Ok(Plan::run(move |_| {
                Err(Failure::new(format!("there is no {} on the host", src.display())))
            }));
        }
        Ok(None) => Some(format!("the remote file does not exist: {}", src.display())),
        Err(failure) => Some(failure.msg),
    };
    if let Some(why) = refused {
        return match params.fail_on_missing {
            true => Err(Failure::new(why).with(result)),
            false => Ok(Plan::ok(result).with("msg", format!("{why}, ignored"))),
        };
    }
    let dest = destination(&params)?;
    let digests = hash::file(&src, &[Algorithm::Sha1, Algorithm::Md5])?;
    let [sha1, md5] = digests.as_slice() else { return Err(Failure::new("there are no digests")) };
    let here = host.upstream.stored_sha1(&dest)?;
    let mut result = result;
    result.extend(map! {
        "dest" => path_value(&dest), "md5sum" => md5.clone(), "checksum" => sha1.clone(),
        "remote_checksum" => sha1.clone(), "remote_md5sum" => Value::Null,
    });
    if here.as_ref() == Some(sha1) {
        return Ok(Plan::ok(result));
    }
    let before = here.unwrap_or_else(|| "absent".into());
    let diff = vec![Diff::property(dest.display(), "sha1", before, sha1)];
    let seen = sha1.clone();
    Ok(Plan::change(result, diff, move |host| send(host, &src, &dest, &seen, params.validate_checksum)))
}

/// Where it goes, without detours.
fn destination(params: &Params) -> Result<PathBuf, Failure> {
    let name = params
        .src
        .file_name()
        .ok_or_else(|| Failure::new(format!("{} names no file", params.src.display())))?;
    if params.dest.is_empty() {
        return Err(Failure::new("fetch: parameter `dest` is empty"));
    }
    if params.flat {
        let dest = PathBuf::from(&params.dest);
        return Ok(normal(&if params.dest.ends_with('/') { dest.join(name) } else { dest }));
    }
    let host = params._host.as_deref().ok_or_else(|| {
        Failure::new("fetch does not know the name of the host").hint("with `flat: true` it needs none")
    })?;
    // The name becomes one directory; it is no way out of `dest`.
    if !matches!(Path::new(host).components().collect::<Vec<_>>().as_slice(), [Component::Normal(_)])
        || host.contains('/')
    {
        return Err(Failure::new(format!("the host's name {host:?} cannot be the name of a directory")));
    }
    // A path that climbs ends at the root, and so does not leave the host's directory.
    let below = normal(&Path::new("/").join(&params.src));
    let below: PathBuf = below.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    Ok(normal(&Path::new(&params.dest).join(host)).join(below))
}

fn send(host: &Host, src: &Path, dest: &Path, seen: &str, validate: bool) -> Result<Map, Failure> {
    let unreadable = |error: std::io::Error| Failure::io("cannot read", src, error);
    let mut file = File::open(src).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    // The length is told before the content: it must hold. What a driver answers has none.
    let regular = file.metadata().map_err(unreadable)?.is_file();
    if !regular || size == 0 || grows(&mut file, size).map_err(unreadable)? {
        let mut copy = crate::http::spool(&[])?;
        let size = std::io::copy(&mut (&mut file).take(SPOOLED + 1), &mut copy).map_err(unreadable)?;
        if size > SPOOLED {
            return Err(Failure::new(format!("{} does not end within {SPOOLED} bytes", src.display())));
        }
        copy.rewind().map_err(unreadable)?;
        return store(host, copy, size, dest, seen, validate);
    }
    store(host, file, size, dest, seen, validate)
}

/// Whether there is more than the length says; the file is at its beginning afterwards.
fn grows(file: &mut File, size: u64) -> std::io::Result<bool> {
    file.seek(std::io::SeekFrom::Start(size))?;
    let more = file.read(&mut [0u8; 1])? > 0;
    file.rewind()?;
    Ok(more)
}

fn store(
    host: &Host,
    file: File,
    size: u64,
    dest: &Path,
    seen: &str,
    validate: bool,
) -> Result<Map, Failure> {
    let mut sent =
        Digested { file: file.take(size), sha1: Algorithm::Sha1.hasher(), md5: Algorithm::Md5.hasher() };
    host.upstream.store(dest, size, &mut sent)?;
    let (sha1, md5) = (sent.sha1.finish(), sent.md5.finish());
    let result = map! { "md5sum" => md5, "checksum" => sha1.clone(), "remote_checksum" => seen };
    if !validate {
        return Ok(result);
    }
    let stored = host.upstream.stored_sha1(dest)?;
    if stored.as_ref() != Some(&sha1) {
        return Err(Failure::new(format!(
            "{} arrived with the digest {}, not {sha1}",
            dest.display(),
            stored.as_deref().unwrap_or("of nothing")
        ))
        .with(result));
    }
    if sha1 != seen {
        return Err(Failure::new(format!(
            "checksum mismatch: what became {} was changed while it was fetched",
            dest.display()
        ))
        .hint("`validate_checksum: false` takes it as it is")
        .with(result));
    }
    Ok(result)
}

/// Digests what is read through it.
struct Digested {
    file: std::io::Take<File>,
    sha1: hash::Hasher,
    md5: hash::Hasher,
}

impl Read for Digested {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        self.sha1.update(read);
        self.md5.update(read);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::rc::Rc;

    use super::*;
    use crate::Action;
    use crate::upstream::{Search, Tree, Upstream};

    /// A controller's directory.
    struct Here(PathBuf);

    impl Upstream for Here {
        fn find(&self, path: &str, _: Search) -> Result<Tree, Failure> {
            Err(Failure::new(path))
        }
        fn content(&self, sha256: &str, _: &mut dyn Write) -> Result<(), Failure> {
            Err(Failure::new(sha256))
        }
        fn store(&self, dest: &Path, size: u64, content: &mut dyn Read) -> Result<(), Failure> {
            let path = self.0.join(dest);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let count = std::io::copy(content, &mut File::create(path).unwrap()).unwrap();
            assert_eq!(count, size);
            Ok(())
        }
        fn stored_sha1(&self, dest: &Path) -> Result<Option<String>, Failure> {
            let path = self.0.join(dest);
            if path.exists() { hash::sha1_of(&path).map(Some) } else { Ok(None) }
        }
    }

    fn run(dir: &Path, args: Map, check: bool) -> Result<(bool, Map), Failure> {
        let host = Host::new(Rc::new(Here(dir.to_path_buf())));
        host.options.borrow_mut().check = check;
        let plan = plan(Params::parse(&args)?, &host)?;
        let (changed, mut result) = (plan.changes(), plan.result);
        if let (Action::Change(apply), false) = (plan.action, check) {
            result.extend(apply(&host)?);
        }
        Ok((changed, result))
    }

    #[test]
    fn below_the_name_of_the_host_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let src = dir.path().join("f");
        std::fs::write(&src, "abc").unwrap();
        let args = map! { "src" => path_value(&src), "dest" => "got/", "_host" => "web1" };
        assert!(run(dir.path(), args.clone(), true).unwrap().0 && !dir.path().join("got").exists());
        let (changed, result) = run(dir.path(), args.clone(), false).unwrap();
        let dest = format!("got/web1{}", src.display());
        assert!(changed && result["dest"] == dest.as_str().into());
        assert_eq!(result["checksum"], "a9993e364706816aba3e25717850c26c9cd0d89d".into());
        assert_eq!(std::fs::read(dir.path().join(&dest)).unwrap(), b"abc");
        assert!(!run(dir.path(), args, false).unwrap().0);
    }

    #[test]
    fn flat_names_and_content_without_length() {
        let dir = tempfile::tempdir().unwrap();
        let args = map! { "src" => "/proc/sys/kernel/ostype", "dest" => "x/", "flat" => true };
        assert!(run(dir.path(), args, false).unwrap().0);
        assert_eq!(std::fs::read(dir.path().join("x/ostype")).unwrap(), b"Linux\n");
        let args = map! { "src" => "/proc/sys/kernel/ostype", "dest" => "y", "flat" => true };
        assert_eq!(run(dir.path(), args, false).unwrap().1["dest"], "y".into());
    }

    #[test]
    fn paths_do_not_leave_the_destination() {
        let to = |src: &str, host: &str| {
            destination(&Params::parse(&map! { "src" => src, "dest" => "d", "_host" => host }).unwrap())
        };
        assert_eq!(to("/a/../../../b", "h").unwrap(), Path::new("d/h/b"));
        assert_eq!(to("../../b", "h").unwrap(), Path::new("d/h/b"));
        for host in ["..", "a/b", "", "/"] {
            assert!(to("/b", host).is_err(), "{host:?}");
        }
    }

    #[test]
    fn what_is_missing_fails_or_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let args = map! { "src" => "/nonexistent", "dest" => "d", "_host" => "h" };
        assert_eq!(
            run(dir.path(), args.clone(), false).unwrap_err().msg,
            "the remote file does not exist: /nonexistent"
        );
        let args = Map::from_iter(args.into_iter().chain(map! { "fail_on_missing" => false }));
        let (changed, result) = run(dir.path(), args, false).unwrap();
        assert!(!changed && result["msg"].as_str().unwrap().ends_with(", ignored"));
        assert!(run(dir.path(), map! { "src" => "/etc", "dest" => "d", "_host" => "h" }, false).is_err());
    }
}
