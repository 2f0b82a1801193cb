//! What the audit log says that the procedures of a policy did.

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
    /// How many records it has, of all policies.
    pub records: usize,
    /// The components that ran under this policy's name.
    pub components: BTreeSet<String>,
}

/// What one procedure did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Usage {
    /// Runs that asked for something.
    pub runs: u64,
    /// The first record and the last one.
    pub first: Option<Timestamp>,
    /// The last record.
    pub last: Option<Timestamp>,
    /// For each grant, as the policy has it: what it was used for.
    pub grants: BTreeMap<String, Exercise>,
    /// What was asked for, and denied.
    pub denied: BTreeMap<String, Count>,
}

/// The use of one grant.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Exercise {
    /// All calls.
    #[serde(flatten)]
    pub count: Count,
    /// The concrete path, key, service or request, each with its calls.
    pub needs: BTreeMap<String, u64>,
}

/// How often, and when last.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Count {
    pub calls: u64,
    /// Runs in which there were any.
    pub runs: u64,
    /// The last call.
    pub last: Option<Timestamp>,
    #[serde(skip)]
    last_run: Option<RunKey>,
}

/// A run with a number; one without, which changes nothing, is recognised by the records between.
type RunKey = (u64, u64);

impl Usages {
    /// Reads the records of a policy, in the order of the log.
    #[must_use]
    pub fn read(policy: &str, records: impl IntoIterator<Item: Borrow<Record>>) -> Self {
        let mut usages = Self::default();
        // Runs without a number begin anew with each `started`.
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
    /// In how many runs something was asked for, and when; nothing if in none.
    #[must_use]
    pub fn in_words(&self, when: impl Fn(Timestamp) -> String) -> Option<String> {
        let (first, last) = (when(self.first?), when(self.last?));
        Some(match self.runs {
            1 => format!("asked for something in 1 run: {last}"),
            runs => format!("asked for something in {runs} runs: the first {first}; the last {last}"),
        })
    }

    /// A call may be allowed by two grants at once, which the record joins by a comma.
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
