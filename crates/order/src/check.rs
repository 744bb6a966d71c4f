//! How a host finds out whether a release serves.

use serde::{Deserialize, Serialize};

/// One health check, as the host makes it. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// For messages: `http http://127.0.0.1:8080/health`.
    pub name: String,
    /// What is asked.
    pub probe: Probe,
    /// The check has to hold before that much time is over, else it has failed.
    pub within: u64,
    /// Between the end of one try and the next.
    pub interval: u64,
    /// It has to hold without interruption for that long; 0: once.
    pub healthy_for: u64,
    /// For a single try.
    pub timeout: u64,
}

/// What a check asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// An answer over HTTP/1.1, without TLS, from the host itself.
    Http {
        /// `http://127.0.0.1:8080/health`.
        url: String,
        /// Status codes that are healthy; empty: 200 to 399.
        #[serde(default)]
        status: Vec<u16>,
        /// What the body has to contain.
        #[serde(default)]
        contains: Option<String>,
        /// The `Host` header, if not that of the URL.
        #[serde(default)]
        host: Option<String>,
    },
    /// A connection.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A program that ends with 0, started without a shell.
    Command {
        /// The program, with its absolute path, and its arguments.
        argv: Vec<String>,
    },
    /// A systemd unit that is active (systemctl(1), `is-active`) and stays the same process.
    Unit {
        /// `shop.service`.
        unit: String,
    },
}
