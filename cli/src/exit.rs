//! Exit codes, the same for all commands that contact hosts.

use std::process::ExitCode;

/// Arguments, playbooks or inventories are wrong; nobody was contacted.
pub const BAD_INPUT: u8 = 1;
/// A task failed on some host.
pub const FAILED: u8 = 2;
/// A rule forbids it: held, frozen, not promoted, not trusted; nothing was touched.
pub const REFUSED: u8 = 3;
/// Some host could not be reached, or was lost. A bit: the reason may add to it.
pub const UNREACHABLE: u8 = debark_connect::UNREACHABLE;
/// Stopped by Ctrl-C or SIGTERM.
pub const INTERRUPTED: u8 = 130;

/// Shows an error that is not about a place in a file.
pub fn usage(error: &str, hint: Option<&str>) -> ExitCode {
    let red = anstyle::AnsiColor::Red.on_default().bold();
    anstream::eprintln!("{red}error{red:#}: {error}");
    if let Some(hint) = hint {
        anstream::eprintln!("hint: {hint}");
    }
    ExitCode::from(BAD_INPUT)
}
