//! What has to be on record of a hostile guest: what it tried, once.

use serde_json::Value;
use std::ops::RangeInclusive;
use warded_lib::text::neutral;

/// The shortest that a long text may be cut to.
const CUT: usize = 200;

/// A record, as far as it is known beforehand.
pub(super) struct Record {
    kind: &'static str,
    about: Option<(String, String)>,
    words: Vec<String>,
    times: RangeInclusive<usize>,
}

/// It was told why it could not have what it is granted, or what names nothing.
pub(super) fn failed(capability: &str, asked: &str, code: &str) -> Record {
    Record::of("failed").about(capability, asked).saying(&[&format!("{code}: ")])
}

/// It asked for what it is granted.
pub(super) fn asked(capability: &str, asked: &str) -> Record {
    Record::of("asked").about(capability, asked)
}

/// Its run ended, with these words.
pub(super) fn ended(words: &str) -> Record {
    Record::of("ended").saying(&[words])
}

impl Record {
    /// A record of a kind.
    pub(super) fn of(kind: &'static str) -> Self {
        Self { kind, about: None, words: Vec::new(), times: 1..=1 }
    }

    /// The capability, and what it was asked for: a path, a name.
    pub(super) fn about(mut self, capability: &str, asked: &str) -> Self {
        self.about = Some((capability.to_owned(), asked.to_owned()));
        self
    }

    /// One of these is in its detail.
    pub(super) fn saying(mut self, words: &[&str]) -> Self {
        self.words = words.iter().map(|words| (*words).to_owned()).collect();
        self
    }

    /// There may be several; else there is exactly one.
    pub(super) fn often(mut self) -> Self {
        self.times = 1..=usize::MAX;
        self
    }

    /// There is none: it never came so far.
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

/// Whether what is on record is what was asked for, or the beginning of it.
fn is_of(need: &str, asked: &str) -> bool {
    match need.strip_suffix('…') {
        Some(cut) => cut.len() >= CUT && asked.starts_with(cut),
        None => need == asked,
    }
}
