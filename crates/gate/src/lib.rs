//! The last gate: what decides on a host whether a package is installed.
//!
//! `debark-gate serve` obeys signed orders ([`debark_order::gate`] is the conversation) and nothing else: who may reach it
//! over ssh or sudo can hinder, but cannot make it install what no trusted build key signed or no allowed identity
//! ordered. What it does survives its caller: installations run in a systemd unit of their own, each step is in the
//! journal before it happens, and a guard goes back to the version before unless somebody confirms.

mod accept;
mod check;
mod command;
mod deb;
mod dpkg;
mod failure;
mod files;
mod guard;
mod http;
mod install;
mod journal;
mod locks;
mod openpgp;
mod place;
mod relations;
mod serve;
mod session;
mod state;
mod status;
mod store;
mod trust;
mod unit;
mod units;
mod verify;
mod work;

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

pub use journal::Step;

/// What programs that the gate starts are to find.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Set in the environment that the gate made for itself.
const CLEAN: &str = "DEBARK_GATE_CLEAN";

/// The program.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["--version"] = words[..] {
        println!("debark-gate {} protocol {}", env!("CARGO_PKG_VERSION"), debark_order::gate::PROTOCOL);
        return ExitCode::SUCCESS;
    }
    if let ["steps"] = words[..] {
        Step::ALL.iter().for_each(|step| println!("{}", step.name()));
        return ExitCode::SUCCESS;
    }
    if !matches!(words[..], ["serve" | "guard" | "work" | "state"]) {
        eprintln!("usage: debark-gate serve | state | steps | guard | work | --version");
        return ExitCode::from(1);
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("error: debark-gate works as root");
        eprintln!("hint: log in as root, or let sudo run it: sudo -n {}", debark_order::gate::PROGRAM);
        return ExitCode::from(1);
    }
    if std::env::var_os(CLEAN).is_none() {
        // Nothing that a caller has set reaches apt, dpkg, a maintainer script or a search for programs.
        let error = Command::new("/proc/self/exe")
            .arg0("debark-gate")
            .args(&words)
            .env_clear()
            .envs([
                ("PATH", PATH),
                ("HOME", "/root"),
                ("LC_ALL", "C.UTF-8"),
                ("TMPDIR", place::RUN),
                (CLEAN, "1"),
            ])
            .current_dir("/")
            .exec();
        eprintln!("error: cannot start anew: {error}");
        return ExitCode::from(1);
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    match words[..] {
        ["serve"] => serve::main(),
        ["guard"] => guard::main(),
        ["work"] => work::main(),
        _ => status::main(),
    }
}
