//! Handlers that were notified and have not run: after a failure, a lost connection, a kill, Ctrl-C.

use super::*;

/// Hosts that work in step do not wait for one that is gone.
pub fn a_host_that_others_wait_for(site: &Site<'_>) {
    forget(site);
    let play =
        NOTIFIES.replace("  gather_facts: false\n", "  gather_facts: false\n  max_fail_percentage: 60\n");
    site.good().sh("touch /root/quick").unwrap();
    let run = site.start(&play, &[]);
    wait("the long task", || site.bad().sh("test -e /root/begun").is_ok());
    site.bad().drop_connections();
    let run = run.end();
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    others_go_on(&run, "last");
    wait("the end of the task", || site.bad().sh("test -e /root/finished").is_ok());
    resumes(site);
}

pub const NOTIFIES: &str = "- name: site\n  hosts: all\n  gather_facts: false\n  tasks:\n    \
    - {name: conf, copy: {content: new, dest: /root/conf}, notify: restart}\n    \
    - {name: long, shell: 'test -e /root/quick || { touch /root/begun; sleep 3; }; echo done > /root/finished'}\n    \
    - {name: last, command: id -un}\n  handlers:\n    - {name: restart, shell: echo ran >> /root/handled}\n";

pub fn forget(site: &Site<'_>) {
    for host in [site.bad(), site.good()] {
        host.sh("rm -rf /root/conf /root/begun /root/finished /root/handled /root/quick").unwrap();
    }
}

/// The second run has the handler of the first run, and only that one.
#[track_caller]
fn resumes(site: &Site<'_>) {
    site.bad().sh("touch /root/quick").unwrap();
    let again = site.run(NOTIFIES, &["-l", "h1"]);
    succeeds(&again);
    let resumed = again.events.iter().find(|event| event["event"] == "resumed" && event["host"] == "h1");
    assert_eq!(resumed.unwrap_or_else(|| panic!("{}", again.said()))["handlers"][0], "restart");
    assert_eq!(site.bad().sh("cat /root/handled").unwrap(), "ran\n");
    forget(site);
}

pub fn a_controller_that_is_killed(site: &Site<'_>) {
    forget(site);
    let run = site.start(NOTIFIES, &["-l", "h1"]);
    wait("the long task", || site.bad().sh("test -e /root/begun").is_ok());
    run.signal(Signal::KILL);
    assert_eq!(run.end().status.code(), None);
    wait("the end of the task", || site.bad().sh("test -e /root/finished").is_ok());
    assert!(site.bad().sh("test -e /root/handled").is_err(), "the play does not go on by itself");
    resumes(site);
}

pub fn a_network_that_goes_down(site: &Site<'_>) {
    forget(site);
    let host = site.bad();
    let impatient = ["--ssh-common-args", "-o ServerAliveInterval=1 -o ServerAliveCountMax=2"];
    let run = site.start(NOTIFIES, &impatient);
    wait("the long task", || host.sh("test -e /root/begun").is_ok());
    // Displays hear of a task only if it lasts a little.
    thread::sleep(Duration::from_millis(500));
    host.network_down().unwrap();
    let run = catch_unwind(AssertUnwindSafe(|| run.end()));
    host.network_up().unwrap();
    let run = run.unwrap();
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    others_go_on(&run, "last");
    let lost = run.events.iter().find(|event| event["event"] == "unreachable").unwrap();
    assert_eq!((&lost["host"], &lost["during"]), (&"h1".into(), &"long".into()), "{lost}");
    // The agent of that run may not know yet that nobody listens: the next run waits until it does.
    resumes(site);
}

pub fn an_agent_that_is_killed(site: &Site<'_>) {
    forget(site);
    let run = site.start(NOTIFIES, &[]);
    wait("the long task", || site.bad().sh("test -e /root/begun").is_ok());
    // Displays hear of a task only if it lasts a little.
    thread::sleep(Duration::from_millis(500));
    kill_agent(&site.bad());
    let run = run.end();
    assert_eq!(run.status.code(), Some(4), "{}", run.said());
    others_go_on(&run, "last");
    let lost = run.events.iter().find(|event| event["event"] == "unreachable").unwrap();
    assert_eq!((&lost["host"], &lost["during"]), (&"h1".into(), &"long".into()), "{lost}");
    resumes(site);
}

pub fn handlers_after_a_failure(site: &Site<'_>) {
    forget(site);
    site.bad().sh("mkdir /root/finished").unwrap();
    for host in [site.bad(), site.good()] {
        host.sh("touch /root/quick").unwrap();
    }
    let run = site.run(NOTIFIES, &[]);
    failure(&run, "h1", "long");
    others_go_on(&run, "last");
    let recap = run.events.iter().rev().find(|event| event["event"] == "recap").unwrap();
    assert_eq!(recap["pending_handlers"]["h1"][0], "restart", "{recap}");
    assert_eq!(recap["pending_handlers"]["h2"], Value::Null, "{recap}");
    site.bad().sh("rmdir /root/finished").unwrap();
    resumes(site);
}

pub fn ctrl_c_once(site: &Site<'_>) {
    forget(site);
    let run = site.start(NOTIFIES, &[]);
    for host in [site.bad(), site.good()] {
        wait("the long task", || host.sh("test -e /root/begun").is_ok());
    }
    run.signal(Signal::INT);
    let run = run.end();
    assert_eq!(run.status.code(), Some(130), "{}", run.said());
    for name in ["h1", "h2"] {
        // What ran has ended, is told of, and nothing else was begun.
        assert_eq!(task(&run, name, "long")["status"], "changed");
        assert_eq!(site.lab.host(name).unwrap().sh("cat /root/finished").unwrap(), "done\n");
        let recap = run.events.iter().rev().find(|event| event["event"] == "recap").unwrap();
        assert_eq!(recap["pending_handlers"][name][0], "restart", "{recap}");
    }
    assert!(!run.tasks().iter().any(|task| task.task == "last"), "{}", run.said());
    site.good().sh("touch /root/quick").unwrap();
    succeeds(&site.run(NOTIFIES, &["-l", "h2"]));
    resumes(site);
}

pub fn ctrl_c_twice(site: &Site<'_>) {
    forget(site);
    let run = site.start(&NOTIFIES.replace("sleep 3", "sleep 8"), &["-l", "h1"]);
    wait("the long task", || site.bad().sh("test -e /root/begun").is_ok());
    let begin = Instant::now();
    run.signal(Signal::INT);
    thread::sleep(Duration::from_millis(300));
    run.signal(Signal::INT);
    let run = run.end();
    assert_eq!(run.status.code(), Some(130), "{}", run.said());
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    let recap = run.events.iter().rev().find(|event| event["event"] == "recap").unwrap();
    assert_eq!(recap["left_running"]["h1"], "long", "{recap}");
    wait("the end of the task", || site.bad().sh("test -e /root/finished").is_ok());
    resumes(site);
}
