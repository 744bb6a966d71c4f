//! What an entry's commit says to people. Part of the format: verification compares it.

use std::fmt::Write as _;

use crate::entry::{Entry, KeyUse, Kind, one_line};
use crate::state::State;

/// The subject: `deploy shop 1.4.2 to staging (started)`. `before` is the state that the entry stands on.
pub(crate) fn subject(entry: &Entry, before: &State) -> String {
    if let Kind::Moved(moved) = &entry.kind {
        return match &*moved.entry {
            Kind::Moved(_) => "moved".into(),
            kind => format!("moved: {}", subject(&Entry { kind: kind.clone(), ..entry.clone() }, before)),
        };
    }
    let here = &entry.environment;
    let of = |package: Option<&_>, version: Option<&_>| match (package, version) {
        (None, _) => String::new(),
        (Some(package), None::<&debark_order::PackageVersion>) => format!(" {}", name(package)),
        (Some(package), Some(version)) => format!(" {} {version}", name(package)),
    };
    match &entry.kind {
        Kind::Started(started) => {
            let (action, package, version) = (started.action.name(), &started.package, &started.version);
            let from = started.from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
            format!("{action} {package} {version}{from} to {here} (started)")
        }
        Kind::Finished(finished) => {
            let result = finished.result.name();
            match before.open.as_ref().filter(|open| open.sequence == finished.of) {
                Some(open) => {
                    format!("{} {} {} to {here}: {result}", open.action.name(), open.package, open.version)
                }
                None => format!("deployment {} to {here}: {result}", finished.of),
            }
        }
        Kind::Approved { package, version, .. } => format!("approve {package} {version} for {here}"),
        Kind::Held { package, version, .. } => {
            format!("hold{} in {here}", of(package.as_ref(), version.as_ref()))
        }
        Kind::Released { package, version, .. } => {
            format!("unhold{} in {here}", of(package.as_ref(), version.as_ref()))
        }
        Kind::Frozen { .. } => format!("freeze {here}"),
        Kind::Thawed => format!("thaw {here}"),
        Kind::KeyTrusted { r#use, fingerprint } => {
            format!("trust {} {}", key(*r#use), one_line(fingerprint, 80))
        }
        Kind::KeyRevoked { r#use, fingerprint } => {
            format!("revoke {} {}", key(*r#use), one_line(fingerprint, 80))
        }
        Kind::Note | Kind::Moved(_) => format!("note on {here}"),
    }
}

fn name(package: &debark_order::PackageName) -> &str {
    package.as_str()
}

const fn key(r#use: KeyUse) -> &'static str {
    match r#use {
        KeyUse::Build => "build key",
        KeyUse::Signer => "signer",
    }
}

/// The whole message: subject, reason, trailers (git-interpret-trailers(1)).
pub(crate) fn message(entry: &Entry, before: &State) -> String {
    let mut text = subject(entry, before);
    text.push_str("\n\n");
    if let Some(reason) = &entry.reason {
        // One line, so that it cannot look like trailers.
        let _ = writeln!(text, "{}\n", one_line(reason, crate::entry::MAX_REASON));
    }
    let _ = writeln!(text, "Environment: {}", entry.environment);
    let _ = writeln!(text, "Sequence: {}", entry.sequence);
    let _ = writeln!(text, "Actor: {}", entry.actor);
    let digest = match &entry.kind {
        Kind::Started(started) => Some(started.digest),
        Kind::Approved { digest, .. } => Some(*digest),
        Kind::Held { digest, .. } | Kind::Released { digest, .. } => *digest,
        _ => None,
    };
    if let Some(digest) = digest {
        let _ = writeln!(text, "Digest: {digest}");
    }
    match &entry.kind {
        Kind::Started(started) => {
            if let Some(commit) = &started.commit {
                let _ = writeln!(text, "Commit: {}", one_line(commit, 80));
            }
            let _ = writeln!(text, "Hosts: {}", started.hosts.len());
        }
        Kind::Finished(finished) => {
            let _ = writeln!(text, "Of: {}", finished.of);
            for host in &finished.hosts {
                let _ = writeln!(text, "Host: {} {}", one_line(&host.host, 255), host.result.name());
            }
        }
        Kind::Moved(moved) => {
            let _ = writeln!(text, "Moved: {} by {}", one_line(&moved.commit, 64), moved.by);
        }
        _ => {}
    }
    if let Some(url) = entry.ci.as_ref().and_then(|ci| ci.url.as_ref()) {
        let _ = writeln!(text, "Job: {}", one_line(url, 300));
    }
    text
}
