//! Time limits: a thread that stops a guest which computes for too long, and ends the process if a host call does not
//! return (because a file system hangs, say). All of this happens before the journal, so there is nothing to roll back.

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

/// How often the time is checked.
const TICK: Duration = Duration::from_millis(10);

/// The number of epochs that a guest has: one passes with each tick in which it computes.
#[expect(clippy::as_conversions, reason = "a thousand fits")]
pub(crate) const EPOCHS: u64 = (GUEST_TIME.as_millis() / TICK.as_millis()) as u64;

/// Which host call is in progress and since when, and how long the earlier ones took together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Arc<Mutex<Calls>>);

#[derive(Clone, Copy, Debug, Default)]
struct Calls {
    now: Option<(&'static str, Instant)>,
    before: Duration,
}

impl Clock {
    /// Marks the beginning of a host call. The call ends when the result is dropped.
    pub(crate) fn enter(&self, capability: &'static str) -> CallGuard {
        self.calls().now = Some((capability, Instant::now()));
        CallGuard(self.clone())
    }

    /// How long the finished calls took together.
    pub(crate) fn spent(&self) -> Duration {
        self.calls().before
    }

    /// Pretends that the earlier calls took so long.
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

/// Marks a host call as in progress.
#[derive(Debug)]
pub(crate) struct CallGuard(Clock);

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// The watching thread. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts watching. `overdue` gets the name of a call that did not return, and must end the process.
    ///
    /// # Errors
    /// No thread can be started.
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
            // The thread only waits and counts: it cannot have panicked.
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
