//! The last gate: what decides on a host whether a package is installed.
