//! When a systemd timer starts its service (systemd.timer(5), systemd.time(7)).

use super::{command_line::RejectionReason, times::Times};
use jiff::Timestamp;
use std::time::Duration;

/// A timer that runs the renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The unit's name.
    pub name: String,
    /// The recurring times at which it starts its service; each one recurs by itself. Empty: none of them is
    /// understood, so the times are not known.
    times: Vec<Times>,
    /// The longest delay of a start.
    delay: Duration,
    /// Whether the delay is the same each time. Then it does not lengthen the distance between two calendar times,
    /// unless it is longer than a period. systemd counts the next calendar time from the last start, and adds the delay
    /// to a time span each time.
    is_fixed: bool,
}

/// The settings that say when a timer starts its service. An empty one clears all earlier ones.
const STARTS: [&str; 6] =
    ["OnCalendar", "OnUnitActiveSec", "OnUnitInactiveSec", "OnBootSec", "OnStartupSec", "OnActiveSec"];

impl Timer {
    /// Reads a timer from its text, including its drop-ins. `is_started`: something other than the timer starts its
    /// service.
    ///
    /// # Errors
    /// A timer that starts its service only once, or never.
    pub(super) fn read(name: String, text: &str, is_started: bool) -> Result<Self, RejectionReason> {
        let (mut once, mut again, mut in_years, mut times) = (false, false, false, Vec::new());
        for (key, value) in assignments(text).filter(|(key, _)| STARTS.contains(key)) {
            if value.is_empty() {
                (once, again, in_years) = (false, false, false);
                times.clear();
                continue;
            }
            if key == "OnCalendar" && is_of_fixed_years(&value) {
                in_years = true;
                continue;
            }
            let time = match key {
                "OnCalendar" => calendar(&value),
                "OnUnitActiveSec" | "OnUnitInactiveSec" => span(&value).map(Times::Every),
                "OnBootSec" | "OnStartupSec" | "OnActiveSec" => {
                    once = true;
                    continue;
                }
                _ => continue,
            };
            again = true;
            // A time counted from the last run needs a first run from elsewhere; a calendar time does not.
            once |= key == "OnCalendar";
            times.extend(time);
        }
        match (once || in_years || is_started, again) {
            (_, false) if in_years => Err(RejectionReason::FixedYears),
            (_, false) if once => Err(RejectionReason::OnlyAtStart),
            (true, true) => {
                let value = |key| last(text, key);
                let is_fixed = value("FixedRandomDelay").is_some_and(|value| is_true(&value));
                let delay = value("RandomizedDelaySec").and_then(|value| span(&value)).unwrap_or_default();
                Ok(Self { name, times, delay, is_fixed })
            }
            _ => Err(RejectionReason::NeverStarts),
        }
    }

    /// The longest time between two starts; none if that is not known.
    #[must_use]
    pub fn interval(&self, now: Timestamp) -> Option<Duration> {
        let distance = |times: &Times| {
            let interval = times.interval(now)?;
            let is_lost = self.is_fixed && matches!(times, Times::Fields(_)) && self.delay <= interval;
            Some(if is_lost { interval } else { interval.saturating_add(self.delay) })
        };
        self.times.iter().filter_map(distance).min()
    }
}

/// The assignments in a unit. Lines continued by a backslash are joined.
pub(super) fn assignments(text: &str) -> impl Iterator<Item = (&str, String)> {
    let is_comment = |line: &&str| line.trim_start().starts_with(['#', ';']);
    let mut lines = text.lines().filter(move |line| !is_comment(line));
    std::iter::from_fn(move || {
        loop {
            let line = lines.next()?;
            let (mut value, name) = match line.split_once('=') {
                Some((name, value)) => (value, Some(name.trim())),
                None => (line, None),
            };
            let mut whole = String::new();
            while let Some(continued) = value.strip_suffix('\\') {
                whole.push_str(continued);
                whole.push(' ');
                value = lines.next().unwrap_or_default();
            }
            whole.push_str(value);
            if let Some(name) = name {
                return Some((name, whole.trim().to_owned()));
            }
        }
    })
}

/// The last assignment of a key in a unit.
pub(super) fn last(text: &str, key: &str) -> Option<String> {
    assignments(text).filter(|(name, _)| *name == key).last().map(|(_, value)| value)
}

fn is_true(value: &str) -> bool {
    ["1", "yes", "y", "true", "t", "on"].iter().any(|word| word.eq_ignore_ascii_case(value))
}

/// A span of time, such as `1h 30min` or `90` (seconds).
pub(in crate::machine) fn span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut whole = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|sign: char| !sign.is_ascii_digit() && sign != '.').unwrap_or(rest.len());
        let number: f64 = rest.get(..end)?.parse().ok()?;
        rest = rest.get(end..)?.trim_start();
        let end = rest.find(|sign: char| !sign.is_alphabetic()).unwrap_or(rest.len());
        let unit = match rest.get(..end)? {
            "" | "s" | "sec" | "second" | "seconds" => 1.0,
            "us" | "usec" | "µs" | "μs" => 1e-6,
            "ms" | "msec" => 1e-3,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 86_400.0,
            "w" | "week" | "weeks" => 604_800.0,
            "M" | "month" | "months" => 2_629_800.0,
            "y" | "year" | "years" => 31_557_600.0,
            _ => return None,
        };
        rest = rest.get(end..)?.trim_start();
        whole = whole.checked_add(Duration::try_from_secs_f64(number * unit).ok()?)?;
    }
    (!text.trim().is_empty()).then_some(whole)
}

/// Whether a calendar event ends: it names years without repetition.
fn is_of_fixed_years(text: &str) -> bool {
    let dates = text.split_whitespace().filter(|word| word.contains('-') && !word.contains(':'));
    let year = dates.filter(|word| !word.starts_with(|sign: char| sign.is_ascii_alphabetic())).find_map(|date| {
        let (rest, _) = date.rsplit_once(['-', '~'])?;
        Some(rest.rsplit_once('-')?.0)
    });
    year.is_some_and(|year| !year.contains(['*', '/']))
}

/// A calendar event in cron's fields, if they can express it. Seconds and time zones do not change how often it occurs.
fn calendar(text: &str) -> Option<Times> {
    if let Some(times) = Times::named(text) {
        return Some(times);
    }
    let (mut weekdays, mut date, mut time) = (None, None, None);
    for word in text.split_whitespace() {
        let place = match word {
            _ if word.contains(':') => &mut time,
            _ if word.starts_with(|sign: char| sign.is_ascii_alphabetic()) && date.is_none() && time.is_none() => {
                &mut weekdays
            }
            _ if word.contains('-') && time.is_none() => &mut date,
            // A time zone.
            _ if time.is_some() || date.is_some() => continue,
            _ => return None,
        };
        place.replace(word);
    }
    let (month, day) = match date.map(|date| date.rsplitn(3, '-').collect::<Vec<_>>()).as_deref() {
        None => ("*".to_owned(), "*".to_owned()),
        Some([day, month]) | Some([day, month, "*"]) => (field(month, 12)?, field(day, 31)?),
        Some(_) => return None,
    };
    let weekdays = weekdays.map_or(Some("*".to_owned()), days)?;
    // In cron, either kind of day is enough; in systemd both have to match.
    if day != "*" && weekdays != "*" {
        return None;
    }
    let mut parts = time.unwrap_or("0:0").split(':');
    let (hour, minute) = (field(parts.next()?, 23)?, field(parts.next()?, 59)?);
    Some(Times::Fields(format!("{minute} {hour} {day} {month} {weekdays}")))
}

/// A list of numbers, ranges and repetitions.
fn field(text: &str, max: u8) -> Option<String> {
    let number = |text: &str| text.parse::<u8>().ok().filter(|number| *number <= max);
    let part = |part: &str| {
        let (base, step) = part.split_once('/').map_or((part, None), |(base, step)| (base, Some(step)));
        let base = match base.split_once("..") {
            None if base == "*" => base.to_owned(),
            None if step.is_some() => format!("{}-{max}", number(base)?),
            None => number(base)?.to_string(),
            Some((first, last)) => format!("{}-{}", number(first)?, number(last)?),
        };
        Some(match step {
            None => base,
            Some(step) => format!("{base}/{}", number(step).filter(|step| *step > 0)?),
        })
    };
    text.split(',').map(part).collect::<Option<Vec<_>>>().map(|parts| parts.join(","))
}

/// A list of days of the week.
fn days(text: &str) -> Option<String> {
    let day = |text: &str| text.get(..3).map(str::to_ascii_uppercase);
    let part = |part: &str| match part.split_once("..") {
        None => day(part),
        Some((first, last)) => Some(format!("{}-{}", day(first)?, day(last)?)),
    };
    text.split(',').filter(|part| !part.is_empty()).map(part).collect::<Option<Vec<_>>>().map(|parts| parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_often_a_timer_starts_its_service() {
        let now = "2026-11-29T09:30:00Z".parse().unwrap();
        for (text, minutes) in [
            ("OnCalendar=hourly", Ok(Some(60))),
            ("OnCalendar = Daily", Ok(Some(24 * 60))),
            ("OnCalendar=weekly", Ok(Some(7 * 24 * 60))),
            ("OnCalendar=monthly", Ok(Some(31 * 24 * 60))),
            ("OnCalendar=*-*-* 04:30:00", Ok(Some(24 * 60))),
            ("OnCalendar=*-*-* 04,16:30", Ok(Some(12 * 60))),
            ("OnCalendar=04:30 Europe/Berlin", Ok(Some(24 * 60))),
            ("OnCalendar=*:0/15", Ok(Some(15))),
            ("OnCalendar=*-*-* *:07:00 UTC", Ok(Some(60))),
            ("OnCalendar=Mon..Fri 03:00", Ok(Some(72 * 60))),
            ("OnCalendar=Monday,Thu *-*-* 03:00:00", Ok(Some(4 * 24 * 60))),
            ("OnCalendar=*-*-01 03:00:00", Ok(Some(31 * 24 * 60))),
            ("OnCalendar=Mon *-*-01..07 03:00", Ok(None)),
            ("OnCalendar=2026-12-24 18:00", Err(RejectionReason::FixedYears)),
            ("OnCalendar=2026,2027-*-* 18:00", Err(RejectionReason::FixedYears)),
            ("OnCalendar=Mon 2026..2030-*-* *:00", Err(RejectionReason::FixedYears)),
            ("OnCalendar=2026-02~03 04:00", Err(RejectionReason::FixedYears)),
            ("OnCalendar=2026/1-*-* 18:00", Ok(None)),
            ("OnCalendar=2026-12-24 18:00\nOnCalendar=daily", Ok(Some(24 * 60))),
            ("OnCalendar=2026-12-24 18:00\nOnUnitActiveSec=1h", Ok(Some(60))),
            ("OnCalendar=2026-12-24 18:00\nOnCalendar=\nOnBootSec=5min", Err(RejectionReason::OnlyAtStart)),
            ("OnCalendar=12-24 18:00 America/Port-au-Prince", Ok(Some(366 * 24 * 60))),
            ("OnCalendar=*-02~01", Ok(None)),
            ("OnCalendar=hourly\nRandomizedDelaySec=30min", Ok(Some(90))),
            ("OnCalendar=hourly\nRandomizedDelaySec=1h\nFixedRandomDelay=yes", Ok(Some(60))),
            ("OnCalendar=*:0/20\nRandomizedDelaySec=1h\nFixedRandomDelay=yes", Ok(Some(80))),
            ("OnBootSec=1\nOnUnitActiveSec=1h\nRandomizedDelaySec=1h\nFixedRandomDelay=yes", Ok(Some(120))),
            ("OnCalendar=hourly\nOnUnitActiveSec=1d\nRandomizedDelaySec=1h\nFixedRandomDelay=yes", Ok(Some(60))),
            ("OnCalendar=daily\nOnUnitActiveSec=1h\nRandomizedDelaySec=1h\nFixedRandomDelay=yes", Ok(Some(120))),
            ("OnCalendar=*:*:0/30", Ok(Some(1))),
            ("OnCalendar=hourly\nOnCalendar=\nOnCalendar=daily", Ok(Some(24 * 60))),
            ("OnCalendar=daily\n#OnCalendar=\nOnCalendar=hourly", Ok(Some(60))),
            ("OnBootSec=5min\nOnUnitActiveSec=1h 30min", Ok(Some(90))),
            ("OnActiveSec=1\nOnUnitInactiveSec=1d", Ok(Some(24 * 60))),
            ("OnBootSec=15min", Err(RejectionReason::OnlyAtStart)),
            ("OnCalendar=hourly\nOnBootSec=\nOnStartupSec=1", Err(RejectionReason::OnlyAtStart)),
            ("OnCalendar=hourly\nOnFailure=", Ok(Some(60))),
            ("OnUnitActiveSec=1h", Err(RejectionReason::NeverStarts)),
            ("Unit=w.service", Err(RejectionReason::NeverStarts)),
        ] {
            let text = format!("[Timer]\n{text}\n");
            let found = Timer::read("w.timer".to_owned(), &text, false);
            let found = found.map(|timer| timer.interval(now).map(|interval| interval.as_secs() / 60));
            assert_eq!(found, minutes, "{text}");
        }
        let enabled = Timer::read("w.timer".to_owned(), "[Timer]\nOnUnitActiveSec=1h\n", true).unwrap();
        assert_eq!(enabled.interval(now), Some(Duration::from_secs(3600)));
    }

    #[test]
    fn spans_of_time() {
        for (text, seconds) in [
            ("90", Some(90.0)),
            ("1h30m", Some(5400.0)),
            ("2min 200ms", Some(120.2)),
            ("1d 5h 4min 3.5s", Some(104_643.5)),
            ("1w", Some(604_800.0)),
            ("", None),
            ("infinity", None),
            ("h", None),
            ("1 fortnight", None),
        ] {
            assert_eq!(span(text), seconds.map(Duration::from_secs_f64), "{text}");
        }
    }

    #[test]
    fn lines_of_a_unit() {
        let text = "[Service]\n# ExecStart=a\nExecStart = b \\\n  # not this\n c\n;ExecStart=d\nUser=\n";
        let found: Vec<_> = assignments(text).collect();
        assert_eq!(found, [("ExecStart", "b   c".to_owned()), ("User", String::new())]);
    }
}
