//! The `debark` binary: arguments in, calls, rendering out.

mod commands;
mod inventory;
mod lab;

fn main() -> std::process::ExitCode {
    commands::run()
}
