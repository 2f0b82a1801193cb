//! When to renew a certificate: after a certain part of its validity period. That part differs between machines, so
//! that a thousand machines that were set up together do not all ask the CA at the same time.

use super::certificate::Certificate;
use crate::digest::Digest;
use std::time::Duration;

/// The percentage of a certificate's validity period after which it is due, by default.
pub const RENEW_AFTER: u8 = 50;
/// How many percentage points a machine may wait in addition to the configured percentage.
const SPREAD: u64 = 25;
/// The number of steps into which the spread is divided.
const STEPS: u64 = 1 << 32;

/// Whether to renew a certificate now (`now`: seconds since 1970). It is due after `percent` of its validity period
/// plus this machine's share of the spread. The spread is 25 points, but at most half of what remains after `percent`.
/// A certificate without an end is never due, nor is one that is not valid yet.
#[must_use]
pub fn is_due(certificate: &Certificate, now: u64, percent: u8, machine_id: &str) -> bool {
    due_at(certificate, percent, machine_id).is_some_and(|due| now >= due)
}

/// Whether a certificate has to be replaced whatever its age: it has no end, it is not valid yet, or it has critical
/// options. Clients reject a host certificate with critical options (PROTOCOL.certkeys).
#[must_use]
pub fn is_useless(certificate: &Certificate, now: u64) -> bool {
    let has_no_end = certificate.valid_before() == u64::MAX;
    has_no_end || now < certificate.valid_after() || !certificate.critical_options().is_empty()
}

/// The time from which on it is due, in seconds since 1970; `None` if it has no end.
#[must_use]
pub fn due_at(certificate: &Certificate, percent: u8, machine_id: &str) -> Option<u64> {
    moment(certificate.valid_after(), certificate.valid_before(), percent, machine_id)
}

/// The certificate's validity period, if it is shorter than two renewal intervals (`rhythm`, in seconds): such a
/// certificate may expire before it is renewed.
#[must_use]
pub fn short_life(certificate: &Certificate, rhythm: u64) -> Option<Duration> {
    let life = certificate.valid_before().saturating_sub(certificate.valid_after());
    (life < rhythm.saturating_mul(2)).then(|| Duration::from_secs(life))
}

/// Whether a certificate that has been due since `due` should have been renewed by now: whether two runs, one every
/// `rhythm`, have passed. All in seconds.
#[must_use]
pub fn is_overdue(due: u64, now: u64, rhythm: u64) -> bool {
    due.saturating_add(rhythm.saturating_mul(2)) <= now
}

/// The time from which on a certificate is due that is valid from `after` until `before`; all in seconds since 1970.
#[must_use]
pub fn moment(after: u64, before: u64, percent: u8, machine_id: &str) -> Option<u64> {
    if before == u64::MAX {
        return None;
    }
    let life = before.saturating_sub(after);
    let percent = u64::from(percent.min(100));
    let spread = SPREAD.min((100 - percent) / 2);
    // Rounded down: the validity periods of one run's certificates may differ by some seconds, but have to give the
    // same value.
    let grain = (life / 32).max(1).next_power_of_two();
    let half = (life / 2 / grain * grain).max(1);
    let share = u128::from(percent * STEPS + spread * step(machine_id, after / half));
    let wait = u128::from(life) * share / u128::from(100 * STEPS);
    Some(after.saturating_add(u64::try_from(wait).unwrap_or(u64::MAX)))
}

/// A machine's position in the spread, from 0 to 2³² − 1. It is derived anew for each half of a validity period, so for
/// each certificate. A fixed position would make machines that were set up together renew in the same hour again and
/// again, because a timer rounds their intervals to whole hours (docs/FLEET.md). Certificates of the same run are due
/// together.
fn step(machine_id: &str, half: u64) -> u64 {
    let digest = Digest::of(format!("warded renewal {half} {machine_id}").as_bytes());
    digest.bytes().iter().take(4).fold(0, |step, byte| step << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ca::testing::Certifies as _, machine::keys::testing::Workshop};

    #[test]
    fn the_moment_is_within_the_spread_and_before_the_end() {
        let (after, before) = (1_000_000, 2_000_000);
        for (percent, earliest, latest) in [
            (50, 1_500_000, 1_750_000),
            (66, 1_660_000, 1_830_000),
            (0, 1_000_000, 1_250_000),
            (90, 1_900_000, 1_950_000),
            (99, 1_990_000, 1_990_000),
            (100, 2_000_000, 2_000_000),
            (255, 2_000_000, 2_000_000),
        ] {
            for machine in 0..500 {
                let due = moment(after, before, percent, &format!("machine-{machine}")).unwrap();
                assert!((earliest..=latest).contains(&due), "{percent} %: {due}");
            }
        }
    }

    #[test]
    fn machines_are_spread_evenly_and_anew_for_each_certificate() {
        let mut tenths = [0_u32; 10];
        let (mut earlier, mut later) = (0_u32, 0_u32);
        for machine in 0..10_000 {
            let id = format!("{machine:032x}");
            let due = moment(0, 100_000, 50, &id).unwrap();
            assert_eq!(moment(0, 100_000, 50, &id), Some(due));
            // A certificate for another key, from the same run.
            assert_eq!(moment(3, 100_003, 50, &id), Some(due + 3));
            assert!(moment(3, 100_010, 50, &id).unwrap().abs_diff(due) < 10, "of another life");
            tenths[usize::try_from((due - 50_000) / 2_500).unwrap()] += 1;
            match moment(due, due + 100_000, 50, &id).unwrap() - due {
                wait if wait < due => earlier += 1,
                _ => later += 1,
            }
        }
        assert!(tenths.iter().all(|count| (800..1200).contains(count)), "{tenths:?}");
        assert!(earlier.abs_diff(later) < 400, "{earlier} {later}");
    }

    #[test]
    fn a_certificate_that_is_none_to_keep_is_known() {
        let workshop = Workshop::new();
        ["ca", "key"].iter().for_each(|name| drop(workshop.key(name, &["-t", "ed25519"])));
        for (options, expected) in [
            (&["-V", "20200101:20370101"][..], false),
            (&["-V", "20200101:20210101"], false),
            (&["-V", "always:forever"], true),
            (&["-V", "20400101:20410101"], true),
            (&["-V", "20200101:20370101", "-O", "critical:x@y=1"], true),
        ] {
            let made = workshop.certify("ca", "key", &[&["-h", "-n", "web1"], options].concat());
            assert_eq!(is_useless(&made, 1_800_000_000), expected, "{options:?}");
        }
    }

    #[test]
    fn odd_windows_do_not_overflow() {
        assert_eq!(moment(0, u64::MAX, 50, "x"), None);
        assert!(moment(0, u64::MAX - 1, 100, "x").is_some());
        assert_eq!(moment(10, 5, 50, "x"), Some(10), "ends before it begins: due at once");
    }
}
