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

/// What cargo-deb needs beside the project file.
const CRATE: [(&str, &str); 5] = [
    (
        "Cargo.toml",
        "[package]\nname = \"shop\"\nversion = \"0.0.0\"\nedition = \"2024\"\ndescription = \"a shop\"\nlicense = \"MIT\"\n\n[package.metadata.deb]\n\
         maintainer = \"Shop <shop@example.org>\"\ncopyright = \"Shop\"\ndepends = \"adduser, libc6\"\nassets = [\n    \
         [\"target/release/shop\", \"usr/bin/\", \"755\"],\n    [\"shop.conf\", \"etc/shop/\", \"644\"],\n]\nconf-files = [\"/etc/shop/shop.conf\"]\n",
    ),
    ("Cargo.lock", "version = 4\n\n[[package]]\nname = \"shop\"\nversion = \"0.0.0\"\n"),
    // A message with the place of the source, which must not be the place of this build.
    (
        "src/main.rs",
        "fn main() {\n    let name = std::env::args().nth(1).unwrap_or_else(|| panic!(\"who?\"));\n    println!(\"hello {name}\");\n}\n",
    ),
    ("shop.conf", "greeting = hello\n"),
    (
        "debark.yml",
        "packages:\n  shop:\n    test:\n      - {name: unit, run: cargo test --quiet --offline}\n    build: cargo-deb\n",
    ),
];

/// cargo-deb, which `scripts/test` installs beside what is tested, and cargo as this machine has it.
fn with_cargo_deb(mut command: Command) -> Command {
    let target = Path::new(env!("CARGO_BIN_EXE_debark")).ancestors().nth(2).unwrap();
    let tools = target.join("tools/bin");
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", tools.display())).env("HOME", std::env::var("HOME").unwrap());
    let found = Command::new("cargo")
        .args(["deb", "--version"])
        .env("PATH", format!("{}:{path}", tools.display()))
        .output();
    assert!(
        found.is_ok_and(|output| output.status.success()),
        "there is no cargo-deb: run scripts/setup-cargo-deb {}",
        target.display()
    );
    // What cargo tells its tests is not for another cargo.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_") && name != "CARGO_HOME") {
            command.env_remove(name);
        }
    }
    command
}

#[test]
fn cargo_deb_makes_the_same_package_twice() {
    let place = Place::repository("one", &CRATE);
    let first = built(&with_cargo_deb(place.command("one", &[])).output().unwrap());
    assert_eq!((&first["package"], &first["version"]), (&"shop".into(), &"1.0.0".into()));
    let file = PathBuf::from(first["file"].as_str().unwrap());
    let field = |name: &str| {
        let output = Command::new("dpkg-deb").arg("-f").arg(&file).arg(name).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!((field("Version").as_str(), field("Depends").as_str()), ("1.0.0", "adduser, libc6"));
    assert!(
        Command::new("dpkg-deb").arg("-x").arg(&file).arg(place.path("root")).status().unwrap().success()
    );
    let said = Command::new(place.path("root/usr/bin/shop")).arg("you").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "hello you\n");
    // Another clone at another place, another day, nothing built before.
    place.git("one", &["clone", "-q", ".", "../some/where/else"]);
    fs::create_dir(place.path("temporary")).unwrap();
    fs::rename(place.path("out"), place.path("first")).unwrap();
    let mut command =
        with_cargo_deb(place.command("some/where/else", &["sh", "-c", "umask 077; exec \"$@\"", "sh"]));
    command.env("TZ", "Asia/Kathmandu").env("TMPDIR", place.path("temporary"));
    let second = built(&command.output().unwrap());
    assert_eq!(first["digest"], second["digest"]);
    let commit = place.git("one", &["rev-parse", "HEAD"]);
    for (at, built) in [("first", &first), ("out", &second)] {
        let name = Path::new(built["provenance"].as_str().unwrap()).file_name().unwrap();
        let said = statement(&place.path(at).join(name));
        let digest = built["digest"].as_str().unwrap().trim_start_matches("sha256:");
        assert_eq!(said["subject"][0]["digest"]["sha256"], digest, "{said:#}");
        let predicate = &said["predicate"];
        let source = &predicate["buildDefinition"]["resolvedDependencies"][0]["digest"]["gitCommit"];
        assert_eq!(source, &Value::from(commit.as_str()), "{said:#}");
        let test = &predicate["runDetails"]["byproducts"][0];
        let passed = (&test["name"], &test["annotations"]["result"]);
        assert_eq!(passed, (&"test/unit".into(), &"passed".into()), "{said:#}");
    }
    assert_eq!(fs::read_dir(place.path("temporary")).unwrap().count(), 0, "nothing is left behind");
}

/// The statement within a provenance's envelope.
fn statement(file: &Path) -> Value {
    let envelope: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let mut decode = Command::new("base64");
    decode.arg("-d").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = decode.spawn().unwrap();
    let payload = envelope["payload"].as_str().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), payload.as_bytes()).unwrap();
    serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap()
}
