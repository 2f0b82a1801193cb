//! Where there may be no further process or thread.

use crate::error::Error;
use std::io;

/// What a person does about it.
const LIMITS: &str = "raise the limits on processes and memory under which this runs: ulimit -a, or its control group";

/// An error with its cause; where that is a limit of this process, with what to do about it.
#[must_use]
pub fn caused(error: Error, cause: &io::Error) -> Error {
    let error = error.cause(cause);
    if cause.kind() == io::ErrorKind::WouldBlock { error.next(LIMITS) } else { error }
}
