//! What apt would install: candidates and versions, from `apt-cache policy`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::get;
use crate::exec::Cmd;
use crate::{Failure, Host};
use debark_value::Order;

/// What apt knows of one package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Policy {
    /// The version that would be installed; none for a name that only others provide.
    pub(super) candidate: Option<String>,
    /// All versions, highest first.
    pub(super) versions: Vec<String>,
}

/// Release and name.
type Question = (Option<String>, String);

/// Answers of this run; `None` is for a name that apt does not know.
#[derive(Default)]
struct Known {
    answers: RefCell<HashMap<Question, Option<Rc<Policy>>>>,
}

/// Asks for many names at once; what was asked before is not asked again until something changes.
pub(super) fn ask(
    names: &[&str],
    release: Option<&str>,
    host: &Host,
) -> Result<HashMap<String, Rc<Policy>>, Failure> {
    let known = host.cached(|_| Ok(Known::default()))?;
    let key = |name: &str| (release.map(str::to_owned), name.to_owned());
    let open: Vec<&str> = {
        let answers = known.answers.borrow();
        let mut open: Vec<&str> =
            names.iter().copied().filter(|name| !answers.contains_key(&key(name))).collect();
        open.order();
        open.dedup();
        open
    };
    if !open.is_empty() {
        let output = host.exec_ok(&command(&open, release))?;
        let mut fresh = parse(&output.out());
        let mut answers = known.answers.borrow_mut();
        for name in open {
            answers.insert(key(name), fresh.remove(name).map(Rc::new));
        }
    }
    let answers = known.answers.borrow();
    let found = |name: &&str| Some(((*name).to_owned(), answers.get(&key(name))?.clone()?));
    Ok(names.iter().filter_map(found).collect())
}

fn command(names: &[&str], release: Option<&str>) -> Cmd {
    let mut cmd = get::environment(Cmd::new("apt-cache")).timeout(Duration::from_secs(120));
    if let Some(release) = release {
        cmd = cmd.arg("-o").arg(format!("APT::Default-Release={release}"));
    }
    cmd.arg("policy").arg("--").args(names)
}

fn parse(text: &str) -> HashMap<String, Policy> {
    let mut all: HashMap<String, Policy> = HashMap::new();
    let mut name = String::new();
    for line in text.lines() {
        if !line.starts_with(' ') {
            name = line.trim_end_matches(':').to_owned();
            all.insert(name.clone(), Policy::default());
            continue;
        }
        let Some(policy) = all.get_mut(&name) else { continue };
        if let Some(version) = line.strip_prefix("  Candidate: ") {
            policy.candidate = Some(version.to_owned()).filter(|version| version != "(none)");
        } else if (line.starts_with("     ") || line.starts_with(" *** "))
            && line.as_bytes().get(5) != Some(&b' ')
        {
            // `     VERSION PRIORITY`; lines of sources are further in.
            let version = line.get(5..).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
            policy.versions.push(version.to_owned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_candidates_and_versions() {
        let all = parse(
            "\
mawk:
  Installed: 1.3-1
  Candidate: 1.3-2
  Package pin: 1.3-2
  Version table:
     1.3-2 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
 *** 1.3-1 100
        100 /var/lib/dpkg/status
awk:
  Installed: (none)
  Candidate: (none)
  Version table:
libc6:i386:
  Installed: (none)
  Candidate: 2.36
  Version table:
     2.36 500
",
        );
        assert_eq!(all["mawk"].candidate.as_deref(), Some("1.3-2"));
        assert_eq!(all["mawk"].versions, ["1.3-2", "1.3-1"]);
        assert_eq!(all["awk"], Policy::default());
        assert_eq!(all["libc6:i386"].versions, ["2.36"]);
    }

    #[test]
    fn asks_in_one_process() {
        let cmd = command(&["a", "b"], Some("trixie"));
        assert_eq!(cmd.argv, ["apt-cache", "-o", "APT::Default-Release=trixie", "policy", "--", "a", "b"]);
    }
}
