//! What somebody may do to a chain who can write to the repository, or holds one key: each is named.

use std::process::{Command, Stdio};

use debark_ledger::{DeployAction, Fault, FaultKind, Kind, Ledger, Offline, Outcome};

use crate::{Team, deploy, env, git};

struct Case {
    team: Team,
    ledger: Ledger,
}

impl Case {
    /// Six entries by alice.
    fn new() -> Self {
        let team = Team::new();
        let ledger = team.ledger("alice", "ledger.git");
        for version in ["1.0", "1.1", "1.2"] {
            deploy(&ledger, "prod", DeployAction::Deploy, version, Outcome::Succeeded);
        }
        let case = Self { team, ledger };
        // For somebody who comes to it for the first time.
        case.git(&["update-ref", "-d", "refs/debark/seen/prod"]);
        std::fs::remove_dir_all(case.team.path("memory")).unwrap();
        case
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.team.path("ledger.git"), args).trim().to_owned()
    }

    fn point(&self, commit: &str) {
        self.git(&["update-ref", "refs/heads/env/prod", commit]);
    }

    fn faults(&self) -> Vec<Fault> {
        self.ledger.verify(&env("prod"), false).unwrap().faults
    }

    fn kinds(&self) -> Vec<(Option<u64>, FaultKind)> {
        self.faults().into_iter().map(|fault| (fault.sequence, fault.kind)).collect()
    }

    /// An object of that kind with these bytes.
    fn object(&self, kind: &str, bytes: &[u8]) -> String {
        use std::io::Write as _;
        let mut child = Command::new("git")
            .arg("--git-dir")
            .arg(self.team.path("ledger.git"))
            .args(["hash-object", "-w", "-t", kind, "--stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A commit like another, changed, and signed by somebody (or left with the old signature).
    fn again(&self, commit: &str, change: impl Fn(String) -> String, signer: Option<&str>) -> String {
        let raw = self.git(&["cat-file", "commit", commit]);
        let (header, message) = raw.split_once("\n\n").unwrap();
        let (plain, signature): (Vec<&str>, Vec<&str>) = {
            let at = header.find("\ngpgsig ").unwrap();
            (header[..at].lines().collect(), header[at + 1..].lines().collect())
        };
        let unsigned = change(format!("{}\n\n{message}\n", plain.join("\n")));
        let signature = match signer {
            None => signature.join("\n"),
            Some(who) => {
                let signer = debark_order::sshsig::Signer { key: self.team.path(who) };
                let signature = signer.sign("git", unsigned.as_bytes()).unwrap();
                format!("gpgsig {}", signature.trim_end().replace('\n', "\n "))
            }
        };
        let (header, message) = unsigned.split_once("\n\n").unwrap();
        self.object("commit", format!("{header}\n{signature}\n\n{message}").as_bytes())
    }

    /// The tree of a commit with one file's text changed.
    fn edited(&self, commit: &str, path: &str, from: &str, to: &str) -> String {
        let text = self.git(&["show", &format!("{commit}:{path}")]) + "\n";
        assert!(text.contains(from), "{text}");
        self.with_file(commit, path, text.replace(from, to).as_bytes())
    }

    /// The tree of a commit with one more or another file.
    fn with_file(&self, commit: &str, path: &str, bytes: &[u8]) -> String {
        let blob = self.object("blob", bytes);
        let index = self.team.path("index");
        let run = |args: &[&str]| {
            let output = Command::new("git")
                .arg("--git-dir")
                .arg(self.team.path("ledger.git"))
                .args(args)
                .env("GIT_INDEX_FILE", &index)
                .output()
                .unwrap();
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        run(&["read-tree", commit]);
        run(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{path}")]);
        run(&["write-tree"])
    }
}

fn swap_line(text: &str, key: &str, value: &str) -> String {
    let lines = text.lines().map(|line| match line.starts_with(&format!("{key} ")) {
        true => format!("{key} {value}"),
        false => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn a_whole_chain_has_no_faults() {
    assert_eq!(Case::new().kinds(), []);
}

#[test]
fn a_changed_byte_breaks_the_signature() {
    let case = Case::new();
    let forged = case.again("env/prod", |text| text.replace("succeeded", "Succeeded"), None);
    case.point(&forged);
    assert_eq!(case.kinds(), [(Some(6), FaultKind::Commit), (Some(6), FaultKind::Signature)]);
}

#[test]
fn an_entry_by_somebody_unknown_or_in_anothers_name_is_forged() {
    let case = Case::new();
    // Mallory is nobody; bob may sign, but not as alice.
    for who in ["mallory", "bob"] {
        let forged = case.again("env/prod", |text| text, Some(who));
        case.point(&forged);
        let faults = case.faults();
        assert_eq!((faults.len(), faults[0].kind, faults[0].sequence), (1, FaultKind::Signature, Some(6)));
        assert_eq!(faults[0].commit, forged);
        assert!(faults[0].message.contains("alice@example.org"), "{}", faults[0].message);
    }
}

#[test]
fn an_entry_without_signature_is_named() {
    let case = Case::new();
    let raw = case.git(&["cat-file", "commit", "env/prod"]);
    let (header, message) = raw.split_once("\n\n").unwrap();
    let header = &header[..header.find("\ngpgsig ").unwrap()];
    case.point(&case.object("commit", format!("{header}\n\n{message}\n").as_bytes()));
    let faults = case.faults();
    assert_eq!((faults.len(), faults[0].kind), (1, FaultKind::Signature));
    assert!(faults[0].message.contains("no signature"), "{}", faults[0].message);
}

#[test]
fn dropped_and_reordered_entries_are_named() {
    let case = Case::new();
    let parent = |commit: &str| case.git(&["rev-parse", commit]);
    let (three, four) = (parent("env/prod~3"), parent("env/prod~2"));
    // Entry 4 is dropped: 5 stands on 3. Even alice's own key does not make that whole.
    let dropped = case.again("env/prod~1", |text| swap_line(&text, "parent", &three), Some("alice"));
    case.point(&dropped);
    assert_eq!(case.kinds()[0], (Some(5), FaultKind::Sequence));
    // Entry 5 before entry 4.
    let reordered = case.again("env/prod", |text| text, Some("alice"));
    let reordered = case.again(&four, |text| swap_line(&text, "parent", &reordered), Some("alice"));
    case.point(&reordered);
    let kinds = case.kinds();
    assert!(
        kinds.contains(&(Some(5), FaultKind::Sequence)) && kinds.contains(&(Some(4), FaultKind::Sequence)),
        "{kinds:?}"
    );
}

#[test]
fn entries_cut_off_the_top_are_missed() {
    let case = Case::new();
    assert_eq!(case.kinds(), []);
    case.point("env/prod~2");
    assert_eq!(case.kinds(), [(Some(6), FaultKind::Lost)]);
    case.git(&["update-ref", "-d", "refs/heads/env/prod"]);
    assert_eq!(case.kinds(), [(Some(6), FaultKind::Lost)]);
}

/// What is in the ledger's directory is for whoever can write there, what is in the user's own is not.
#[test]
fn entries_are_missed_by_who_has_seen_them_whatever_the_ledger_says() {
    let case = Case::new();
    assert_eq!(case.kinds(), []);
    let newest = case.git(&["rev-parse", "env/prod"]);
    let forget = || case.git(&["update-ref", "-d", "refs/debark/seen/prod"]);
    case.point("env/prod~2");
    forget();
    assert_eq!(case.kinds(), [(Some(6), FaultKind::Lost)]);
    let told = case.ledger.trusted(&env("prod")).unwrap_err().to_string();
    assert!(told.contains("an entry that was here is lost") && told.contains("memory/seen/"), "{told}");
    // Its objects are gone as well.
    case.git(&["reflog", "expire", "--expire=now", "--all"]);
    case.git(&["gc", "-q", "--prune=now"]);
    assert_eq!(case.kinds(), [(None, FaultKind::Lost)]);
    assert!(case.faults()[0].commit == newest);
    // Somebody who comes to it for the first time cannot know.
    let mut settings = case.team.settings("bob", "ledger.git", None);
    settings.memory = Some(case.team.path("other/verified"));
    let other = Ledger::open(settings).unwrap();
    assert_eq!(other.verify(&env("prod"), false).unwrap().faults, []);
    // Begun anew in the same place, it is another ledger.
    std::fs::remove_dir_all(case.team.path("ledger.git")).unwrap();
    let anew = case.team.ledger("alice", "ledger.git");
    assert!(anew.trusted(&env("prod")).unwrap().tip.is_none());
    deploy(&anew, "prod", DeployAction::Deploy, "2.0", Outcome::Succeeded);
    assert_eq!(anew.verify(&env("prod"), true).unwrap().faults, []);
    git(&case.team.path("ledger.git"), &["update-ref", "refs/heads/env/prod", "env/prod~1"]);
    git(&case.team.path("ledger.git"), &["update-ref", "-d", "refs/debark/seen/prod"]);
    assert_eq!(anew.verify(&env("prod"), true).unwrap().faults.len(), 1);
}

#[test]
fn an_edited_state_is_named_though_its_signature_holds() {
    let case = Case::new();
    for (path, from, to) in [
        ("packages/shop/releases.json", "\"1.1\"", "\"1.9\""),
        ("packages/shop/approvals.json.no", "", ""),
        ("state.json", "\"freezes\": []", "\"freezes\":  []"),
    ] {
        let tree = match path.strip_suffix(".no") {
            None => case.edited("env/prod", path, from, to),
            // An approval that nobody gave.
            Some(path) => case.with_file("env/prod", path, b"[]\n"),
        };
        let before = case.git(&["rev-parse", "env/prod"]);
        let edited = case.again("env/prod", |text| swap_line(&text, "tree", &tree), Some("alice"));
        case.point(&edited);
        let faults = case.faults();
        assert_eq!(
            (faults.len(), faults[0].kind, faults[0].sequence),
            (1, FaultKind::State, Some(6)),
            "{faults:?}"
        );
        assert!(faults[0].message.contains(path.trim_end_matches(".no")), "{}", faults[0].message);
        case.point(&before);
    }
}

#[test]
fn a_merge_is_no_entry() {
    let case = Case::new();
    let other = case.git(&["rev-parse", "env/prod~4"]);
    let merged = case.again(
        "env/prod",
        |text| text.replacen("\nauthor ", &format!("\nparent {other}\nauthor "), 1),
        Some("alice"),
    );
    case.point(&merged);
    assert_eq!(case.kinds(), [(Some(6), FaultKind::Merge)]);
}

#[test]
fn entries_of_other_environments_do_not_fit() {
    let case = Case::new();
    case.ledger.record(&env("staging"), None, Kind::Note, Offline::Refuse).unwrap();
    case.git(&["update-ref", "refs/heads/env/prod", "env/staging"]);
    assert_eq!(case.kinds()[0], (Some(1), FaultKind::Entry));
}

#[test]
fn keys_count_at_the_time_of_the_entry() {
    let case = Case::new();
    let public = |who: &str| std::fs::read_to_string(case.team.path(who).with_extension("pub")).unwrap();
    let allow = |options: &str| {
        let text = format!("alice@example.org {options} {}", public("alice"));
        std::fs::write(case.team.path("signers"), text).unwrap();
    };
    allow("valid-before=\"20010101\"");
    assert_eq!(case.kinds().len(), 6);
    allow("valid-after=\"20010101\"");
    assert_eq!(case.kinds(), []);
    // What was verified before counts for one content of the file only.
    std::fs::write(case.team.path("signers"), format!("bob@example.org {}", public("bob"))).unwrap();
    assert_eq!(case.kinds().len(), 6);
}

#[test]
fn what_lies_beside_the_ledger_vouches_for_nothing() {
    let case = Case::new();
    let forged = case.again("env/prod", |text| text, Some("mallory"));
    case.point(&forged);
    // As a debark of before remembered what it had verified: whoever can write to the ledger's directory can write this.
    let signers = std::fs::read(case.team.path("signers")).unwrap();
    let place = case.team.path("ledger.git/verified").join(debark_order::Digest::of(&signers).short());
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("prod"), &forged).unwrap();
    case.ledger.trusted(&env("prod")).unwrap_err();
    assert_eq!(case.kinds(), [(Some(6), FaultKind::Signature)]);
}
