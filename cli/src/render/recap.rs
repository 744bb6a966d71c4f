//! The end of a run, for people.

use std::fmt::Write as _;
use std::time::Duration;

use debark_controller::{Counts, Recap};
use debark_wire::Status;

use super::plain::{BOLD, DIM, style};
use super::text::visible;

/// A task that takes less is not worth naming among the slowest, unless asked.
const WORTH_NAMING: Duration = Duration::from_secs(1);

/// The recap: what became of each host, what is left for the next run, where the time went.
pub fn text(recap: &Recap, took: Duration, check: bool, verbosity: u8) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "\n{BOLD}RECAP{BOLD:#} {DIM}{:.2} s{DIM:#}", took.as_secs_f64());
    let width = recap.hosts.keys().map(|host| host.chars().count()).max().unwrap_or(0);
    for (host, counts) in &recap.hosts {
        let _ = writeln!(out, "  {host:width$}  {}", cells(counts, check));
    }
    for (host, handlers) in &recap.pending {
        let names = handlers.join(", ");
        let _ = writeln!(out, "  {host}: notified and not run, kept for the next run: {}", visible(&names));
    }
    for (host, task) in &recap.left_running {
        let _ = writeln!(
            out,
            "  {host}: '{}' was running when the connection ended; it ends on the host by itself, and the next run waits for it",
            visible(task)
        );
    }
    let mut slow = recap.slowest.iter().filter(|slow| slow.took >= WORTH_NAMING || verbosity > 0).peekable();
    if slow.peek().is_some() {
        let _ = writeln!(out, "  {DIM}slowest:{DIM:#}");
    }
    for slow in slow {
        let _ = writeln!(
            out,
            "    {DIM}{:>7.2} s{DIM:#}  {} {DIM}{} {}{DIM:#}",
            slow.took.as_secs_f64(),
            visible(&slow.name),
            slow.host,
            visible(&slow.place)
        );
    }
    out
}

fn cells(counts: &Counts, check: bool) -> String {
    let changed = if check { "would change" } else { "changed" };
    let mut cells = Vec::new();
    for (word, count, status, always) in [
        ("ok", counts.ok, Status::Ok, true),
        (changed, counts.changed, Status::Changed, true),
        ("failed", counts.failed, Status::Failed, true),
        ("unreachable", counts.unreachable, Status::Unreachable, false),
        ("skipped", counts.skipped, Status::Skipped, false),
        ("rescued", counts.rescued, Status::Rescued, false),
        ("ignored", counts.ignored, Status::Ignored, false),
        ("decided at run time", counts.unknown, Status::Unknown, false),
    ] {
        let colour = style(status);
        match count {
            0 if always => cells.push(format!("{DIM}{word} 0{DIM:#}")),
            0 => {}
            count => cells.push(format!("{colour}{word} {count}{colour:#}")),
        }
    }
    cells.join("  ")
}

#[cfg(test)]
mod tests {
    use debark_controller::Slow;

    use super::*;

    fn shown(recap: &Recap, check: bool, verbosity: u8) -> String {
        let text = text(recap, Duration::from_millis(1234), check, verbosity);
        anstream::adapter::strip_str(&text).to_string()
    }

    fn slow(name: &str, millis: u64) -> Slow {
        Slow {
            host: "h1".into(),
            name: name.into(),
            place: "site.yml:3".into(),
            took: Duration::from_millis(millis),
        }
    }

    #[test]
    fn names_every_count_that_is_not_zero() {
        let mut recap = Recap::default();
        recap.hosts.insert("h1".into(), Counts { ok: 3, changed: 1, ..Counts::default() });
        let rest = Counts {
            ok: 1,
            failed: 1,
            unreachable: 1,
            skipped: 2,
            rescued: 3,
            ignored: 4,
            unknown: 5,
            ..Counts::default()
        };
        recap.hosts.insert("host2".into(), rest);
        assert_eq!(
            shown(&recap, false, 0),
            "\nRECAP 1.23 s\n  h1     ok 3  changed 1  failed 0\n  host2  ok 1  changed 0  failed 1  unreachable 1  \
             skipped 2  rescued 3  ignored 4  decided at run time 5\n"
        );
        assert!(shown(&recap, true, 0).contains("would change 1"));
    }

    #[test]
    fn tells_what_the_next_run_will_do() {
        let mut recap = Recap::default();
        recap.pending.insert("h1".into(), vec!["reload nginx".into(), "restart app".into()]);
        recap.left_running.insert("h2".into(), "upgrade".into());
        assert_eq!(
            shown(&recap, false, 0),
            "\nRECAP 1.23 s\n  h1: notified and not run, kept for the next run: reload nginx, restart app\n  h2: 'upgrade' \
             was running when the connection ended; it ends on the host by itself, and the next run waits for it\n"
        );
    }

    #[test]
    fn only_slow_tasks_are_named_unless_asked() {
        let recap = Recap { slowest: vec![slow("packages", 61_500), slow("quick", 20)], ..Recap::default() };
        let said = shown(&recap, false, 0);
        assert!(said.ends_with("  slowest:\n      61.50 s  packages h1 site.yml:3\n"), "{said}");
        assert!(shown(&recap, false, 1).contains("quick"));
    }
}
