//! Recordings: the calls of a run and the outcome of each, as a file.

mod bytes;
mod call;
mod effects;
mod file;

pub use bytes::{bytes, bytes_of};
pub use call::{Call, Outcome};
pub use effects::{Difference, differences};
pub use file::{CALL_BYTES, Head, MAX_BYTES, Recording};
