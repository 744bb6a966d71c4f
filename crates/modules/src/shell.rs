//! `shell`: runs a text through a shell.

use std::path::PathBuf;

use crate::command::Run;
use crate::exec::Cmd;
use crate::param::{NO_RULES, Rules};
use crate::{Failure, Host, Plan, map, params};

params! {
    /// Runs a text through `/bin/sh` or another shell.
    pub struct Params for "ansible.builtin.shell" {
        /// What the shell runs.
        cmd | _raw_params: String,
        /// Directory to run it in.
        chdir: Option<PathBuf>,
        /// A path or pattern; if it exists, nothing is run.
        creates: Option<PathBuf>,
        /// A path or pattern; if it does not exist, nothing is run.
        removes: Option<PathBuf>,
        /// The shell, by absolute path.
        executable: PathBuf = "/bin/sh".into(),
        /// What it reads on standard input.
        stdin: Option<String>,
        /// Whether a newline follows `stdin`.
        stdin_add_newline: bool = true,
        /// Whether newlines at the end of what it prints are taken away.
        strip_empty_ends: bool = true,
    }
    rules Rules { free_form: Some("cmd"), ..NO_RULES }
}

/// Looks whether `creates` or `removes` makes it unnecessary.
///
/// # Errors
/// The text is empty.
pub fn plan(params: Params, host: &Host) -> Result<Plan, Failure> {
    if params.cmd.trim().is_empty() {
        return Err(Failure::new("no command given").with(map! { "rc" => 256 }));
    }
    let run = Run {
        cmd: Cmd::new(params.executable).arg("-c").arg(&params.cmd),
        shown: params.cmd.into(),
        chdir: params.chdir,
        creates: params.creates,
        removes: params.removes,
        stdin: params.stdin,
        stdin_add_newline: params.stdin_add_newline,
        strip: params.strip_empty_ends,
    };
    run.plan(host)
}
