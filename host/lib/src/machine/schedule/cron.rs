//! When cron runs a line or a script (crontab(5), run-parts(8)).

use jiff::{SignedDuration, Timestamp};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// For the longest time between two runs, those of so many days are looked at, and so many runs at least.
const DAYS: i64 = 8;
const RUNS: usize = 14;

/// A table of cron's or a script that it starts, by which renewals run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    /// The file.
    pub file: PathBuf,
    /// When, in the five fields of a table; none: that is not known.
    pub(super) times: Option<String>,
}

impl Cron {
    /// `name` is the file's path from the root of the file system, `line` the one that renews.
    pub(super) fn new(file: PathBuf, name: &str, line: &str) -> Self {
        let directory = Path::new(name).parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let times = match directory {
            _ if name == "etc/anacrontab" => None,
            Some("15min") => Some("*/15 * * * *".to_owned()),
            Some("hourly" | "cron.hourly") => named("@hourly"),
            Some("daily" | "cron.daily") => named("@daily"),
            Some("weekly" | "cron.weekly") => named("@weekly"),
            _ => fields(line),
        };
        Self { file, times }
    }

    /// The longest time between two of the runs that come next; none where that is not known.
    #[must_use]
    pub fn interval(&self, now: Timestamp) -> Option<Duration> {
        let times = cronexpr::parse_crontab(&format!("{} UTC", self.times.as_ref()?)).ok()?;
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

/// Whether a line runs at the start of the machine, and at no other time.
pub(super) fn is_at_start(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("@reboot"))
}

/// The fields of a line that say when it runs.
fn fields(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().take(5).collect();
    match words.first()? {
        name if name.starts_with('@') => named(name),
        _ => (words.len() == 5).then(|| words.join(" ")),
    }
}

/// The fields that a name stands for.
fn named(name: &str) -> Option<String> {
    let fields = match name.to_ascii_lowercase().as_str() {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        _ => return None,
    };
    Some(fields.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_often_a_line_runs() {
        let now = "2026-11-29T09:30:00Z".parse().unwrap();
        for (name, line, hours) in [
            ("etc/cron.d/w", "17 * * * * root warded renew", Some(1)),
            ("etc/cron.d/w", "*/20 * * * * root warded renew", Some(0)),
            ("etc/cron.d/w", "7 2,14 * * * root warded renew", Some(12)),
            ("etc/cron.d/w", "0 4 * * 1-5 root warded renew", Some(72)),
            ("etc/cron.d/w", "*/5 * * * 1-5 root warded renew", Some(48)),
            ("etc/cron.d/w", "0 3 1 1 * root warded renew", Some(366 * 24)),
            ("etc/crontab", "@daily root warded renew", Some(24)),
            ("var/spool/cron/crontabs/root", "@monthly warded renew", Some(31 * 24)),
            ("var/spool/cron/crontabs/root", "@every_minute warded renew", None),
            ("etc/crontab", "61 * * * * root warded renew", None),
            ("etc/anacrontab", "1 5 w warded renew", None),
            ("etc/cron.weekly/w", "exec warded renew", Some(168)),
            ("etc/periodic/15min/w", "warded renew", Some(0)),
        ] {
            let cron = Cron::new(PathBuf::from(name), name, line);
            let found = cron.interval(now).map(|interval| interval.as_secs() / 3600);
            assert_eq!(found, hours, "{name}: {line}");
        }
    }
}
