//! What the CA refused, for a person.

use std::fmt;
use warded_lib::{
    error::{Error, Label},
    machine::path::AbsolutePath,
};

/// A certificate that the CA refused to a renewal: its file stays as it is.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The private key's path.
    pub key: AbsolutePath,
    /// Why, and what to do.
    pub error: Error,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, message) = (self.key.as_str(), self.error.message());
        f.write_str("Not renewed: ")?;
        if message.contains(key) {
            f.write_str(message)?;
        } else {
            write!(f, "{key}: {message}")?;
        }
        self.error.notes().filter(|(label, _)| *label != Label::State).try_for_each(|(label, text)| match label {
            Label::Cause => write!(f, ": {text}"),
            Label::Seen | Label::State | Label::Next => write!(f, "; {label}: {text}"),
        })
    }
}
