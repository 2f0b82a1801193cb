//! Times as a person reads them: in UTC, to the minute, with the distance from now in words.

use jiff::{Timestamp, tz::TimeZone};
use std::time::Duration;

/// `12 s`, `4 min`, `5 h`, `29 days`: as exact as a person needs it. Never more than there is.
#[must_use]
pub fn distance(time: Duration) -> String {
    let seconds = time.as_secs();
    let unit = |seconds: u64, name: &str| if seconds == 1 { format!("1 {name}") } else { format!("{seconds} {name}s") };
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => unit(seconds / 86_400, "day"),
    }
}

/// `03:36 UTC`, and `2026-12-28 03:36 UTC` if it is not today.
#[must_use]
pub fn at(time: Timestamp, now: Timestamp) -> String {
    let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
    let format = if day(time) == day(now) { "%H:%M UTC" } else { "%F %H:%M UTC" };
    time.strftime(format).to_string()
}

/// `2 h ago, at 01:32 UTC`, and `in 25 min, at 03:57 UTC`.
#[must_use]
pub fn when(time: Timestamp, now: Timestamp) -> String {
    let apart = distance(time.duration_since(now).unsigned_abs());
    let apart = if time > now { format!("in {apart}") } else { format!("{apart} ago") };
    format!("{apart}, at {}", at(time, now))
}

/// `4 min left, until 03:36 UTC`, and `expired 2 min ago, at 03:36 UTC`.
#[must_use]
pub fn left(end: Timestamp, now: Timestamp) -> String {
    let apart = distance(end.duration_since(now).unsigned_abs());
    if end > now {
        format!("{apart} left, until {}", at(end, now))
    } else {
        format!("expired {apart} ago, at {}", at(end, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_and_the_time_are_told() {
        let now: Timestamp = "2026-11-28T03:32:10Z".parse().unwrap();
        for (end, said) in [
            ("2026-11-28T03:36:12Z", "4 min left, until 03:36 UTC"),
            ("2026-11-28T03:33:00Z", "50 s left, until 03:33 UTC"),
            ("2026-11-28T03:30:00Z", "expired 2 min ago, at 03:30 UTC"),
            ("2026-11-28T05:31:00Z", "118 min left, until 05:31 UTC"),
            ("2026-11-29T04:00:00Z", "24 h left, until 2026-11-29 04:00 UTC"),
            ("2026-12-27T09:14:00Z", "29 days left, until 2026-12-27 09:14 UTC"),
            ("2026-11-26T03:00:00Z", "expired 2 days ago, at 2026-11-26 03:00 UTC"),
        ] {
            assert_eq!(left(end.parse().unwrap(), now), said);
        }
        for (time, said) in [
            ("2026-11-28T03:32:10Z", "0 s ago, at 03:32 UTC"),
            ("2026-11-28T01:31:00Z", "2 h ago, at 01:31 UTC"),
            ("2026-11-28T03:57:12Z", "in 25 min, at 03:57 UTC"),
            ("2026-12-08T13:33:00Z", "in 10 days, at 2026-12-08 13:33 UTC"),
        ] {
            assert_eq!(when(time.parse().unwrap(), now), said);
        }
    }
}
