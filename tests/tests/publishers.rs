//! Many publishers at once, each a process, some of them killed: what was said to be published is there, and whole.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use debark_e2e::{Ended, Publisher as Project, S3Server, sha256};

/// Every listed version is in the pool with its digest.
fn assert_whole(project: &Project, releases: &BTreeMap<String, String>) {
    for (version, digest) in releases {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let file = project.store().join(format!("pool/main/s/shop/{hex}/shop_{version}_all.deb"));
        assert_eq!(&sha256(&file), digest, "{}", file.display());
    }
}

#[test]
fn publishers_at_once_to_a_directory_lose_nothing_though_some_are_killed() {
    publishers_at_once_lose_nothing(&Project::new());
}

#[test]
fn publishers_at_once_to_a_bucket_lose_nothing_though_some_are_killed() {
    let server = S3Server::start();
    publishers_at_once_lose_nothing(&Project::in_bucket(&server));
}

fn publishers_at_once_lose_nothing(project: &Project) {
    let packages: BTreeMap<String, PathBuf> = (0..18)
        .map(|n| format!("1.{n}"))
        .map(|version| (version.clone(), project.package(&version)))
        .collect();
    let publishers: Vec<(&String, Child)> =
        packages.iter().map(|(version, file)| (version, project.publisher(file))).collect();
    let mut published = Vec::new();
    for (number, (version, mut child)) in publishers.into_iter().enumerate() {
        if number % 3 == 0 {
            // At another moment of its work each time; which one does not matter to what has to hold.
            std::thread::sleep(Duration::from_millis(number as u64 * 5));
            let _ = child.kill();
        }
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            published.push(version.clone());
        } else {
            assert_eq!(number % 3, 0, "{version}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let releases = project.releases();
    for version in &published {
        assert!(releases.contains_key(version), "{version} was published and is not there: {releases:?}");
    }
    assert_whole(project, &releases);

    // Nobody has to clean up after the dead.
    for file in packages.values() {
        let _ = Ended::of(&project.debark(&["publish", file.to_str().unwrap()]).output().unwrap()).ends(0);
    }
    let releases = project.releases();
    let digests: BTreeMap<String, String> =
        packages.iter().map(|(version, file)| (version.clone(), sha256(file))).collect();
    assert_eq!(releases, digests);
    assert_whole(project, &releases);

    // The plain names, which are written last, are those of the latest root.
    let dists = project.store().join("dists/stable");
    let root = fs::read_to_string(dists.join("InRelease")).unwrap();
    let latest = sha256(&dists.join("main/binary-all/Packages.gz"));
    assert!(root.contains(latest.strip_prefix("sha256:").unwrap()), "{latest} in\n{root}");
}

#[test]
fn a_version_is_published_once_and_only_if_it_is_trusted() {
    let project = Project::new();
    let file = project.package("1.0");
    let path = file.to_str().unwrap();
    let publish = || Ended::of(&project.debark(&["publish", path]).output().unwrap());
    let _ = publish().ends(0).says("is published");
    let _ = publish().ends(0).says("was there already");

    fs::write(project.dir().join("tree-1.0/other"), "other").unwrap();
    let _ = project.package("1.0");
    let _ = publish().ends(3).says("shop 1.0 is in the store").says("what is published never changes");

    let unsigned = project.package("2.0");
    let tree = project.dir().join("tree-2.0");
    let mut build = Command::new("dpkg-deb");
    build.args(["--build", "--root-owner-group", "-Zgzip"]).arg(&tree).arg(&unsigned);
    let _ = Ended::of(&build.output().unwrap()).ends(0);
    let again = project.debark(&["publish", unsigned.to_str().unwrap()]).output().unwrap();
    let _ = Ended::of(&again).ends(3).says("it is not signed");

    // A key that is no longer trusted: neither its packages, nor the index that it signed.
    let signed = project.package("3.0");
    for key in fs::read_dir(project.dir().join("build-keys")).unwrap() {
        fs::remove_file(key.unwrap().path()).unwrap();
    }
    let stranger = project.debark(&["publish", signed.to_str().unwrap()]).output().unwrap();
    let _ = Ended::of(&stranger).ends(3).says("which is not trusted");
    let _ = Ended::of(&project.debark(&["releases"]).output().unwrap()).ends(3).says("not to be trusted");
}
