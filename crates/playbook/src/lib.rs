//! The language: what users write, read and checked before any host is contacted.
//!
//! YAML becomes [`yaml::Node`]s with places, those become compiled plays ([`debark_wire::Play`]) in which names
//! are resolved, parameters are checked and files are found. Everything that is wrong is a [`Diagnostic`] with file,
//! line, column and a hint.

mod command;
pub mod compile;
pub mod diagnostic;
pub mod inventory;
pub mod keywords;
pub mod schema;
pub mod source;
pub mod vars;
pub mod vault;
pub mod yaml;

pub use compile::{CompileOptions, Compiled, CompiledPlay, Compiler};
pub use diagnostic::{Diagnostic, Severity};
pub use source::{SourceMap, Span};
pub use yaml::{Decrypt, DecryptError, Node};
