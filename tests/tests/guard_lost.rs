//! Guards whose connection dies in the midst of the block: tasks are still to come, so nothing can be confirmed. The hosts go
//! back by themselves in time, and the run says that they do, by when, and where to look.
//!
//! h1 loses its ssh session and its sshd, h2 its agent as well, h3 drops all packets: the three at the same time.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::time::{Duration, Instant};

use debark_e2e::{Run, debark, lab};
use debark_lab::Lab;

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];
/// The guard's time.
const SECONDS: u64 = 20;

const PLAYBOOK: &str = "
- hosts: all
  gather_facts: false
  strategy: free
  tasks:
    - name: changed for good
      guard: {confirm_within: 20s}
      block:
        - {name: settings, copy: {dest: /etc/ssh/sshd_config.d/cut.conf, content: 'X11Forwarding no'}}
        - name: unit
          copy: {dest: /etc/systemd/system/cut.service, content: \"[Service]\\nExecStart=sleep 10000\\n[Install]\\nWantedBy=multi-user.target\\n\"}
        - {name: started, systemd: {name: cut, enabled: true, state: started, daemon_reload: true}}
        - {name: a table of rules, command: nft add table inet cut}
        - name: the way is cut
          shell: |
            systemctl stop ssh
            for p in /proc/[0-9]*; do
              case $(cat $p/comm) in sshd*) kill -9 ${p##*/} ;; esac
            done
            CUT_AGENT
          when: inventory_hostname != 'h3'
        - name: all is dropped
          command: nft -f -
          args:
            stdin: 'table inet cut { chain input { type filter hook input priority 0; policy drop; }; }'
          when: inventory_hostname == 'h3'
        - {name: some time, command: sleep 2}
        - {name: further, copy: {dest: /etc/ssh/sshd_config.d/further.conf, content: 'X11Forwarding no'}}
        - {name: much time, command: sleep 30}
        - {name: too late, copy: {dest: /etc/ssh/sshd_config.d/late.conf, content: 'X11Forwarding no'}}
    - {name: behind it, copy: {dest: /etc/ssh/sshd_config.d/behind.conf, content: 'X11Forwarding no'}}
";

/// Files, what is enabled and active, rules.
fn state(lab: &Lab, host: &str) -> String {
    let script = "cd /etc
        find ssh systemd/system nftables.conf -printf '%p %y %m %u %g %l\\n' 2>/dev/null | sort
        find ssh systemd/system -type f -exec sha256sum {} + | sort
        nft list ruleset; systemctl is-active ssh cut; systemctl is-enabled cut 2>/dev/null; true";
    lab.host(host).unwrap().sh(script).unwrap()
}

/// What the guards of a host said.
fn told(lab: &Lab, host: &str) -> String {
    let script = "journalctl --no-pager -o cat -u 'debark-guard-*' | tail -n 40; ls -lR /var/lib/debark/guard /var/lib/debark-guard";
    let said = lab.host(host).unwrap().exec(&["sh", "-c", script]).unwrap();
    String::from_utf8_lossy(&said.stdout).into_owned()
}

#[test]
fn a_connection_that_dies_in_a_guarded_block() {
    let lab = lab("guardlost", HOSTS.len(), &["nftables"]);
    let home = tempfile::tempdir().unwrap();
    let before = HOSTS.map(|host| state(&lab, host));
    // What a task runs is the agent's child.
    let playbook = PLAYBOOK.replace("CUT_AGENT", "[ $(hostname) = h1 ] || kill -9 $PPID");
    fs::write(home.path().join("hosts"), lab.inventory(&[]).unwrap()).unwrap();
    fs::write(home.path().join("site.yml"), playbook).unwrap();
    let begin = Instant::now();
    let run = Run::of(debark(&lab, home.path()).args(["run", "-i", "hosts", "site.yml"]));
    let took = begin.elapsed();
    let all: String = run.events.iter().map(|event| format!("{event}\n")).collect();

    assert_eq!(run.status.code(), Some(2), "{all}{}", run.said());
    // Its time, and what a busy machine needs to notice and to go back.
    assert!(took < Duration::from_secs(SECONDS + 60), "{took:?}");
    for (host, before) in HOSTS.iter().zip(&before) {
        let now = state(&lab, host);
        assert_eq!(&now, before, "{host}:\n{}\n{all}", told(&lab, host));
        let of_host = |event: &str, text: &str| {
            run.events.iter().any(|e| {
                let said =
                    format!("{} {}", e["message"].as_str().unwrap_or(""), e["hint"].as_str().unwrap_or(""));
                let is_it = e["host"] == *host || said.contains(&format!("{host}: "));
                e["event"] == event && is_it && said.contains(text)
            })
        };
        assert!(of_host("task", "reverted on the host"), "{host}: {all}");
        assert!(
            !run.tasks().iter().any(|task| task.host == *host && task.task == "behind it"),
            "{host}: {all}"
        );
        assert!(
            !run.events.iter().any(|e| e["event"] == "unreachable" && e["host"] == *host),
            "{host}: {all}"
        );
        if *host == "h3" {
            continue;
        }
        assert!(of_host("task", "the host is back"), "{host}: {all}");
        assert!(of_host("warning", "was lost in a guarded block"), "{host}: {all}");
        assert!(of_host("warning", "reverts by itself by 20"), "{host}: {all}");
        assert!(of_host("task", "/var/lib/debark/journal.jsonl"), "{host}: {all}");
        assert!(of_host("task", "journalctl -u debark-guard-"), "{host}: {all}");
    }
    // Of a host that went back at once nobody waits for the guard's time.
    let reverted = |host: &str| {
        run.events
            .iter()
            .find(|e| e["event"] == "task" && e["host"] == host && e["task"] == "guard")
            .cloned()
            .unwrap()
    };
    assert_eq!(reverted("h1")["message"], "the connection was lost in a guarded block: reverted on the host");
    assert_eq!(reverted("h2")["message"], format!("not confirmed within {SECONDS} s: reverted on the host"));

    // The next run finds nothing in its way.
    let next = "- {hosts: all, gather_facts: false, tasks: [{name: next, guard: 60s, copy: {dest: /etc/ssh/next, content: x}}]}";
    fs::write(home.path().join("site.yml"), next).unwrap();
    let run = Run::of(debark(&lab, home.path()).args(["run", "-i", "hosts", "site.yml"]));
    assert!(run.status.success(), "{}", run.said());
}
