//! What the procedures of a policy did, according to the audit log.

use jiff::Timestamp;
use serde::Serialize;
use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};
use warded_lib::{
    audit::{Kind, Record},
    digest::Digest,
};

/// What the procedures of one policy did, as far back as the log goes.
#[derive(Debug, Default)]
pub struct Usages {
    procedures: BTreeMap<String, Usage>,
    /// When the log begins.
    pub since: Option<Timestamp>,
    /// How many records the log has, of all policies.
    pub records: usize,
    /// The components that ran under this policy's name.
    pub components: BTreeSet<String>,
}

/// What one procedure did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Usage {
    /// The number of runs that asked for something.
    pub runs: u64,
    /// The first record.
    pub first: Option<Timestamp>,
    /// The last record.
    pub last: Option<Timestamp>,
    /// What each grant was used for, by the grant as the policy writes it.
    pub grants: BTreeMap<String, Exercise>,
    /// What was requested and denied.
    pub denied: BTreeMap<String, Count>,
}

/// The use of one grant.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Exercise {
    /// The number of calls.
    #[serde(flatten)]
    pub count: Count,
    /// The concrete path, key, service or request, each with its number of calls.
    pub needs: BTreeMap<String, u64>,
}

/// How often something happened, and when last.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Count {
    pub calls: u64,
    /// The number of runs in which it happened.
    pub runs: u64,
    /// The last call.
    pub last: Option<Timestamp>,
    #[serde(skip)]
    last_run: Option<RunKey>,
}

/// A run: by its number, or, for a run that changes nothing and has no number, by its order in the log.
type RunKey = (u64, u64);

impl Usages {
    /// Reads the records of a policy, in the order of the log.
    #[must_use]
    pub fn read(policy: &str, records: impl IntoIterator<Item: Borrow<Record>>) -> Self {
        let mut usages = Self::default();
        // For runs without a number, each `started` begins a new run.
        let mut unnumbered = 0;
        let mut last_runs: BTreeMap<String, RunKey> = BTreeMap::new();
        for record in records {
            let record = record.borrow();
            usages.records += 1;
            usages.since = usages.since.or(Some(record.time));
            let event = &record.event;
            unnumbered += u64::from(event.kind == Kind::Started);
            if event.policy != policy {
                continue;
            }
            usages.components.extend(event.component.as_ref().map(Digest::to_string));
            let run = (event.run, if event.run == 0 { unnumbered } else { 0 });
            let usage = usages.procedures.entry(event.procedure.clone()).or_default();
            match event.kind {
                Kind::Asked => {
                    usage.first = usage.first.or(Some(record.time));
                    usage.last = Some(record.time);
                    if last_runs.insert(event.procedure.clone(), run) != Some(run) {
                        usage.runs += 1;
                    }
                    usage.asked(record, run);
                }
                Kind::Denied => {
                    let capability = event.capability.as_deref().unwrap_or_default();
                    let what = format!("{capability} {}", event.need.as_deref().unwrap_or_default());
                    usage.denied.entry(what.trim_end().to_owned()).or_default().add(record.time, run);
                }
                Kind::Started
                | Kind::Done
                | Kind::Failed
                | Kind::Intent
                | Kind::Result
                | Kind::Ended
                | Kind::Recovered
                | Kind::Missing
                | Kind::Rotated
                | Kind::Continued => {}
            }
        }
        usages
    }

    /// What a procedure did.
    #[must_use]
    pub fn of(&self, procedure: &str) -> Usage {
        self.procedures.get(procedure).cloned().unwrap_or_default()
    }
}

impl Usage {
    /// In how many runs something was asked for, and when; `None` if in no run.
    #[must_use]
    pub fn in_words(&self, when: impl Fn(Timestamp) -> String) -> Option<String> {
        let (first, last) = (when(self.first?), when(self.last?));
        Some(match self.runs {
            1 => format!("asked for something in 1 run: {last}"),
            runs => format!("asked for something in {runs} runs: the first {first}; the last {last}"),
        })
    }

    /// Two grants together may allow a call; the record joins them by a comma.
    fn asked(&mut self, record: &Record, run: RunKey) {
        let Some(grants) = &record.event.grant else { return };
        let need = record.event.need.clone().unwrap_or_default();
        let (first, second) = match grants.rsplit_once(", authority ") {
            Some((first, second)) => (first, Some(format!("authority {second}"))),
            None => (grants.as_str(), None),
        };
        for grant in [Some(first.to_owned()), second].into_iter().flatten() {
            let exercise = self.grants.entry(grant).or_default();
            exercise.count.add(record.time, run);
            *exercise.needs.entry(need.clone()).or_default() += 1;
        }
    }
}

impl Count {
    fn add(&mut self, time: Timestamp, run: RunKey) {
        self.calls += 1;
        self.last = Some(time);
        if self.last_run.replace(run) != Some(run) {
            self.runs += 1;
        }
    }
}
