//! Capabilities: one file per WIT interface. Each function turns its arguments into an operation and passes it to the
//! broker; nothing is decided or carried out here.

mod actions;
mod authority;
mod files;
mod keys;
mod log;
mod machine;
mod schedule;
mod services;
mod ssh;
mod sshd;

use crate::{
    broker::{
        Broker,
        limits::exceeded,
        operation::{Failure, Operation},
        session::Session,
    },
    sandbox::{
        bindings::warded::host::types,
        limits::{self, ResourceUse},
        watch::Clock,
    },
};
use warded_lib::machine::path::AbsolutePath;
use wasmtime::component::{ResourceTable, ResourceTableError};

/// What a guest gets: a result, or a trap.
type Answer<T> = wasmtime::Result<Result<T, types::Error>>;

/// The store's data: everything that the capabilities of one run share.
pub(super) struct State {
    broker: Broker,
    session: Session,
    handles: ResourceTable,
    taken: ResourceUse,
    clock: Clock,
    calls: usize,
}

impl State {
    pub(super) fn new(broker: Broker, session: Session, clock: Clock) -> Self {
        let mut handles = ResourceTable::new();
        handles.set_max_capacity(limits::HANDLES);
        Self { broker, session, handles, taken: ResourceUse::default(), clock, calls: 0 }
    }

    pub(super) fn taken(&mut self) -> &mut ResourceUse {
        &mut self.taken
    }

    pub(super) fn into_session(self) -> Session {
        self.session
    }

    /// Passes an operation to the broker. A denial traps; a failure is returned to the guest.
    fn perform<O: Operation>(&mut self, operation: O) -> Answer<O::Output> {
        let _in_call = self.clock.enter(operation.need().capability());
        self.count()?;
        let outcome = self.broker.perform(operation, &mut self.session)?;
        if self.session.changes.staged().len() > limits::STAGED_FILES {
            return Err(stopped(&format!("it staged more than {} files", limits::STAGED_FILES)));
        }
        if self.session.changes.staged_bytes() > limits::STAGED_BYTES {
            return Err(stopped(&format!("it staged more than {} MiB", limits::STAGED_BYTES >> 20)));
        }
        if self.session.changes.directories() > limits::DIRECTORIES {
            return Err(stopped(&format!("it looked into more than {} directories", limits::DIRECTORIES)));
        }
        if self.session.connections() > limits::CONNECTIONS {
            return Err(stopped(&format!("it asked sshd for more than {} connections", limits::CONNECTIONS)));
        }
        if self.session.changes.asked().len() > limits::QUERIES || self.session.changes.steps().len() > limits::STEPS {
            let (queries, steps) = (limits::QUERIES, limits::STEPS);
            return Err(stopped(&format!("it ran more than {queries} queries, or queued more than {steps} programs")));
        }
        Ok(outcome.map_err(types::Error::from))
    }

    /// Counts one more call. Each call leaves a record, whatever its result.
    fn count(&mut self) -> wasmtime::Result<()> {
        self.calls += 1;
        if self.calls > limits::CALLS {
            return Err(stopped(&format!("it made more than {} calls", limits::CALLS)));
        }
        if self.clock.spent() > limits::HOST_TIME {
            let seconds = limits::HOST_TIME.as_secs();
            return Err(stopped(&format!("the operations that it asked for took more than {seconds} s")));
        }
        Ok(())
    }

    /// Parses an argument, or returns the failure that the guest gets. Either is recorded.
    fn parse<T>(
        &mut self,
        capability: &'static str,
        code: &'static str,
        argument: &str,
        parsed: Result<T, String>,
    ) -> Answer<T> {
        match parsed {
            Ok(value) => Ok(Ok(value)),
            Err(why) => {
                let _in_call = self.clock.enter(capability);
                self.count()?;
                let failure = Failure::new(code, why);
                self.broker.reject(capability, argument, &failure)?;
                Ok(Err(failure.into()))
            }
        }
    }

    fn path(&mut self, capability: &'static str, path: &str) -> Answer<AbsolutePath> {
        self.parse(capability, "invalid-path", path, path.parse())
    }

    fn hold<T: Send + 'static>(&mut self, value: T) -> wasmtime::Result<wasmtime::component::Resource<T>> {
        self.handles.push(value).map_err(|error| match error {
            ResourceTableError::Full => stopped(&format!("it holds more than {} handles", limits::HANDLES)),
            other @ (ResourceTableError::NotPresent
            | ResourceTableError::WrongType
            | ResourceTableError::HasChildren) => other.into(),
        })
    }
}

/// The error for a limit that the host enforces.
fn stopped(what: &str) -> wasmtime::Error {
    exceeded("the procedure", what).into()
}

/// Like `?` for an inner result: returns its error to the guest.
macro_rules! answer {
    ($outcome:expr) => {
        match $outcome? {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        }
    };
}
use answer;

impl types::Host for State {}

#[cfg(test)]
mod tests;
