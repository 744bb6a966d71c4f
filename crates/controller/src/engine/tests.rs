//! The engine against agents that are threads of the test and speak the real messages.

mod fixture;

use debark_connect::ProblemKind;
use debark_value::{Map, Value};
use debark_wire::{Event, Invocation, Login, Logins, Request, Status};

use super::*;
use crate::recap::Counts;
use fixture::{run, set, test};

#[test]
fn changes_keep_in_step() {
    let (outcome, log, _) = run(test(&["a", "b"], |agent| {
        if agent.host == "a" {
            std::thread::sleep(Duration::from_millis(50));
        }
        for task in 0..3 {
            agent.ask(task, Request::Barrier { play: 0, task }).unwrap();
            agent.log(&task.to_string());
            agent.task(task, Status::Changed);
        }
        PlayEnd::Done
    }));
    let tasks: Vec<&str> = log.iter().map(|line| &line[2..]).collect();
    assert_eq!(tasks, ["0", "0", "1", "1", "2", "2"]);
    assert_eq!(outcome.recap.hosts["a"], Counts { ok: 3, changed: 3, ..Counts::default() });
    assert_eq!(outcome.recap.slowest[0].name, "task 2");
}

#[test]
fn a_failed_host_leaves_and_the_others_go_on() {
    let mut world = test(&["a", "b", "c"], |agent| {
        agent.log(&format!("play {}", agent.play));
        if agent.host == "b" {
            agent.task(0, Status::Failed);
            return PlayEnd::Failed { pending_handlers: vec!["restart".into()] };
        }
        agent.ask(1, Request::Barrier { play: agent.play, task: 1 }).unwrap();
        PlayEnd::Done
    });
    world.plays = 2;
    world.refused = vec!["c".into()];
    let (outcome, mut log, notes) = run(world);
    log.sort();
    assert_eq!(log, ["a play 0", "a play 1", "b play 0"]);
    let away = [("c".to_owned(), Some(ProblemKind::Refused))].into();
    assert_eq!((outcome.failed, outcome.unreachable), (set(&["b"]), away));
    assert_eq!(outcome.recap.pending["b"], ["restart"]);
    assert_eq!(outcome.recap.hosts["c"].unreachable, 1);
    assert!(notes.iter().all(|note| !note.contains("hunter22")), "{notes:#?}");
}

#[test]
fn one_runs_once_for_all() {
    let (_, mut log, _) = run(test(&["a", "b", "c"], |agent| {
        match agent.ask(1, Request::RunOnce { task: 4 }).unwrap() {
            Answer::Run => {
                agent.log("ran");
                agent.ask(2, Request::RanOnce { task: 4, result: "x".into(), failed: false }).unwrap();
            }
            Answer::Ran { result, .. } => agent.log(&format!("got {result}")),
            other => agent.log(&format!("{other:?}")),
        }
        PlayEnd::Done
    }));
    log.iter_mut().for_each(|line| *line = line[2..].into());
    log.sort();
    assert_eq!(log, ["got x", "got x", "ran"]);
}

#[test]
fn delegates_are_connected_to_and_answer() {
    let mut world = test(&["a"], |agent| {
        for (id, host) in [(1, "db"), (2, "down")] {
            let invocation = Box::new(Invocation { module: "ping".into(), ..Invocation::default() });
            let logins = Logins::default();
            let Ok(Answer::Outcome(outcome)) =
                agent.ask(id, Request::Delegate { task: 1, host: host.into(), logins, invocation })
            else {
                return PlayEnd::Stopped { pending_handlers: Vec::new() };
            };
            agent.log(&format!("{} {}", Value::from(outcome.result), outcome.unreachable));
        }
        PlayEnd::Done
    });
    world.refused = vec!["down".into()];
    let (outcome, log, _) = run(world);
    assert_eq!(log[0], "a {'ran': 'ping on db'} false");
    assert!(log[1].contains("down refuses the connection") && log[1].ends_with("true"), "{log:?}");
    assert_eq!(outcome.recap.hosts.keys().collect::<Vec<_>>(), ["a"], "delegates take no part");
}

#[test]
fn a_login_of_a_task_has_a_connection_of_its_own() {
    let mut world = test(&["a"], |agent| {
        for (id, user) in [(1, "joe"), (2, "me"), (3, "joe"), (4, "denied"), (5, "denied")] {
            let invocation = Box::new(Invocation { module: "ping".into(), ..Invocation::default() });
            let keywords = Login { user: Some(user.into()), ..Login::default() };
            let logins = Logins { keywords, ..Logins::default() };
            let request = Request::Delegate { task: 1, host: "a".into(), logins, invocation };
            let Ok(Answer::Outcome(outcome)) = agent.ask(id, request) else {
                return PlayEnd::Stopped { pending_handlers: Vec::new() };
            };
            agent.log(&Value::from(outcome.result).to_string());
        }
        PlayEnd::Done
    });
    world.refused = vec!["denied".into()];
    world.plays = 2;
    let (outcome, log, notes) = run(world);
    let joe = "a {'ran': 'ping on joe@a'}";
    let denied = |line: &str| line.contains("a (denied@a): a refuses the connection");
    assert_eq!(log.len(), 12, "{log:?}");
    for play in log.chunks(6) {
        assert_eq!(play[..4], ["connected joe@a", joe, "a {'ran': 'ping on a'}", joe], "{log:?}");
        assert!(denied(&play[4]) && denied(&play[5]), "{log:?}");
    }
    assert!(outcome.failed.is_empty() && outcome.unreachable.is_empty());
    assert!(notes.iter().all(|note| !note.contains('\0')), "{notes:?}");
}

#[test]
fn batches_follow_each_other_and_a_budget_ends_them() {
    let mut world = test(&["a", "b", "c"], |agent| {
        agent.log(&agent.batch.join("+"));
        if agent.host == "b" { PlayEnd::Failed { pending_handlers: Vec::new() } } else { PlayEnd::Done }
    });
    world.spec.serial = vec![crate::batch::Size::Hosts(1)];
    world.spec.max_fail_percentage = Some(50.0);
    let (outcome, log, _) = run(world);
    assert_eq!(log, ["a a", "b b"]);
    assert_eq!(outcome.failed, set(&["b"]));
}

#[test]
fn any_error_is_fatal_if_the_play_says_so() {
    let mut world = test(&["a", "b"], |agent| {
        if agent.host == "b" {
            std::thread::sleep(Duration::from_millis(50));
            return PlayEnd::Failed { pending_handlers: Vec::new() };
        }
        let answer = agent.ask(1, Request::Barrier { play: 0, task: 3 });
        agent.log(&format!("{answer:?}"));
        PlayEnd::Failed { pending_handlers: Vec::new() }
    });
    world.spec.any_errors_fatal = true;
    let (outcome, log, _) = run(world);
    assert_eq!(log, ["a Ok(Fail)"]);
    assert_eq!(outcome.failed, set(&["a", "b"]));
}

#[test]
fn questions_are_answered() {
    let (_, log, _) = run(test(&["a"], |agent| {
        let known = debark_value::map! { "fact" => "seen" };
        agent.say(FromAgent::Event(Event::Vars(known)));
        let vars = agent.ask(1, Request::HostVars { host: "a".into() });
        agent.log(&format!("{vars:?}"));
        let lookup =
            Request::Lookup { name: "env".into(), args: Vec::new(), kwargs: Map::new(), role_path: None };
        agent.log(&format!("{:?}", agent.ask(2, lookup)));
        let store = Request::Store { dest: "/nowhere/x".into(), bytes: Vec::new(), last: true };
        agent.log(&agent.ask(3, store).unwrap_err());
        PlayEnd::Done
    }));
    assert!(log[0].contains("a's") && log[0].contains("seen"), "{log:?}");
    assert!(log[1].contains("env for a"), "{log:?}");
    assert_eq!(log[2], "a no task of this play fetches files");
}

#[test]
fn hosts_write_only_where_tasks_fetch_to() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = test(&["a"], |agent| {
        for (id, dest) in ["fetched/a/motd", "fetched/../motd", "/etc/debark-test"].into_iter().enumerate() {
            let store = Request::Store { dest: dest.into(), bytes: b"hello".to_vec(), last: true };
            let answer = agent.ask(id as u32 + 1, store);
            agent.log(&format!("{dest}: {answer:?}"));
        }
        PlayEnd::Done
    });
    world.spec.fetches = crate::Fetches::new(directory.path());
    world.spec.fetches.declare("fetched/a", true, "site.yml:3");
    let (_, log, _) = run(world);
    assert_eq!(std::fs::read(directory.path().join("fetched/a/motd")).unwrap(), b"hello");
    assert!(log[0].contains("Ok("), "{log:?}");
    assert!(
        log[1].contains("is not where a fetch task") && !directory.path().join("motd").exists(),
        "{log:?}"
    );
    assert!(log[2].contains("/etc/debark-test is not where a fetch task"), "{log:?}");
}

#[test]
fn a_host_that_asks_too_much_is_refused_and_the_others_go_on() {
    let (outcome, log, notes) = run(test(&["a", "b"], |agent| {
        if agent.host == "b" {
            agent.ask(1, Request::Barrier { play: 0, task: 5 }).unwrap();
            agent.task(5, Status::Changed);
            agent.log("went on");
            return PlayEnd::Done;
        }
        let lookup = |name: &str| Request::Lookup {
            name: name.into(),
            args: vec!["id".into()],
            kwargs: Map::new(),
            role_path: None,
        };
        agent.log(&agent.ask(1, lookup("pipe")).unwrap_err());
        let invocation = Box::new(Invocation { module: "command".into(), ..Invocation::default() });
        let (host, logins) = ("localhost".into(), Logins::default());
        let delegate = Request::Delegate { task: 1, host, logins, invocation };
        agent.log(&agent.ask(2, delegate).unwrap_err());
        agent.log(&agent.ask(3, Request::HostVars { host: "secret".into() }).unwrap_err());
        agent.say(FromAgent::Event(Event::Warning("\u{1b}[2Jgone".into())));
        PlayEnd::Done
    }));
    for what in ["a pipe", "to run a task on localhost for a", "too much"] {
        assert!(
            log.iter().any(|line| line.contains(what) && line.starts_with("a the controller refused")),
            "{log:?}"
        );
        assert!(notes.iter().any(|note| note.contains("Warning") && note.contains(what)), "{notes:#?}");
    }
    assert!(log.contains(&"b went on".to_owned()), "{log:?}");
    assert!(notes.iter().any(|note| note.contains("[2Jgone") && !note.contains("u{1b}")), "{notes:#?}");
    assert!(outcome.failed.is_empty() && outcome.unreachable.is_empty());
}

#[test]
fn the_first_host_of_the_batch_runs_what_runs_once() {
    let (_, mut log, _) = run(test(&["a", "b"], |agent| {
        if agent.host == "a" {
            std::thread::sleep(Duration::from_millis(100));
        }
        match agent.ask(1, Request::RunOnce { task: 4 }).unwrap() {
            Answer::Run => {
                agent.log("ran");
                agent.ask(2, Request::RanOnce { task: 4, result: "x".into(), failed: false }).unwrap();
            }
            other => agent.log(&format!("{other:?}")),
        }
        PlayEnd::Done
    }));
    log.sort();
    assert!(log[0] == "a ran" && log[1].starts_with("b Ran"), "{log:?}");
}
