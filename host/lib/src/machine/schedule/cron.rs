//! When cron runs a table's line or a script (crontab(5), anacrontab(5), run-parts(8)).

use super::times::Times;
use jiff::Timestamp;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// A table or a script of cron's that runs renewals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    pub file: PathBuf,
    /// The times of the runs; none if they are not known.
    pub(super) times: Option<Times>,
}

impl Cron {
    /// `name` is the file's path from the root of the file system, `line` the line that runs the renewal.
    pub(super) fn new(file: PathBuf, name: &str, line: &str) -> Self {
        let directory = Path::new(name).parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let directory = directory.map(|name| name.strip_prefix("cron.").unwrap_or(name));
        let times = match directory {
            _ if name == "etc/anacrontab" => period(line),
            Some("15min") => Some(Times::Fields("*/15 * * * *".to_owned())),
            Some(name @ ("hourly" | "daily" | "weekly" | "monthly")) => Times::named(name),
            _ => fields(line),
        };
        Self { file, times }
    }

    /// The longest time between two of the next runs; none if that is not known.
    #[must_use]
    pub fn interval(&self, now: Timestamp) -> Option<Duration> {
        self.times.as_ref()?.interval(now)
    }
}

/// Whether a line runs only at boot.
pub(super) fn is_at_start(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("@reboot"))
}

/// The times at which a line of a table runs.
fn fields(line: &str) -> Option<Times> {
    let words: Vec<&str> = line.split_whitespace().take(5).collect();
    let first = words.first()?;
    if let Some(name) = first.strip_prefix('@') {
        return Times::named(name);
    }
    // cronie: a line that begins with `-` is not logged.
    (words.len() == 5).then(|| Times::Fields(words.join(" ").trim_start_matches('-').to_owned()))
}

/// The times at which anacron runs a line: a number of days, or a name.
fn period(line: &str) -> Option<Times> {
    let first = line.split_whitespace().next()?;
    if let Some(name) = first.strip_prefix('@') {
        return Times::named(name);
    }
    let days: u32 = first.parse().ok()?;
    (days > 0).then(|| Times::Every(Duration::from_secs(24 * 3600) * days))
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
            ("etc/cron.d/w", "0 4 * * mon,thu root warded renew", Some(96)),
            ("etc/cron.d/w", "0 4 * * 7 root warded renew", Some(168)),
            ("etc/cron.d/w", "-5 * * * * root warded renew", Some(1)),
            ("etc/cron.d/w", "0 3 1 1 * root warded renew", Some(366 * 24)),
            ("etc/crontab", "@daily root warded renew", Some(24)),
            ("etc/crontab", "@Midnight root warded renew", Some(24)),
            ("var/spool/cron/crontabs/root", "@monthly warded renew", Some(31 * 24)),
            ("var/spool/cron/crontabs/root", "@every_minute warded renew", None),
            ("etc/crontab", "61 * * * * root warded renew", None),
            ("etc/anacrontab", "1 5 w warded renew", Some(24)),
            ("etc/anacrontab", "7\t25\tw\twarded renew", Some(168)),
            ("etc/anacrontab", "@monthly 45 w warded renew", Some(31 * 24)),
            ("etc/anacrontab", "0 5 w warded renew", None),
            ("etc/cron.weekly/w", "exec warded renew", Some(168)),
            ("etc/cron.monthly/w", "exec warded renew", Some(31 * 24)),
            ("etc/periodic/15min/w", "warded renew", Some(0)),
            ("etc/periodic/weekly/w", "warded renew", Some(168)),
            ("etc/periodic/monthly/w", "warded renew", Some(31 * 24)),
        ] {
            let cron = Cron::new(PathBuf::from(name), name, line);
            let found = cron.interval(now).map(|interval| interval.as_secs() / 3600);
            assert_eq!(found, hours, "{name}: {line}");
        }
    }
}
