//! `debark-agent`: started by the controller on the far side of an SSH connection; speaks on standard streams.

/// Passwords pass through.
#[global_allocator]
static ALLOCATOR: debark_value::wiping::Wiping = debark_value::wiping::Wiping;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("--version") => println!("debark-agent {}", env!("CARGO_PKG_VERSION")),
        Some("--worker") => debark_agent::worker(),
        Some("--async") => debark_agent::async_job(),
        _ => debark_agent::agent(),
    }
}
