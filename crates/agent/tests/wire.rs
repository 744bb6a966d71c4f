//! Drives the real agent binary over its real protocol.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use debark_value::{Map, Value, map};
use debark_wire::{
    Block, Condition, Event, FromAgent, Gather, HostPlay, Keywords, Loop, MAGIC, Node, Play, PlayEnd,
    RunOptions, Status, Task, TaskResult, ToAgent,
};

struct Agent {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    home: tempdir::Dir,
}

mod tempdir {
    pub struct Dir(pub std::path::PathBuf);
    impl Dir {
        pub fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("debark-agent-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }
    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// What a run of one play came to.
struct Ran {
    events: Vec<Event>,
    end: PlayEnd,
}

impl Ran {
    fn tasks(&self) -> Vec<&TaskResult> {
        self.events.iter().filter_map(|e| if let Event::Task(t) = e { Some(&**t) } else { None }).collect()
    }
    fn statuses(&self) -> Vec<Status> {
        self.tasks().iter().map(|t| t.status).collect()
    }
    /// What is for people: secrets that the controller is told, so as to hide them, are not.
    fn text(&self) -> String {
        let shown = self.events.iter().filter(|event| !matches!(event, Event::Secrets(_)));
        format!("{:?}", shown.collect::<Vec<_>>())
    }
}

impl Agent {
    /// Starts an agent whose state lies in a directory of its own.
    fn start(name: &str) -> Self {
        let home = tempdir::Dir::new(name);
        Self::start_in(home)
    }

    fn start_in(home: tempdir::Dir) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_debark-agent"))
            .env("DEBARK_STATE_DIR", &home.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        input.write_all(&MAGIC).unwrap();
        let mut magic = [0; 8];
        output.read_exact(&mut magic).unwrap();
        assert_eq!(magic, MAGIC);
        Self { child, input, output, home }
    }

    fn send(&mut self, message: &ToAgent) {
        debark_wire::write(&mut self.input, message).unwrap();
        self.input.flush().unwrap();
    }

    fn run(&mut self, play: &Play, host: HostPlay) -> Ran {
        self.send(&ToAgent::Play { shared: debark_wire::encode(play).unwrap().into(), host: Box::new(host) });
        let mut events = Vec::new();
        loop {
            match debark_wire::read::<FromAgent>(&mut self.output).unwrap() {
                FromAgent::Event(event) => events.push(event),
                FromAgent::PlayEnd { end, .. } => return Ran { events, end },
                FromAgent::Hello { .. } => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    fn end(mut self) -> tempdir::Dir {
        self.send(&ToAgent::End);
        self.child.wait().unwrap();
        self.home
    }
}

fn host() -> HostPlay {
    HostPlay {
        host: "h1".into(),
        magic: map! { "inventory_hostname" => "h1" },
        batch: vec!["h1".into()],
        first: true,
        options: RunOptions {
            run_id: "r".into(),
            actor: "test".into(),
            verbosity: 1,
            ..RunOptions::default()
        },
        ..HostPlay::default()
    }
}

fn checking() -> HostPlay {
    let mut host = host();
    host.options.check = true;
    host
}

fn task(id: u32, action: &str, args: Map) -> Task {
    Task { id, action: action.into(), args, name: format!("task {id}"), ..Task::default() }
}

fn node(task: Task) -> Node {
    Node::Task(Box::new(task))
}

fn when(text: &str) -> Keywords {
    let condition = Condition { value: text.into(), span: Default::default() };
    Keywords { when: vec![condition], ..Keywords::default() }
}

fn play(tasks: Vec<Node>) -> Play {
    Play { files: vec!["site.yml".into()], name: "p".into(), next_task: 100, tasks, ..Play::default() }
}

#[test]
fn registers_conditions_and_loops() {
    let mut agent = Agent::start("registers");
    let echo = Task {
        register: Some("out".into()),
        ..task(1, "command", map! { "_raw_params" => "echo {{ 1 + 1 }}" })
    };
    let looped = Task {
        looping: Some(Loop {
            lookup: None,
            items: Value::list(["a", "b"]),
            var: "item".into(),
            index_var: None,
            label: None,
            pause: None,
            extended: false,
            extended_allitems: true,
            break_when: Vec::new(),
        }),
        register: Some("all".into()),
        ..task(4, "debug", map! { "msg" => "{{ item }}{{ out.stdout }}" })
    };
    let tasks = vec![
        node(echo),
        node(Task { keywords: when("out.stdout == '3'"), ..task(2, "fail", map! {}) }),
        node(Task {
            keywords: when("out is changed"),
            ..task(3, "debug", map! { "msg" => "{{ out.stdout | int }}" })
        }),
        node(looped),
        node(task(
            5,
            "assert",
            map! { "that" => "all.results | map(attribute='msg') | list == ['a2', 'b2']" },
        )),
    ];
    let ran = agent.run(&play(tasks), host());
    assert_eq!(ran.end, PlayEnd::Done, "{}", ran.text());
    use Status::*;
    assert_eq!(ran.statuses(), [Changed, Skipped, Ok, Ok, Ok], "{}", ran.text());
    assert_eq!(ran.tasks()[2].message.as_deref(), Some("2"));
}

/// As one of another version would send it: nothing of it was done, and nobody must believe that.
#[test]
fn a_play_that_cannot_be_read_has_no_end() {
    let mut agent = Agent::start("unreadable");
    agent.send(&ToAgent::Play { shared: vec![0xff; 9].into(), host: Box::new(host()) });
    let mut warned = false;
    while let Ok(message) = debark_wire::read::<FromAgent>(&mut agent.output) {
        warned |= matches!(message, FromAgent::Event(Event::Warning(_)));
        assert!(!matches!(message, FromAgent::PlayEnd { .. }), "{message:?}");
    }
    assert!(warned);
    assert_eq!(agent.child.wait().unwrap().code(), Some(1));
}

#[test]
fn rescue_and_always() {
    let mut agent = Agent::start("rescue");
    let block = Block {
        block: vec![node(task(1, "fail", map! { "msg" => "no" })), node(task(2, "debug", map! {}))],
        rescue: vec![node(task(
            3,
            "debug",
            map! { "msg" => "{{ ansible_failed_result.msg }} in {{ ansible_failed_task.name }}" },
        ))],
        always: vec![node(task(4, "debug", map! { "msg" => "always" }))],
        ..Block::default()
    };
    let ran = agent.run(&play(vec![Node::Block(Box::new(block)), node(task(5, "debug", map! {}))]), host());
    assert_eq!(ran.end, PlayEnd::Done);
    assert_eq!(ran.statuses(), [Status::Rescued, Status::Ok, Status::Ok, Status::Ok]);
    assert_eq!(ran.tasks()[1].message.as_deref(), Some("no in task 1"));
}

#[test]
fn a_handler_outlives_a_failed_run() {
    let handler = Task { name: "restart".into(), ..task(9, "debug", map! { "msg" => "restarted" }) };
    let change =
        Task { notify: vec!["restart".into()], ..task(1, "command", map! { "_raw_params" => "true" }) };
    let failing = Play {
        handlers: vec![node(handler.clone())],
        ..play(vec![node(change), node(task(2, "fail", map! {}))])
    };
    let mut agent = Agent::start("handlers");
    let ran = agent.run(&failing, host());
    assert_eq!(ran.end, PlayEnd::Failed { pending_handlers: vec!["restart".into()] });
    let home = agent.end();

    let calm = Play { handlers: vec![node(handler)], ..play(vec![node(task(1, "debug", map! {}))]) };
    let mut agent = Agent::start_in(home);
    let ran = agent.run(&calm, host());
    assert!(ran.events.contains(&Event::Resumed { handlers: vec!["restart".into()] }), "{}", ran.text());
    assert_eq!(ran.tasks().last().unwrap().message.as_deref(), Some("restarted"));
    let ran = agent.run(&calm, host());
    assert_eq!(ran.tasks().len(), 1, "a handler that ran is not run again");
}

#[test]
fn only_the_handler_that_is_notified_runs_of_a_role() {
    let handler =
        |id, name: &str| node(Task { name: name.into(), ..task(id, "debug", map! { "msg" => name }) });
    let of_role = Block {
        block: vec![handler(7, "one"), handler(8, "two"), handler(9, "three")],
        keywords: when("daemon is defined"),
        ..Block::default()
    };
    let notify = vec!["two".into(), "three".into()];
    let change = Task { notify, ..task(1, "command", map! { "_raw_params" => "true" }) };
    let tasks = vec![node(change), node(task(2, "set_fact", map! { "daemon" => "nginx" }))];
    let ran = Agent::start("role-handlers")
        .run(&Play { handlers: vec![Node::Block(Box::new(of_role))], ..play(tasks) }, host());
    let said: Vec<_> = ran.tasks().iter().filter_map(|task| task.message.clone()).collect();
    assert_eq!(said, ["two", "three"], "{}", ran.text());
}

#[test]
fn handlers_of_an_earlier_run_wait_for_the_tasks() {
    let restart =
        Task { name: "restart".into(), ..task(9, "debug", map! { "msg" => "restarted {{ daemon }}" }) };
    let gone = Task { name: "gone".into(), ..task(8, "debug", map! {}) };
    let notify = vec!["restart".into(), "gone".into()];
    let change = Task { notify, ..task(1, "command", map! { "_raw_params" => "true" }) };
    let failing = Play {
        handlers: vec![node(gone), node(restart.clone())],
        ..play(vec![node(change), node(task(2, "fail", map! {}))])
    };
    let mut agent = Agent::start("waiting");
    agent.run(&failing, host());
    let home = agent.end();

    let flush = |id, args| node(task(id, "meta", args));
    let calm = Play {
        handlers: vec![node(restart)],
        ..play(vec![
            flush(1, map! { "free_form" => "flush_handlers" }),
            node(task(2, "set_fact", map! { "daemon" => "nginx" })),
            flush(3, map! { "free_form" => "flush_handlers", "resume" => true }),
            node(task(4, "debug", map! { "msg" => "after" })),
        ])
    };
    let mut agent = Agent::start_in(home);
    let ran = agent.run(&calm, host());
    assert_eq!(ran.end, PlayEnd::Done, "{}", ran.text());
    let said: Vec<_> = ran.tasks().iter().filter_map(|task| task.message.clone()).collect();
    assert!(said.ends_with(&["restarted nginx".into(), "after".into()]), "{said:?}");
    assert!(ran.text().contains("the handler 'gone'"), "{}", ran.text());
}

#[test]
fn a_handler_outlives_a_killed_agent() {
    let handler = Task { name: "restart".into(), ..task(9, "debug", map! { "msg" => "restarted" }) };
    let change =
        Task { notify: vec!["restart".into()], ..task(1, "command", map! { "_raw_params" => "true" }) };
    let slow = task(2, "command", map! { "_raw_params" => "sleep 60" });
    let doomed = Play { handlers: vec![node(handler.clone())], ..play(vec![node(change), node(slow)]) };
    let mut agent = Agent::start("killed");
    let shared = debark_wire::encode(&doomed).unwrap().into();
    agent.send(&ToAgent::Play { shared, host: Box::new(host()) });
    loop {
        if let FromAgent::Event(Event::Task(_)) = debark_wire::read::<FromAgent>(&mut agent.output).unwrap() {
            break;
        }
    }
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    let mut agent = Agent::start_in(agent.home);
    let ran = agent.run(&Play { handlers: vec![node(handler)], ..play(vec![]) }, host());
    assert_eq!(ran.tasks().last().unwrap().message.as_deref(), Some("restarted"), "{}", ran.text());
}

#[test]
fn check_mode_carries_what_it_cannot_know() {
    let mut agent = Agent::start("unknown");
    let tasks = vec![
        node(Task {
            register: Some("out".into()),
            ..task(1, "command", map! { "_raw_params" => "echo hi" })
        }),
        node(Task { keywords: when("out.stdout == 'hi'"), ..task(2, "debug", map! {}) }),
        node(Task {
            register: Some("copied".into()),
            ..task(3, "debug", map! { "msg" => "{{ out.stdout }}" })
        }),
        node(task(4, "assert", map! { "that" => "out.rc == 0" })),
        node(task(5, "assert", map! { "that" => "out is defined" })),
    ];
    let ran = agent.run(&play(tasks), checking());
    assert_eq!(ran.end, PlayEnd::Done, "{}", ran.text());
    use Status::*;
    assert_eq!(ran.statuses(), [Skipped, Unknown, Ok, Unknown, Ok], "{}", ran.text());
    assert!(ran.tasks()[1].message.as_ref().unwrap().starts_with("decided at run time"), "{}", ran.text());
}

#[test]
fn secrets_never_leave() {
    let mut agent = Agent::start("secrets");
    let mut host = host();
    host.secrets = vec!["hunter2hunter2".into()];
    host.play_vars = map! { "password" => "hunter2hunter2" };
    let tasks = vec![
        node(Task { ..task(1, "debug", map! { "msg" => "it is {{ password }}" }) }),
        node(Task { ..task(2, "command", map! { "_raw_params" => "echo {{ password | b64encode }}" }) }),
        node(Task {
            keywords: Keywords { no_log: Some(true.into()), ..Keywords::default() },
            ..task(3, "command", map! { "_raw_params" => "echo visible-text" })
        }),
        node(Task {
            name: "with {{ password }}".into(),
            ..task(4, "fail", map! { "msg" => "{{ password | to_json }}" })
        }),
    ];
    let ran = agent.run(&play(tasks), host);
    let text = ran.text();
    assert!(text.contains("********"));
    for secret in ["hunter2hunter2", "aHVudGVyMmh1bnRlcjI=", "visible-text"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let journal = std::fs::read_to_string(agent.home.0.join("journal.jsonl")).unwrap();
    assert!(!journal.contains("hunter2") && journal.contains("\"status\":\"failed\""), "{journal}");
}

#[test]
fn changed_when_failed_when_and_until() {
    let mut agent = Agent::start("judge");
    let tasks = vec![
        node(Task {
            changed_when: vec![false.into()],
            ..task(1, "command", map! { "_raw_params" => "true" })
        }),
        node(Task {
            register: Some("r".into()),
            failed_when: vec!["r.rc != 1".into()],
            changed_when: vec!["r.rc == 1".into()],
            ..task(2, "command", map! { "_raw_params" => "false" })
        }),
        node(Task {
            register: Some("t".into()),
            until: vec!["t.attempts | default(1) >= 2".into()],
            retries: Some(3.into()),
            delay: Some(Value::from(0)),
            ..task(3, "command", map! { "_raw_params" => "true" })
        }),
        node(Task {
            keywords: Keywords { ignore_errors: Some(true.into()), ..Keywords::default() },
            ..task(4, "command", map! { "_raw_params" => "false" })
        }),
        node(Task {
            keywords: Keywords { timeout: Some(1.into()), ..Keywords::default() },
            ..task(5, "command", map! { "_raw_params" => "sleep 30" })
        }),
    ];
    let ran = agent.run(&play(tasks), host());
    use Status::*;
    assert_eq!(ran.statuses(), [Ok, Changed, Changed, Ignored, Failed], "{}", ran.text());
    assert!(ran.events.iter().any(|e| matches!(e, Event::Retry { task: 3, .. })));
    assert!(ran.tasks()[4].message.as_ref().unwrap().contains("timed out after 1 s"), "{}", ran.text());
}

#[test]
fn items_of_set_fact_see_earlier_ones() {
    let mut agent = Agent::start("accumulate");
    let looping = Loop {
        lookup: None,
        items: Value::list([1, 2, 3]),
        var: "item".into(),
        index_var: None,
        label: None,
        pause: None,
        extended: false,
        extended_allitems: true,
        break_when: Vec::new(),
    };
    let add = map! { "total" => "{{ total | default(0) + item }}" };
    let tasks = vec![
        node(Task { looping: Some(looping), ..task(1, "set_fact", add) }),
        node(task(2, "assert", map! { "that" => "total == 6" })),
    ];
    let ran = agent.run(&play(tasks), host());
    assert_eq!(ran.end, PlayEnd::Done, "{}", ran.text());
}

#[test]
fn facts_of_modules_go_by_their_own_names() {
    let mut agent = Agent::start("getent");
    let tasks = vec![
        node(task(1, "getent", map! { "database" => "passwd", "key" => "root" })),
        node(task(
            2,
            "assert",
            map! { "that" => Value::list(["getent_passwd.root[1] == '0'", "ansible_facts.getent_passwd is defined"]) },
        )),
    ];
    let ran = agent.run(&play(tasks), host());
    assert_eq!(ran.end, PlayEnd::Done, "{}", ran.text());
}

#[test]
fn a_failure_after_a_predicted_change_is_decided_at_run_time() {
    let mut agent = Agent::start("predicted");
    let missing =
        map! { "src" => "/nonexistent-debark/file", "remote_src" => true, "dest" => "/nonexistent-debark/x" };
    let tasks = |first: bool| {
        let change = task(1, "file", map! { "path" => "/nonexistent-debark", "state" => "directory" });
        let fail = task(2, "copy", missing.clone());
        if first { vec![node(change), node(fail)] } else { vec![node(fail)] }
    };
    let ran = agent.run(&play(tasks(false)), checking());
    assert_eq!(ran.statuses(), [Status::Failed], "{}", ran.text());
    let ran = agent.run(&play(tasks(true)), checking());
    assert_eq!(ran.statuses(), [Status::Changed, Status::Unknown], "{}", ran.text());
}

#[test]
fn facts_that_nobody_mentions_are_not_gathered() {
    let facts = |name: &str, gather: Gather| {
        let mut agent = Agent::start(name);
        let tasks =
            vec![node(task(1, "debug", map! { "msg" => "{{ ansible_facts.keys() | sort | join(' ') }}" }))];
        let ran = agent.run(&Play { gather, ..play(tasks) }, host());
        assert_eq!(ran.end, PlayEnd::Done, "{}", ran.text());
        ran.tasks()[0].message.clone().unwrap()
    };
    let lazy =
        Gather { enabled: true, mentions: Some(vec!["ansible_memtotal_mb".into()]), ..Gather::default() };
    assert_eq!(facts("lazy", lazy.clone()), "memfree_mb memory_mb memtotal_mb swapfree_mb swaptotal_mb");
    let none = Gather { mentions: Some(Vec::new()), ..lazy.clone() };
    assert_eq!(facts("none", none), "");
    // What a subset asks for is there although nothing mentions it.
    let all = facts("all", Gather { subset: vec!["!all".into(), "!min".into(), "virtual".into()], ..lazy });
    assert_eq!(
        all,
        "virtualization_role virtualization_tech_guest virtualization_tech_host virtualization_type"
    );
}
