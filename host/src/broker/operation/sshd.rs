//! `sshd.effective`.

use super::{Failure, Operation};
use crate::broker::{granted::Granted, session::Session};
use serde_json::{Value, json};
use warded_lib::policy::need::Need;

/// The values of a keyword for a connection.
#[derive(Debug)]
pub struct EffectiveValues {
    pub keyword: String,
    /// Criteria as `sshd -C` takes them (sshd(8)); empty: outside of every `Match`.
    pub connection: Vec<(String, String)>,
}

impl Operation for EffectiveValues {
    type Output = Vec<String>;

    fn need(&self) -> Need {
        Need::Effective(self.keyword.clone())
    }

    fn arguments(&self) -> Value {
        json!({ "connection": self.connection })
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<Self::Output, Failure> {
        let Self { keyword, connection } = granted.operation();
        if keyword.is_empty() || !keyword.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Failure::new("invalid-keyword", "a keyword has letters and digits only"));
        }
        for (name, value) in connection {
            let known = ["user", "host", "addr", "laddr", "lport", "rdomain", "invalid-user"].contains(&name.as_str());
            let plain = |character: char| character.is_ascii_alphanumeric() || ".:-_%@$".contains(character);
            if !known || value.is_empty() || value.len() > 255 || !value.chars().all(plain) {
                return Err(Failure::new(
                    "invalid-keyword",
                    "a connection is user, host, addr, laddr, lport or rdomain, with a plain value",
                ));
            }
        }
        session.values(connection, keyword)
    }
}
