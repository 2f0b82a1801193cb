//! Time: a thread that stops a guest which computes for too long, and ends the process when one
//! host call does not come back (a file system that hangs, say). All of that is before the journal,
//! so there is nothing to roll back.

use super::limits::{GUEST_TIME, HOST_CALL_TIME};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use warded_lib::{
    error::{Error, Result},
    machine::exec,
};
use wasmtime::Engine;

/// How often time is looked at.
const TICK: Duration = Duration::from_millis(10);

/// Epochs that a guest has: one passes each tick in which it computes.
#[expect(clippy::as_conversions, reason = "a thousand fits")]
pub(crate) const EPOCHS: u64 = (GUEST_TIME.as_millis() / TICK.as_millis()) as u64;

/// Which host call is under way and since when, and how long the ones before it took together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Arc<Mutex<Calls>>);

#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    now: Option<(&'static str, Instant)>,
    before: Duration,
}

impl Clock {
    /// A host call begins. It ends when the result is dropped.
    pub(crate) fn enter(&self, capability: &'static str) -> CallGuard {
        self.calls().now = Some((capability, Instant::now()));
        CallGuard(self.clone())
    }

    /// How long the calls that have ended took together.
    pub(crate) fn spent(&self) -> Duration {
        self.calls().before
    }

    /// As if the calls before had taken so long.
    #[cfg(test)]
    pub(crate) fn pretend_spent(&self, time: Duration) {
        self.calls().before = time;
    }

    fn leave(&self) {
        let mut calls = self.calls();
        if let Some((_, since)) = calls.now.take() {
            calls.before = calls.before.saturating_add(since.elapsed());
        }
    }

    fn call(&self) -> Option<(&'static str, Instant)> {
        self.calls().now
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks a host call as under way.
#[derive(Debug)]
pub(crate) struct CallGuard(Clock);

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// The thread. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts watching. `overdue` gets the name of a call that did not return, and must end the process.
    ///
    /// # Errors
    /// There can be no further thread.
    pub(crate) fn start(engine: Engine, clock: Clock, overdue: impl Fn(&'static str) + Send + 'static) -> Result<Self> {
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().spawn(move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                match clock.call() {
                    None => engine.increment_epoch(),
                    Some((capability, since)) if since.elapsed() > HOST_CALL_TIME => overdue(capability),
                    Some(_) => {}
                }
            }
        });
        let thread =
            thread.map_err(|error| exec::caused(Error::failed("cannot watch how long a component takes"), &error))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only waits and counts: it cannot have panicked.
            thread.join().unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_back_is_told() {
        let clock = Clock::default();
        let since = Instant::now().checked_sub(HOST_CALL_TIME * 2).unwrap();
        clock.calls().now = Some(("files.read", since));
        let (tell, told) = channel();
        let _watch = Watch::start(Engine::default(), clock, move |what| tell.send(what).unwrap_or_default()).unwrap();
        assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok("files.read"));
    }

    #[test]
    fn the_time_of_all_calls_adds_up() {
        let clock = Clock::default();
        for _ in 0..3 {
            let _in_call = clock.enter("files.read");
            thread::sleep(Duration::from_millis(5));
        }
        let spent = clock.spent();
        assert!(spent >= Duration::from_millis(15), "{spent:?}");
        thread::sleep(Duration::from_millis(5));
        assert_eq!(clock.spent(), spent, "time between calls is the guest's");
    }
}
