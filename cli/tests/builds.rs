//! Packages of all kinds of sources, from the command line: what a command makes, a directory of a repository, a repository
//! elsewhere; and that where and when do not matter.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A directory of repositories.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A repository with these files, committed and tagged `v1.0.0`.
    fn repository(name: &str, files: &[(&str, &str)]) -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        for (file, text) in files {
            let file = place.path(name).join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        place.git(name, &["init", "-q", "-b", "main"]);
        place.commit(name);
        place.git(name, &["tag", "v1.0.0"]);
        place
    }

    fn commit(&self, name: &str) {
        self.git(name, &["add", "-A"]);
        self.git(name, &["commit", "-q", "-m", "one"]);
    }

    fn git(&self, name: &str, words: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(words).current_dir(self.path(name));
        for (name, value) in [("NAME", "Test"), ("EMAIL", "test@example.org")] {
            git.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
        }
        let output = git.output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn build(&self, name: &str) -> Output {
        self.command(name, &[]).output().unwrap()
    }

    fn command(&self, name: &str, before: &[&str]) -> Command {
        let words = ["build", "shop", "--no-sign", "--json", "--output"];
        let mut all: Vec<&str> = before.to_vec();
        all.push(env!("CARGO_BIN_EXE_debark"));
        let mut command = Command::new(all[0]);
        command.args(&all[1..]).args(words).arg(self.path("out")).current_dir(self.path(name));
        command
            .env("HOME", self.directory.path())
            .env_remove("DEBARK_PROJECT")
            .env_remove("DEBARK_BUILD_KEY");
        command
    }
}

/// What was built.
#[track_caller]
fn built(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Why nothing was.
#[track_caller]
fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const FILES: &str = "packages:
  shop:
    source: SOURCE
    build:
      maintainer: Shop <shop@example.org>
      description: a shop
      files:
        - {src: bin/shop, dst: /usr/bin/shop, mode: \"0755\"}
        - {src: data, dst: /usr/share/shop}
";

#[test]
fn where_and_when_do_not_matter() {
    let text = FILES.replace("    source: SOURCE\n", "");
    let files = [("bin/shop", "#!/bin/sh\n"), ("data/b", "b\n"), ("data/a", "a\n"), ("debark.yml", &text)];
    let place = Place::repository("one", &files);
    let first = built(&place.build("one"));
    // Another checkout, whose files look old, at another place of the world, with other ideas of permissions and of temporary files.
    place.git("one", &["clone", "-q", ".", "../two"]);
    let old = Command::new("find")
        .arg(place.path("two/data"))
        .args(["-exec", "touch", "-d", "2001-02-03", "{}", "+"])
        .status();
    assert!(old.unwrap().success());
    let temporary = place.path("temporary");
    fs::create_dir(&temporary).unwrap();
    fs::remove_dir_all(place.path("out")).unwrap();
    let mut command = place.command("two", &["sh", "-c", "umask 077; exec \"$@\"", "sh"]);
    let second = built(&command.env("TZ", "Asia/Kathmandu").env("TMPDIR", &temporary).output().unwrap());
    assert_eq!(first["digest"], second["digest"]);
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn what_a_command_makes_is_one_package_of_that_version() {
    let project = "packages:\n  shop:\n    build: {command: sh make, output: \"made/*.deb\"}\n";
    let make = |debs: &[(&str, &str)]| {
        let mut text = "set -e\nmkdir -p made\n".to_owned();
        for (file, version) in debs {
            text.push_str(&format!(
                "mkdir -p {file}/DEBIAN\nprintf 'Package: shop\\nVersion: {version}\\nArchitecture: all\\nMaintainer: S <s@example.org>\\nDescription: s\\n' >{file}/DEBIAN/control\ndpkg-deb -b {file} made/{file}.deb >/dev/null\n"
            ));
        }
        text
    };
    let place = Place::repository("one", &[("debark.yml", project), ("make", &make(&[("a", "1.0.0")]))]);
    let found = built(&place.build("one"));
    assert_eq!((&found["package"], &found["version"]), (&"shop".into(), &"1.0.0".into()));
    assert!(Path::new(found["file"].as_str().unwrap()).ends_with("shop_1.0.0_all.deb"));
    for (debs, why) in [
        (&[][..], "the build left no *.deb"),
        (&[("a", "1.0.0"), ("b", "1.0.0")][..], "the build left 2 files *.deb"),
        (&[("a", "1.0.1")][..], "the build left shop 1.0.1 where shop 1.0.0 was to be built"),
    ] {
        fs::write(place.path("one/make"), make(debs)).unwrap();
        place.commit("one");
        place.git("one", &["tag", "-f", "v1.0.0"]);
        let err = refused(&place.build("one"));
        assert!(err.contains(why), "{err}");
    }
}

#[test]
fn sources_are_directories_and_repositories() {
    // One of several services in a repository.
    let service = [
        ("services/shop/bin/shop", "#!/bin/sh\n"),
        ("services/shop/data/a", "a\n"),
        ("services/other/b", "b\n"),
    ];
    let text = FILES.replace("SOURCE", "services/shop");
    let place = Place::repository("all", &[&service[..], &[("debark.yml", &text)]].concat());
    let found = built(&place.build("all"));
    assert_eq!(found["commit"], place.git("all", &["rev-parse", "HEAD"]));
    // What changes elsewhere in the repository is no change of this source; what changes there is.
    fs::write(place.path("all/services/other/b"), "c\n").unwrap();
    built(&place.build("all"));
    fs::write(place.path("all/services/shop/data/a"), "c\n").unwrap();
    let err = refused(&place.build("all"));
    assert!(err.contains("services/shop/data/a") || err.contains("data/a"), "{err}");

    // The project is here, the source elsewhere.
    let place = Place::repository("source", &[("bin/shop", "#!/bin/sh\n"), ("data/a", "a\n")]);
    fs::create_dir(place.path("project")).unwrap();
    let url = format!("file://{}", place.path("source").display());
    fs::write(place.path("project/debark.yml"), FILES.replace("SOURCE", &url)).unwrap();
    let found = built(&place.build("project"));
    assert_eq!(found["version"], "1.0.0");
    assert_eq!(found["commit"], place.git("source", &["rev-parse", "HEAD"]));
    fs::remove_dir_all(place.path("source")).unwrap();
    let err = refused(&place.build("project"));
    assert!(err.contains(&url), "{err}");
}
