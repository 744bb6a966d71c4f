//! Looks at all processes of this machine, lab hosts included, again and again.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use debark_lab::Host;

use super::forms::Canaries;

/// A process whose user has put a secret into its arguments or environment says so by this word.
const BY_NATURE: &str = "by-nature";

/// A look that lasts.
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Watch {
    pub fn start(_: &Canaries) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (until, canaries) = (over.clone(), Canaries::new());
        let thread = std::thread::spawn(move || {
            let (mut found, mut seen) = (Vec::new(), HashSet::new());
            loop {
                let last = until.load(Ordering::SeqCst);
                look(&canaries, &mut seen, &mut found);
                if last {
                    found.sort();
                    found.dedup();
                    return found;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        });
        Self { over, thread }
    }

    /// What was seen.
    pub fn end(self) -> Vec<String> {
        self.over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// Arguments and environment change only together, when another program begins: each is looked at once.
fn look(canaries: &Canaries, seen: &mut HashSet<(OsString, String)>, found: &mut Vec<String>) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        if !entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // A process may end at any time.
        let read =
            |name: &str| fs::read(entry.path().join(name)).map(|b| String::from_utf8_lossy(&b).into_owned());
        let Ok(cmdline) = read("cmdline") else { continue };
        // Between fork and exec it is still its parent, whose environment it shares.
        if !seen.insert((entry.file_name(), cmdline.clone())) {
            continue;
        }
        let Ok(environ) = read("environ") else { continue };
        if cmdline.contains(BY_NATURE) || environ.contains(BY_NATURE) {
            continue;
        }
        for (what, text) in [("cmdline", &cmdline), ("environ", &environ)] {
            if let Some(which) = canaries.find(text) {
                found.push(format!("{what} of {:.300}: {which}", cmdline.replace('\0', " ")));
            }
        }
    }
}

/// Runs a script on a host with this standard input: nothing of it is in an argument.
pub fn feed(host: &Host<'_>, script: &str, input: &str) {
    let mut command = host.command(&["sh", "-c", script]).unwrap();
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}
