//! When a machine starts `warded renew`, read from the text of the shipped timer or cron table.

use warded_lib::machine::schedule::{Command, Scheduler};

/// When runs start, by the machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Seconds from one run to the next.
    pub(crate) period: u64,
    delay: Delay,
}

/// How long after the begin of each period a run starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delay {
    /// The same delay each time.
    Fixed(u64),
    /// A random delay for each run, below this.
    Drawn(u64),
}

/// The kinds of schedule, each with the files that Warded writes for it.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Shipped(Scheduler),
    /// The text of another timer, to compare with.
    Timer(String),
}

impl Kind {
    pub(crate) fn systemd() -> Self {
        Self::Shipped(Scheduler::Systemd("warded-renew".to_owned()))
    }

    pub(crate) fn cron() -> Self {
        Self::Shipped(Scheduler::CronD("warded-renew".to_owned()))
    }

    pub(crate) fn periodic() -> Self {
        Self::Shipped(Scheduler::Periodic("warded-renew".to_owned()))
    }

    /// The schedule of one machine. `random` is any number that stays the same for this machine.
    pub(crate) fn of(&self, machine_id: &str, random: u64) -> Schedule {
        match self {
            Self::Timer(text) => Schedule::of_timer(text, random),
            Self::Shipped(Scheduler::Systemd(_)) => Schedule::of_timer(&self.text(machine_id), random),
            Self::Shipped(Scheduler::CronD(_)) => Schedule::of_table(&self.text(machine_id)),
            Self::Shipped(Scheduler::Periodic(_)) => Schedule::of_script(&self.text(machine_id)),
        }
    }

    /// The first file of the schedule.
    pub(crate) fn text(&self, machine_id: &str) -> String {
        let scheduler = match self {
            Self::Timer(text) => return text.clone(),
            Self::Shipped(scheduler) => scheduler,
        };
        let path = |text: &str| text.parse().expect("a path");
        let command = Command {
            program: path("/usr/bin/warded"),
            options: Vec::new(),
            state: path("/var/lib/warded"),
            writes: vec![path("/etc/ssh")],
            machine_id: machine_id.to_owned(),
        };
        let files = scheduler.files(&command, true).expect("plain paths");
        files.into_iter().next().expect("a timer or a table").text
    }
}

impl Schedule {
    /// Parses a systemd timer: systemd.timer(5), systemd.time(7).
    fn of_timer(text: &str, random: u64) -> Self {
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            lines.next_back().map(str::trim)
        };
        let period = match value("OnCalendar").expect("OnCalendar=") {
            "hourly" => 3600,
            "daily" => 24 * 3600,
            other => {
                let every = |prefix: &str| other.strip_prefix(prefix)?.parse::<u64>().ok();
                let period = every("*:*:0/").or_else(|| Some(60 * every("*:0/")?));
                period.unwrap_or_else(|| panic!("OnCalendar={other} is not read here"))
            }
        };
        let most = value("RandomizedDelaySec").map_or(0, seconds);
        let is_fixed = matches!(value("FixedRandomDelay"), Some("yes" | "true" | "on" | "1"));
        let delay = if is_fixed { Delay::Fixed(below(most, random)) } else { Delay::Drawn(most) };
        Self { period, delay }
    }

    /// Parses a cron table: `M * * * * root sleep S; exec PROGRAM renew`.
    fn of_table(text: &str) -> Self {
        let line = text.lines().find(|line| line.contains(" renew ")).expect("a line that renews");
        let (minute, rest) = line.split_once(' ').expect("a minute");
        let rest = rest.strip_prefix("* * * * root ").expect("a line for every hour");
        let second =
            rest.strip_prefix("sleep ").and_then(|rest| rest.split_once(';')).map_or("0", |(second, _)| second);
        let number = |text: &str| text.parse::<u64>().expect("a number");
        Self { period: 3600, delay: Delay::Fixed(60 * number(minute) + number(second)) }
    }

    /// Parses a script that BusyBox's crond starts on the hour: `(sleep N; exec PROGRAM renew …) &`.
    fn of_script(text: &str) -> Self {
        let line = text.lines().find_map(|line| line.strip_prefix("(sleep ")).expect("a line that sleeps");
        let seconds = line.split_once(';').expect("seconds").0;
        Self { period: 3600, delay: Delay::Fixed(seconds.parse().expect("seconds")) }
    }

    /// The first run at `from` or later, by the machine's clock in seconds. `draw` gives a random number for each
    /// period.
    pub(crate) fn next(self, from: u64, draw: impl Fn(u64) -> u64) -> u64 {
        let starts = |number: u64| {
            let delay = match self.delay {
                Delay::Fixed(seconds) => seconds,
                Delay::Drawn(most) => below(most, draw(number)),
            };
            number * self.period + delay
        };
        let longest = match self.delay {
            Delay::Fixed(seconds) | Delay::Drawn(seconds) => seconds,
        };
        let first = from.saturating_sub(longest) / self.period;
        (first..).map(starts).find(|start| *start >= from).unwrap_or(u64::MAX)
    }
}

/// Parses a time span of systemd's: `5m`, `1h`, `90`.
fn seconds(text: &str) -> u64 {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "" | "s" | "sec" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        other => panic!("{other} is no unit of time that is read here"),
    };
    digits.trim().parse::<u64>().expect("a number") * unit
}

/// A number below `limit`, uniformly distributed; 0 if the limit is 0.
pub(crate) fn below(limit: u64, random: u64) -> u64 {
    ((u128::from(limit) * u128::from(random)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: u64 = 1 << 63;

    #[test]
    fn a_schedule_is_what_its_text_says() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(Kind::systemd().of(id, HALF), Schedule { period: 3600, delay: Delay::Fixed(1800) });
        // docs/RENEWAL.md states these two times for that machine.
        assert_eq!(Kind::cron().of(id, 0), Schedule { period: 3600, delay: Delay::Fixed(35 * 60 + 15) });
        assert_eq!(Kind::periodic().of(id, 0), Schedule { period: 3600, delay: Delay::Fixed(2115) });
        let timer = |text: &str| Kind::Timer(text.to_owned()).of(id, HALF);
        let often = Schedule { period: 900, delay: Delay::Drawn(300) };
        assert_eq!(timer("OnCalendar=*:0/15\nRandomizedDelaySec=5m\n"), often);
        assert_eq!(timer("OnCalendar=daily\n"), Schedule { period: 86_400, delay: Delay::Drawn(0) });
        assert_eq!(timer("OnCalendar=*:*:0/15\n"), Schedule { period: 15, delay: Delay::Drawn(0) });
    }

    #[test]
    fn runs_follow_one_another_at_the_period() {
        let fixed = Schedule { period: 3600, delay: Delay::Fixed(1800) };
        for (from, next) in [(0, 1800), (1800, 1800), (1801, 5400), (7200, 9000)] {
            assert_eq!(fixed.next(from, |_| 0), next, "{from}");
        }
        let drawn = Schedule { period: 900, delay: Delay::Drawn(300) };
        assert_eq!(drawn.next(1000, |_| HALF), 1050);
        assert_eq!(drawn.next(1051, |_| HALF), 1950);
    }
}
