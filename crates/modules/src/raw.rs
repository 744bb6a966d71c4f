//! `raw`: runs a text as the login shell would.
//!
//! Ansible has it for hosts without Python. The agent needs none, so it only differs from `shell` in what it takes
//! and returns: neither `creates` nor times.

use std::path::PathBuf;

use crate::exec::Cmd;
use crate::param::{NO_RULES, Rules};
use crate::{Failure, Host, Plan, command, map, params};

params! {
    /// Runs a text through `/bin/sh` or another shell, as plainly as it gets.
    pub struct Params for "ansible.builtin.raw" {
        /// What the shell runs.
        free_form | _raw_params | cmd: String,
        /// The shell, by absolute path.
        executable: PathBuf = "/bin/sh".into(),
    }
    rules Rules { free_form: Some("free_form"), ..NO_RULES }
}

/// Observes nothing: only running it tells.
///
/// # Errors
/// None.
pub fn plan(params: Params, _: &Host) -> Result<Plan, Failure> {
    let cmd = Cmd::new(params.executable).arg("-c").arg(params.free_form);
    Ok(Plan::run(move |host| {
        let output = host.exec(&cmd);
        host.forget_all();
        let mut output = output?;
        let mut result = map! { "changed" => true };
        result.extend(command::printed(&mut output, false));
        if output.rc == 0 { Ok(result) } else { Err(Failure::new("non-zero return code").with(result)) }
    }))
}
