//! Notifications, as the project file asks for them.

use debark_ledger::policy::Refusal;
use debark_ledger::{DeployAction, Entry, Kind, Outcome};
use debark_order::{Identity, PackageName, PackageVersion, Sequence};
use debark_project::{Event, Notification, Program, Receiver};
use debark_release::Ending;
use debark_release::notify::{Channel, Notice, notify};

use super::desk::Desk;
use super::perform::Job;
use super::records;

/// Tells everybody who wants to know of such an event.
pub fn tell(desk: &Desk, event: Event, notice: &Notice<'_>) {
    let wants = |one: &&Notification| one.on.contains(&event);
    let channels: Vec<Channel> = desk
        .project
        .notify
        .iter()
        .filter(wants)
        .map(|one| match &one.to {
            Receiver::Webhook(url) => Channel::Webhook(url.clone()),
            Receiver::Command(Program::Argv(argv)) => Channel::Command(argv.clone()),
            Receiver::Command(Program::Shell(line)) => {
                Channel::Command(vec!["sh".into(), "-e".into(), "-c".into(), line.clone()])
            }
        })
        .collect();
    for problem in notify(&channels, notice) {
        anstream::eprintln!("warning: {problem}");
    }
}

/// What a notice of any deployment says.
fn of<'a>(job: &'a Job<'_>, event: Event, text: &'a str, actor: &'a str) -> Notice<'a> {
    Notice {
        event: event.name(),
        text,
        environment: job.environment.name.as_str(),
        package: Some(job.package.as_str()),
        version: Some(job.version.as_str()),
        digest: Some(job.digest.to_string()),
        commit: job.commit.as_deref(),
        actor,
        reason: job.reason.as_deref(),
        result: None,
        sequence: job.state.sequence,
        took_ms: 0,
        hosts: &[],
        ci: None,
    }
}

/// A deployment begins.
pub fn started(job: &Job<'_>, sequence: Sequence, actor: &Identity) {
    let text = format!(
        "{} of {} {} to {} begins",
        job.action.name(),
        job.package,
        job.version,
        job.environment.name
    );
    let ci = debark_ledger::ci();
    tell(
        job.desk,
        Event::Started,
        &Notice { sequence, ci: ci.as_ref(), ..of(job, Event::Started, &text, actor.as_str()) },
    );
}

/// An approval, a hold or its end is on record.
pub fn recorded(desk: &Desk, entry: &Entry) {
    let (event, package, version, digest) = match &entry.kind {
        Kind::Approved { package, version, digest } => {
            (Event::Approved, Some(package), Some(version), Some(digest))
        }
        Kind::Held { package, version, digest } => {
            (Event::Held, package.as_ref(), version.as_ref(), digest.as_ref())
        }
        Kind::Released { package, version, digest } => {
            (Event::Released, package.as_ref(), version.as_ref(), digest.as_ref())
        }
        _ => return,
    };
    let text = format!("{} in {} by {}", records::what(entry, None), entry.environment, entry.actor);
    tell(
        desk,
        event,
        &Notice {
            event: event.name(),
            text: &text,
            environment: entry.environment.as_str(),
            package: package.map(PackageName::as_str),
            version: version.map(PackageVersion::as_str),
            digest: digest.map(ToString::to_string),
            commit: None,
            actor: entry.actor.as_str(),
            reason: entry.reason.as_deref(),
            result: None,
            sequence: entry.sequence,
            took_ms: 0,
            hosts: &[],
            ci: entry.ci.as_ref(),
        },
    );
}

/// A deployment is over.
pub fn finished(job: &Job<'_>, ending: &Ending, actor: &Identity, text: &str) {
    let event = match (ending.outcome, job.action) {
        (Outcome::Succeeded, DeployAction::Rollback | DeployAction::Abort) => Event::RolledBack,
        (Outcome::Succeeded, _) => Event::Deployed,
        (Outcome::Reverted | Outcome::Aborted, _) => Event::Reverted,
        (Outcome::Refused, _) => Event::Refused,
        (Outcome::Failed, _) => Event::Failed,
    };
    let ci = debark_ledger::ci();
    tell(
        job.desk,
        event,
        &Notice {
            result: Some(ending.outcome.name()),
            sequence: ending.sequence,
            took_ms: ending.took,
            hosts: &ending.hosts,
            ci: ci.as_ref(),
            ..of(job, event, text, actor.as_str())
        },
    );
}

/// Rules said no.
pub fn refused(job: &Job<'_>, refusals: &[Refusal]) {
    let why: Vec<&str> = refusals.iter().map(|refusal| refusal.message.as_str()).collect();
    let text = format!(
        "{} {} was refused for {}: {}",
        job.package,
        job.version,
        job.environment.name,
        why.join("; ")
    );
    let ci = debark_ledger::ci();
    let actor = job.ledger.actor().map_or_else(|_| String::new(), |actor| actor.to_string());
    tell(
        job.desk,
        Event::Refused,
        &Notice { result: Some("refused"), ci: ci.as_ref(), ..of(job, Event::Refused, &text, &actor) },
    );
}
