//! Formats times for people: in UTC, to the minute, with the distance from now in words. Also parses times that people
//! write.

use jiff::{
    SignedDuration, Span, SpanRelativeTo, Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use std::{ops::RangeInclusive, time::Duration};

/// Accepted formats for a time without a zone, besides a date alone.
const WITHOUT_ZONE: [&str; 4] = ["%FT%H:%M", "%FT%T", "%F %H:%M", "%F %T"];

/// `12 s`, `4 min`, `5 h`, `29 days`: as precise as a person needs it, and always rounded down.
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

/// Parses a duration: `90s`, `10m`, `1h 30m`, `7d`. A day has 24 hours.
///
/// # Errors
/// The text has another form, or the duration is negative.
pub fn duration(text: &str) -> Result<SignedDuration, String> {
    let span = text.trim().parse::<Span>().ok();
    let duration = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let duration = duration.filter(|duration| !duration.is_negative());
    duration.ok_or_else(|| "not a number with its unit, such as 90s, 10m, 12h or 7d".to_owned())
}

/// As [`duration`], but within `range`, which `bounds` describes in words.
///
/// # Errors
/// As for [`duration`]; or the duration is out of range.
pub fn duration_within(
    text: &str,
    range: &RangeInclusive<SignedDuration>,
    bounds: &str,
) -> Result<SignedDuration, String> {
    let found = duration(text).map_err(|why| format!("{why}; {bounds}"))?;
    if range.contains(&found) { Ok(found) } else { Err(bounds.to_owned()) }
}

/// Parses a point in time. It may be a time with a zone; a time without one, which is taken as UTC, as Warded shows
/// every time; a date, which means its beginning; or a duration, which is counted back from `now`.
///
/// # Errors
/// The text is none of these.
pub fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    let utc = |time: DateTime| time.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).ok();
    let moment = || text.parse::<Timestamp>().ok();
    let day = || Date::strptime("%F", text).ok().and_then(|day| utc(day.into()));
    let time = || WITHOUT_ZONE.iter().find_map(|format| DateTime::strptime(format, text).ok()).and_then(utc);
    let ago = || duration(text).ok().and_then(|ago| now.checked_sub(ago).ok());
    moment().or_else(day).or_else(time).or_else(ago).ok_or_else(|| {
        "neither a moment (2026-11-28, 2026-11-28T14:00, 2026-11-28T14:00:00+01:00; UTC unless it has a zone) nor how long ago \
         (12h, 7d)"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_is_read_as_people_write_it() {
        for (text, seconds) in [
            ("90s", 90),
            ("10m", 600),
            ("1h 30m", 5_400),
            ("1d", 86_400),
            ("7d", 604_800),
            ("2w", 1_209_600),
            (" 12h\n", 43_200),
            ("PT5M", 300),
        ] {
            assert_eq!(duration(text), Ok(SignedDuration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "d", "10", "-1h", "1y", "1mo", "soon", "99999999999999d"] {
            let why = duration(bad).unwrap_err();
            assert!(why.contains("such as 90s") && !why.contains("jiff"), "{bad}: {why}");
        }
        let range = SignedDuration::from_secs(5)..=SignedDuration::from_hours(24);
        let within = |text| duration_within(text, &range, "from 5s to 24h");
        assert_eq!(within("1d"), Ok(SignedDuration::from_hours(24)));
        assert_eq!(within("2d"), Err("from 5s to 24h".to_owned()));
        let why = within("10").unwrap_err();
        assert!(why.contains("such as 90s") && why.ends_with("; from 5s to 24h"), "{why}");
    }

    #[test]
    fn a_moment_without_a_zone_is_in_utc_and_its_time_counts() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-11-28", "2026-11-28T00:00:00Z"),
            ("2026-11-28T23:59", "2026-11-28T23:59:00Z"),
            ("2026-11-28T23:59:58", "2026-11-28T23:59:58Z"),
            ("2026-11-28 23:59", "2026-11-28T23:59:00Z"),
            ("2026-11-28 23:59:58", "2026-11-28T23:59:58Z"),
            ("2026-11-28T23:59:00Z", "2026-11-28T23:59:00Z"),
            ("2026-11-28T01:00:00+01:00", "2026-11-28T00:00:00Z"),
            ("2026-11-28T01:00+01:00", "2026-11-28T00:00:00Z"),
            ("7d", "2026-11-23T12:00:00Z"),
            ("90m", "2026-11-30T10:30:00Z"),
        ] {
            assert_eq!(since(text, now).map(|found| found.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for bad in [
            "",
            "d",
            "-1h",
            "yesterday",
            "2026-13-01",
            "2026-11-28T25:00",
            "2026-11-28T23",
            "2026-11-28T23:59[Europe/Berlin]",
            "2026-11-28+01:00",
            "99999999999999d",
        ] {
            assert!(since(bad, now).is_err(), "{bad}");
        }
    }

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
