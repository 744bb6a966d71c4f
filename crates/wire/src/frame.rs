//! Frames: a length of four bytes, little endian, then a postcard message.

use std::io::{self, Read, Write};
use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use crate::play::HostPlay;

/// The largest frame either side accepts, in bytes: bounds what a broken or hostile far side can make us allocate.
pub const FRAME_LIMIT: usize = 256 << 20;

/// The largest frame that a controller takes from a host: what a task returns (two outputs of 32 MiB, as text and in
/// lines), and no more.
pub const HOST_FRAME_LIMIT: usize = 192 << 20;

/// Content (files) is sent in parts of this many bytes.
pub const PART: usize = 1 << 20;

/// Opens the stream in each direction: eight bytes that name protocol and version.
///
/// A shell's greeting or an error text instead of it is recognised as such and shown.
pub const MAGIC: [u8; 8] = *b"debark\x00\x01";

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The far side closed the stream between frames.
    #[error("the connection was closed")]
    Closed,
    /// The stream broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// A frame's length is beyond [`FRAME_LIMIT`].
    #[error("the far side announced a message of {0} bytes, which no debark sends")]
    TooLong(usize),
    /// A frame's content is not a message.
    #[error("the far side sent something that is not a debark message ({0})")]
    Malformed(postcard::Error),
}

/// Encodes a message without a frame.
///
/// # Errors
/// It cannot be encoded (a map or list without known length; debark's messages have none).
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    postcard::to_stdvec(message).map_err(WireError::Malformed)
}

/// Decodes what [`encode`] gave.
///
/// # Errors
/// It is not such a message.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    postcard::from_bytes(bytes).map_err(WireError::Malformed)
}

/// Writes one frame; does not flush.
///
/// # Errors
/// The stream broke, or the message is beyond [`FRAME_LIMIT`].
pub fn write<T: Serialize>(out: &mut impl Write, message: &T) -> Result<(), WireError> {
    let bytes = encode(message)?;
    if bytes.len() > FRAME_LIMIT {
        return Err(WireError::TooLong(bytes.len()));
    }
    out.write_all(&(bytes.len() as u32).to_le_bytes())?;
    out.write_all(&bytes)?;
    Ok(())
}

/// A [`crate::ToAgent::Play`] as a frame in parts, so that all hosts share the large one.
///
/// # Errors
/// The message is beyond [`FRAME_LIMIT`].
pub fn play_frame(shared: &Arc<[u8]>, host: &HostPlay) -> Result<Vec<Arc<[u8]>>, WireError> {
    // The variant's number, the length of the bytes, the bytes, the host's part: what postcard would write.
    let mut head = encode(&(0_u32, shared.len()))?;
    let tail = encode(host)?;
    let length = head.len() + shared.len() + tail.len();
    if length > FRAME_LIMIT {
        return Err(WireError::TooLong(length));
    }
    head.splice(0..0, (length as u32).to_le_bytes());
    Ok(vec![head.into(), shared.clone(), tail.into()])
}

/// Reads one frame.
///
/// # Errors
/// The stream ended or broke, or what came is no message.
pub fn read<T: DeserializeOwned>(input: &mut impl Read) -> Result<T, WireError> {
    read_within(FRAME_LIMIT, input)
}

/// Reads one frame of no more than `limit` bytes.
///
/// # Errors
/// As [`read`].
pub fn read_within<T: DeserializeOwned>(limit: usize, input: &mut impl Read) -> Result<T, WireError> {
    let mut length = [0; 4];
    match input.read(&mut length)? {
        0 => return Err(WireError::Closed),
        some => input.read_exact(length.get_mut(some..).unwrap_or_default())?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > limit {
        return Err(WireError::TooLong(length));
    }
    // `take` grows the buffer as bytes arrive: a lying length allocates nothing.
    let mut bytes = Vec::with_capacity(length.min(PART));
    input.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(WireError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    decode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ToAgent;

    #[test]
    fn frames_survive_the_way() {
        let mut stream = Vec::new();
        write(&mut stream, &ToAgent::Stop { reason: "enough".into() }).unwrap();
        write(&mut stream, &ToAgent::End).unwrap();
        let mut input = stream.as_slice();
        assert_eq!(read::<ToAgent>(&mut input).unwrap(), ToAgent::Stop { reason: "enough".into() });
        assert_eq!(read::<ToAgent>(&mut input).unwrap(), ToAgent::End);
        assert!(matches!(read::<ToAgent>(&mut input), Err(WireError::Closed)));
    }

    #[test]
    fn a_play_in_parts_is_the_same_message() {
        let shared: Arc<[u8]> = vec![7; 300].into();
        let host = HostPlay { host: "web1".into(), ..HostPlay::default() };
        let parts = play_frame(&shared, &host).unwrap().concat();
        let mut whole = Vec::new();
        write(&mut whole, &ToAgent::Play { shared, host: Box::new(host) }).unwrap();
        assert_eq!(parts, whole);
    }

    #[test]
    fn deep_values_are_refused_not_overflowed() {
        use debark_value::Value;
        let nested = |levels: usize| (0..levels).fold(Value::Null, |inner, _| Value::list([inner]));
        assert!(decode::<Value>(&encode(&nested(100)).unwrap()).is_ok());
        // `List` is variant 5 and has one item: two bytes a level.
        let hostile: Vec<u8> = [5, 1].repeat(1_000_000);
        assert!(matches!(decode::<Value>(&hostile), Err(WireError::Malformed(_))));
        assert!(decode::<Value>(&encode(&nested(100)).unwrap()).is_ok(), "the count is kept after a refusal");
    }

    #[test]
    fn rubbish_is_refused() {
        assert!(matches!(read::<ToAgent>(&mut &b"\xff\xff\xff\xffx"[..]), Err(WireError::TooLong(_))));
        assert!(matches!(read::<ToAgent>(&mut &b"\x02\0\0\0\xff\xff"[..]), Err(WireError::Malformed(_))));
        assert!(matches!(read::<ToAgent>(&mut &b"\x09\0\0\0\x01"[..]), Err(WireError::Io(_))));
        assert!(matches!(read::<ToAgent>(&mut &b"\x09\0"[..]), Err(WireError::Io(_))));
    }
}
