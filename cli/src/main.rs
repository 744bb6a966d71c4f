//! The `debark` binary: arguments in, calls, rendering out.

mod commands;
mod exit;
mod inventory;
mod lab;
mod render;
mod run;

fn main() -> std::process::ExitCode {
    commands::run()
}
