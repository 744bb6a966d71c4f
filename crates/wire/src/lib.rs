//! The messages between controller and agent, and the compiled play they carry.

mod frame;
mod message;
mod password;
mod play;
mod span;

pub use frame::{
    FRAME_LIMIT, HOST_FRAME_LIMIT, MAGIC, PART, WireError, decode, encode, play_frame, read, read_within,
    write,
};
pub use message::*;
pub use password::Password;
pub use play::*;
pub use span::seconds;
