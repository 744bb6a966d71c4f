//! WireGuard and TCP/IP inside the process.
