//! The gateway's side, for tests that change it, and runs that are in progress meanwhile.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use debark_e2e::Run;

use super::Site;

/// A program in the gateway's namespace: what it printed.
#[track_caller]
pub fn at_gateway(site: &Site, program: &str, args: &[&str]) -> String {
    done(site.lab.bridge_command(program).args(args))
}

/// A program in the controller's namespace: what it printed.
#[track_caller]
pub fn at_controller(site: &Site, program: &str, args: &[&str]) -> String {
    done(site.lab.controller_command(program).args(args))
}

#[track_caller]
fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The gateway's WireGuard interface.
pub fn device(site: &Site) -> String {
    let links = at_gateway(site, "ip", &["-o", "link"]);
    let mut names = links.lines().filter_map(|line| line.split([':', '@']).nth(1)).map(str::trim);
    names.find(|name| name.starts_with("dbwg")).unwrap().to_owned()
}

/// Undoes what a step changed, whichever way it ends.
pub struct Undo<F: FnMut()>(pub F);

impl<F: FnMut()> Drop for Undo<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A run on h1 that waits for a word.
pub struct Waiting<'a>(&'a Site, Child);

impl<'a> Waiting<'a> {
    pub fn begin(site: &'a Site, mut command: Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        while site.lab.host("h1").unwrap().sh("test -e /run/begun").is_err() {
            assert!(Instant::now() < deadline, "the run does not begin");
            thread::sleep(Duration::from_millis(100));
        }
        Self(site, child)
    }

    /// The word.
    pub fn go(&self) {
        self.0.lab.host("h1").unwrap().sh("touch /run/go").unwrap();
    }

    pub fn end(self) -> Run {
        let run = Run::read(self.1.wait_with_output().unwrap());
        self.0.lab.host("h1").unwrap().sh("rm -f /run/go /run/begun").unwrap();
        run
    }
}

/// What such a run does.
pub const WAITS: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: begin, command: touch /run/begun}\n    \
                         - {name: wait, wait_for: {path: /run/go, timeout: 300}}\n    - {name: end, command: id -un}\n";
