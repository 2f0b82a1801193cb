//! The bounds on what a guest asks for and says.

use warded_lib::error::Error;

/// Bytes of what a guest asked for, where it is shown and recorded.
pub const NEED_BYTES: usize = 300;
/// Bytes of why something granted could not be had, on record: sshd may have said several lines.
pub const FAILURE_BYTES: usize = 2_000;
/// Bytes of the audit log that one run's calls may fill.
pub const RECORD_BYTES: usize = 7 << 20;
/// Characters of a line that a guest says; the rest is cut.
pub const LINE_CHARACTERS: usize = 1_000;

/// A guest that went beyond one of these.
pub(crate) fn exceeded(who: &str, what: &str) -> Error {
    Error::refused(format!("{who} was stopped: {what}")).next("this is a fault of the component: tell its author")
}
