use std::process::Command;

use debark_playbook::SourceMap;
use debark_project::Project;

use super::*;
use crate::git::testing::git;
use crate::keyring::Keyring;
use crate::provenance::Envelope;

/// A repository with one commit, tagged, whose times and names are always the same.
fn repository(root: &Path) -> Project {
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::write(root.join("bin/shop"), "#!/bin/sh\necho shop\n").unwrap();
    fs::set_permissions(root.join("bin/shop"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(root.join("shop.conf"), "port = 8080\n").unwrap();
    fs::write(
        root.join("shop.service"),
        "[Service]\nExecStart=/usr/bin/shop\n[Install]\nWantedBy=multi-user.target\n",
    )
    .unwrap();
    fs::write(root.join("debark.yml"), PROJECT).unwrap();
    for words in
        [&["init", "-q", "-b", "main"][..], &["add", "."], &["commit", "-q", "-m", "one"], &["tag", "v1.0.0"]]
    {
        git(root, words);
    }
    Project::load(&root.join("debark.yml"), &SourceMap::default()).unwrap()
}

const PROJECT: &str = "packages:
  shop:
    test: [test -x bin/shop && touch left-behind]
    build:
      maintainer: Shop <shop@example.org>
      description: |
        a shop
        It sells.
      files:
        - {src: bin, dst: /usr/bin}
        - {src: shop.conf, dst: /etc/shop/}
        - {src: ., dst: /usr/share/shop}
      units: shop.service
";

fn build(project: &Project, output: &Path, key: Option<&BuildKey>) -> Result<Built, BuildError> {
    builder(project, output, key).build(&mut |_| {})
}

fn builder<'a>(project: &'a Project, output: &'a Path, key: Option<&'a BuildKey>) -> Builder<'a> {
    Builder {
        package: &project.packages[0],
        revision: None,
        version: None,
        output,
        allow_dirty: false,
        key,
        builder: "test@host".into(),
        job: None,
    }
}

#[test]
fn two_builds_have_one_digest_and_their_provenance() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    let key = BuildKey::generate("Builds <builds@example.org>", None).unwrap();
    let first = build(&repository(&one), &directory.path().join("a"), Some(&key)).unwrap();
    // Another checkout, another time; more that may not matter: cli/tests/builds.rs.
    let second = build(&repository(&two), &directory.path().join("b"), None).unwrap();
    assert_eq!(first.deb.payload, second.deb.payload);
    assert_eq!(first.deb.file_name(), "shop_1.0.0_all.deb");
    assert!(first.deb.signature.is_some() && second.deb.signature.is_none());

    let third =
        build(&repository(&directory.path().join("three")), &directory.path().join("c"), None).unwrap();
    assert_eq!(second.deb.digest, third.deb.digest);
    // Where nothing of the source is run there is no checkout.
    let mut without = repository(&directory.path().join("four"));
    without.packages[0].tests.clear();
    let fourth = build(&without, &directory.path().join("d"), None).unwrap();
    assert_eq!(fourth.deb.digest, third.deb.digest);
    let names: Vec<String> = third.deb.files().unwrap().into_iter().map(|file| file.path).collect();
    assert!(names.contains(&"/usr/lib/systemd/system/shop.service".to_owned()), "{names:?}");
    assert!(names.contains(&"/usr/share/shop/shop.conf".to_owned()), "{names:?}");
    assert!(!names.contains(&"/usr/share/shop/left-behind".to_owned()), "{names:?}");
    assert_eq!(third.deb.conffiles(), ["/etc/shop/shop.conf"]);
    assert!(third.deb.control_files.contains_key("postinst"));

    let trusted = directory.path().join("keys");
    fs::create_dir(&trusted).unwrap();
    fs::write(trusted.join("a.asc"), key.public().unwrap()).unwrap();
    let keyring = Keyring::load(&trusted, Path::new("/nonexistent")).unwrap();
    keyring.verify(first.deb.signature.as_deref(), first.deb.payload().unwrap(), 0).unwrap();
    let (said, _) = Envelope::read(&first.provenance_file).unwrap().verify(&keyring, 0).unwrap();
    said.is_of(&first.deb).unwrap();
    assert!(said.is_of(&third.deb).is_err());
    assert_eq!((said.tests.len(), said.tests[0].passed), (1, true));
    assert_eq!(said.commit.len(), 40);

    // dpkg reads it as it is meant.
    let dpkg = |words: &[&str]| {
        let output =
            Command::new("dpkg-deb").args(words).env("TZ", "UTC").arg(&first.deb.path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(dpkg(&["--info"]).contains("Installed-Size:"));
    let contents = dpkg(&["--contents"]);
    assert!(contents.contains("-rwxr-xr-x root/root"), "{contents}");
    assert!(contents.contains("2026-01-02 03:04 ./usr/bin/shop\n"), "{contents}");
}

#[test]
fn what_is_not_committed_is_not_built() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("source");
    let project = repository(&root);
    let out = directory.path().join("out");
    fs::write(root.join("new"), "x").unwrap();
    let error = build(&project, &out, None).unwrap_err();
    assert_eq!(error.to_string(), "a file differs from the commit: new");
    let mut without = project.clone();
    without.packages[0].tests.clear();
    let error = build(&without, &out, None).unwrap_err();
    assert_eq!(error.to_string(), "a file differs from the commit: new");
    assert!(!out.exists());
    // Unless told: then it is left out, and said so before anything else.
    for project in [&project, &without] {
        let mut told = Vec::new();
        let allowed =
            Builder { allow_dirty: true, ..builder(project, &directory.path().join("allowed"), None) }.build(
                &mut |step| match step {
                    Step::Dirty(files) => told.extend_from_slice(files),
                    Step::Test(_) | Step::Build(_) => assert_eq!(told, ["new"]),
                    Step::Line(_) => {}
                },
            );
        let names: Vec<String> =
            allowed.unwrap().deb.files().unwrap().into_iter().map(|file| file.path).collect();
        assert!(names.contains(&"/usr/share/shop/shop.conf".to_owned()), "{names:?}");
        assert!(!names.contains(&"/usr/share/shop/new".to_owned()), "{names:?}");
    }
    git(&root, &["add", "."]);
    git(&root, &["commit", "-q", "-m", "two"]);
    let built = build(&project, &out, None).unwrap();
    assert!(built.deb.version.as_str().starts_with("1.0.0+1.g"), "{}", built.deb.version);
}

#[test]
fn a_test_that_fails_builds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("source");
    let mut project = repository(&root);
    project.packages[0].tests[0].run = Program::Shell("exit 7".into());
    let error = build(&project, &directory.path().join("out"), None).unwrap_err();
    assert!(error.to_string().ends_with("ended with 7") && error.is_failure(), "{error}");
    assert!(!directory.path().join("out").exists());
}

#[test]
fn damaged_packages_are_refused_and_never_panic() {
    let directory = tempfile::tempdir().unwrap();
    let built = build(&repository(&directory.path().join("source")), directory.path(), None).unwrap();
    let whole = fs::read(&built.deb.path).unwrap();
    let file = directory.path().join("broken.deb");
    for at in (0..whole.len()).step_by(7) {
        let mut broken = whole.clone();
        broken[at] ^= 0x55;
        fs::write(&file, &broken).unwrap();
        if let Ok(deb) = Deb::open(&file) {
            assert_ne!(deb.digest, built.deb.digest);
            let _ = deb.files();
        }
        fs::write(&file, &whole[..at]).unwrap();
        if let Ok(deb) = Deb::open(&file) {
            let _ = deb.files();
        }
    }
}
