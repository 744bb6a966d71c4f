//! What can be done to a Debian host: one file per module.
//!
//! A module is typed parameters ([`params!`]) and one function that observes the host and yields a
//! [`plan::Plan`]: what it found, what it would change, and how. See [`plan`] for why.

pub mod accounts;
pub mod apt;
pub mod apt_repository;
pub mod atomic;
pub mod authorized_key;
pub mod builtin;
pub mod clock;
pub mod command;
pub mod cron;
pub mod deb822_repository;
pub mod debconf;
pub mod dpkg;
pub mod dpkg_selections;
pub mod edit;
pub mod exec;
pub mod facts;
pub mod file_args;
pub mod file_diff;
pub mod fnmatch;
pub mod get_url;
pub mod getent;
pub mod git;
pub mod group;
pub mod hash;
pub mod host;
pub mod hostname;
pub mod http;
pub mod iptables;
pub mod known_hosts;
pub mod locale_gen;
pub mod mode;
pub mod modprobe;
pub mod mount;
pub mod package;
pub mod package_facts;
pub mod param;
pub mod paths;
pub mod ping;
pub mod plan;
pub mod raw;
pub mod reboot;
mod registry;
pub mod script;
pub mod service;
pub mod service_facts;
pub mod setup;
pub mod shadow;
pub mod shell;
pub mod shlex;
pub mod sysctl;
pub mod systemd;
pub mod textfile;
pub mod timezone;
pub mod ufw;
pub mod units;
pub mod upstream;
pub mod uri;
pub mod user;
pub mod wait_for;

pub use debark_value::{Map, Value, from_json, map, to_json_string};
pub use host::Host;
pub use plan::{Action, Diff, Failure, Plan};
pub use registry::{Module, find, names, short_name};
