//! Simulates many machines that renew from one CA. Each decides by Warded's own functions (when a certificate is due,
//! when to ask a CA again), and starts its runs by the text of the shipped timer. The clock is a number.
//!
//! `cargo run --release --example fleet` prints a table for 10^5 hosts, and exits with 1 if a bound is not kept.
//! docs/FLEET.md explains the terms of the table. With `--check` some hundred machines do the same with a real step-ca
//! (tests/fleet-check).
#![expect(clippy::as_conversions, clippy::indexing_slicing, reason = "counts of a simulation are far below any limit")]
#![expect(clippy::expect_used, clippy::panic, reason = "a text that is not as expected ends the program")]

mod check;
mod event;
mod host;
mod random;
mod schedule;
mod simulation;
mod table;

use event::{DAY, Event, HOUR};
use schedule::Kind;
use simulation::Case;
use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use table::Line;

const LIVES: [u64; 3] = [DAY, 7 * DAY, 30 * DAY];
const USAGE: &str =
    "fleet [--hosts NUMBER] [--schedule systemd|cron|periodic|FILE.timer] [--capacity NUMBER] [--retry-after SECONDS]
fleet --check STEP-CA DIRECTORY SECONDS";

fn main() -> ExitCode {
    let mut case = Case {
        hosts: 100_000,
        life: DAY,
        event: Event::Steady,
        capacity: 0,
        retry_after: None,
        schedule: Kind::systemd(),
        course: None,
    };
    let mut capacities = vec![25, 230, 500];
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("--check").is_some() {
        let mut argument = || arguments.next().expect(USAGE);
        return check::check(argument().into(), argument().into(), argument().parse().expect(USAGE));
    }
    while let Some(name) = arguments.next() {
        let value = arguments.next().expect(USAGE);
        match name.as_str() {
            "--hosts" => case.hosts = value.parse().expect(USAGE),
            "--capacity" => capacities = vec![value.parse().expect(USAGE)],
            "--retry-after" => case.retry_after = Some(value.parse().expect(USAGE)),
            "--schedule" => case.schedule = kind(&value),
            _ => panic!("{USAGE}"),
        }
    }
    println!("{}", Line::head());
    let faults = run(&cases(&case, &capacities), |line| println!("{}", line.text()));
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn kind(value: &str) -> Kind {
    match value {
        "systemd" => Kind::systemd(),
        "cron" => Kind::cron(),
        "periodic" => Kind::periodic(),
        file => Kind::Timer(std::fs::read_to_string(file).expect("a timer")),
    }
}

/// Every combination of life, event and capacity.
fn cases(case: &Case, capacities: &[u64]) -> Vec<Case> {
    let events = |life| {
        [
            Event::MassBoot,
            Event::Steady,
            Event::Outage(6 * HOUR),
            Event::Outage(24 * HOUR),
            table::tolerated_outage(life),
            Event::KeyRollover,
            Event::WrongClocks,
            Event::MachinesOff,
        ]
    };
    let mut cases = Vec::new();
    for life in LIVES {
        for event in events(life) {
            cases.extend(capacities.iter().map(|capacity| Case { life, event, capacity: *capacity, ..case.clone() }));
        }
    }
    cases
}

/// Runs the cases in parallel, and hands over each line as soon as all lines before it are there. Returns what is wrong
/// with them.
fn run(cases: &[Case], tell: impl Fn(&Line) + Sync) -> Vec<String> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new((0, BTreeMap::new())));
    let work = || {
        while let Some((number, case)) = cases.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
            let line = Line::of(case, case.run());
            let mut done = done.lock().expect("no thread panicked");
            let (told, lines) = &mut *done;
            lines.insert(number, line);
            while let Some(line) = lines.get(told) {
                tell(line);
                *told += 1;
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    let (_, lines) = done.into_inner().expect("no thread panicked");
    lines.values().flat_map(Line::faults).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(schedule: Kind) -> Case {
        Case { hosts: 20_000, life: DAY, event: Event::Steady, capacity: 0, retry_after: None, schedule, course: None }
    }

    /// For this fleet a capacity of 5 a second is what 250 a second is for a million hosts.
    #[test]
    fn shipped_schedules_keep_the_bounds() {
        let cases = [Kind::systemd(), Kind::cron(), Kind::periodic()].map(|schedule| cases(&fleet(schedule), &[5]));
        let mut short = cases.concat();
        short.retain(|case| case.life == DAY);
        let faults = run(&short, |line| println!("{}", line.text()));
        assert!(faults.is_empty(), "{faults:#?}");
    }

    #[test]
    fn a_timer_that_gathers_machines_is_found() {
        for timer in ["OnCalendar=hourly\nRandomizedDelaySec=5m\n", "OnCalendar=*:0/15\n", "OnCalendar=daily\n"] {
            let schedule = Kind::Timer(timer.to_owned());
            let case = Case { event: Event::MassBoot, capacity: 5, ..fleet(schedule) };
            assert!(!Line::of(&case, case.run()).faults().is_empty(), "{timer}");
        }
    }

    #[test]
    fn a_ca_that_is_away_for_too_long_is_found() {
        let case = Case { event: Event::Outage(12 * HOUR), capacity: 5, ..fleet(Kind::systemd()) };
        assert!(Line::of(&case, case.run()).ended > 10.0);
    }

    /// A `Retry-After` in the CA's answers reduces its load.
    #[test]
    fn a_busy_ca_that_says_when_to_come_back_is_asked_less() {
        let connections = |retry_after| {
            let case =
                Case { event: Event::MassBoot, capacity: 1, retry_after, hosts: 60_000, ..fleet(Kind::systemd()) };
            case.run().bins.iter().copied().map(u64::from).sum::<u64>()
        };
        let (silent, asking) = (connections(None), connections(Some(4 * HOUR)));
        assert!(asking < silent * 3 / 4, "{silent} {asking}");
    }
}
