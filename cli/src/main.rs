//! The `debark` binary: arguments in, calls, rendering out.

mod commands;
mod exec;
mod exit;
mod facts;
mod inventory;
mod lab;
mod modules;
mod render;
mod run;
mod schema;

fn main() -> std::process::ExitCode {
    commands::run()
}
