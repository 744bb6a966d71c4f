//! Whom to tell of what.

use crate::Program;

/// Someone to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Whom.
    pub to: Receiver,
    /// Of what; never empty.
    pub on: Vec<Event>,
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receiver {
    /// A URL that JSON is posted to.
    Webhook(String),
    /// A program that gets JSON on standard input.
    Command(Program),
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What can be told.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Event {
            $($(#[$doc])* $name,)*
        }

        impl Event {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];
            /// Their names, in the same order.
            pub const NAMES: &[&str] = &[$($text),*];

            /// As in the project file.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

events! {
    /// A deployment, promotion or rollback begins.
    Started = "started",
    /// A deployment or promotion is done.
    Deployed = "deployed",
    /// A rollback is done.
    RolledBack = "rolled-back",
    /// A deployment failed, and its hosts were put back.
    Reverted = "reverted",
    /// It failed, and hosts are not as they were.
    Failed = "failed",
    /// A rule refused it.
    Refused = "refused",
    /// Someone approved a release.
    Approved = "approved",
    /// An environment is held against a release.
    Held = "held",
    /// A hold is over.
    Released = "released",
}
