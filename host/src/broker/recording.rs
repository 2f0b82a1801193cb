//! Recordings: what a run asked for and what it got. Another build of the component can be run against a recording
//! where the machine is not at hand. A recording holds what the procedure read, and no private key.

mod answer;
mod replay;

pub use answer::Answer;
pub use replay::{Divergence, Replay};

use super::{Failure, Operation};
use answer::holds_private_key;
use std::{borrow::Cow, cell::RefCell, collections::BTreeSet, rc::Rc};
use warded_artifact::recording::{CALL_BYTES, Call, Head, Outcome, Recording};
use warded_lib::{
    ca::Certificate,
    error::{Error, Result},
};

/// Whether a run is recorded, or gets its answers from a recording.
#[derive(Clone, Debug, Default)]
pub enum Tape {
    /// Neither.
    #[default]
    Off,
    /// Its calls are carried out and recorded.
    Recording(Rc<Recorder>),
    /// Its calls are answered from the recording; nothing is carried out.
    Replaying(Rc<Replay>),
}

/// The recorded form of this operation's call.
pub(super) fn call<O: Operation>(operation: &O) -> Call {
    let need = operation.need();
    Call { function: need.capability().to_owned(), about: need.to_string(), arguments: operation.arguments() }
}

fn outcome<T: Answer>(came: &Result<Result<T, Failure>>) -> Outcome {
    match came {
        Ok(Ok(output)) => Outcome::Answer(output.written()),
        Ok(Err(Failure { code, message, details })) => {
            Outcome::Failure { code: code.to_string(), message: message.clone(), details: details.clone() }
        }
        Err(error) => Outcome::Stopped(error.message().to_owned()),
    }
}

/// The recorded outcome in the form in which the broker gives it to the guest.
fn given<T: Answer>(outcome: Outcome) -> Result<Result<T, Failure>> {
    match outcome {
        Outcome::Answer(value) => T::read(&value)
            .map(Ok)
            .ok_or_else(|| Error::refused("the recording has an answer whose type does not match the interface")),
        Outcome::Failure { code, message, details } => Ok(Err(Failure { code: Cow::Owned(code), message, details })),
        Outcome::Stopped(why) => Err(Error::refused(why)),
    }
}

/// Records the calls of one run.
#[derive(Debug, Default)]
pub struct Recorder(RefCell<RecordedCalls>);

#[derive(Debug, Default)]
struct RecordedCalls {
    calls: Vec<(Call, Outcome)>,
    bytes: usize,
    /// The serial numbers of the certificates that were not due, as the host told the run.
    not_due: BTreeSet<u64>,
}

impl Recorder {
    /// Notes a call.
    ///
    /// # Errors
    /// Refused: the call holds a private key, or there is no room for it. That ends the run.
    pub(super) fn note<T: Answer>(
        &self,
        call: Call,
        came: &Result<Result<T, Failure>>,
        is_due: impl Fn(&Certificate) -> bool,
    ) -> Result<()> {
        let outcome = outcome(came);
        let mut recorded = self.0.borrow_mut();
        let size = serde_json::to_string(&(&call, &outcome)).map_or(0, |text| text.len());
        recorded.bytes = recorded.bytes.saturating_add(size);
        if recorded.bytes > CALL_BYTES {
            return Err(Error::refused(format!("its recording would be larger than {} MiB", CALL_BYTES >> 20))
                .next("run it without --record"));
        }
        let came_of_it = serde_json::to_value(&outcome).unwrap_or_default();
        if holds_private_key(&call.arguments) || holds_private_key(&came_of_it) {
            return Err(Error::refused(format!("{} passes a private key, which no recording may hold", call.function))
                .next("run it without --record"));
        }
        if let Ok(Ok(output)) = came
            && let Some(certificate) = output.certificate()
            && !is_due(certificate)
        {
            recorded.not_due.insert(certificate.serial());
        }
        recorded.calls.push((call, outcome));
        Ok(())
    }

    /// Whether the run made no call.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().calls.is_empty()
    }

    /// The whole recording, with a head that says which run it is of.
    #[must_use]
    pub fn recording(&self, head: Head) -> Recording {
        let recorded = self.0.borrow();
        let mut head = head;
        head.not_due = recorded.not_due.iter().copied().collect();
        Recording { head, calls: recorded.calls.clone() }
    }
}

#[cfg(test)]
mod tests;
