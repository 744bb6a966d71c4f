//! What people see and type: flags, texts, colours, the live display, exit codes, Ctrl-C. With real hosts and, where it
//! matters, a terminal of script(1).
//!
//! All steps share one lab, one after the other. A step that fails does not keep the others from being tried.

// Helpers outside of the test function fail by panicking, too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use debark_e2e::{Run, debark, debark_program, lab, run_steps};
use debark_lab::Lab;

struct Site<'a> {
    lab: &'a Lab,
    home: PathBuf,
}

/// How a run ended and what it printed on both streams.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Site<'_> {
    fn write(&self, name: &str, text: &str) {
        fs::write(self.home.join(name), text).unwrap();
    }

    /// `debark run -i hosts site.yml` with these words behind it.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = debark(self.lab, &self.home);
        command.args(["run", "-i", "hosts", "site.yml"]).args(words);
        command
    }

    fn said(&self, words: &[&str]) -> Said {
        let output = self.command(words).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        Said { code: output.status.code(), out, err }
    }

    /// What a terminal of so many columns shows, every byte of it. Each answer is typed when its question is there.
    fn terminal(
        &self,
        columns: u32,
        environment: &[(&str, &str)],
        words: &str,
        answers: &[(&str, &str)],
    ) -> Said {
        let line = format!(
            "stty cols {columns} rows 24; exec {} run -i hosts site.yml {words}",
            debark_program().display()
        );
        // A question that never comes must not be waited for.
        let mut command = self.lab.controller_command("timeout");
        command.args(["--foreground", "60", "script", "-qec", &line, "/dev/null"]);
        command.current_dir(&self.home).env("HOME", &self.home).env("TERM", "xterm");
        command.env_remove("NO_COLOR").env_remove("CI").envs(environment.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut out = Vec::new();
        let mut answers = answers.iter().peekable();
        let mut answered = 0;
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut chunk) {
            out.extend_from_slice(&chunk[..count]);
            let new = String::from_utf8_lossy(&out[answered..]).into_owned();
            if answers
                .next_if(|(question, _)| new.contains(question))
                .map(|(_, answer)| {
                    input.write_all(answer.as_bytes()).unwrap();
                })
                .is_some()
            {
                answered = out.len();
            }
        }
        let code = child.wait().unwrap().code();
        Said { code, out: String::from_utf8(out).unwrap(), err: String::new() }
    }
}

/// Without the run's time and the slowest tasks, which no two runs have alike.
fn timeless(text: &str) -> String {
    let text = text.split("  slowest:\n").next().unwrap();
    let line = |line: &str| if line.starts_with("RECAP ") { "RECAP".to_owned() } else { line.to_owned() };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

const FAILS: &str = "
- hosts: all
  gather_facts: false
  tasks:
    - {name: writes, copy: {content: \"one\\n\", dest: /srv/face}}
    - name: fails
      shell: echo out; echo err >&2; exit 3
    - {name: never, command: touch /srv/never}
";

fn failures_are_told(site: &Site<'_>) {
    site.write("site.yml", FAILS);
    let said = site.said(&["-l", "h1"]);
    assert_eq!(said.code, Some(2), "{}{}", said.out, said.err);
    let expected = "
PLAY all 1 host

TASK writes site.yml:5
  changed h1

TASK fails site.yml:6
  failed h1: non-zero return code (3)
    stdout:
      out
    stderr:
      err

stopping: no hosts are left

RECAP
  h1  ok 1  changed 1  failed 1";
    assert_eq!(timeless(&said.out), expected);
    assert_eq!(said.err, "");
    assert!(site.lab.host("h1").unwrap().sh("test -e /srv/never").is_err());
}

fn exit_codes_tell_what_happened(site: &Site<'_>) {
    site.write("site.yml", FAILS);
    let code = |words: &[&str]| site.said(words).code;
    assert_eq!(code(&["-l", "h1", "--skip-tags", "x", "--start-at-task", "nothing"]), Some(1));
    assert_eq!(code(&["-l", "gone"]), Some(4));
    assert_eq!(code(&["-l", "h2,gone"]), Some(6));
    assert_eq!(code(&["-l", "nosuch"]), Some(1));
    assert_eq!(code(&["-l", "h1", "--check"]), Some(0));
    site.write("site.yml", "- hosts: all\n  taks: []\n");
    let said = site.said(&[]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("`taks`") && said.err.contains("site.yml:2:3"), "{}", said.err);
    assert!(said.err.contains("did you mean `tasks`?"), "{}", said.err);
    assert_eq!(said.out, "");
}

const TAGGED: &str = "
- hosts: all
  gather_facts: false
  tasks:
    - {name: first, command: 'true', tags: [a]}
    - {name: second, command: 'true', tags: [b]}
    - {name: third, command: 'true', tags: [a, b]}
    - {name: told, debug: {msg: 'x is {{ x }}'}, when: x is defined}
";

fn flags_of_ansible_users(site: &Site<'_>) {
    site.write("site.yml", TAGGED);
    let ran = |words: &[&str]| -> Vec<String> {
        let run = Run::of(&mut site.command(words));
        assert!(run.status.success(), "{words:?}: {}", run.said());
        let done = run.tasks().into_iter().filter(|task| task.status != "skipped");
        done.map(|task| format!("{} {}", task.host, task.task)).collect()
    };
    assert_eq!(ran(&["-l", "h1", "-t", "a"]), ["h1 first", "h1 third"]);
    assert_eq!(ran(&["--limit", "h1", "--tags", "a", "--skip-tags", "b"]), ["h1 first"]);
    assert_eq!(ran(&["-l", "all:!gone:!h2", "--start-at-task", "third", "-f", "1"]), ["h1 third"]);
    assert_eq!(ran(&["-l", "h1", "-t", "none", "-e", "x=1", "-u", "root"]), [""; 0]);
    let said = site.said(&["-l", "h1", "-e", "x=1", "-b"]);
    assert!(said.out.contains("ok h1: x is 1"), "{}", said.out);
    let listed = site.said(&["--list-hosts", "--list-tasks", "--list-tags", "-l", "h1"]);
    for part in ["hosts (1):\n      h1\n", "first\tTAGS: [a]", "TASK TAGS: [a, b]"] {
        assert!(listed.out.contains(part), "{part}: {}", listed.out);
    }
    assert!(!listed.out.contains("RECAP"), "{}", listed.out);
    let checked = site.said(&["--syntax-check"]);
    assert_eq!((checked.code, &*checked.out), (Some(0), ""));
    // What modules return, on one line and on several.
    assert!(site.said(&["-l", "h1", "-v"]).out.contains("\"rc\":0"));
    assert!(site.said(&["-l", "h1", "-vv"]).out.contains("\"rc\": 0"));
    assert!(site.said(&["-l", "h1", "-vvv"]).err.contains("h1: ssh -T"));
}

fn check_and_diff_show_and_change_nothing(site: &Site<'_>) {
    site.write(
        "site.yml",
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: w, copy: {content: \"two\\n\", dest: /srv/face}}\n",
    );
    let host = site.lab.host("h1").unwrap();
    host.sh("echo one > /srv/face").unwrap();
    let said = site.said(&["-l", "h1", "-CD"]);
    let diff = "  would change h1\n--- before: /srv/face\n+++ after: /srv/face\n-one\n+two\n";
    assert!(said.out.contains(diff) && said.out.contains("would change 1"), "{}", said.out);
    assert_eq!(host.sh("cat /srv/face").unwrap(), "one\n");
}

const SLOW: &str = "
- hosts: all
  gather_facts: false
  tasks:
    - {name: sleeps soundly, command: sleep 2.5}
";

fn terminals_show_each_hosts_task(site: &Site<'_>) {
    site.write("site.yml", SLOW);
    let said = site.terminal(80, &[], "-l h1,h2", &[]);
    assert_eq!(said.code, Some(0), "{}", said.out);
    for host in ["h1", "h2"] {
        let row =
            said.out.lines().find(|line| line.contains(&format!("  {host}  ")) && line.contains(" s  "));
        let row = row.unwrap_or_else(|| panic!("{host}: {}", said.out));
        assert!(row.contains("sleeps soundly") || row.contains("connecting"), "{row}");
    }
    // Frames are taken back, and colours are there.
    assert!(
        said.out.contains("\u{1b}[J") && said.out.contains("\u{1b}[33mchanged\u{1b}[0m h1"),
        "{}",
        said.out
    );
    // The recap is the last thing, below all frames.
    let last = said.out.rsplit("\u{1b}[J").next().unwrap();
    assert!(last.contains("RECAP"), "{last}");

    let said = site.terminal(24, &[("NO_COLOR", "1")], "-l h1,h2", &[]);
    assert!(!said.out.contains("\u{1b}[3") && !said.out.contains("\u{1b}[1m"), "{:?}", said.out);
    let rows = said.out.lines().filter(|line| line.contains(" s  ") && line.contains('…'));
    let widths: Vec<usize> =
        rows.map(|row| row.trim_end().rsplit('J').next().unwrap().chars().count()).collect();
    assert!(!widths.is_empty() && widths.iter().all(|width| *width < 24), "{widths:?} {:?}", said.out);

    // No terminal, no frames; and none where logs keep them.
    assert!(!site.said(&["-l", "h1"]).out.contains('\u{1b}'));
    let said = site.terminal(80, &[("CI", "true")], "-l h1", &[]);
    assert!(!said.out.contains("\u{1b}[J"), "{:?}", said.out);
}

fn questions_are_asked_on_terminals(site: &Site<'_>) {
    site.write("site.yml", TAGGED);
    let answers = [("task: TASK: first", "y\n"), ("task: TASK: second", "n\n"), ("task: TASK: third", "c\n")];
    let said = site.terminal(80, &[], "-l h1 --step", &answers);
    assert_eq!(said.code, Some(0), "{}", said.out);
    for task in ["first", "second", "third"] {
        assert!(
            said.out.contains(&format!("Perform task: TASK: {task} (N)o/(y)es/(c)ontinue")),
            "{}",
            said.out
        );
    }
    let done: Vec<bool> = ["first", "second", "third"]
        .iter()
        .map(|task| said.out.contains(&format!("\u{1b}[0m {task} ")))
        .collect();
    assert_eq!(done, [true, false, true], "{:?}", said.out);
    let refused = site.said(&["-l", "h1", "--step"]);
    assert!(refused.code == Some(1) && refused.err.contains("--step"), "{}", refused.err);

    site.write("site.yml", "- hosts: all\n  gather_facts: false\n  tasks: [{name: who, command: id -un}]\n");
    let words = "-l h1 -b -K -v -e ansible_user=plain";
    let said = site.terminal(80, &[], words, &[("become password: ", "plain\n")]);
    assert_eq!(said.code, Some(0), "{}", said.out);
    assert!(
        said.out.contains("become password: ") && said.out.contains("\"stdout\":\"root\""),
        "{}",
        said.out
    );
}

fn ctrl_c_lets_the_task_end_and_says_so(site: &Site<'_>) {
    site.write(
        "site.yml",
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: long, shell: sleep 6; touch /srv/ended}
    - {name: after, command: touch /srv/after}
",
    );
    let mut child = site.command(&["-l", "h1", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(r#""event":"started""#) && line.contains("long")));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:#?}");
    assert!(rest.iter().any(|line| line.contains(r#""event":"stopping""#)), "{rest:#?}");
    let host = site.lab.host("h1").unwrap();
    assert_eq!(
        host.sh("ls /srv").unwrap().lines().filter(|name| *name != "face").collect::<Vec<_>>(),
        ["ended"]
    );
}

fn readers_may_leave(site: &Site<'_>) {
    let tasks: String = (0..2000).map(|n| format!("    - debug: {{msg: number {n}}}\n")).collect();
    site.write("site.yml", &format!("- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}"));
    for flag in ["--json", "--list-tasks", "-v"] {
        let mut child =
            site.command(&["-l", "h1", flag]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !err.contains("panic"), "{flag}: {} {err}", output.status);
    }
}

#[test]
fn what_people_see_and_type() {
    let lab = lab("face", 2, &[]);
    let home = tempfile::tempdir().unwrap();
    let site = Site { lab: &lab, home: home.path().to_owned() };
    let inventory = lab.inventory(&[]).unwrap();
    let gone = inventory.lines().next().unwrap().replacen("h1 ", "gone ansible_port=1 ", 1);
    site.write("hosts", &format!("{inventory}\n{gone}\n"));
    type Step = (&'static str, fn(&Site<'_>));
    let steps: &[Step] = &[
        ("failures are told", failures_are_told),
        ("exit codes tell what happened", exit_codes_tell_what_happened),
        ("flags of Ansible's users", flags_of_ansible_users),
        ("check and diff show, and change nothing", check_and_diff_show_and_change_nothing),
        ("terminals show each host's task", terminals_show_each_hosts_task),
        ("questions are asked on terminals", questions_are_asked_on_terminals),
        ("Ctrl-C lets the task end, and says so", ctrl_c_lets_the_task_end_and_says_so),
        ("readers may leave", readers_may_leave),
    ];
    run_steps(&site, steps);
}
