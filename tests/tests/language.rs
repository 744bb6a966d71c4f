//! Small playbooks come to the same, task by task and host by host, under debark as under ansible-core.
//!
//! Each playbook of `tests/language/` covers a part of the language. `tests/record-language` has recorded what
//! ansible-core made of it in `expected/`: every task's status on every host, in the order of the host, and what `debug`,
//! `assert` and `fail` said. Words of error messages are each program's own and are not compared.
//!
//! `LANGUAGE=loops cargo test -p debark-e2e --test language` runs those whose names begin so. `LANGUAGE_LOCAL=1` runs
//! them against this machine instead of lab hosts: quicker, for work on the language.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use debark_e2e::{Run, debark, debark_program, lab};
use debark_lab::Lab;
use serde_json::{Map, Value, json};

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];

/// Differences that are meant, each with its reason: playbook, what the complaint contains.
const MEANT: &[(&str, &str, &str)] = &[
    (
        "hostvars",
        "<< error 1 - 'nothing_here' is undefined >>",
        "ansible-core 2.18's words, which playbooks know",
    ),
    (
        "check",
        r#""task":"whether the command was skipped""#,
        "what check mode does not run is unknown, and so is whether it was skipped",
    ),
    (
        "check",
        r#""task":"the file of the copy""#,
        "what an earlier task would make is not there yet, and that is no answer",
    ),
    ("check", r#""task":"whether the file is there""#, "as above"),
    ("timeout", r#""said":{"msg":"secret"}"#, "what `no_log` has hidden once stays hidden"),
    ("timeout", r#""said":{"msg":"********"}"#, "as above"),
    ("loops", r#""item":"ukttpcym""#, "what a password lookup has made is not shown"),
    ("loops", r#""item":"********""#, "as above"),
    ("hostvars", "VARIABLE IS NOT DEFINED!", "ansible-core 2.18's words, which playbooks know"),
];

/// Keys of results that tell of the moment, or of the program.
const VOLATILE: [&str; 8] =
    ["start", "end", "delta", "exception", "invocation", "warnings", "deprecations", "diff"];

/// How the tasks of a host went, in order.
type Transcript = BTreeMap<String, Vec<Value>>;

/// Where debark runs.
enum Place {
    Lab(Lab),
    Here,
}

fn language() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/language")
}

fn cleaned(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let result = map.contains_key("changed");
            // The words of a failure differ.
            let failed = map.get("failed") == Some(&Value::Bool(true));
            let kept = map.iter().filter(|(key, _)| !(result && VOLATILE.contains(&key.as_str())));
            let kept = kept.filter(|(key, _)| !(failed && *key == "msg"));
            kept.map(|(key, value)| (key.clone(), cleaned(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(cleaned).collect(),
        Value::Number(number) if number.as_f64().is_some_and(|n| n.fract() == 0.0 && n.abs() < 1e15) => {
            json!(number.as_f64())
        }
        other => other.clone(),
    }
}

/// A line of a transcript as it is compared; none for what the two programs report differently by design.
fn normal(entry: &Value, task: &str) -> Option<Value> {
    let action = entry["action"].as_str().unwrap_or_default();
    let status = match entry["status"].as_str().unwrap_or_default() {
        "rescued" => "failed",
        // The item of a loop fails; whether that is ignored is the task's matter.
        "ignored" if !entry["item"].is_null() => "failed",
        other => other,
    };
    let including = matches!(action, "include_tasks" | "include_role");
    if matches!(action, "gather_facts" | "meta") || task == "Gathering Facts" || including {
        return None;
    }
    let mut line = json!({"task": task, "status": status});
    if let Value::String(item) = &entry["item"] {
        line["item"] = if item == "(hidden)" { "" } else { item.as_str() }.into();
    }
    if let (Value::Object(result), true) = (&entry["result"], matches!(action, "debug" | "assert" | "fail")) {
        let mut said = result.clone();
        let skip =
            ["skip_reason", "skipped", "false_condition", "results", "changed", "failed", "item", "censored"];
        said.retain(|key, _| !skip.contains(&key.as_str()) && !VOLATILE.contains(&key.as_str()));
        // Loop variables belong to items and are seen there.
        for of in ["ansible_loop_var", "ansible_index_var"] {
            result.get(of).and_then(Value::as_str).map(|name| said.remove(name));
        }
        said.retain(|key, _| !key.starts_with("ansible_") || action == "debug" && said_alone(result, key));
        let of_variable = action == "debug" && said.len() > 1;
        let worded = status == "failed" || status == "ignored";
        if of_variable
            || (worded && action != "fail")
            || (action == "assert" && said["msg"] == "All assertions passed")
        {
            said.remove("msg");
        }
        if action == "assert" {
            said.retain(|key, _| key == "msg");
        }
        let hidden = result.contains_key("censored");
        if status != "skipped" && !hidden && !result.contains_key("results") {
            line["said"] = cleaned(&Value::Object(said));
        }
    }
    Some(line)
}

fn said_alone(result: &Map<String, Value>, key: &str) -> bool {
    !result.contains_key("ansible_loop_var") && result.contains_key(key)
}

fn expected(name: &str) -> (bool, Transcript) {
    let path = language().join("expected").join(format!("{name}.jsonl"));
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; tests/record-language makes it", path.display()));
    let text = text.replace("{here}", &language().display().to_string());
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let exit = lines.next().unwrap()["exit"] == 0;
    let mut transcript = Transcript::new();
    for line in lines {
        let task = line["task"].as_str().unwrap_or_default().to_owned();
        if let Some(entry) = normal(&line, &task) {
            transcript.entry(line["host"].as_str().unwrap().to_owned()).or_default().push(entry);
        }
    }
    (exit, transcript)
}

fn transcript(run: &Run) -> Transcript {
    let mut transcript = Transcript::new();
    for event in run.events.iter().filter(|event| event["event"] == "task" || event["event"] == "item") {
        if let Some(entry) = normal(event, event["task"].as_str().unwrap_or_default()) {
            transcript.entry(event["host"].as_str().unwrap().to_owned()).or_default().push(entry);
        }
    }
    transcript
}

fn run(place: &Place, home: &Path, playbook: &Path) -> Run {
    let text = fs::read_to_string(playbook).unwrap();
    let flags = text.lines().find_map(|line| line.strip_prefix("# flags: ")).unwrap_or_default();
    let mut command = match place {
        Place::Lab(lab) => debark(lab, home),
        Place::Here => {
            let mut command = Command::new(debark_program());
            command.env("DEBARK_STATE_DIR", home.join("state")).stdin(std::process::Stdio::null());
            command
        }
    };
    command.current_dir(language()).args(["run", "-v", "-i", "hosts", "-i"]).arg(home.join("connection"));
    command.args(words(flags)).arg(playbook.file_name().unwrap());
    Run::of(&mut command)
}

/// Words split at blanks, but not within single quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in text.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// What differs.
fn compare(place: &Place, home: &Path, playbook: &Path) -> Vec<String> {
    let name = playbook.file_stem().unwrap().to_string_lossy().into_owned();
    let (fine, theirs) = expected(&name);
    let run = run(place, home, playbook);
    let ours = transcript(&run);
    let mut complaints = Vec::new();
    if run.status.success() != fine {
        complaints.push(format!(
            "exit: expected {}, got {}",
            if fine { "success" } else { "failure" },
            run.said()
        ));
    }
    let mut hosts: Vec<&String> = theirs.keys().chain(ours.keys()).collect();
    hosts.sort();
    hosts.dedup();
    let none = Vec::new();
    for host in hosts {
        let (left, right) = (theirs.get(host).unwrap_or(&none), ours.get(host).unwrap_or(&none));
        complaints.extend(differences(left, right).into_iter().map(|line| format!("{host}: {line}")));
    }
    complaints.retain(|complaint| {
        !MEANT.iter().any(|(playbook, part, _)| *playbook == name && complaint.contains(part))
    });
    complaints
}

/// The lines only one side has (`-` ansible-core, `+` debark), by their longest common subsequence.
fn differences(left: &[Value], right: &[Value]) -> Vec<String> {
    let mut common = vec![vec![0_usize; right.len() + 1]; left.len() + 1];
    for (i, one) in left.iter().enumerate().rev() {
        for (j, two) in right.iter().enumerate().rev() {
            common[i][j] = match one == two {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            (i, j) = (i + 1, j + 1);
        } else if j >= right.len() || i < left.len() && common[i + 1][j] >= common[i][j + 1] {
            lines.push(format!("- {}", left[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", right[j]));
            j += 1;
        }
    }
    lines
}

#[test]
fn playbooks_come_to_what_ansible_makes_of_them() {
    let wanted = std::env::var("LANGUAGE").unwrap_or_default();
    let mut playbooks: Vec<PathBuf> = fs::read_dir(language()).unwrap().flatten().map(|e| e.path()).collect();
    playbooks.retain(|path| path.extension().is_some_and(|e| e == "yml"));
    playbooks.retain(|path| path.file_stem().unwrap().to_string_lossy().starts_with(&wanted));
    playbooks.sort();
    assert!(
        !playbooks.is_empty() && (!wanted.is_empty() || playbooks.len() >= 40),
        "{}",
        language().display()
    );

    let home = tempfile::Builder::new().prefix("debark-language-").tempdir().unwrap();
    let (place, connection) = if std::env::var_os("LANGUAGE_LOCAL").is_some() {
        (Place::Here, "[all:vars]\nansible_connection=local\n".to_owned())
    } else {
        let lab = lab("language", HOSTS.len(), &[]);
        let inventory = lab.inventory(&[]).unwrap();
        (Place::Lab(lab), inventory)
    };
    fs::write(home.path().join("connection"), connection).unwrap();
    let mut failed = Vec::new();
    for playbook in &playbooks {
        let complaints = compare(&place, home.path(), playbook);
        let name = playbook.file_stem().unwrap().to_string_lossy().into_owned();
        println!("{name}: {}", if complaints.is_empty() { "alike" } else { "DIFFERS" });
        complaints.iter().for_each(|complaint| println!("    {complaint}"));
        if !complaints.is_empty() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "different under debark: {}", failed.join(", "));
}
