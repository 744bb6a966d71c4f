//! `--json`: one event per line, the recap last. `docs/reference/json-events.md` describes them.

use std::io::Write;

use debark_controller::{Monitor, Note};
use debark_value::to_json;
use debark_wire::{Event, Status, TaskResult};
use serde_json::{Value, json};

/// Writes events for programs.
pub struct Json;

impl Monitor for Json {
    fn note(&mut self, note: &Note<'_>) {
        let Some(line) = line(note) else { return };
        // A reader that has gone wants no more lines; the run goes on.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

fn line(note: &Note<'_>) -> Option<Value> {
    Some(match note {
        Note::Play { index, name, hosts } => {
            json!({"event": "play", "index": index, "name": name, "hosts": hosts})
        }
        Note::Batch { number, of, hosts } => {
            json!({"event": "batch", "number": number, "of": of, "hosts": hosts})
        }
        Note::Connecting { host } => json!({"event": "connecting", "host": host}),
        Note::Uploading { host, bytes } => json!({"event": "uploading", "host": host, "bytes": bytes}),
        Note::Connected { host } => json!({"event": "connected", "host": host}),
        Note::Event { host, event } => return of_host(host, event),
        Note::Unreachable { host, problem, during } => json!({
            "event": "unreachable", "host": host, "kind": problem.kind.word(), "message": problem.message,
            "hint": problem.hint, "during": during,
        }),
        Note::HostDone { host, failed, cost } => json!({
            "event": "host_done", "host": host, "failed": failed,
            "seconds": cost.wall_us as f64 / 1e6, "cpu_seconds": cost.cpu_us as f64 / 1e6,
        }),
        Note::Warning(text) => json!({"event": "warning", "message": text}),
        Note::Stopping(reason) => json!({"event": "stopping", "reason": reason}),
        Note::Recap(recap) => json!({
            "event": "recap",
            "hosts": recap.hosts,
            "pending_handlers": recap.pending,
            "left_running": recap.left_running,
            "stats": recap.stats.get(&None).map_or_else(|| json!({}), totals),
            "host_stats": recap.stats.iter().filter_map(|(host, data)| Some((host.clone()?, totals(data))))
                .collect::<serde_json::Map<_, _>>(),
            "slowest": recap.slowest.iter().map(|slow| json!({
                "host": slow.host, "task": slow.name, "place": slow.place, "seconds": slow.took.as_secs_f64(),
            })).collect::<Vec<_>>(),
        }),
    })
}

fn totals(data: &debark_value::Map) -> Value {
    to_json(&data.clone().into())
}

fn of_host(host: &str, event: &Event) -> Option<Value> {
    Some(match event {
        Event::Started { name, .. } => json!({"event": "started", "host": host, "task": name}),
        Event::Item(result) => task("item", host, result),
        Event::Task(result) => task("task", host, result),
        Event::Retry { name, left, .. } => {
            json!({"event": "retry", "host": host, "task": name, "left": left})
        }
        Event::Notified { handlers } => json!({"event": "notified", "host": host, "handlers": handlers}),
        Event::Resumed { handlers } => json!({"event": "resumed", "host": host, "handlers": handlers}),
        Event::Warning(text) => json!({"event": "warning", "host": host, "message": text}),
        Event::Stats { data, per_host, .. } => {
            let data = to_json(&data.clone().into());
            json!({"event": "stats", "host": if *per_host { Some(host) } else { None }, "data": data})
        }
        Event::Included { what, .. } => json!({"event": "included", "host": host, "what": what}),
        Event::Guarded { seconds, .. } => json!({"event": "guarded", "host": host, "seconds": seconds}),
        Event::Forgiven => json!({"event": "forgiven", "host": host}),
        // For other hosts, not for readers: it may be large, and is theirs to render.
        Event::Vars(_) | Event::Secrets(_) => return None,
    })
}

fn task(event: &str, host: &str, result: &TaskResult) -> Value {
    json!({
        "event": event,
        "host": host,
        "task": result.name,
        "id": result.task,
        "action": result.action,
        "place": result.place,
        "item": result.item,
        "status": word(result.status),
        "changed": result.status == Status::Changed,
        "message": result.message,
        "hint": result.hint,
        "handler": result.handler,
        "seconds": result.elapsed_us as f64 / 1e6,
        "diff": result.diff.iter().map(|diff| json!({
            "before_header": diff.before_header, "before": diff.before,
            "after_header": diff.after_header, "after": diff.after,
        })).collect::<Vec<_>>(),
        "result": to_json(&result.result),
    })
}

/// The word for a status, in every output.
pub fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Changed => "changed",
        Status::Skipped => "skipped",
        Status::Failed => "failed",
        Status::Ignored => "ignored",
        Status::Rescued => "rescued",
        Status::Unknown => "unknown",
        Status::Unreachable => "unreachable",
    }
}
