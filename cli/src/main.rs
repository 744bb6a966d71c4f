//! The `debark` binary: arguments in, calls, rendering out.

fn main() {}
