//! Templates by [Tera](https://keats.github.io/tera/), for sources whose names end in `.tera`.
//!
//! Tera knows no fuel: a loop within a loop can take forever, a text that doubles can take all memory. So a template is
//! rendered by a child process that takes its own limits before it reads anything ([`work`]), and what the limits
//! end is told apart by how the child died ([`apart`]). Tera is not part of the agent, whose size it would double: a host asks
//! for a text as it asks for a filter that it lacks, and sends all that it is made of.

mod apart;
mod render;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use apart::{WORKER, apart, work};
pub use render::{Problem, check, references};

/// What a text is to be made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The name of the template that is wanted.
    pub main: String,
    /// Sources by name; null for one that was asked for and is not there.
    pub files: Map<String, Value>,
    /// Variables by name: a list of the value, or an empty list for one that was asked for and is not defined.
    pub vars: Map<String, Value>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The text.
    Text(String),
    /// Templates that it extends or includes and that were not sent.
    Files(Vec<String>),
    /// Variables that it mentions and that were not sent.
    Vars(Vec<String>),
    /// What is wrong: one sentence that begins with the place, and what to do.
    Wrong {
        /// `name:line:column: sentence`
        message: String,
        /// Without `hint:`.
        hint: Option<String>,
    },
}

impl Outcome {
    fn wrong(message: impl Into<String>, hint: Option<&str>) -> Self {
        Self::Wrong { message: message.into(), hint: hint.map(str::to_owned) }
    }
}
