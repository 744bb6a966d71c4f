//! Disks that are full or read-only.

use super::handlers::{NOTIFIES, forget};
use super::*;

/// Modules that write files, each on a file system of its own making.
const WRITES: &str = "    - {name: copy, copy: {content: '{{ \"x\" * 400000 }}', dest: /opt/conf}, ignore_errors: true}\n    \
    - {name: block, blockinfile: {path: /opt/conf, block: '{{ \"x\" * 400000 }}'}, ignore_errors: true}\n    \
    - {name: line, lineinfile: {path: /opt/conf, line: '{{ \"x\" * 400000 }}'}, ignore_errors: true}\n    \
    - {name: replace, replace: {path: /opt/conf, regexp: old, replace: '{{ \"x\" * 400000 }}'}}\n";

pub fn disks_that_are_full_or_read_only(site: &Site<'_>) {
    let host = site.bad();
    site.good().sh("echo old > /opt/conf").unwrap();
    for (mount, word) in [("size=64k", "full"), ("size=64k,ro", "read-only")] {
        host.sh("mount -t tmpfs -o size=64k tmpfs /opt && echo old > /opt/conf").unwrap();
        if mount.ends_with("ro") {
            host.sh("mount -o remount,ro /opt").unwrap();
        }
        let run = site.run(&format!("{TASKS}{WRITES}"), &[]);
        let left = host.sh("ls -A /opt; cat /opt/conf; umount /opt").unwrap();
        for name in ["copy", "block", "line", "replace"] {
            let message = task(&run, "h1", name)["message"].as_str().unwrap_or_default().to_owned();
            says(&message, &["/opt/conf", word]);
        }
        assert_eq!(run.status.code(), Some(2), "{}", run.said());
        assert_eq!(left, "conf\nold\n");
        others_go_on(&run, "copy");
    }
    site.good().sh("rm /opt/conf").unwrap();
}

/// Nothing but `/run` and `/dev` can be written to: there is no place for the agent, its state, or what tasks write.
pub fn a_root_that_is_read_only(site: &Site<'_>) {
    let (host, dirs) = (site.bad(), "/etc /var /root /tmp /home /usr /opt /srv");
    host.sh(&format!(
        "rm -rf /var/cache/debark; echo old > /etc/conf; \
         for dir in {dirs}; do mount --bind $dir $dir && mount -o remount,bind,ro $dir; done; ! touch /var/lib/x /etc/x"
    ))
    .unwrap();
    let play = "- hosts: all\n  gather_facts: false\n  tasks:\n    \
        - {name: tells, command: id -un, notify: again}\n    \
        - {name: writes, copy: {content: new, dest: /etc/conf}}\n    - {name: last, command: id -un}\n  \
        handlers:\n    - {name: again, command: id -un}\n";
    let run = catch_unwind(AssertUnwindSafe(|| site.run(play, &[])));
    // Lazily: processes of the host may have been started in them.
    host.sh(&format!("for dir in {dirs}; do umount -l $dir; done")).unwrap();
    let run = run.unwrap();
    says(&failure(&run, "h1", "writes"), &["/etc/conf", "read-only"]);
    assert_eq!(task(&run, "h1", "tells")["result"]["stdout"], "root");
    says(&warnings(&run, "h1"), &["cannot keep note of the handlers", "/var/lib/debark"]);
    assert_eq!(host.sh("cat /etc/conf; rm /etc/conf; ls -A /etc | grep debark || :").unwrap(), "old\n");
    others_go_on(&run, "last");
    site.good().sh("rm /etc/conf").unwrap();
    succeeds(&site.run(play, &[]));
    for host in [site.bad(), site.good()] {
        host.sh("rm /etc/conf").unwrap();
    }
}

/// Without room for its own notes a run goes on, and says what that means.
pub fn no_room_for_notes(site: &Site<'_>) {
    forget(site);
    let host = site.bad();
    for host in [site.bad(), site.good()] {
        host.sh("touch /root/quick").unwrap();
    }
    host.sh("mount -t tmpfs -o size=4k,ro tmpfs /var/lib/debark").unwrap();
    let run = site.run(NOTIFIES, &[]);
    host.sh("umount /var/lib/debark").unwrap();
    succeeds(&run);
    says(&warnings(&run, "h1"), &["cannot keep note of the handlers", "/var/lib/debark"]);
    assert_eq!(warnings(&run, "h2"), "");
    assert_eq!(host.sh("cat /root/handled").unwrap(), "ran\n");
    forget(site);
}

/// A power cut finds the old file or the new one: the content is on the disk before the name is, and the name before the task
/// is reported.
pub fn files_reach_the_disk_before_their_names(site: &Site<'_>) {
    let host = site.bad();
    host.sh("apt-get update -qq >&2; apt-get install -qq -y strace >&2; echo old > /root/durable").unwrap();
    host.sh(
        "systemd-run -q --unit trace strace -f -qq -o /run/trace -e trace=fsync,rename,renameat,renameat2 \
         -p $(systemctl show -P MainPID ssh)",
    )
    .unwrap();
    wait("the tracer", || {
        host.sh("grep -q '^TracerPid:.*[1-9]' /proc/$(systemctl show -P MainPID ssh)/status").is_ok()
    });
    let run = site.run(
        &format!("{TASKS}    - {{name: write, copy: {{content: new, dest: /root/durable}}}}\n"),
        &["-l", "h1"],
    );
    host.sh("systemctl stop trace").unwrap();
    let trace = host.sh("cat /run/trace; rm /run/trace /root/durable").unwrap();
    succeeds(&run);
    let renamed = trace.lines().find(|line| line.contains("rename") && line.contains(", \"/root/durable\""));
    let renamed = renamed.unwrap_or_else(|| panic!("{trace}"));
    // Beside the file, as a name does not go from one file system to another at once.
    says(renamed, &["(\"/root/."]);
    let process = renamed.split_whitespace().next().unwrap();
    let own: Vec<&str> =
        trace.lines().filter(|line| line.split_whitespace().next() == Some(process)).collect();
    let at = own.iter().position(|line| *line == renamed).unwrap();
    assert!(at > 0 && own[at - 1].contains("fsync("), "{own:#?}");
    assert!(own.get(at + 1).is_some_and(|line| line.contains("fsync(")), "{own:#?}");
}
