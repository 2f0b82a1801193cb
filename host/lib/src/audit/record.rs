//! The contents of one line of the log.

use crate::{digest::Digest, moment::distance, text::neutral};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest text in a record, in bytes: enough for a path or a sentence. Even with all texts at full length, one
/// write(2) takes the line.
const MAX_TEXT: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A run began.
    Started,
    /// A procedure requested something that its policy grants.
    Asked,
    /// A procedure requested something that its policy does not grant; the procedure ends.
    Denied,
    /// What was requested was read or staged.
    Done,
    /// The request was granted, but failed.
    Failed,
    /// Warded is about to change the machine, or to ask the CA for a change.
    Intent,
    /// The outcome of that change.
    Result,
    /// A run ended.
    Ended,
    /// About the log itself: the bytes before this record are unfinished, after a crash.
    Recovered,
    /// About the log itself: records that were known to be on disk are missing.
    Missing,
    /// About the log itself: this file is closed, and the chain continues in another one.
    Rotated,
    /// About the log itself: this file continues a closed one.
    Continued,
}

impl Kind {
    /// The word for it in a line for a person.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Asked => "asked",
            Self::Denied => "denied",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Intent => "intent",
            Self::Result => "result",
            Self::Ended => "ended",
            Self::Recovered => "recovered",
            Self::Missing => "missing",
            Self::Rotated => "rotated",
            Self::Continued => "continued",
        }
    }
}

/// What is recorded. The log adds number, time and hashes. It also makes control characters in every text visible, and
/// limits the texts' length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The run's number; 0 outside of runs.
    pub run: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// The component that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<Digest>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub procedure: String,
    pub kind: Kind,
    /// The function that was called, such as `files.write`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// What it was called for: a path, a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub need: Option<String>,
    /// The line of the policy that allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// Further details.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Event {
    /// An event of a run, with its kind and nothing else.
    #[must_use]
    pub fn new(run: u64, kind: Kind) -> Self {
        Self {
            run,
            policy: String::new(),
            component: None,
            procedure: String::new(),
            kind,
            capability: None,
            need: None,
            grant: None,
            detail: None,
        }
    }

    /// Adds the function that was called.
    #[must_use]
    pub fn capability(self, capability: &str) -> Self {
        Self { capability: Some(capability.to_owned()), ..self }
    }

    /// Adds what it was called for.
    #[must_use]
    pub fn need(self, need: &str) -> Self {
        Self { need: Some(need.to_owned()), ..self }
    }

    /// Adds the grant that allows it.
    #[must_use]
    pub fn grant(self, grant: &str) -> Self {
        Self { grant: Some(grant.to_owned()), ..self }
    }

    /// Adds further details.
    #[must_use]
    pub fn detail(self, detail: &str) -> Self {
        Self { detail: Some(detail.to_owned()), ..self }
    }

    /// The same event with texts that are safe to show and of limited length, since a procedure chooses some of them.
    pub(super) fn neutralised(&self) -> Self {
        let option = |text: &Option<String>| text.as_deref().map(bounded);
        Self {
            run: self.run,
            policy: bounded(&self.policy),
            component: self.component,
            procedure: bounded(&self.procedure),
            kind: self.kind,
            capability: option(&self.capability),
            need: option(&self.need),
            grant: option(&self.grant),
            detail: option(&self.detail),
        }
    }
}

/// One line of the log, as it is read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The record's number, from 1.
    pub n: u64,
    /// When it was written.
    pub time: Timestamp,
    /// The hash of the record before.
    pub previous: Digest,
    #[serde(flatten)]
    pub event: Event,
    /// With `recovered`: the digest of the unfinished bytes before this line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torn: Option<Digest>,
    /// With `missing`: the number of the last record that was known to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<u64>,
    /// The number of unsealed records before this one, which are sealed together with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seals: Option<u64>,
    /// The hash of this record.
    pub hash: Digest,
}

impl Record {
    /// One line for a person who reads it now, with the time as a distance from now.
    #[must_use]
    pub fn told(&self, now: Timestamp) -> String {
        let ago = format!("{} ago", distance(now.duration_since(self.time).unsigned_abs()));
        format!("{:>5}  {}, {ago:<11}  {}", self.n, self.moment(), self.what())
    }

    fn moment(&self) -> String {
        self.time.strftime("%F %T UTC").to_string()
    }

    fn what(&self) -> String {
        let Event { run, policy, procedure, kind, capability, need, grant, detail, .. } = &self.event;
        let mut what = format!("{:9}", kind.as_str());
        what.extend((*run > 0).then(|| format!(" run {run}")));
        let words = [Some(policy.as_str()), Some(procedure.as_str()), capability.as_deref(), need.as_deref()];
        let words = words.into_iter().flatten().filter(|word| !word.is_empty());
        what.extend(words.map(|word| format!(" {word}")));
        what.extend(grant.iter().map(|grant| format!("  [{grant}]")));
        what.extend(detail.iter().map(|detail| format!("  · {detail}")));
        what.extend(self.seals.iter().map(|seals| format!("  · seals {seals} more")));
        what
    }
}

/// One line for a person who may read it at any time.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}  {}  {}", self.n, self.moment(), self.what())
    }
}

fn bounded(text: &str) -> String {
    let neutral = neutral(text);
    if neutral.len() <= MAX_TEXT {
        return neutral;
    }
    let end = (0..=MAX_TEXT).rev().find(|end| neutral.is_char_boundary(*end)).unwrap_or(0);
    format!("{}… ({} bytes)", neutral.get(..end).unwrap_or_default(), neutral.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_made_harmless_and_short() {
        let mut event = Event::new(1, Kind::Asked);
        event.need = Some("a\nb\x1b[2J".to_owned());
        event.detail = Some("ü".repeat(MAX_TEXT));
        let event = event.neutralised();
        assert_eq!(event.need.as_deref(), Some("a\\nb\\u{1b}[2J"));
        let detail = event.detail.unwrap();
        assert!(detail.len() < MAX_TEXT + 40 && detail.ends_with("(8192 bytes)"), "{}", detail.len());
    }
}
