//! When an unattended renewal may ask the CA again after a failure. A run never waits for that: a timer starts `renew`
//! often, and each run either tries or leaves it to a later one. So a fleet does not overrun a CA that comes back.

use serde::{Deserialize, Serialize};

/// The upper bound of the wait after the first failure, in seconds; it doubles with each further failure.
const FIRST: u64 = 60;
/// The upper bound that is never exceeded, in seconds. A certificate of 24 hours is due at least 6 hours before its
/// end: so there are several tries, however long the CA was unreachable.
const LONGEST: u64 = 3600;
/// The longest wait that a CA can demand, in seconds: a longer one would let certificates of one day expire.
const MOST_ASKED: u64 = 6 * 3600;

/// The failures of earlier runs, and the time at which the next run may ask the CA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempts {
    /// The number of consecutive failures.
    pub failures: u32,
    /// When the CA may be asked again, in seconds since 1970.
    pub not_before: u64,
}

/// The outcome of a run, as far as it matters for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that was due is renewed.
    Succeeded,
    /// The CA was asked, and not everything was renewed. Contains the seconds for which the CA wants not to be asked,
    /// if it said so.
    Failed(Option<u64>),
    /// The CA was not asked.
    NotTried,
}

impl Attempts {
    /// Whether the CA may be asked now (`now`: seconds since 1970).
    ///
    /// # Errors
    /// The second from which on it may be asked.
    pub fn may_try(self, now: u64) -> Result<(), u64> {
        // No failure can have led to such a time, so it was written while the clock was wrong.
        let is_possible = self.not_before <= now.saturating_add(MOST_ASKED + LONGEST);
        if now < self.not_before && is_possible { Err(self.not_before) } else { Ok(()) }
    }

    /// Whether this run may repeat a request that failed. After a failed run, each further run makes only one try:
    /// otherwise a fleet would make three connections per run to an unreachable CA.
    #[must_use]
    pub fn may_repeat(self) -> bool {
        self.failures == 0
    }

    /// The state to remember after a run. `random` is uniformly distributed: the wait has full jitter, that is, it is
    /// anything between zero and a bound that doubles. The jitter is added to the wait that the CA demands, since that
    /// is the same for all machines.
    #[must_use]
    pub fn after(self, now: u64, outcome: Outcome, random: u32) -> Self {
        let asked = match outcome {
            Outcome::Succeeded => return Self::default(),
            Outcome::NotTried => return self,
            Outcome::Failed(asked) => asked.unwrap_or_default().min(MOST_ASKED),
        };
        let bound = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        let jitter = (bound * u64::from(random)) >> u32::BITS;
        Self { failures: self.failures.saturating_add(1), not_before: now.saturating_add(asked).saturating_add(jitter) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const HALF: u32 = 1 << 31;

    #[test]
    fn what_is_remembered_after_a_run() {
        let failed = |failures, wait| Attempts { failures, not_before: NOW + wait };
        let none = Attempts::default();
        for (before, outcome, random, after) in [
            (none, Outcome::Succeeded, HALF, none),
            (none, Outcome::NotTried, HALF, none),
            (none, Outcome::Failed(None), 0, failed(1, 0)),
            (none, Outcome::Failed(None), HALF, failed(1, 30)),
            (none, Outcome::Failed(None), u32::MAX, failed(1, 59)),
            (failed(1, 0), Outcome::Failed(None), HALF, failed(2, 60)),
            (failed(5, 0), Outcome::Failed(None), HALF, failed(6, 960)),
            // Never more than an hour, however many failures there were.
            (failed(6, 0), Outcome::Failed(None), u32::MAX, failed(7, 3599)),
            (failed(u32::MAX, 0), Outcome::Failed(None), u32::MAX, failed(u32::MAX, 3599)),
            // The wait that the CA demands, plus jitter, so that the machines do not come back in the same second.
            (none, Outcome::Failed(Some(1800)), 0, failed(1, 1800)),
            (none, Outcome::Failed(Some(1800)), HALF, failed(1, 1830)),
            (none, Outcome::Failed(Some(u64::MAX)), 0, failed(1, 6 * 3600)),
            // A run that finds nothing due leaves the wait as it is; a successful one ends it.
            (failed(3, 500), Outcome::NotTried, HALF, failed(3, 500)),
            (failed(3, 500), Outcome::Succeeded, HALF, none),
        ] {
            assert_eq!(before.after(NOW, outcome, random), after, "{before:?} {outcome:?} {random}");
        }
    }

    #[test]
    fn the_ca_is_asked_again_after_the_wait() {
        for (not_before, may_try) in [
            (0, Ok(())),
            (NOW, Ok(())),
            (NOW + 1, Err(NOW + 1)),
            (NOW + MOST_ASKED + LONGEST, Err(NOW + MOST_ASKED + LONGEST)),
            // Written while the clock was wrong.
            (NOW + MOST_ASKED + LONGEST + 1, Ok(())),
            (u64::MAX, Ok(())),
        ] {
            assert_eq!(Attempts { failures: 1, not_before }.may_try(NOW), may_try, "{not_before}");
        }
    }

    /// An hourly timer, and a CA that is unreachable for six hours: each machine tries rarely, and never many at once.
    #[test]
    fn a_fleet_does_not_storm_a_ca_that_comes_back() {
        const MACHINES: u32 = 2000;
        let back = NOW + 6 * 3600;
        let (mut tries, mut seconds) = (0_u32, std::collections::BTreeMap::new());
        for machine in 0..MACHINES {
            let random = |number: u32| (machine * 31 + number).wrapping_mul(2_654_435_761);
            let (mut state, mut number) = (Attempts::default(), 0);
            // Each machine has a second of its own (RandomizedDelaySec, or cron's minute).
            let mut now = NOW + u64::from(random(0)) % 3600;
            loop {
                if state.may_try(now).is_ok() {
                    tries += 1;
                    number += 1;
                    if now >= back {
                        *seconds.entry(now / 60).or_insert(0_u32) += 1;
                        break;
                    }
                    state = state.after(now, Outcome::Failed(None), random(number));
                }
                now += 3600;
            }
        }
        assert!(tries <= 12 * MACHINES, "{tries} tries");
        let (peak, mean) = (seconds.values().max().copied().unwrap_or_default(), MACHINES / 60);
        assert!(peak <= 3 * mean, "{peak} in the worst minute, {mean} on the average");
    }
}
