//! A commit's files are the same whether they are checked out or read where git holds them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use debark_playbook::SourceMap;
use debark_project::{Build, FileTree, Project, Source};

use super::Checkout;
use super::testing::git;
use crate::deb::{self, source::Directory};

const PROJECT: &str = "packages:
  shop:
    version: 1.2.0
    build:
      maintainer: Shop <shop@example.org>
      description: a shop
      compression: zstd
      copyright: linked-licence
      files:
        - {src: ., dst: /usr/share/shop}
        - {src: 'bin/*', dst: /usr/bin}
        - {src: to-many/1*, dst: /usr/lib/shop}
        - {src: round/about/shop.conf, dst: /etc/shop/}
        - {src: empty, dst: /var/lib/shop/empty, mode: '0600', owner: www-data}
      units: [shop.service]
      scripts: {postinst: postinst}
";

/// Links of all kinds, programs, large, empty and many files, and every attribute by which a checkout of git's own would change them.
fn repository(root: &Path) -> FileTree {
    let put = |path: &str, text: &[u8]| {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    };
    put("debark.yml", PROJECT.as_bytes());
    put(
        ".gitattributes",
        b"*.txt text eol=crlf\n*.id ident\n*.sub export-subst\nhidden export-ignore\n*.up filter=up\n*.bin filter=lfs diff=lfs merge=lfs -text\n",
    );
    git_init(root);
    put("crlf.txt", b"one\ntwo\n");
    put("a.id", b"$Id$\n");
    put("a.sub", b"$Format:%H$\n");
    put("hidden", b"hidden\n");
    put("a.up", b"shout\n");
    let pointer = format!(
        "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n",
        "0123456789abcdef".repeat(4)
    );
    put("large.bin", pointer.as_bytes());
    put("bin/shop", b"#!/bin/sh\necho shop\n");
    put("bin/.hidden", b"#!/bin/sh\n");
    fs::set_permissions(root.join("bin/shop"), fs::Permissions::from_mode(0o755)).unwrap();
    put("empty", b"");
    put("sub/shop.conf", b"port = 8080\n");
    put("sub/shop.service", b"[Service]\nExecStart=/usr/bin/shop\n[Install]\nWantedBy=multi-user.target\n");
    put("LICENSE", b"all rights reserved\n");
    put("postinst", b"#!/bin/sh\nset -e\necho configured\n");
    let large: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    put("data/large", &large);
    for number in 0..300 {
        put(&format!("many/{number}"), format!("{number}\n").repeat(number).as_bytes());
    }
    for (link, target) in [
        ("linked-licence", "LICENSE"),
        ("shop.service", "round/about/shop.service"),
        ("round", "chain"),
        ("chain", "deep/../deep"),
        ("deep/about", "../sub/."),
        ("to-many", "many"),
        ("nowhere", "not/there"),
        ("out", "/etc/passwd"),
        ("above", "../elsewhere"),
        ("bin/link", "shop"),
        ("many/loop", "loop"),
    ] {
        fs::create_dir_all(root.join(link).parent().unwrap()).unwrap();
        symlink(target, root.join(link)).unwrap();
    }
    git(root, &["add", "."]);
    git(root, &["commit", "-q", "-m", "one"]);
    files(root)
}

/// A repository whose own configuration has filters.
fn git_init(root: &Path) {
    git(root, &["init", "-q", "-b", "main"]);
    for (name, command) in [("clean", "tr a-z A-Z"), ("smudge", "tr A-Z a-z")] {
        git(root, &["config", &format!("filter.up.{name}"), command]);
        git(root, &["config", &format!("filter.lfs.{name}"), "cat"]);
    }
    git(root, &["config", "core.autocrlf", "true"]);
    git(root, &["config", "core.safecrlf", "false"]);
}

fn files(root: &Path) -> FileTree {
    let project = Project::load(&root.join("debark.yml"), &SourceMap::default()).unwrap();
    match project.packages.into_iter().next().unwrap().1.build {
        Build::Files(files) => *files,
        other => panic!("{other:?}"),
    }
}

/// The package by both ways, or why there is none.
fn both(root: &Path, files: &FileTree) -> [Result<Vec<u8>, String>; 2] {
    let work = tempfile::tempdir().unwrap();
    let source = Checkout::open(&Source::Directory(root.to_owned()), Some("HEAD")).unwrap();
    let (name, version) = ("shop".parse().unwrap(), "1.2.0".parse().unwrap());
    let identity =
        deb::build::Identity { name: &name, version: &version, epoch: source.epoch, commit: &source.commit };
    let out = work.path().join("package.deb");
    let read = |built: Result<Option<deb::read::Digests>, deb::DebError>| {
        let known = built.map_err(|error| error.to_string())?;
        let [told, read] = [known, None].map(|known| deb::Deb::made(&out, known).unwrap());
        assert!(known.is_some(), "it was not in memory");
        assert_eq!((told.digest, told.payload, told.size), (read.digest, read.payload, read.size));
        Ok(fs::read(&out).unwrap())
    };
    let straight = source
        .objects(Arc::default())
        .map_err(|error| error.to_string())
        .and_then(|objects| read(deb::build::build(&objects, files, &identity, &out)));
    let tree = work.path().join("source");
    fs::create_dir(&tree).unwrap();
    let checked_out = source
        .export(&tree)
        .map_err(|error| error.to_string())
        .and_then(|()| read(deb::build::build(&Directory::open(&tree).unwrap(), files, &identity, &out)));
    [straight, checked_out]
}

#[test]
fn packages_are_the_same_with_and_without_a_checkout() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("source");
    let files = repository(&root);
    let [lying, checked_out] = both(&root, &files);
    let lying = lying.unwrap();
    assert!(lying == checked_out.unwrap());
    // Without a working tree: from loose objects, and from packed ones.
    let aside = directory.path().join("aside");
    fs::rename(&root, &aside).unwrap();
    fs::create_dir(&root).unwrap();
    fs::rename(aside.join(".git"), root.join(".git")).unwrap();
    let [loose, checked_out] = both(&root, &files);
    assert!(loose.unwrap() == lying && checked_out.unwrap() == lying);
    git(&root, &["gc", "-q"]);
    let [packed, checked_out] = both(&root, &files);
    assert!(packed.unwrap() == lying && checked_out.unwrap() == lying);

    // As the commit has them: nothing is converted, and all of it is there.
    let package = directory.path().join("package.deb");
    fs::write(&package, &lying).unwrap();
    let unpacked = directory.path().join("unpacked");
    let status = Command::new("dpkg-deb").arg("-x").args([&package, &unpacked]).status().unwrap();
    assert!(status.success());
    let shop = unpacked.join("usr/share/shop");
    let text = |path: &str| fs::read_to_string(shop.join(path)).unwrap();
    assert_eq!(text("crlf.txt"), "one\ntwo\n");
    assert_eq!(text("a.id"), "$Id$\n");
    assert_eq!(text("a.sub"), "$Format:%H$\n");
    assert_eq!(text("a.up"), "SHOUT\n");
    assert_eq!(text("hidden"), "hidden\n");
    assert!(text("large.bin").starts_with("version https://git-lfs.github.com"));
    assert!(fs::read(shop.join("data/large")).unwrap() == fs::read(aside.join("data/large")).unwrap());
    assert_eq!(fs::read_link(shop.join("above")).unwrap(), Path::new("../elsewhere"));
    let mode = |path: &str| fs::metadata(unpacked.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["usr/bin/shop", "usr/bin/link", "var/lib/shop/empty"].map(mode), [0o755, 0o755, 0o600]);
    assert!(!unpacked.join("usr/bin/.hidden").exists());
    assert_eq!(fs::read_dir(unpacked.join("usr/lib/shop")).unwrap().count(), 111);
    assert_eq!(fs::read_to_string(unpacked.join("etc/shop/shop.conf")).unwrap(), "port = 8080\n");
}

#[test]
fn whatever_the_working_tree_holds_the_commit_is_packed() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("source");
    let files = repository(&root);
    let [committed, _] = both(&root, &files);
    let committed = committed.unwrap();
    let clear = |path: &str| fs::remove_file(root.join(path)).unwrap();
    // Of another end of lines, as git itself writes it here.
    clear("crlf.txt");
    git(&root, &["checkout", "-q", "crlf.txt"]);
    assert_eq!(fs::read(root.join("crlf.txt")).unwrap(), b"one\r\ntwo\r\n");
    // Of the same size and another content, longer, shorter, gone.
    fs::write(root.join("sub/shop.conf"), "port = 8081\n").unwrap();
    fs::write(root.join("postinst"), "#!/bin/sh\nset -e\necho configured\nreboot\n").unwrap();
    fs::write(root.join("LICENSE"), "").unwrap();
    fs::write(root.join("data/large"), "small").unwrap();
    clear("bin/shop");
    // Pipes, of which one would never end and one would lose what is in it; links to where the same is, and to where it is not.
    clear("many/7");
    let pipe = |path: &str| {
        assert!(Command::new("mkfifo").arg(root.join(path)).status().unwrap().success());
        fs::OpenOptions::new().read(true).write(true).open(root.join(path)).unwrap()
    };
    drop(pipe("many/7"));
    clear("many/8");
    let mut full = pipe("many/8");
    full.write_all(&b"8\n".repeat(8)).unwrap();
    clear("many/9");
    symlink("10", root.join("many/9")).unwrap();
    clear("many/10");
    fs::create_dir(root.join("many/10")).unwrap();
    fs::rename(root.join("deep"), root.join("deeper")).unwrap();
    symlink("deeper", root.join("deep")).unwrap();
    let [edited, checked_out] = both(&root, &files);
    assert!(edited.unwrap() == committed && checked_out.unwrap() == committed);
    let mut left = [0; 99];
    assert_eq!(full.read(&mut left).unwrap(), 16);
}

#[test]
fn what_is_checked_out_already_is_not_unpacked() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("source");
    let files = repository(&root);
    let [whole, _] = both(&root, &files);
    let repository = git2::Repository::open(&root).unwrap();
    let id = repository.revparse_single("HEAD:many/299").unwrap().id().to_string();
    fs::remove_file(root.join(".git/objects").join(&id[..2]).join(&id[2..])).unwrap();
    let [straight, checked_out] = both(&root, &files);
    assert!(straight.unwrap() == whole.unwrap());
    checked_out.unwrap_err();
}

#[test]
fn what_a_checkout_refuses_is_refused_without_one() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("source");
    repository(&root);
    for (src, how) in [
        ("out", "leads out of the source"),
        ("above", "is not in the source"),
        ("nowhere", "is not in the source"),
        ("many/loop", "is not in the source"),
        ("empty/x", "is not in the source"),
        ("*.none", "is nothing of the source"),
    ] {
        let text = PROJECT.replace("src: 'bin/*'", &format!("src: '{src}'"));
        fs::write(root.join("debark.yml"), text).unwrap();
        let [straight, checked_out] = both(&root, &files(&root));
        let (straight, checked_out) =
            (straight.map(drop).expect_err(src), checked_out.map(drop).expect_err(src));
        assert!(checked_out.ends_with(how), "{src}: {checked_out}");
        assert!(straight.starts_with(src), "{src}: {straight}");
    }
    // A commit alone does not hold a submodule.
    git(&root, &["update-index", "--add", "--cacheinfo", &format!("160000,{},other", "1".repeat(40))]);
    git(&root, &["commit", "-q", "-m", "three"]);
    let [straight, checked_out] = both(&root, &files(&root));
    let refused = checked_out.unwrap_err();
    assert!(refused.contains("other is a submodule"), "{refused}");
    assert_eq!(straight.unwrap_err(), refused);
}
