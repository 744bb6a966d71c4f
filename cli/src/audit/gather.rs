//! What hosts say of themselves: one play of shell tasks, by the agent, in one session per host.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use debark_audit::{Check, Evidence, Judge, On, Probe, probes};
use debark_controller::{Monitor, Note, Site};
use debark_value::{Value, map};
use debark_wire::{Event, Status};
use serde_json::json;

use crate::drive::drive;
use crate::signals::Signals;

/// A play whose tasks are the scripts that checks need, as JSON, which is YAML. Hosts do not wait for each other.
pub fn play(pattern: &str, checks: &[Check]) -> String {
    let mut seen = BTreeSet::new();
    let mut tasks = Vec::new();
    for check in checks.iter().filter(|check| check.on == On::Host) {
        let name = task(check);
        let script = match &check.probe {
            Probe::Named(name) => probes::host(name).map(|probe| probe.script),
            Probe::Command(command) => Some(command.as_str()),
        };
        if let Some(script) = script.filter(|_| seen.insert(name.clone())) {
            tasks.push(json!({
                "name": name, "shell": {"cmd": script}, "changed_when": false, "failed_when": false, "check_mode": false,
                "ignore_errors": true,
            }));
        }
    }
    let play = json!([{"hosts": pattern, "gather_facts": false, "strategy": "free", "tasks": tasks}]);
    format!("{play}\n")
}

/// The name of the task that gathers a check's evidence: several checks may need one probe, and several probes one script.
fn task(check: &Check) -> String {
    match &check.probe {
        Probe::Named(name) => format!("probe {}", probes::host(name).map_or(*name, |probe| probe.source())),
        Probe::Command(_) => format!("check {}", check.id),
    }
}

/// What came of a run.
#[derive(Default)]
struct Heard {
    /// By host and task: the result, the message, and when.
    results: HashMap<(String, String), (Value, Option<String>, u64)>,
    unreachable: HashMap<String, String>,
    /// Tasks that would change something, and that failed.
    counts: HashMap<String, (i64, i64)>,
    changes: HashMap<String, Vec<String>>,
}

/// Listens to a run.
#[derive(Clone, Default)]
pub struct Gathered(Arc<Mutex<Heard>>);

impl Monitor for Gathered {
    fn note(&mut self, note: &Note<'_>) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match note {
            Note::Event { host, event: Event::Task(result) } => {
                let key = ((*host).to_owned(), result.name.clone());
                heard.results.insert(key, (result.result.clone(), result.message.clone(), super::now()));
                let counts = heard.counts.entry((*host).to_owned()).or_default();
                match result.status {
                    Status::Changed => counts.0 += 1,
                    Status::Failed => counts.1 += 1,
                    _ => return,
                }
                let changes = heard.changes.entry((*host).to_owned()).or_default();
                if changes.len() < 50 {
                    changes.push(format!("{} ({})", result.name, result.place));
                }
            }
            Note::Unreachable { host, problem, .. } => {
                heard.unreachable.insert((*host).to_owned(), problem.message.clone());
            }
            Note::Warning(text) => anstream::eprintln!("warning: {text}"),
            _ => {}
        }
    }
}

/// Runs the play.
pub fn run(site: Site, checks: &[Check], signals: &Signals) -> Gathered {
    let gathered = Gathered::default();
    if checks.iter().any(|check| check.on == On::Host) {
        drive(site, Box::new(gathered.clone()), signals);
    }
    gathered
}

/// Runs playbooks in check mode.
pub fn drift(site: Site, signals: &Signals) -> Gathered {
    let gathered = Gathered::default();
    drive(site, Box::new(gathered.clone()), signals);
    gathered
}

impl Gathered {
    /// Why a host could not be reached.
    pub fn lost(&self, host: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).unreachable.get(host).cloned()
    }

    /// What was observed for a check.
    fn at(&self, check: &Check, host: &str) -> Result<(Value, u64), String> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = heard.unreachable.get(host) {
            return Err(why.clone());
        }
        let key = (host.to_owned(), task(check));
        let (result, message, time) =
            heard.results.get(&key).ok_or_else(|| "nothing was heard of it from the host".to_owned())?;
        match result.get("stdout") {
            Some(_) => Ok((result.clone(), *time)),
            None => Err(message.clone().unwrap_or_else(|| "the host could not be asked".into())),
        }
    }

    /// The evidence for a check.
    pub fn evidence(&self, check: &Check, host: &str, judge: &Judge) -> Evidence {
        let (result, time) = self.at(check, host)?;
        let text = |name: &str| result.get(name).and_then(Value::as_str).unwrap_or_default();
        match &check.probe {
            Probe::Named(name) => {
                let probe = probes::host(name).ok_or_else(|| format!("there is no probe {name}"))?;
                let people = judge.value("debark_people | default({})").unwrap_or(Value::Null);
                probe.evidence(text("stdout"), &probes::Around { people, now: time })
            }
            Probe::Command(_) => Ok(Value::from(map! {
                "rc" => result.get("rc").cloned().unwrap_or(Value::Null), "stdout" => text("stdout"),
                "stderr" => text("stderr"),
            })),
        }
    }

    /// What the playbooks would change.
    pub fn drifted(&self, host: &str) -> Evidence {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = heard.unreachable.get(host) {
            return Err(why.clone());
        }
        let (changed, failed) =
            heard.counts.get(host).ok_or_else(|| "the playbook has no task for the host".to_owned())?;
        let changes = heard.changes.get(host).cloned().unwrap_or_default();
        Ok(Value::from(map! { "changed" => *changed, "failed" => *failed, "tasks" => Value::list(changes) }))
    }
}
