//! What the audit log must have of a hostile guest: each thing that it tried, once.

use serde_json::Value;
use std::ops::RangeInclusive;
use warded_lib::text::neutral;

/// The shortest length to which a long text may be cut.
const CUT: usize = 200;

/// The parts of a record that are known beforehand.
pub(super) struct Record {
    kind: &'static str,
    about: Option<(String, String)>,
    words: Vec<String>,
    times: RangeInclusive<usize>,
}

/// The guest asked for something that is granted, or that names nothing, and got this error.
pub(super) fn failed(capability: &str, asked: &str, code: &str) -> Record {
    Record::of("failed").about(capability, asked).saying(&[&format!("{code}: ")])
}

/// The guest asked for something that is granted.
pub(super) fn asked(capability: &str, asked: &str) -> Record {
    Record::of("asked").about(capability, asked)
}

/// The guest's run ended, with these words.
pub(super) fn ended(words: &str) -> Record {
    Record::of("ended").saying(&[words])
}

impl Record {
    /// A record of this kind.
    pub(super) fn of(kind: &'static str) -> Self {
        Self { kind, about: None, words: Vec::new(), times: 1..=1 }
    }

    /// Sets the capability and what the guest asked for: a path or a name.
    pub(super) fn about(mut self, capability: &str, asked: &str) -> Self {
        self.about = Some((capability.to_owned(), asked.to_owned()));
        self
    }

    /// The record's detail must have one of these texts.
    pub(super) fn saying(mut self, words: &[&str]) -> Self {
        self.words = words.iter().map(|words| (*words).to_owned()).collect();
        self
    }

    /// There may be several such records. Otherwise there must be exactly one.
    pub(super) fn often(mut self) -> Self {
        self.times = 1..=usize::MAX;
        self
    }

    /// There must be no such record: the guest never got that far.
    pub(super) fn never(mut self) -> Self {
        self.times = 0..=0;
        self
    }

    pub(super) fn look(&self, name: &str, log: &str, directory: &str) {
        let found = log.lines().filter(|line| self.is(&serde_json::from_str(line).unwrap(), directory)).count();
        let Self { kind, about, words, .. } = self;
        let end: Vec<&str> = log.lines().rev().take(5).collect();
        assert!(
            self.times.contains(&found),
            "{name}: {found} records {kind} about {about:?} with {words:?}; the last of all are\n{}",
            end.join("\n")
        );
    }

    fn is(&self, record: &Value, directory: &str) -> bool {
        let text = |key: &str| record[key].as_str();
        let here = |words: &str| words.replace("{dir}", directory);
        let about = self.about.as_ref().is_none_or(|(capability, asked)| {
            text("capability") == Some(capability)
                && text("need").is_some_and(|need| is_of(need, &neutral(&here(asked))))
        });
        let detail = text("detail").unwrap_or_default();
        let said = self.words.is_empty() || self.words.iter().any(|words| detail.contains(&here(words)));
        text("kind") == Some(self.kind) && about && said
    }
}

/// Whether the recorded text is what the guest asked for, or its beginning.
fn is_of(need: &str, asked: &str) -> bool {
    match need.strip_suffix('…') {
        Some(cut) => cut.len() >= CUT && asked.starts_with(cut),
        None => need == asked,
    }
}
