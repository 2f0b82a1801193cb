//! The requests to the CA that a procedure may make.

use crate::ca::Kind;
use serde::Deserialize;
use std::fmt;

/// `"issue host"`, `"renew user"`, `"roots host"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Authority {
    pub action: Action,
    pub kind: Kind,
}

/// The types of requests to a CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Its public keys.
    Roots,
    /// A certificate.
    Issue,
    Renew,
    /// A successor for another key, together with that key.
    Rekey,
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Roots => "roots",
            Action::Issue => "issue",
            Action::Renew => "renew",
            Action::Rekey => "rekey",
        };
        write!(f, "{action} {}", self.kind)
    }
}

impl TryFrom<String> for Authority {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (action, kind) = text.split_once(' ').unwrap_or((&text, ""));
        let action = match action {
            "roots" => Some(Action::Roots),
            "issue" => Some(Action::Issue),
            "renew" => Some(Action::Renew),
            "rekey" => Some(Action::Rekey),
            _ => None,
        };
        let kind = match kind {
            "host" => Some(Kind::Host),
            "user" => Some(Kind::User),
            _ => None,
        };
        action.zip(kind).map(|(action, kind)| Self { action, kind }).ok_or_else(|| {
            format!(
                "unknown request {:?} (roots, issue, renew or rekey, then host or user: \"renew host\")",
                crate::text::neutral(&text)
            )
        })
    }
}
