//! A run that gets its answers from a recording.

use super::{Answer, given};
use crate::broker::Failure;
use serde_json::{Value, json};
use std::{cell::RefCell, collections::BTreeMap};
use warded_artifact::recording::{Call, Outcome};
use warded_lib::error::{Error, Result};

/// The first call where a run asked for something else than was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The number of the call, counted from 1.
    pub number: usize,
    /// What the run asked for; `None` if it had ended.
    pub asked: Option<Call>,
    /// What the recorded run asked for there; `None` if that had ended.
    pub recorded: Option<Call>,
}

/// A recording that answers calls.
#[derive(Debug)]
pub struct Replay {
    recorded: Vec<(Call, Outcome)>,
    progress: RefCell<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    made: Vec<(Call, Outcome)>,
    divergence: Option<Divergence>,
    /// What this run staged, by path; `None` for a file that it removes.
    staged: BTreeMap<String, Option<Value>>,
}

impl Replay {
    /// A replay of these calls.
    #[must_use]
    pub fn of(recorded: Vec<(Call, Outcome)>) -> Self {
        Self { recorded, progress: RefCell::default() }
    }

    /// Answers a call: with the recorded call of the same position, or, after the first call that differs, with a
    /// recorded call that asked for the same.
    ///
    /// # Errors
    /// The recorded run was stopped there, or the recording has no answer.
    pub(in crate::broker) fn answer<T: Answer>(&self, call: Call) -> Result<Result<T, Failure>> {
        let mut progress = self.progress.borrow_mut();
        let number = progress.made.len();
        let next = self.recorded.get(number);
        if progress.divergence.is_none() && next.is_none_or(|(recorded, _)| *recorded != call) {
            progress.divergence = Some(Divergence {
                number: number + 1,
                asked: Some(call.clone()),
                recorded: next.map(|(recorded, _)| recorded.clone()),
            });
        }
        let outcome = match (&progress.divergence, next) {
            (None, Some((_, outcome))) => Some(outcome.clone()),
            _ => self.found(&progress, &call),
        };
        let outcome = outcome
            .ok_or_else(|| Error::refused(format!("the recording has no answer to {call}")).state("nothing was run"))?;
        match call.function.as_str() {
            "files.write" => drop(progress.staged.insert(call.about.clone(), call.arguments.get("contents").cloned())),
            "files.remove" => drop(progress.staged.insert(call.about.clone(), None)),
            _ => {}
        }
        progress.made.push((call, outcome.clone()));
        drop(progress);
        given(outcome)
    }

    /// The answer to a call after the first difference.
    fn found(&self, progress: &Progress, call: &Call) -> Option<Outcome> {
        if call.function == "files.read"
            && let Some(staged) = progress.staged.get(&call.about)
        {
            return Some(Outcome::Answer(staged.clone().unwrap_or(Value::Null)));
        }
        let earlier = progress.made.iter().filter(|(made, _)| made == call).count();
        let mut same = self.recorded.iter().filter(|(recorded, _)| recorded == call).map(|(_, outcome)| outcome);
        let last = same.clone().next_back();
        same.nth(earlier).or(last).cloned().or_else(|| staging(call, progress.made.len()))
    }

    /// Every call of the run, and where the run first differed.
    #[must_use]
    pub fn ended(&self) -> (Vec<(Call, Outcome)>, Option<Divergence>) {
        let progress = self.progress.borrow();
        let number = progress.made.len();
        let early = || {
            let (recorded, _) = self.recorded.get(number)?;
            Some(Divergence { number: number + 1, asked: None, recorded: Some(recorded.clone()) })
        };
        (progress.made.clone(), progress.divergence.clone().or_else(early))
    }
}

/// The answer to a call that stages something and was not recorded: that it changes something.
fn staging(call: &Call, made: usize) -> Option<Outcome> {
    let answer = match call.function.as_str() {
        "files.write" | "files.remove" | "authority.write" | "actions.change" | "schedule.renewals"
        | "schedule.none" => Value::from(true),
        // A request number that is not in the recording.
        "authority.issue" | "authority.renew" | "authority.rekey" => json!(1_000_000 + made),
        "services.reload" | "services.restart" | "log.info" | "log.warn" => Value::Null,
        _ => return None,
    };
    Some(Outcome::Answer(answer))
}
