//! Kills a run on an appliance with SIGKILL before each of its system calls: from the first intent of the queue until
//! the change is kept, during the roll back, and during the recovery of an interrupted run. The calls come from traces
//! of the shipped binary. The watchdog is alive or dead. Afterwards stored settings, jobs and files must be all old or
//! all new, and the appliance must generate the files that are in place. `tests/appliances --kill-points` tries all
//! calls and prints the tables; as a test it is a sample.

mod bench;
mod machine;
mod traced;

use crate::support::{missing, true_nas::Settings};
use bench::{Bench, Left, Work};
use machine::Appliance;
use std::{env, fmt::Write as _, time::Instant};

#[test]
fn killed_anywhere_truenas_has_settings_that_agree_with_its_files() {
    let settings = Settings { password_user: Some("jane"), options: "Banner none", ..Settings::of("25.10") };
    on(
        || Appliance::true_nas(settings),
        "TrueNAS 25.10",
        &[
            (Work::Certify, &[(2, true), (7, false)]),
            (Work::Undo, &[(4, true)]),
            (Work::RollBack, &[(3, false), (6, true)]),
            (Work::Recover, &[(5, false)]),
        ],
    );
}

#[test]
fn killed_anywhere_nethserver_has_templates_that_agree_with_its_files() {
    on(Appliance::nethserver, "NethServer 7", &[(Work::Certify, &[(5, true)]), (Work::RollBack, &[(5, false)])]);
}

/// For each work, tenths of its list of calls, and whether the watchdog is alive.
type Sample = (Work, &'static [(usize, bool)]);

fn on(start: impl FnOnce() -> Option<Appliance>, name: &str, samples: &[Sample]) {
    if missing::root() || missing::strace() {
        return;
    }
    let every: Option<usize> = env::var("WARDED_TEST_EVERY").ok().map(|every| every.parse().unwrap());
    let appliance = start().unwrap();
    let begun = Instant::now();
    let (mut table, mut all) = (String::new(), Tally::default());
    for work in Work::ALL {
        let sample = samples.iter().find(|(sampled, _)| *sampled == work).map(|(_, points)| *points);
        let Some(points) = every.map_or(sample, |_| Some(&[])) else { continue };
        let bench = Bench::set_up(&appliance, work, every.is_some());
        let mut tally = Tally { calls: bench.points.len(), left_out: bench.left_out, ..Tally::default() };
        for (at, alive) in chosen(&bench, every, points) {
            tally.add(&bench, at, alive);
        }
        bench.tear_down();
        writeln!(table, "{:12}{tally}", work.name()).unwrap();
        all.join(tally);
    }
    println!("\n{name:12}{HEAD}\n{table}{:12}{all}   {} s", "together", begun.elapsed().as_secs());
    assert!(all.failures.is_empty(), "{}", all.failures.join("\n"));
    // A run that took another course was judged too, but not killed at the intended call.
    assert!(all.killed > 0 && all.missed * 10 <= all.killed, "{all}");
    assert!(every.is_none() || all.by_watchdog > 0 && all.new > 0, "{all}");
}

fn chosen(bench: &Bench<'_>, every: Option<usize>, sample: &[(usize, bool)]) -> Vec<(usize, bool)> {
    let count = bench.points.len();
    let modes: &[bool] = if bench.work.is_watched() { &[true, false] } else { &[false] };
    match every {
        Some(every) => (0..count).step_by(every).flat_map(|at| modes.iter().map(move |alive| (at, *alive))).collect(),
        None => {
            // strace can match a call by its file, so a run is certain to be killed at one of these.
            let named: Vec<usize> = (0..count).filter(|at| bench.points[*at].point.has_path()).collect();
            sample.iter().map(|(tenth, alive)| (named[named.len() * tenth / 10], *alive)).collect()
        }
    }
}

/// The results so far.
#[derive(Debug, Default)]
struct Tally {
    calls: usize,
    left_out: usize,
    killed: usize,
    old: usize,
    new: usize,
    by_watchdog: usize,
    missed: usize,
    failures: Vec<String>,
}

impl Tally {
    fn add(&mut self, bench: &Bench<'_>, at: usize, alive: bool) {
        match bench.kill(at, alive) {
            Ok(outcome) => {
                self.killed += usize::from(outcome.was_met);
                self.missed += usize::from(!outcome.was_met);
                *if outcome.left == Left::Old { &mut self.old } else { &mut self.new } += 1;
                self.by_watchdog += usize::from(outcome.by_watchdog);
            }
            Err(why) => {
                let watchdog = if alive { "alive" } else { "dead" };
                let why = format!("{:?}, {}, watchdog {watchdog}: {why}", bench.work, bench.points[at].point);
                eprintln!("{why}");
                self.failures.push(why);
            }
        }
        bench.restore();
    }

    fn join(&mut self, other: Self) {
        self.calls += other.calls;
        self.left_out += other.left_out;
        self.killed += other.killed;
        self.old += other.old;
        self.new += other.new;
        self.by_watchdog += other.by_watchdog;
        self.missed += other.missed;
        self.failures.extend(other.failures);
    }
}

const HEAD: &str = "   calls  left out  killed  missed    old    new  by watchdog  failures";

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { calls, left_out, killed, old, new, by_watchdog, missed, failures } = self;
        write!(
            f,
            "{calls:>8}{left_out:>10}{killed:>8}{missed:>8}{old:>7}{new:>7}{by_watchdog:>13}{:>10}",
            failures.len()
        )
    }
}
