//! What playbooks read under debark is what they read under ansible-core: facts of a host, and what modules register.
//!
//! Facts are gathered by both tools from one host and compared name by name and value by value; what changes from one moment
//! to the next is compared by its kind. What `tests/values/registers.yml` registers is compared by names and kinds with what
//! ansible-core registered when it was recorded.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use debark_e2e::{Run, copy_tree, debark, inventory_of, lab, peers};
use debark_lab::{Host, Lab};
use serde_json::{Map, Value, json};

/// Facts that must be there under both, so that the comparison is one.
const PROMISED: &str = "distribution distribution_release distribution_version distribution_major_version os_family architecture \
    hostname fqdn domain nodename kernel kernel_version memtotal_mb memory_mb swaptotal_mb processor processor_count \
    processor_cores processor_vcpus mounts devices interfaces default_ipv4 default_ipv6 all_ipv4_addresses all_ipv6_addresses \
    date_time env user_id user_uid user_dir user_shell virtualization_type virtualization_role service_mgr pkg_mgr dns selinux \
    apparmor local lo machine system lsb cmdline is_chroot uptime_seconds";

/// Facts that differ from one moment, or one login, to the next.
const VOLATILE: &[(&str, &str)] = &[
    ("ansible_date_time.*", "the time"),
    ("ansible_env.SSH_*", "each tool logs in through a connection of its own"),
    ("ansible_env.XDG_SESSION_ID", "as above"),
    ("ansible_loadavg.*", "of the moment"),
    ("ansible_uptime_seconds", "of the moment"),
    ("ansible_memfree_mb", "of the moment"),
    ("ansible_swapfree_mb", "of the moment"),
    ("ansible_memory_mb.*", "of the moment, but for the total, which is ansible_memtotal_mb"),
    ("ansible_mounts.*.block_*", "of the moment"),
    ("ansible_mounts.*.inode_*", "of the moment"),
    ("ansible_mounts.*.size_available", "of the moment"),
    (
        "ansible_system_capabilities.*",
        "ansible-core reads what capsh prints, and not this release's way of printing it",
    ),
];

/// Lists that ansible-core makes of Python's sets, in no order.
const SETS: [&str; 5] = [
    "ansible_interfaces",
    "ansible_all_ipv4_addresses",
    "ansible_all_ipv6_addresses",
    "ansible_virtualization_tech_guest",
    "ansible_virtualization_tech_host",
];

/// Facts that debark does not have.
const WITHOUT: &[(&str, &str)] = &[
    ("- discovered_interpreter_python", "debark needs no Python"),
    ("- ansible_env._", "the shell that starts Python sets it"),
    ("* ansible_system_capabilities: *", "see above"),
];

/// Differences of what is registered that are meant.
const MEANT: &[(&str, &str)] = &[
    // Of every module.
    (
        "- *.diff",
        "some modules give their diff although nobody asked; debark's is in the events, with --diff",
    ),
    ("- *.exception", "there is no Python that could have a traceback"),
    ("- *.deprecations", "Ansible's own"),
    ("- *.warnings", "Ansible's own"),
    ("- *.invocation", "Ansible's own"),
    ("+ *.warnings", "empty where there is nothing to warn of"),
    ("- apt_present.ansible_facts", "the first task tells which Python was found; debark needs none"),
    ("+ *.stdout_lines", "beside every stdout"),
    ("+ *.stderr_lines", "beside every stderr"),
    ("+ *.md5sum", "also where nothing had to be sent"),
    // Of files: those that edit them tell the file's attributes as `file` does.
    ("+ lineinfile_*", "the attributes of the file"),
    ("+ blockinfile_*", "the attributes of the file"),
    ("+ replace_*", "the attributes of the file"),
    ("+ copy_tree.*", "the attributes of the directory"),
    ("- *.src", "a temporary file that is gone when the task is"),
    ("- wait_for_path.*", "not documented: the attributes of the file"),
    // More than Ansible tells, of failures and where nothing was done.
    ("+ apt_failed.*", "what apt-get said"),
    ("+ apt_*.cache_update*", "always told"),
    ("+ get_url_*.checksum_*", "always told"),
    ("+ uri_*", "the answer also where it is an error"),
    ("+ fetch_*", "the same for all fetches"),
    ("+ mount_absent.*", "the same for all states"),
    ("+ debug_var.msg", "what is shown"),
    ("+ service_facts_all.ansible_facts.services.*.status", "of scripts in /etc/init.d as well"),
    ("- service_facts_all.ansible_facts.services.hwclock.sh", "a script that systemd masks on Debian"),
    ("* command_missing.cmd*", "a list as for every other command"),
    ("* fail_done.msg*", "a text"),
    // Left out, and documented nowhere.
    ("- debconf_set.msg", "empty"),
    ("- stat_*.stat.version", "of ext4 only; nothing uses it"),
    ("- locale_gen_*.ubuntu_mode", "deprecated"),
    ("- async_polled.results_file", "the file is gone by then"),
];

struct Site<'a> {
    lab: &'a Lab,
    home: PathBuf,
}

impl Site<'_> {
    /// A directory for one tool on one host: a copy of the playbooks, and an inventory that knows the host as web1.
    fn dir(&self, name: &str, host: &Host<'_>) -> PathBuf {
        let dir = self.home.join(name);
        copy_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/values"), &dir);
        fs::write(dir.join("hosts"), inventory_of(self.lab, host, "web1", &[])).unwrap();
        fs::write(dir.join("ansible.cfg"), "").unwrap();
        dir
    }

    #[track_caller]
    fn ansible(&self, dir: &Path, playbook: &str) {
        let bin = peers();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = self.lab.controller_command(bin.join("ansible-playbook"));
        command.current_dir(dir).env("PATH", path).env("ANSIBLE_HOME", dir).env("HOME", dir);
        command.env("ANSIBLE_PIPELINING", "1").env("ANSIBLE_CONFIG", dir.join("ansible.cfg"));
        command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).args(["-i", "hosts", playbook]);
        let output = command.output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ansible: {said}");
    }

    #[track_caller]
    fn debark(&self, dir: &Path, words: &[&str]) -> Run {
        let mut command: Command = debark(self.lab, dir);
        let run = Run::of(command.args(["run", "-i", "hosts"]).args(words));
        assert!(run.status.success() && run.noise.is_empty(), "debark: {}", run.said());
        run
    }
}

#[track_caller]
fn read(host: &Host<'_>, path: &str) -> Value {
    serde_json::from_str(&host.sh(&format!("cat {path}")).unwrap()).unwrap()
}

/// Whether a text fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|tail| {
            (0..=tail.len()).any(|at| tail.is_char_boundary(at) && fits(rest, &tail[at..]))
        }),
    }
}

fn listed(table: &[(&str, &str)], text: &str) -> bool {
    table.iter().any(|(pattern, _)| fits(pattern, text))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "truth",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "mapping",
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(120).collect()
}

/// What differs: `- path: value` is ansible's alone, `+ path: value` debark's, `* path: one | other` another value, or, where
/// only kinds count, another kind.
fn differences(
    path: &str,
    theirs: &Value,
    ours: &Value,
    by_kind: &dyn Fn(&str) -> bool,
    out: &mut Vec<String>,
) {
    match (theirs, ours) {
        (Value::Object(left), Value::Object(right)) => {
            let mut names: Vec<&String> = left.keys().chain(right.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match (left.get(name), right.get(name)) {
                    (Some(one), Some(two)) => differences(&path, one, two, by_kind, out),
                    (Some(one), None) => out.push(format!("- {path}: {}", short(one))),
                    (None, two) => out.push(format!("+ {path}: {}", short(two.unwrap_or(&Value::Null)))),
                }
            }
        }
        (Value::Array(left), Value::Array(right))
            if left.len() == right.len() || by_kind(&format!("{path}.0")) =>
        {
            for (index, (one, two)) in left.iter().zip(right).enumerate() {
                differences(&format!("{path}.{index}"), one, two, by_kind, out);
            }
        }
        _ if kind(theirs) == kind(ours) && (theirs == ours || by_kind(path)) => {}
        _ => out.push(format!("* {path}: {} | {}", short(theirs), short(ours))),
    }
}

/// Without the entries of this table, which know the path alone or the path and the values.
fn unlisted(out: Vec<String>, table: &[(&str, &str)]) -> Vec<String> {
    out.into_iter()
        .filter(|line| {
            let path = line.split_once(": ").map_or(line.as_str(), |(path, _)| path);
            !listed(table, path) && !listed(table, line)
        })
        .collect()
}

const GATHER: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {setup: {}, register: r}\n    \
    - {copy: {content: '{{ r.ansible_facts | to_json }}', dest: /root/facts.json}}\n";

fn facts_are_those_of_ansible(site: &Site<'_>) {
    let host = site.lab.host("h1").unwrap();
    host.sh(
        "mkdir -p /etc/ansible/facts.d; cd /etc/ansible/facts.d; echo '{\"a\": [1, {\"b\": null}]}' > json.fact
         printf '[App]\\nName = shop\\nport: 80\\n' > ini.fact; echo nonsense > bad.fact
         printf '#!/bin/sh\\necho \"[s]\"; echo from = program\\n' > program.fact; chmod 755 program.fact",
    )
    .unwrap();
    // Its address of the link is there once nobody else turns out to have it (RFC 4862, 5.4); both are to see it.
    host.sh("for n in $(seq 100); do ip -6 addr show tentative | grep -q inet6 || exit 0; sleep 0.1; done; exit 1").unwrap();
    let dir = site.dir("facts", &host);
    fs::write(dir.join("gather.yml"), GATHER).unwrap();
    site.ansible(&dir, "gather.yml");
    let mut theirs = read(&host, "/root/facts.json");
    site.debark(&dir, &["gather.yml"]);
    let mut ours = read(&host, "/root/facts.json");
    for facts in [&mut theirs, &mut ours] {
        for name in SETS {
            facts[name].as_array_mut().unwrap().sort_by_key(ToString::to_string);
        }
    }
    for name in PROMISED.split_whitespace() {
        for (tool, facts) in [("ansible", &theirs), ("debark", &ours)] {
            assert!(facts.get(format!("ansible_{name}")).is_some(), "{tool} has no ansible_{name}");
        }
    }
    let mut out = Vec::new();
    differences("", &theirs, &ours, &|path| listed(VOLATILE, path), &mut out);
    let out = unlisted(out, WITHOUT);
    assert!(out.is_empty(), "- ansible, + debark:\n{}", out.join("\n"));
    host.sh("rm -r /etc/ansible /root/facts.json").unwrap();
}

/// Where a host's own facts lie, and one of them that never ends.
fn local_facts_from_elsewhere_that_hang(site: &Site<'_>) {
    let host = site.lab.host("h1").unwrap();
    host.sh("mkdir -p /opt/facts; echo '{\"a\": 1}' > /opt/facts/good.fact
         printf '#!/bin/sh\\nexec sleep 3600\\n' > /opt/facts/hangs.fact; chmod 755 /opt/facts/hangs.fact")
        .unwrap();
    let dir = site.dir("local", &host);
    let says = "{{ ansible_local.good.a }} {{ ansible_local.hangs }} {{ ansible_local | length }}";
    let play = "- hosts: all\n  fact_path: /opt/facts\n  gather_timeout: 1\n  tasks:\n    - {name: by the play, debug: {msg: 'SAYS'}}\n\
        - hosts: all\n  gather_facts: false\n  tasks:\n    - setup: {fact_path: /opt/facts, gather_timeout: 1, filter: ansible_local}\n    \
        - {name: by the module, debug: {msg: 'SAYS'}}\n";
    fs::write(dir.join("local.yml"), play.replace("SAYS", says)).unwrap();
    let run = site.debark(&dir, &["local.yml"]);
    for name in ["by the play", "by the module"] {
        let event = run.events.iter().find(|event| event["task"] == name).unwrap();
        let message = event["message"].as_str().unwrap();
        assert!(message.starts_with("1 Could not execute fact script (/opt/facts/hangs.fact)"), "{message}");
        assert!(message.ends_with(" 2"), "{message}");
    }
    host.sh("rm -r /opt/facts").unwrap();
}

/// The names behind `register:`.
fn registers(playbook: &str) -> Vec<&str> {
    let names = playbook.lines().filter_map(|line| line.split_once("register: "));
    let mut names: Vec<&str> =
        names.map(|(_, rest)| rest.split([',', '}', '"']).next().unwrap().trim()).collect();
    names.dedup();
    names
}

/// Names and kinds: a mapping as a mapping, a list as that of its first item. Of large mappings (packages, services) only the
/// first names count, in the order of the alphabet.
fn shape(value: &Value, top: bool) -> Value {
    match value {
        Value::Object(map) => {
            let mut names: Vec<&String> = map.keys().collect();
            names.sort();
            let large = names.len() > LARGE && !top;
            let kept = names.into_iter().take(if large { LARGE / 2 } else { usize::MAX });
            let mut shapes: Map<String, Value> =
                kept.map(|name| (name.clone(), shape(&map[name], false))).collect();
            if large {
                shapes.insert(MORE.into(), "more".into());
            }
            shapes.into()
        }
        Value::Array(items) => items.first().map(|item| shape(item, false)).into_iter().collect(),
        other => kind(other).into(),
    }
}

const LARGE: usize = 40;
const MORE: &str = "...";

/// What is registered, where a recorded mapping is a large one, only as far as that names it.
fn as_far_as(shape: &Value, value: &Value) -> Value {
    match (shape, value) {
        (Value::Object(names), Value::Object(map)) => {
            let large = names.contains_key(MORE);
            let kept = map.iter().filter(|(name, _)| !large || names.contains_key(*name));
            let mut kept: Map<String, Value> = kept
                .map(|(name, value)| {
                    (name.clone(), as_far_as(names.get(name).unwrap_or(&Value::Null), value))
                })
                .collect();
            if large {
                kept.insert(MORE.into(), "more".into());
            }
            kept.into()
        }
        (Value::Array(shapes), Value::Array(items)) => {
            // An empty list says nothing of what would be in it.
            let first = shapes.first().zip(items.first());
            first.map_or_else(|| shape.clone(), |(shape, item)| json!([as_far_as(shape, item)]))
        }
        (_, Value::Object(_) | Value::Array(_)) => self::shape(value, false),
        (_, other) => kind(other).into(),
    }
}

/// `RECORD=1` runs ansible-core instead and writes down what it registers; that takes minutes.
fn registers_are_those_of_ansible(site: &Site<'_>) {
    let host = site.lab.host("h1").unwrap();
    let dir = site.dir("registers", &host);
    let text = fs::read_to_string(dir.join("registers.yml")).unwrap();
    let pairs: Vec<String> = registers(&text).iter().map(|name| format!("'{name}': {name}")).collect();
    assert!(pairs.len() > 100, "{}", pairs.len());
    let keep = format!(
        "    - copy: {{dest: /root/registers.json, content: \"{{{{ {{{}}} | to_json }}}}\"}}\n",
        pairs.join(", ")
    );
    fs::write(dir.join("registers.yml"), format!("{text}{keep}")).unwrap();
    host.sh("echo web1 > /etc/hostname; hostname web1").unwrap();
    if std::env::var_os("RECORD").is_some() {
        site.ansible(&dir, "registers.yml");
        let recorded =
            serde_json::to_string_pretty(&shape(&read(&host, "/root/registers.json"), true)).unwrap();
        fs::write(Path::new(RECORDED), recorded + "\n").unwrap();
        return;
    }
    let theirs: Value = serde_json::from_str(&fs::read_to_string(RECORDED).unwrap()).unwrap();
    site.debark(&dir, &["registers.yml"]);
    let ours = as_far_as(&theirs, &read(&host, "/root/registers.json"));
    let mut out = Vec::new();
    differences("", &theirs, &ours, &|_| false, &mut out);
    let out = unlisted(out, MEANT);
    assert!(out.is_empty(), "- ansible, + debark:\n{}", out.join("\n"));
}

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/values/registers.json");

#[test]
fn values_are_those_of_ansible() {
    // python3-apt too: ansible's apt module would install it first.
    let lab = lab("values", 1, &["python3", "python3-apt"]);
    let home = tempfile::Builder::new().prefix("debark-values-").tempdir().unwrap();
    let site = Site { lab: &lab, home: home.path().to_owned() };
    facts_are_those_of_ansible(&site);
    local_facts_from_elsewhere_that_hang(&site);
    registers_are_those_of_ansible(&site);
}
