//! Runs a compiled play on the host it stands on.

mod actions;
mod call;
mod context;
mod facts;
mod handlers;
mod invoke;
mod journal;
mod link;
mod looping;
mod progress;
mod run;
mod serve;
mod services;
mod state;
mod task;
mod upstream;
mod worker;

pub use actions::async_job;
pub use serve::{agent, worker};
