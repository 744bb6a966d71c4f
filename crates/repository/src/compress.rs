//! Compressing and uncompressing indices.

use std::io::{Read, Write as _};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// The fastest that compresses at all: what is written with each publication must not cost more with each version.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8 + 64), Compression::new(1));
    // A vector takes everything.
    let _ = encoder.write_all(text);
    encoder.finish().unwrap_or_default()
}

/// The same with xz(1).
pub(crate) fn xz(text: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::with_capacity(text.len() / 8 + 64), 0);
    let _ = encoder.write_all(text);
    encoder.finish().unwrap_or_default()
}

/// At most `limit` bytes.
pub(crate) fn gunzip(bytes: &[u8], limit: u64) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(limit + 1).read_to_end(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > limit {
        return Err(format!("it has more than {limit} bytes"));
    }
    Ok(text)
}
