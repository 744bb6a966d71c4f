//! `stat`: what is at a path.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use debark_value::{Map, map};

use crate::file_args::{FileKind, Stat, path_value, read_flags};
use crate::hash::{self, Algorithm};
use crate::param::NO_RULES;
use crate::plan::Failure;
use crate::{Host, Plan, accounts, params};

params! {
    /// Reports what is at a path: type, owner, mode, times, digest.
    pub struct Params for "ansible.builtin.stat" {
        /// The path.
        path | dest | name: PathBuf,
        /// Follow a link.
        follow: bool = false,
        /// Report a digest of regular files.
        get_checksum: bool = true,
        /// The digest's algorithm: md5, sha1, sha224, sha256, sha384 or sha512.
        checksum_algorithm | checksum | checksum_algo: String = "sha1".to_owned(),
        /// Report `mimetype` and `charset`, if the program `file` is there.
        get_mime | mime | mime_type: bool = true,
        /// Report the file system's attributes.
        get_attributes | attr | attributes: bool = true,
        /// Accepted and without effect: SELinux contexts are not reported.
        get_selinux_context: bool = false,
    }
    rules NO_RULES
}

/// Observes the path.
///
/// # Errors
/// It cannot be told what is there, or the algorithm is unknown.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    let path = &params.path;
    let algorithm = Algorithm::of(&params.checksum_algorithm).ok_or_else(|| {
        Failure::new(format!("there is no checksum algorithm {:?}", params.checksum_algorithm))
    })?;
    let found = if params.follow { Stat::followed(path)? } else { Stat::of(path)? };
    let Some(stat) = found else { return Ok(Plan::ok(map! { "stat" => map! { "exists" => false } })) };
    let meta = if params.follow { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) };
    let meta = meta.map_err(|e| Failure::io("cannot look at", path, e))?;
    let mut out = map! { "exists" => true, "path" => path_value(path) };
    out.extend(describe(&stat, &meta));
    let access = |flags| rustix::fs::access(path, flags).is_ok();
    use rustix::fs::Access;
    out.extend(map! {
        "readable" => access(Access::READ_OK), "writeable" => access(Access::WRITE_OK),
        "executable" => access(Access::EXEC_OK),
    });
    if let (FileKind::Link, Ok(target)) = (stat.kind, std::fs::read_link(path)) {
        out.insert("lnk_target".into(), path_value(&target));
        out.insert("lnk_source".into(), path_value(&crate::editing::resolve(path)));
    }
    if params.get_checksum && stat.kind == FileKind::File && access(Access::READ_OK) {
        out.insert("checksum".into(), hash::file(path, &[algorithm])?.pop().unwrap_or_default().into());
    }
    if params.get_mime {
        let cmd =
            crate::exec::Cmd::new("file").args(["--brief", "--mime-type", "--mime-encoding", "--"]).arg(path);
        let said = host.exec(&cmd).ok().filter(|output| output.rc == 0).map(|output| output.out());
        let said = said.unwrap_or_default();
        let (mime, charset) = said.trim().split_once("; charset=").unwrap_or(("unknown", "unknown"));
        out.extend(map! { "mimetype" => mime, "charset" => charset });
    }
    if params.get_attributes {
        let flags = read_flags(host, path).unwrap_or_default();
        let words: Vec<&str> = flags.chars().filter_map(flag_word).collect();
        out.extend(map! { "attr_flags" => flags, "attributes" => debark_value::Value::list(words) });
    }
    Ok(Plan::ok(map! { "stat" => out }))
}

/// The values that stat and find share.
pub(crate) fn describe(stat: &Stat, meta: &std::fs::Metadata) -> Map {
    let bit = |mask: u32| stat.mode & mask != 0;
    let format = meta.mode() & 0o170_000;
    let time = |seconds: i64, nanos: i64| seconds as f64 + nanos as f64 / 1e9;
    let mut out = map! {
        "mode" => format!("{:04o}", stat.mode), "isdir" => format == 0o040_000, "ischr" => format == 0o020_000,
        "isblk" => format == 0o060_000, "isreg" => format == 0o100_000, "isfifo" => format == 0o010_000,
        "islnk" => format == 0o120_000, "issock" => format == 0o140_000,
        "uid" => stat.uid, "gid" => stat.gid, "size" => stat.size, "inode" => meta.ino(), "dev" => meta.dev(),
        "nlink" => stat.nlink, "atime" => time(meta.atime(), meta.atime_nsec()),
        "mtime" => time(meta.mtime(), meta.mtime_nsec()), "ctime" => time(meta.ctime(), meta.ctime_nsec()),
        "wusr" => bit(0o200), "rusr" => bit(0o400), "xusr" => bit(0o100), "wgrp" => bit(0o020),
        "rgrp" => bit(0o040), "xgrp" => bit(0o010), "woth" => bit(0o002), "roth" => bit(0o004),
        "xoth" => bit(0o001), "isuid" => bit(0o4000), "isgid" => bit(0o2000),
        "blocks" => meta.blocks(), "block_size" => meta.blksize(), "device_type" => meta.rdev(),
    };
    if let Some(user) = accounts::user_by_id(stat.uid) {
        out.insert("pw_name".into(), user.name.into());
    }
    if let Some(group) = accounts::group_by_id(stat.gid) {
        out.insert("gr_name".into(), group.name.into());
    }
    out
}

/// What chattr(1) calls a flag.
fn flag_word(flag: char) -> Option<&'static str> {
    Some(match flag {
        'A' => "noatime",
        'a' => "append",
        'c' => "compressed",
        'C' => "nocow",
        'd' => "nodump",
        'D' => "dirsync",
        'e' => "extents",
        'E' => "encrypted",
        'i' => "immutable",
        'I' => "indexed",
        'j' => "journalled",
        'N' => "inline",
        's' => "zero",
        'S' => "synchronous",
        't' => "notail",
        'T' => "blockroot",
        'u' => "undelete",
        'X' => "compressedraw",
        'Z' => "compresseddirty",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::Value;
    use crate::upstream::NoUpstream;

    fn stat(args: Map) -> Value {
        let host = Host::new(Rc::new(NoUpstream));
        plan(Params::parse(&args).unwrap(), &host).unwrap().result.get("stat").unwrap().clone()
    }

    #[test]
    fn reports_files_links_and_absence() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("f"), dir.path().join("l"));
        std::fs::write(&file, "abc").unwrap();
        std::os::unix::fs::symlink("f", &link).unwrap();
        let found = stat(map! { "path" => path_value(&file) });
        assert_eq!(found.get("checksum"), Some(&"a9993e364706816aba3e25717850c26c9cd0d89d".into()));
        assert_eq!((found.get("isreg"), found.get("size")), (Some(&true.into()), Some(&3.into())));
        let found = stat(map! { "path" => path_value(&link) });
        assert_eq!((found.get("islnk"), found.get("lnk_target")), (Some(&true.into()), Some(&"f".into())));
        assert_eq!(
            stat(map! { "path" => path_value(&link), "follow" => true }).get("isreg"),
            Some(&true.into())
        );
        assert_eq!(stat(map! { "path" => "/nonexistent" }).get("exists"), Some(&false.into()));
    }
}
