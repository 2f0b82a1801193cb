//! The limits on what a guest asks for and prints.

use warded_lib::error::Error;

/// How many bytes of what a guest asked for are shown and recorded.
pub const NEED_BYTES: usize = 300;
/// How many bytes of the reason are recorded if something granted was not available: sshd may have printed several
/// lines.
pub const FAILURE_BYTES: usize = 2_000;
/// How many bytes of the audit log one run's calls may fill.
pub const RECORD_BYTES: usize = 7 << 20;
/// How many characters of a line that a guest prints are kept; the rest is cut.
pub const LINE_CHARACTERS: usize = 1_000;

/// The error for a guest that exceeded one of these limits.
pub(crate) fn exceeded(who: &str, what: &str) -> Error {
    Error::refused(format!("{who} was stopped: {what}")).next("this is a fault of the component: tell its author")
}
