//! Repeats requests: a few times, with growing pauses, and never on all machines at once. This only helps against short
//! disturbances, since a timer repeats whole runs.

use super::{api::Failure, http::Problem};
use ssh_key::rand_core::{OsRng, RngCore as _};
use std::{
    thread,
    time::{Duration, Instant},
};

/// The time limit for all tries of one request. A guest's host call ends after 30 s.
const TOGETHER: Duration = Duration::from_secs(15);
const MOST: u32 = 3;
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(4);
/// step-ca refuses tokens that were made before it started, and compares whole seconds.
const RESTART: Duration = Duration::from_millis(1100);

/// How long to wait before the next try; `None`: no further try. `tries`: the number of tries so far, in the time
/// `elapsed`. `asked`: the wait that the CA demands. `random` is uniformly distributed: the wait has full jitter, that
/// is, it is anything between zero and a bound that doubles.
#[must_use]
pub fn pause(tries: u32, elapsed: Duration, asked: Option<Duration>, random: u32) -> Option<Duration> {
    let bound = FIRST.saturating_mul(1 << tries.min(8)).min(LONGEST);
    let jitter = bound.mul_f64(f64::from(random) / f64::from(u32::MAX));
    let pause = asked.map_or(jitter, |asked| asked.saturating_add(jitter));
    (tries < MOST && is_in_time(elapsed, pause)).then_some(pause)
}

fn is_in_time(elapsed: Duration, pause: Duration) -> bool {
    elapsed.saturating_add(pause) <= TOGETHER
}

/// The tries of one request so far.
pub(super) struct Retries {
    begun: Instant,
    tries: u32,
    refused: bool,
    once: bool,
}

impl Retries {
    /// `once`: a request is not repeated if no answer comes.
    pub(super) fn new(once: bool) -> Self {
        Self { begun: Instant::now(), tries: 0, refused: false, once }
    }

    /// Whether to repeat a request that changes nothing; waits before it returns true.
    pub(super) fn of_a_question(&mut self, failure: &Failure) -> bool {
        match failure {
            Failure::Problem(Problem::NoConnection(_) | Problem::Broken(_)) => self.later(None),
            Failure::Status { status: 429 | 502 | 503 | 504, retry_after, .. } => self.later(*retry_after),
            Failure::Problem(_) | Failure::Status { .. } | Failure::NotStepCa { .. } => false,
        }
    }

    /// Whether to repeat a request for a certificate, with a fresh token. The first one may have been carried out, but
    /// a certificate that nobody received does no harm. `certain`: whether the cause of the refusal is known.
    pub(super) fn of_a_token(&mut self, failure: &Failure, certain: impl FnOnce() -> bool) -> bool {
        match failure {
            // The CA may have just been restarted: it refuses tokens that are older than its start.
            Failure::Status { status: 401, .. } if !self.refused && !certain() => {
                self.refused = true;
                self.wait(RESTART)
            }
            Failure::Status { .. } | Failure::Problem(_) | Failure::NotStepCa { .. } => self.of_a_question(failure),
        }
    }

    fn later(&mut self, asked: Option<Duration>) -> bool {
        self.tries += 1;
        let pause = pause(self.tries, self.begun.elapsed(), asked, OsRng.next_u32()).filter(|_| !self.once);
        pause.is_some_and(|pause| self.wait(pause))
    }

    fn wait(&self, time: Duration) -> bool {
        let is_in_time = is_in_time(self.begun.elapsed(), time);
        if is_in_time {
            thread::sleep(time);
        }
        is_in_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, retry_after: Option<u64>) -> Failure {
        Failure::Status { status, text: String::new(), retry_after: retry_after.map(Duration::from_secs) }
    }

    #[test]
    fn questions_are_repeated_a_few_times_and_only_where_that_can_help() {
        for (failure, expected) in [
            (Failure::Problem(Problem::NoConnection(String::new())), 2),
            (status(503, None), 2),
            (status(503, Some(0)), 2),
            (status(503, Some(3600)), 0),
            (status(500, None), 0),
            (status(401, None), 0),
            (status(404, None), 0),
            (Failure::Problem(Problem::OtherRoot), 0),
            (Failure::Problem(Problem::TimedOut), 0),
        ] {
            for (once, expected) in [(false, expected), (true, 0)] {
                let mut retries = Retries::new(once);
                let repeated = (0..10).take_while(|_| retries.of_a_question(&failure)).count();
                assert_eq!(repeated, expected, "{failure:?}, once: {once}");
            }
        }
    }

    #[test]
    fn a_refusal_that_nobody_can_explain_is_asked_about_once_more() {
        let mut retries = Retries::new(true);
        assert!(!retries.of_a_token(&status(401, None), || true));
        assert!(retries.of_a_token(&status(401, None), || false));
        assert!(!retries.of_a_token(&status(401, None), || false));
        assert!(!Retries::new(false).of_a_token(&status(403, None), || panic!("not asked")));
    }
}
