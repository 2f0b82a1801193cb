//! Calls as a recording stores them.

use super::bytes::bytes_of;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use warded_lib::text::neutral;

/// A call of a guest, with all of its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// `interface.function`
    pub function: String,
    /// What it is about, as in the audit: a path, names, a keyword.
    pub about: String,
    /// The other arguments.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub arguments: Value,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", neutral(&self.function), neutral(&self.about))?;
        if let Some(arguments) = self.arguments.as_object() {
            for (name, value) in arguments.iter().filter(|(_, value)| !value.is_null()) {
                let text = bytes_of(value).map_or_else(|| value.to_string(), |bytes| format!("{} bytes", bytes.len()));
                let text = text.chars().take(120).collect::<String>();
                write!(f, ", {}: {}", neutral(name), neutral(&text))?;
            }
        }
        Ok(())
    }
}

/// The outcome of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// What the guest got.
    Answer(Value),
    /// The `error` that it got.
    Failure {
        /// As in types.wit.
        code: String,
        /// As in types.wit.
        message: String,
        /// As in types.wit.
        details: Vec<(String, String)>,
    },
    /// The run was stopped there, for this reason.
    Stopped(String),
}
