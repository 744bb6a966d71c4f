//! Bounds how deep a value from the other side of a connection may be nested.
//!
//! Two bytes on the wire open a level, so a hostile far side could otherwise exhaust the stack of whoever decodes.

use std::cell::Cell;

use serde::de::{Deserialize, Deserializer, Error};

/// Deeper than any playbook's data, and far from what a small stack can take.
const DEEPEST: usize = 128;

thread_local!(static DEPTH: Cell<usize> = const { Cell::new(0) });

/// Leaves a level however the decoding of it ends.
struct Level;

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Decodes one level.
pub fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    if DEPTH.get() >= DEEPEST {
        return Err(D::Error::custom("a value is nested too deeply"));
    }
    DEPTH.set(DEPTH.get() + 1);
    let _level = Level;
    T::deserialize(from)
}
