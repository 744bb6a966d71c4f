//! Jinja2 expressions and templates as Ansible configures them.
//!
//! [`Engine`] renders values, expressions and template files against a [`Scope`], the layers of a host's variables.
//! [`check_str`], [`check_expr`] and [`check_template`] find what is wrong with a text before anything runs.
//!
//! The language is Jinja2's, evaluated directly over [`debark_value::Value`]: undefined and unknown values carry
//! their names and reasons through every operation until one of them is used, which a general template engine's
//! hooks cannot do, and the whole costs the agent a tenth of its size limit.

/// The filter that stands in the place of an encrypted value nobody has the password of: using it is an error, with what
/// it is applied to as the reason.
pub const CLOSED: &str = "_closed_vault";

mod args;
mod calls;
mod check;
mod engine;
mod error;
mod eval;
mod exec;
mod filters;
mod format;
mod globals;
mod included;
mod lookups;
mod methods;
mod names;
#[cfg(feature = "whole")]
mod net;
mod ops;
mod print;
pub mod random;
pub mod regex;
mod scope;
pub mod shape;
mod syntax;
mod templates;
mod tera;
mod tests_;
mod time;
mod value;
mod version;
mod zone;

pub use check::{Mentions, check_expr, check_str, check_template};
pub use engine::{Engine, Services, TemplateOptions, Truth, is_template};
pub use error::{Error, ErrorKind, SyntaxError};
pub use lookups::KNOWN as LOOKUPS;
pub use scope::{LayerKind, Scope};
pub use tera::{TERA, is_tera};
