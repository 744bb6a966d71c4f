//! The `debark` binary: arguments in, calls, rendering out.

mod audit;
mod chosen;
mod commands;
mod common;
mod drive;
mod exec;
mod exit;
mod facts;
mod hosts;
mod inventory;
mod lab;
mod modules;
mod page;
mod release;
mod render;
mod run;
mod schema;
mod signals;
mod ssh;
mod ssh_ca;
mod vault;
mod vpn;

/// Keys and passwords pass through.
#[global_allocator]
static ALLOCATOR: debark_value::wiping::Wiping = debark_value::wiping::Wiping;

fn main() -> std::process::ExitCode {
    commands::run()
}
