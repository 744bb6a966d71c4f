//! `reboot`: the part of a reboot that happens on the host: it is set going, and the agent answers before it is
//! killed by it.
//!
//! The result holds `_reboot: true`, the boot's id and what the controller needs to wait for the next boot: it reconnects
//! and compares `/proc/sys/kernel/random/boot_id`.

use std::process::{Command, Stdio};

use crate::param::NO_RULES;
use crate::{Diff, Failure, Host, Plan, Value, map, params};

params! {
    /// Reboots the host and waits until it is back.
    pub struct Params for "ansible.builtin.reboot" {
        /// Seconds before the reboot.
        pre_reboot_delay: i64 = 0,
        /// Seconds after the host is back before it is tested.
        post_reboot_delay: i64 = 0,
        /// Seconds until giving up.
        reboot_timeout: i64 = 600,
        /// Seconds that one attempt to connect may take.
        connect_timeout: Option<i64>,
        /// The command that must succeed on the host when it is back.
        test_command: Option<String>,
        /// What users are told.
        msg: String = "Reboot initiated by debark".to_owned(),
        /// Where the shutdown command is looked for.
        search_paths: Vec<String> = ["/sbin", "/bin", "/usr/sbin", "/usr/bin", "/usr/local/sbin"].map(String::from).to_vec(),
        /// What prints something that differs after a boot.
        boot_time_command: Option<String>,
        /// The command that reboots, instead of shutdown(8).
        reboot_command: Option<String>,
    }
    rules NO_RULES
}

/// The boot's id: another one after the next boot, proc_sys_kernel(5).
pub fn boot_id() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned())
}

/// The words of the program that waits and reboots. A shell that the agent leaves behind: the agent's own end, and the
/// end of the connection, must not take it along.
fn words(params: &Params) -> Result<Vec<String>, Failure> {
    // A moment at least, so that the answer reaches the controller first.
    let delay = params.pre_reboot_delay.max(1).to_string();
    let command: Vec<String> = match &params.reboot_command {
        Some(text) => vec!["sh".into(), "-c".into(), text.clone()],
        None => {
            let found = params.search_paths.iter().map(|dir| format!("{dir}/shutdown"));
            let program =
                found.into_iter().find(|path| std::path::Path::new(path).is_file()).ok_or_else(|| {
                    Failure::new("there is no program shutdown on the host")
                        .hint("set reboot_command or search_paths")
                })?;
            vec![program, "-r".into(), "now".into(), params.msg.clone()]
        }
    };
    let wait = ["sh", "-c", "sleep \"$1\"; shift; exec \"$@\"", "reboot", &delay].map(str::to_owned);
    Ok(wait.into_iter().chain(command).collect())
}

/// Plans the reboot.
///
/// # Errors
/// There is nothing to reboot with.
pub fn plan(params: Params, _: &Host) -> Result<Plan, Failure> {
    let words = words(&params)?;
    let result = map! {
        "rebooted" => true, "_reboot" => true, "boot_id" => Value::from(boot_id()),
        "reboot_timeout" => params.reboot_timeout, "post_reboot_delay" => params.post_reboot_delay,
        "pre_reboot_delay" => params.pre_reboot_delay,
        "connect_timeout" => params.connect_timeout, "test_command" => Value::from(params.test_command),
        "boot_time_command" => Value::from(params.boot_time_command),
    };
    let diff = vec![Diff::property("host", "state", "running", "rebooted")];
    Ok(Plan::change(result, diff, move |_| {
        let mut words = words.iter();
        let mut command = Command::new(words.next().map_or("sh", String::as_str));
        command.args(words).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().map_err(|e| Failure::new(format!("cannot set the reboot going: {e}")))?;
        Ok(map! {})
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_before_it_reboots() {
        let params =
            Params::parse(&map! { "reboot_command" => "systemctl kexec", "pre_reboot_delay" => 5 }).unwrap();
        assert_eq!(words(&params).unwrap()[4..], ["5", "sh", "-c", "systemctl kexec"]);
        let params = Params::parse(&map! { "search_paths" => "/nowhere" }).unwrap();
        assert!(words(&params).is_err());
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
