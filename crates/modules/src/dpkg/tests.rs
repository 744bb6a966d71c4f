use super::*;

const STATUS: &str = "\
Package: dpkg
Essential: yes
Status: install ok installed
Architecture: amd64
Version: 1.21.22
Description: Debian package management system
 Package: not-a-package
Homepage: x

Package: mawk
Status: install ok installed
Section: utils
Architecture: amd64
Source: mawk (1.3.4)
Version: 1.3.4-1
Provides: awk, other (= 3)

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9

Package: libc6
Status: hold ok installed
Architecture: i386
Version: 2.36-8

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: half
Status: install reinstreq half-installed
Architecture: all
Version: 2
";

#[test]
fn finds_packages_by_name_architecture_and_provision() {
    let db = Database::parse(STATUS.into()).unwrap();
    assert_eq!(db.native(), "amd64");
    assert_eq!(db.get("libc6").unwrap().version(), "2.36-9");
    assert_eq!(db.get("libc6:i386").unwrap().want(), "hold");
    assert!(db.get("libc6:arm64").is_none() && db.get("not-a-package").is_none() && db.get("lib").is_none());
    assert_eq!(db.provider("awk").unwrap().name(), "mawk");
    assert_eq!(db.provider("other").unwrap().section(), "utils");
    assert!(db.provider("aw").is_none());
    assert_eq!(db.get("gone").unwrap().state(), State::ConfigFiles);
    assert_eq!(db.broken().iter().map(Package::name).collect::<Vec<_>>(), ["half"]);
}

#[test]
fn updates_win_over_status() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("status"), STATUS).unwrap();
    std::fs::create_dir(dir.path().join("updates")).unwrap();
    assert!(!Database::read(dir.path()).unwrap().unmerged);
    let update = "Package: mawk\nStatus: install ok half-configured\nArchitecture: amd64\nVersion: 1.3.5\n";
    std::fs::write(dir.path().join("updates/0001"), update).unwrap();
    std::fs::write(dir.path().join("updates/tmp.i"), "Package: rubbish\n").unwrap();
    let db = Database::read(dir.path()).unwrap();
    assert!(db.unmerged && db.get("rubbish").is_none());
    let mawk = db.get("mawk").unwrap();
    assert_eq!((mawk.version(), mawk.is_broken()), ("1.3.5", true));
}

#[test]
fn agrees_with_dpkg_query_on_this_machine() {
    let format = "-f=${Package}\t${Architecture}\t${Version}\t${db:Status-Status}\t${db:Status-Want}\n";
    let output = std::process::Command::new("dpkg-query").args(["-W", format]).output().unwrap();
    let theirs: std::collections::BTreeSet<String> =
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    let started = std::time::Instant::now();
    let db = Database::read(Path::new(ADMIN_DIR)).unwrap();
    println!("{} packages in {:?}", db.stanzas.len(), started.elapsed());
    let word = |state| match state {
        State::Installed => "installed",
        State::ConfigFiles => "config-files",
        _ => "other",
    };
    let ours: std::collections::BTreeSet<String> = db
        .packages()
        .filter(|p| p.state() != State::NotInstalled)
        .map(|p| format!("{}\t{}\t{}\t{}\t{}", p.name(), p.arch(), p.version(), word(p.state()), p.want()))
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn rubbish_does_no_harm() {
    for text in ["", "\n\n\n", "Package:", "Package: a\nStatus:", ":\n x", "Description: x\n y"] {
        Database::parse(text.into()).unwrap();
    }
}
