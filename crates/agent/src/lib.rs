//! Runs a compiled play on the host it stands on.

mod actions;
mod attempts;
mod becoming;
mod call;
mod context;
mod debugger;
mod facts;
mod foresight;
mod guard;
mod handlers;
mod invoke;
mod journal;
mod link;
mod login;
mod looping;
mod once;
mod progress;
mod report;
mod run;
mod serve;
mod services;
mod state;
mod task;
mod upstream;
mod worker;

pub use actions::async_job;
pub use serve::{agent, worker};
