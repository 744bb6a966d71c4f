//! The messages between controller and agent, and the compiled play they carry.

mod call;
mod event;
mod frame;
mod message;
mod password;
mod play;
mod request;
mod span;

pub use call::*;
pub use event::*;
pub use frame::{
    FRAME_LIMIT, HOST_FRAME_LIMIT, MAGIC, PART, WireError, decode, encode, play_frame, read, read_within,
    write,
};
pub use message::*;
pub use password::Password;
pub use play::*;
pub use request::*;
pub use span::seconds;
