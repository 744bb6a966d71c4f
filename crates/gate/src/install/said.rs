//! What apt and dpkg say, in words for people.

use debark_order::PackageName;
use debark_order::gate::{Failure, FailureKind};

use crate::command;
use crate::failure::{Failing as _, fail};

/// `Inst` and `Remv` lines of other packages.
pub(super) fn sentences(text: &str, package: &PackageName) -> Vec<String> {
    let word = |line: &str| {
        let mut words = line.split_whitespace();
        let (what, name) = (words.next()?, words.next()?);
        let version =
            line.split_once('(').and_then(|(_, rest)| rest.split([' ', ')']).next()).unwrap_or_default();
        let verb = match what {
            "Inst" if words.next().is_some_and(|word| word.starts_with('[')) => "upgrades",
            "Inst" => "installs",
            "Remv" => "removes",
            _ => return None,
        };
        (name != package.as_str()).then(|| format!("{verb} {name} {version}").trim_end().to_owned())
    };
    text.lines().filter_map(word).collect()
}

/// What went wrong, from what apt or dpkg said.
pub(super) fn explained(package: &PackageName, program: &str, text: &str) -> Failure {
    let lines = command::last_lines(text, 30);
    let has = |words: &[&str]| text.lines().any(|line| words.iter().any(|word| line.contains(word)));
    let failure = if has(&[
        "Could not get lock",
        "is locked by another process",
        "was locked by another process",
    ]) {
        let line = text.lines().find(|line| line.contains("lock")).unwrap_or_default().trim();
        fail(FailureKind::Busy, format!("another process works on packages: {line}"))
    } else if has(&["No space left on device", "You don't have enough free space"]) {
        fail(FailureKind::Disk, format!("there is no room on the host to install {package}"))
            .hint("make room on the host, then try again")
    } else if has(&[
        "unmet dependencies",
        "Unable to correct problems",
        "Packages need to be removed but remove is disabled",
        "dependency problems",
        "Unable to locate package",
    ]) {
        let missing: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| {
                ["Depends:", "PreDepends:", "Pre-Depends:", "Conflicts:", "Breaks:", " depends on "]
                    .iter()
                    .any(|word| line.contains(word))
            })
            .take(3)
            .collect();
        let what = if missing.is_empty() { String::new() } else { format!(": {}", missing.join("; ")) };
        fail(FailureKind::Dependencies, format!("the dependencies of {package} cannot be met{what}")).hint(
            "see `apt-cache policy` on the host: is the source of what is missing there, and up to date?",
        )
    } else {
        let script = text.lines().rev().find(|line| {
            line.contains("script subprocess")
                || line.contains("pre-removal script")
                || line.contains("maintainer script")
        });
        let what = script.map_or_else(|| format!("{program} failed"), |line| line.trim().to_owned());
        fail(FailureKind::Install, format!("{package} cannot be installed: {what}"))
    };
    failure.log(lines)
}

/// Configuration files whose local changes were kept, from dpkg's words.
pub(super) fn kept_changes(text: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let mut path = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("Configuration file '") {
            path = rest.split('\'').next();
        } else if ["==> Keeping old config file", "==> Using current old file"]
            .iter()
            .any(|words| line.contains(words))
            && let Some(path) = path.take()
        {
            notes.push(format!(
                "{path} was changed on this host: it is kept, and the package's is {path}.dpkg-dist"
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> PackageName {
        "shop".parse().unwrap()
    }

    #[test]
    fn what_apt_and_dpkg_say_is_told_apart() {
        let kind = |text: &str| explained(&shop(), "apt-get", text).kind;
        assert_eq!(
            kind("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 1 (x)"),
            FailureKind::Busy
        );
        assert_eq!(kind("tar: shop: Cannot write: No space left on device"), FailureKind::Disk);
        let missing = explained(
            &shop(),
            "apt-get",
            "The following packages have unmet dependencies:\n shop : Depends: nix but it is not installable\n",
        );
        assert_eq!(missing.kind, FailureKind::Dependencies);
        assert!(missing.message.ends_with(": shop : Depends: nix but it is not installable"), "{missing}");
        let text = " installed shop package post-installation script subprocess returned error exit status 1\nErrors were encountered\n";
        let failure = explained(&shop(), "dpkg", text);
        assert_eq!(failure.kind, FailureKind::Install);
        assert!(failure.message.contains("post-installation script"), "{failure}");
    }

    #[test]
    fn simulations_become_sentences() {
        let text = "NOTE\nInst libfoo1 (1.2 Debian:12 [amd64])\nInst shop [1] (2 local-deb [all])\nRemv old [3]\nConf shop\n";
        assert_eq!(sentences(text, &shop()), ["installs libfoo1 1.2", "removes old"]);
        let kept = "Configuration file '/etc/a'\n ==> Modified (by you or by a script) since installation.\n ==> Package distributor has shipped an updated version.\n ==> Using current old file as you requested.\n";
        assert_eq!(
            kept_changes(kept),
            ["/etc/a was changed on this host: it is kept, and the package's is /etc/a.dpkg-dist"]
        );
    }
}
