//! `debark exec`, `debark facts`, `debark inventory explain`, and flags of `debark run` that show on hosts.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::PathBuf;

use debark_e2e::{Ended, Run, debark, lab, run_steps};
use debark_lab::Lab;
use serde_json::Value;

/// A step, and what it is about.
type Step = (&'static str, fn(&Site<'_>));

struct Site<'a> {
    lab: &'a Lab,
    dir: PathBuf,
}

impl Site<'_> {
    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.join(name), text).unwrap();
    }

    fn debark(&self, words: &[&str]) -> Ended {
        Ended::of(&debark(self.lab, &self.dir).args(words).output().unwrap())
    }
}

fn one_module_on_hosts(site: &Site<'_>) {
    let exec = |words: &[&str]| site.debark(&[&["exec", "-i", "hosts"], words].concat());
    let said = exec(&["h1,h2", "-m", "command", "-a", "id -un"]).ends(0);
    for host in ["h1", "h2"] {
        assert!(said.out.contains(&format!("{host} | CHANGED | rc=0 >>\nroot\n")), "{}", said.out);
    }
    // The module of a bare command line is `command`.
    let said = exec(&["h1", "-b", "--become-user", "nobody", "-a", "id -un"]).ends(0);
    assert!(said.out.contains("nobody"), "{}", said.out);
    let said = exec(&["h1,h2", "-a", "test -e /srv/only-one"]).ends(2);
    assert!(said.out.contains("h1 | FAILED | rc=1 >>"), "{}", said.out);
    let _ = exec(&["h1", "-m", "file", "-a", "path=/srv/adhoc state=directory", "-C"]).ends(0).says("h1 | ");
    assert!(site.lab.host("h1").unwrap().sh("test -e /srv/adhoc").is_err());
    let _ =
        exec(&["h1", "-m", "ansible.builtin.file", "-a", r#"{"path": "/srv/adhoc", "state": "directory"}"#])
            .ends(0);
    site.lab.host("h1").unwrap().sh("test -d /srv/adhoc").unwrap();
    let _ = exec(&["h1,gone", "-m", "ping"]).ends(4).says("h1 | SUCCESS");
    let _ = exec(&["h1,gone", "-a", "false"]).ends(6);
    let _ = exec(&["h1", "-m", "fiel", "-a", "path=/x"]).ends(1).says("did you mean `file`?");

    let said = exec(&["h1,h2", "-m", "command", "-a", "hostname", "--json"]).ends(0);
    let events: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut names: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "task")
        .map(|e| e["result"]["stdout"].clone())
        .collect();
    names.sort_by_key(Value::to_string);
    assert_eq!(names, ["h1", "h2"]);
}

fn facts_of_hosts(site: &Site<'_>) {
    let facts = |words: &[&str]| -> Value {
        let said = site.debark(&[&["facts", "-i", "hosts"], words].concat()).ends(0);
        serde_json::from_str(&said.out).unwrap()
    };
    let all = facts(&["h1,h2"]);
    for host in ["h1", "h2"] {
        assert_eq!(all[host]["ansible_hostname"], host);
        assert_eq!(all[host]["ansible_os_family"], "Debian");
        assert!(all[host]["ansible_default_ipv4"]["address"].is_string(), "{all}");
    }
    let some = facts(&["h1", "--filter", "ansible_dist*"]);
    assert!(
        some["h1"]["ansible_distribution"] == "Debian" && some["h1"]["ansible_hostname"].is_null(),
        "{some}"
    );
    let few = facts(&["h1", "--subset", "!all,!min,mounts"]);
    assert!(few["h1"]["ansible_mounts"].is_array() && few["h1"]["ansible_default_ipv4"].is_null(), "{few}");
    let said = site.debark(&["facts", "-i", "hosts", "h1,gone"]).ends(4);
    let known: Value = serde_json::from_str(&said.out).unwrap();
    assert!(
        known["h1"]["ansible_hostname"] == "h1" && said.err.contains("gone"),
        "{} {}",
        said.out,
        said.err
    );
}

fn who_sets_a_variable(site: &Site<'_>) {
    fs::create_dir_all(site.dir.join("explained/group_vars")).unwrap();
    site.write("explained/hosts", "[web]\nw1 port=1\n[web:vars]\nport=2\n");
    site.write("explained/group_vars/all.yml", "port: 3\nother: 4\n");
    let explain =
        |words: &[&str]| site.debark(&[&["inventory", "explain", "-i", "explained/hosts"], words].concat());
    let said = explain(&["port", "w1"]).ends(0);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", said.out);
    let line = |place: &str| {
        lines.iter().find(|line| line.contains(place)).unwrap_or_else(|| panic!("{}", said.out))
    };
    assert!(line("hosts:2:4").starts_with("=> 1"), "{}", said.out);
    assert!(line("hosts:4:1").starts_with("   2"), "{}", said.out);
    assert!(line("all.yml:1:1").starts_with("   3"), "{}", said.out);
    let said = explain(&["port", "w1", "-e", "port=9"]).ends(0);
    assert!(
        said.out.lines().any(|line| line.starts_with("=> ") && line.contains('9') && line.contains("-e")),
        "{}",
        said.out
    );
    let _ = explain(&["nothing_here", "w1"]).ends(0).says("nothing sets nothing_here");
    let _ = explain(&["port", "w2"]).ends(1).says("w2");
}

fn handlers_are_forced(site: &Site<'_>) {
    site.write(
        "site.yml",
        "- hosts: h1\n  gather_facts: false\n  tasks:\n    - {name: told, command: 'true', notify: ran}\n    \
         - {name: broken, command: 'false'}\n  handlers:\n    - {name: ran, command: touch /srv/handled}\n",
    );
    let host = site.lab.host("h1").unwrap();
    let _ = site.debark(&["run", "-i", "hosts", "site.yml"]).ends(2);
    assert!(host.sh("test -e /srv/handled").is_err());
    let _ = site.debark(&["run", "-i", "hosts", "site.yml", "--force-handlers"]).ends(2);
    host.sh("rm /srv/handled").unwrap();
}

/// When each host's task began and ended, in seconds; hosts share this machine's clock.
fn spans(site: &Site<'_>, keywords: &str, flags: &[&str]) -> Vec<(f64, f64)> {
    site.write(
        "site.yml",
        &format!(
            "- hosts: h1,h2\n  gather_facts: false\n{keywords}  tasks:\n    \
             - {{name: when, shell: 'date +%s.%N; sleep 0.7; date +%s.%N'}}\n"
        ),
    );
    let mut command = debark(site.lab, &site.dir);
    let run = Run::of(command.args(["run", "-i", "hosts", "site.yml"]).args(flags));
    assert!(run.status.success(), "{}", run.said());
    let of = |event: &Value| {
        let lines = event["result"]["stdout_lines"].as_array().unwrap().clone();
        let time = |n: usize| lines[n].as_str().unwrap().parse().unwrap();
        (time(0), time(1))
    };
    let mut spans: Vec<(f64, f64)> =
        run.events.iter().filter(|event| event["event"] == "task").map(of).collect();
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(spans.len(), 2);
    spans
}

fn one_host_at_a_time(site: &Site<'_>) {
    for strategy in ["", "  strategy: free\n"] {
        let forks = spans(site, strategy, &["-f", "1"]);
        assert!(forks[0].1 <= forks[1].0, "{strategy} {forks:?}");
        let throttled = spans(site, &format!("{strategy}  throttle: 1\n"), &[]);
        assert!(throttled[0].1 <= throttled[1].0, "{strategy} {throttled:?}");
    }
}

#[test]
fn commands_beside_run() {
    let lab = lab("adhoc", 2, &[]);
    let home = tempfile::tempdir().unwrap();
    let site = Site { lab: &lab, dir: home.path().to_owned() };
    // An address of the lab's network that nobody has.
    let nobody = lab.host("h1").unwrap().address().to_string();
    let nobody = format!("{}.250", nobody.rsplit_once('.').unwrap().0);
    let inventory = lab.inventory(&[]).unwrap();
    let line = inventory.lines().find(|line| line.starts_with("h1 ")).unwrap();
    let gone =
        line.replacen("h1 ", "gone ", 1).replace(&lab.host("h1").unwrap().address().to_string(), &nobody);
    site.write("hosts", &format!("{gone} \n{inventory}"));
    let steps: &[Step] = &[
        ("exec", one_module_on_hosts),
        ("facts", facts_of_hosts),
        ("explain", who_sets_a_variable),
        ("--force-handlers", handlers_are_forced),
        ("-f 1 and throttle", one_host_at_a_time),
    ];
    run_steps(&site, steps);
}
