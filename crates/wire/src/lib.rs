//! The messages between controller and agent, and the compiled play they carry.
