//! Frames: any bytes are a message or an error, in either direction; a message survives the way back.
#![no_main]

use debark_wire::{FromAgent, Play, ToAgent, WireError};
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};

fuzz_target!(|bytes: &[u8]| {
    let Some((direction, bytes)) = bytes.split_first() else { return };
    match direction % 4 {
        0 => message::<ToAgent>(bytes),
        1 => message::<FromAgent>(bytes),
        2 => message::<Play>(bytes),
        _ => stream(bytes),
    }
});

fn message<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok(message) = debark_wire::decode::<T>(bytes) {
        // Not compared with the bytes: numbers have more than one spelling.
        let once = debark_wire::encode(&message).expect("what was read can be written");
        let again: T = debark_wire::decode(&once).expect("what was written can be read");
        assert_eq!(debark_wire::encode(&again).expect("as before"), once);
    }
}

fn stream(mut bytes: &[u8]) {
    loop {
        match debark_wire::read::<FromAgent>(&mut bytes) {
            Ok(_) | Err(WireError::Malformed(_)) => {}
            Err(_) => break,
        }
    }
}
