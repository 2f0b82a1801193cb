//! The two kinds of SSH certificate.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of subject that a certificate certifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A machine, to its clients.
    Host,
    /// A person, to machines.
    User,
}

impl Kind {
    /// `host` or `user`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::User => "user",
        }
    }

    /// Converts the number in a certificate (PROTOCOL.certkeys).
    pub(super) fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::User),
            2 => Some(Self::Host),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Kind> for ssh_key::certificate::CertType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Host => Self::Host,
            Kind::User => Self::User,
        }
    }
}
