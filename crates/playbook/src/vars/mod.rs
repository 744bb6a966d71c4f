//! Variables that are set in files and on the command line, and who wins.

pub mod config;
pub mod connection;
pub mod extra;
pub mod files;
pub mod layer;
pub mod magic;
pub mod prompt;
