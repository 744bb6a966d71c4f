//! Keywords whose effect shows only on hosts, and in time: who waits for whom, who logs in as whom, what a terminal asks.
//!
//! All steps share one lab of two hosts, one after the other. A step that fails does not keep the others from being tried.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use debark_e2e::{Run, Shown, debark, debark_program, lab, on_terminal, run_steps_of};
use debark_lab::{Host, Lab};
use serde_json::{Value, json};

struct Site<'a> {
    lab: &'a Lab,
    dir: PathBuf,
}

impl Site<'_> {
    fn host(&self, name: &str) -> Host<'_> {
        self.lab.host(name).unwrap()
    }

    fn command(&self, playbook: &str, flags: &[&str]) -> Command {
        fs::write(self.dir.join("site.yml"), playbook).unwrap();
        let mut command = debark(self.lab, &self.dir);
        command.args(["run", "-i", "hosts", "site.yml"]).args(flags);
        command
    }

    #[track_caller]
    fn run(&self, playbook: &str, flags: &[&str]) -> Run {
        let run = Run::of(&mut self.command(playbook, flags));
        assert!(run.status.success() && run.noise.is_empty(), "{}", run.said());
        run
    }
}

#[track_caller]
fn task<'a>(run: &'a Run, host: &str, name: &str) -> &'a Value {
    let found = run.events.iter().find(|e| e["event"] == "task" && e["host"] == host && e["task"] == name);
    found.unwrap_or_else(|| panic!("{host} has no task {name}: {}", run.said()))
}

#[track_caller]
fn wait(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const HEAD: &str = "- hosts: all\n  gather_facts: false\n";

/// h1 does not get past its first task until h2 has come to its end.
fn free_hosts_do_not_wait(site: &Site<'_>) {
    let play = "  tasks:\n    - {name: first, wait_for: {path: /root/go, timeout: 300}, when: inventory_hostname == 'h1'}\n    \
        - {name: second, command: touch /root/second}\n    - {name: last, command: touch /root/last}\n";
    for strategy in ["free", "host_pinned"] {
        let mut command = site.command(&format!("{HEAD}  strategy: {strategy}\n{play}"), &["--json"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let at_its_end = catch_unwind(AssertUnwindSafe(|| {
            wait("h2 at its end", || site.host("h2").sh("test -e /root/last").is_ok());
        }));
        let waited = site.host("h1").sh("test ! -e /root/second");
        site.host("h1").sh("touch /root/go").unwrap();
        let run = Run::read(child.wait_with_output().unwrap());
        at_its_end.unwrap();
        waited.unwrap();
        assert!(run.status.success(), "{}", run.said());
        assert_eq!(task(&run, "h1", "last")["status"], "changed");
        for name in ["h1", "h2"] {
            site.host(name).sh("rm -f /root/go /root/second /root/last").unwrap();
        }
    }
}

/// With `throttle: 1` no two hosts are at a task together.
fn throttled_hosts_take_turns(site: &Site<'_>) {
    let tasks =
        "  tasks:\n    - name: turn\n      shell: date +%s%N; sleep 1; date +%s%N\n      throttle: 1\n";
    for strategy in ["linear", "free"] {
        let run = site.run(&format!("{HEAD}  strategy: {strategy}\n{tasks}"), &[]);
        let mut spans: Vec<Vec<u128>> = ["h1", "h2"]
            .map(|host| {
                let said = task(&run, host, "turn")["result"]["stdout"].as_str().unwrap().to_owned();
                said.lines().map(|line| line.parse().unwrap()).collect()
            })
            .into();
        spans.sort();
        // Both hosts have the clock of the machine they are on.
        assert!(spans[0][1] <= spans[1][0], "{spans:?}");
    }
}

fn diff_is_also_a_keyword(site: &Site<'_>) {
    let tasks = "  tasks:\n    - {name: 'no', copy: {content: a, dest: /root/no}, diff: false}\n    \
        - {name: 'yes', copy: {content: a, dest: /root/yes}, diff: true}\n    \
        - {name: plain, copy: {content: a, dest: /root/plain}}\n";
    for (flags, plain) in [(&["-l", "h1", "--check"][..], false), (&["-l", "h1", "--check", "--diff"], true)]
    {
        let run = site.run(&format!("{HEAD}{tasks}"), flags);
        for (name, shown) in [("no", false), ("yes", true), ("plain", plain)] {
            let diff = task(&run, "h1", name)["diff"].as_array().unwrap();
            assert_eq!(!diff.is_empty(), shown, "{name} with {flags:?}: {diff:?}");
        }
    }
}

fn pauses_last(site: &Site<'_>) {
    let tasks = "  tasks:\n    - {name: pause, pause: {seconds: 1}, register: p}\n    \
        - {name: says, debug: {msg: '{{ p.delta }} {{ p.stdout }} {{ p.stop > p.start }} {{ p.echo }}'}}\n    \
        - {name: items, command: 'echo {{ item }}', loop: [a, b, c], loop_control: {pause: 1}}\n    \
        - {name: half, command: 'echo {{ item }}', loop: [a, b, c], loop_control: {pause: 0.5}}\n    \
        - {name: ping, ping: {data: hello}, register: pong}\n    - {name: pong, debug: {msg: '{{ pong.ping }}'}}\n";
    let run = site.run(&format!("{HEAD}{tasks}"), &["-l", "h1"]);
    let says = task(&run, "h1", "says")["message"].as_str().unwrap();
    assert!(says.contains(" Paused for ") && says.ends_with(" seconds True True"), "{says}");
    assert_eq!(task(&run, "h1", "pong")["message"], "hello");
    // Between three items there are two pauses.
    for (name, least) in [("pause", 1.0), ("items", 2.0), ("half", 1.0)] {
        let took = task(&run, "h1", name)["seconds"].as_f64().unwrap();
        assert!(took >= least, "{name} took {took} s");
    }
}

fn plays_say_who_logs_in(site: &Site<'_>) {
    let inventory = site.lab.inventory(&[]).unwrap();
    fs::write(site.dir.join("hosts"), inventory.replace("ansible_user=root", "")).unwrap();
    let tasks = "  tasks:\n    - {name: who, command: id -un}\n";
    let run = site.run(
        &format!(
            "- hosts: h1\n  user: debian\n  gather_facts: false\n{tasks}- hosts: h2\n  remote_user: plain\n  gather_facts: false\n{tasks}"
        ),
        &[],
    );
    assert_eq!(task(&run, "h1", "who")["result"]["stdout"], "debian");
    assert_eq!(task(&run, "h2", "who")["result"]["stdout"], "plain");
    fs::write(site.dir.join("hosts"), inventory).unwrap();
}

/// What playbooks for Ansible say of Python and of collections changes nothing.
fn of_no_meaning_here(site: &Site<'_>) {
    let play = "- hosts: all\n  collections: [community.general, my.own]\n  vars: {ansible_python_interpreter: /no/such/python}\n  \
        tasks:\n    - {name: short, ini_file: {path: /root/x.ini, section: a, option: b, value: c}}\n    \
        - {name: os, debug: {msg: '{{ ansible_os_family }}'}}\n";
    let run = site.run(play, &["-l", "h1"]);
    assert_eq!(task(&run, "h1", "short")["status"], "changed");
    assert_eq!(task(&run, "h1", "os")["message"], "Debian");
    site.host("h1").sh("rm /root/x.ini").unwrap();
}

fn statistics_add_up(site: &Site<'_>) {
    let tasks = "  tasks:\n    - set_stats: {data: {hosts: 1, names: ['{{ inventory_hostname }}']}}\n    \
        - set_stats: {data: {last: '{{ inventory_hostname }}'}, aggregate: false}\n      when: inventory_hostname == 'h1'\n    \
        - set_stats: {data: {own: '{{ inventory_hostname }}'}, per_host: true}\n";
    let run = site.run(&format!("{HEAD}{tasks}"), &[]);
    let recap = run.events.iter().find(|event| event["event"] == "recap").unwrap();
    assert_eq!(recap["stats"]["hosts"], 2, "{recap}");
    assert_eq!(recap["stats"]["names"].as_array().unwrap().len(), 2, "{recap}");
    assert_eq!(recap["stats"]["last"], "h1", "{recap}");
    assert_eq!(recap["host_stats"], json!({"h1": {"own": "h1"}, "h2": {"own": "h2"}}), "{recap}");
}

/// Types an answer when its question is there; what the terminal showed.
fn terminal(site: &Site<'_>, answers: &[(&str, &str)]) -> String {
    let shown = typed(site, answers);
    assert_eq!(shown.code, Some(0), "{}", shown.text);
    shown.text
}

fn typed(site: &Site<'_>, answers: &[(&str, &str)]) -> Shown {
    let line = format!("exec {} run -i hosts -l h1 site.yml", debark_program().display());
    let mut command = site.lab.controller_command("timeout");
    command.current_dir(&site.dir).env("HOME", &site.dir);
    on_terminal(command, &line, answers)
}

/// A task that fails stops, is looked into, mended and run again, as in Ansible's guide to debugging.
fn a_debugger_mends_tasks(site: &Site<'_>) {
    let play = "- hosts: all\n  gather_facts: false\n  vars: {word: wrong}\n  tasks:\n    \
        - {name: reads, command: 'cat /root/{{ word }}', register: read, debugger: on_failed}\n    \
        - {name: hidden, command: 'cat /root/{{ word }}', no_log: true, debugger: on_failed, ignore_errors: true}\n    \
        - {name: skips, command: 'touch /root/never', when: false, debugger: on_skipped}\n    \
        - {name: fails, command: 'cat /root/{{ word }}', debugger: never, ignore_errors: true}\n    \
        - copy: {content: '{{ read.stdout }} {{ word }}', dest: /root/told}\n    \
        - {name: secretly, command: 'cat /root/gone-qX7-plum', no_log: true, ignore_errors: false}\n";
    fs::write(site.dir.join("site.yml"), play.replace("  gather", "  strategy: debug\n  gather")).unwrap();
    site.host("h1").sh("echo seen > /root/right").unwrap();
    let stop = "[h1] TASK: reads (debug)> ";
    let secretly = "[h1] TASK: secretly (debug)> ";
    let answers = [
        (stop, "p task.args\n"),
        ("cat /root/{{ word }}", "p task_vars['word']\n"),
        ("\"wrong\"", "p result._result.rc\n"),
        (stop, "what\n"),
        ("`what` is no command", "task.args['_raw_params'] = 'cat /root/' ~ 'gone'\n"),
        (stop, "p task.args\n"),
        ("cat /root/gone", "r\n"),
        ("/root/gone: No such file", "u\n"),
        (stop, "task_vars['word'] = 'right'\n"),
        (stop, "redo\n"),
        ("[h1] TASK: skips (debug)> ", "c\n"),
        (secretly, "p result\n"),
        ("hidden", "p task\n"),
        (secretly, "quit\n"),
    ];
    let shown = typed(site, &answers);
    assert_eq!(shown.code, Some(130), "{}", shown.text);
    assert!(!shown.text.contains("qX7"), "{}", shown.text);
    assert_eq!(site.host("h1").sh("cat /root/told; rm /root/told /root/right").unwrap(), "seen wrong");
    site.host("h1").sh("test ! -e /root/never").unwrap();
    // Nobody is there: it is said, and the tasks run.
    let run = Run::of(&mut site.command(play, &["-l", "h1"]));
    assert!(run.said().contains("`debugger` needs a terminal"), "{}", run.said());
    assert_eq!(run.status.code(), Some(2), "{}", run.said());
}

fn prompts_ask_on_a_terminal(site: &Site<'_>) {
    let play = "- hosts: all\n  gather_facts: false\n  vars: {colour: grey, name: nobody}\n  vars_prompt:\n    \
        - {name: name, prompt: Your name, private: false}\n    \
        - {name: colour, prompt: A colour, private: false, default: red}\n    \
        - {name: word, prompt: A word, confirm: true}\n    \
        - {name: hashed, prompt: A password, encrypt: sha512_crypt, salt: kay9kay9}\n    \
        - {name: raw, prompt: Raw, private: false, unsafe: true}\n  tasks:\n    \
        - copy: {content: '{{ name }} {{ colour }} {{ word }} {{ raw }}', dest: /root/told}\n    \
        - copy: {content: '{{ hashed }}', dest: /root/hashed}\n";
    fs::write(site.dir.join("site.yml"), play).unwrap();
    let answers = [
        ("Your name", "kay\n"),
        ("A colour [red]", "\n"),
        ("A word", "qX7-plum\n"),
        ("onfirm", "qX7-pulm\n"),
        ("the two answers differ; A word", "qX7-plum\n"),
        ("onfirm", "qX7-plum\n"),
        ("A password", "qX7-pear\n"),
        ("Raw", "{{ name }}\n"),
    ];
    let said = terminal(site, &answers);
    // What is typed stands above the play's own variables; what is private is not shown.
    assert_eq!(site.host("h1").sh("cat /root/told").unwrap(), "kay red qX7-plum {{ name }}");
    let hashed = site.host("h1").sh("cat /root/hashed").unwrap();
    let salt = "$6$rounds=656000$kay9kay9$";
    let crypt = format!("perl -e 'print crypt(q(qX7-pear), q({salt}))'");
    assert_eq!(hashed, site.host("h1").sh(&crypt).unwrap());
    assert!(hashed.starts_with(salt), "{hashed}");
    assert!(said.contains("kay") && !said.contains("qX7"), "{said}");
    site.host("h1").sh("rm /root/told /root/hashed").unwrap();
}

/// `with_url` runs a task per line of what the controller finds there.
fn urls_are_lines_to_loop_over(site: &Site<'_>) {
    let served = site.dir.join("served");
    fs::create_dir(&served).unwrap();
    fs::write(served.join("list"), "one\ntwo\n").unwrap();
    let mut server = site.lab.controller_command("python3");
    server.args(["-m", "http.server", "8123", "--bind", "127.0.0.1", "-d"]).arg(&served);
    let mut server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let run = catch_unwind(AssertUnwindSafe(|| {
        wait("the server", || {
            let mut curl = site.lab.controller_command("curl");
            curl.args(["-sf", "http://127.0.0.1:8123/list"]).output().unwrap().status.success()
        });
        let task = "    - {name: lines, command: 'touch /root/{{ item }}', with_url: 'http://127.0.0.1:8123/list'}\n";
        site.run(&format!("{HEAD}  tasks:\n{task}"), &["-l", "h1"])
    }));
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(task(&run.unwrap(), "h1", "lines")["status"], "changed");
    site.host("h1").sh("rm /root/one /root/two").unwrap();
}

#[test]
fn keywords() {
    let lab = lab("keywords", 2, &[]);
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("hosts"), lab.inventory(&[]).unwrap()).unwrap();
    let site = Site { lab: &lab, dir: home.path().to_owned() };
    type Step = (&'static str, fn(&Site<'_>));
    let steps: &[Step] = &[
        ("free hosts do not wait", free_hosts_do_not_wait),
        ("throttled hosts take turns", throttled_hosts_take_turns),
        ("diff is also a keyword", diff_is_also_a_keyword),
        ("pauses last", pauses_last),
        ("plays say who logs in", plays_say_who_logs_in),
        ("of no meaning here", of_no_meaning_here),
        ("statistics add up", statistics_add_up),
        ("prompts ask on a terminal", prompts_ask_on_a_terminal),
        ("a debugger mends tasks", a_debugger_mends_tasks),
        ("urls are lines to loop over", urls_are_lines_to_loop_over),
    ];
    let only = std::env::var("DEBARK_ONLY").unwrap_or_default();
    run_steps_of(&site, steps, &only);
}
