//! Waits for an event instead of a fixed time.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Longer than any event takes that happens at all.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn wait(what: &str, patience: Duration, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + patience;
    while !so() {
        assert!(Instant::now() < end, "in {} s not: {what}", patience.as_secs());
        sleep(Duration::from_millis(1));
    }
}
