//! When a schedule runs: the five fields of a cron table (crontab(5)), or a time span between two runs.

use cronexpr::{FallbackTimezoneOption, ParseOptions};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// To find the longest time between two runs, this many days are examined, and at least this many runs.
const DAYS: i64 = 8;
const RUNS: usize = 14;

/// When something runs again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// The fields of a table.
    Fields(String),
    /// The time span from one run to the next.
    Every(Duration),
}

impl Times {
    /// The times that a name stands for: cron's names without their `@`, and systemd's additional ones.
    pub(super) fn named(name: &str) -> Option<Self> {
        let fields = match name.to_ascii_lowercase().as_str() {
            "minutely" => "* * * * *",
            "hourly" => "0 * * * *",
            "daily" | "midnight" => "0 0 * * *",
            "weekly" => "0 0 * * 0",
            "monthly" => "0 0 1 * *",
            "quarterly" => "0 0 1 1,4,7,10 *",
            "semiannually" | "semi-annually" => "0 0 1 1,7 *",
            "yearly" | "annually" => "0 0 1 1 *",
            _ => return None,
        };
        Some(Self::Fields(fields.to_owned()))
    }

    /// The longest time between two of the next runs; none if that is not known.
    #[must_use]
    pub(super) fn interval(&self, now: Timestamp) -> Option<Duration> {
        let fields = match self {
            Self::Every(interval) => return Some(*interval),
            Self::Fields(fields) => fields,
        };
        // UTC needs no zone name, which would be looked up in files that a small machine lacks.
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let times = cronexpr::parse_crontab_with(fields, options).ok()?;
        let last = now.checked_add(SignedDuration::from_hours(DAYS * 24)).ok()?;
        let mut runs: Vec<Timestamp> = Vec::new();
        for run in times.iter_after(now).ok()? {
            if runs.len() >= RUNS && runs.last().is_some_and(|run| *run > last) {
                break;
            }
            runs.push(run.ok()?.timestamp());
        }
        let gaps = runs.iter().zip(runs.iter().skip(1)).map(|(run, next)| next.duration_since(*run).unsigned_abs());
        gaps.max()
    }
}
