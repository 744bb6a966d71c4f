//! Runs a compiled play on the host it stands on.
