//! Who does what when: batches, barriers, delegation, budgets, events.
//!
//! [`Engine`] owns all state of a run and lives on one thread; everything that happens comes to it through one queue.
//! What playbooks and inventories say it asks a [`World`], how hosts are reached a [`Connector`], and what happens it
//! tells a [`Monitor`].

mod barrier;
mod batch;
mod care;
mod delegate;
mod engine;
mod event;
mod fetches;
mod hosts;
mod lookups;
mod once;
mod recap;
mod requests;
mod site;
mod store;
mod world;

pub use batch::{Order, Size, batches, ordered};
pub use engine::{Engine, Interrupt, Outcome};
pub use event::{Monitor, Note};
pub use fetches::Fetches;
pub use recap::{Counts, Recap, Slow};
pub use site::{Site, SiteOptions, ask, cancel_questions, is_terminal, on_question};
pub use world::{Channel, Connector, Content, PlaySpec, Route, Settings, Ssh, World};
