//! Errors where the system allows no further process or thread.

use crate::error::Error;
use std::io;

/// What a user can do about it.
const LIMITS: &str = "raise the limits on processes and memory under which this runs: ulimit -a, or its control group";

/// Adds the cause to an error, and advice if the cause is a limit of this process.
#[must_use]
pub fn caused(error: Error, cause: &io::Error) -> Error {
    let error = error.cause(cause);
    if cause.kind() == io::ErrorKind::WouldBlock { error.next(LIMITS) } else { error }
}
