//! `log.*`.

use super::{Failure, Operation};
use crate::broker::{
    granted::Granted,
    limits::LINE_CHARACTERS,
    session::{Level, Message, Session},
};
use serde_json::{Value, json};
use warded_lib::{policy::need::Need, text::neutral};

/// Prints something for the operator.
#[derive(Debug)]
pub struct Say {
    pub level: Level,
    /// The text, raw, as the guest gave it.
    pub text: String,
}

impl Operation for Say {
    type Output = ();

    fn need(&self) -> Need {
        match self.level {
            Level::Info => Need::Inform,
            Level::Warn => Need::Warn,
        }
    }

    fn arguments(&self) -> Value {
        json!({ "text": self.text })
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<(), Failure> {
        let Self { level, text } = granted.operation();
        let text = neutral(&text.chars().take(LINE_CHARACTERS).collect::<String>());
        session.messages.push(Message { level: *level, text });
        Ok(())
    }
}
