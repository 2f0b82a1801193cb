//! Kills a run with SIGKILL before every system call of commit, settle and roll back that writes, syncs, exchanges,
//! removes or starts something. The calls come from traces of the shipped binary. The tests run on three file systems,
//! with the watchdog alive and dead. `WARDED_TEST_EVERY=1` tries all calls on each file system, `=3` every third,
//! another third on each; otherwise a sample. `WARDED_TEST_WORKS=await,expire` tries only these works, each named as in
//! [`Work`], in lower case.

mod case;
mod known;
mod order;
pub(in crate::scenarios) mod point;
mod trace;
mod work;

use super::*;
use crate::support::{FileSystem, Setup};
use case::{EndState, KillPrecision};
use work::{Bench, Work};

#[test]
fn killed_anywhere_on_ext4_it_is_old_or_new() {
    on(FileSystem::Ext4, "killed_anywhere_on_ext4_it_is_old_or_new", 0);
}

#[test]
fn killed_anywhere_on_tmpfs_it_is_old_or_new() {
    on(FileSystem::Tmpfs, "killed_anywhere_on_tmpfs_it_is_old_or_new", 1);
}

#[test]
fn killed_anywhere_on_an_overlay_it_is_old_or_new() {
    on(FileSystem::Overlay, "killed_anywhere_on_an_overlay_it_is_old_or_new", 2);
}

fn on(file_system: FileSystem, test: &str, which: usize) {
    if missing::root() || missing::strace() {
        return;
    }
    if let Some(run) = file_system.host(&format!("scenarios::recovery::kill_points::{test}")) {
        println!("{}", run.stdout);
        return;
    }
    let every = std::env::var("WARDED_TEST_EVERY").ok().map(|every| every.parse().unwrap());
    let machine = Machine::with(&Setup {
        alone: true,
        layered: file_system == FileSystem::Overlay,
        // The tests make thousands of handshakes, and these are cheap. Two certificates are enough to have a first and
        // a last one.
        without_rsa: true,
        lines: "KexAlgorithms curve25519-sha256\n".to_owned(),
        ..Setup::default()
    });
    file_system.holds(&machine.config());
    work::prepare(&machine);
    let mut tally = Tally::default();
    let works = Work::asked();
    for &(index, work) in &works {
        let bench = Bench::set_up(&machine, work);
        tally.points += bench.points.len();
        tally.left_out += bench.left_out;
        for (at, alive) in chosen(&bench, every, index, which) {
            tally.add(&bench, at, alive);
        }
        bench.tear_down();
    }
    println!("{file_system:?}: {tally}");
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
    assert!(tally.killed > 0 && tally.left_out * 10 < tally.points, "{tally}");
    if works.len() == Work::ALL.len() {
        assert!(tally.points > 200 && tally.by_watchdog > 0, "{tally}");
    }
}

/// Which points are tried, and whether the watchdog is alive. With `every`, each point is tried with both. Otherwise
/// there is one point for each work, a different one on each file system, and none that strace can match only by the
/// call's name.
fn chosen(bench: &Bench<'_>, every: Option<usize>, index: usize, which: usize) -> Vec<(usize, bool)> {
    let count = bench.points.len();
    let named = |at: usize| {
        (at..count).chain(0..at).find(|at| bench.points[*at].point.has_path()).expect("no call names a file")
    };
    let modes = |at: usize| [(at, true), (at, false)].into_iter().skip(usize::from(!bench.work.is_watched()));
    match every {
        Some(every) => (which % every..count).step_by(every).flat_map(modes).collect(),
        None if bench.work.is_watched() && (index + which).is_multiple_of(2) => {
            // From here on a watchdog exists, or is the only process left.
            let first = |says: fn(&point::TracedPoint) -> bool| bench.points.iter().position(says);
            let from = first(|point| point.awaits).or_else(|| first(|point| point.tells)).unwrap_or(0);
            assert!(from > 0 || bench.work.finds_watchdog(), "it has no watchdog");
            // All calls of a confirmation but the first come after the change is kept.
            let part = if bench.work.finds_watchdog() { which } else { which + 1 };
            vec![(named(from + (count - from) * part / 12), true)]
        }
        None => vec![(named(count * (1 + 2 * which + index) / 14), false)],
    }
}

/// The results so far.
#[derive(Debug, Default)]
struct Tally {
    points: usize,
    left_out: usize,
    killed: usize,
    old: usize,
    new: usize,
    by_watchdog: usize,
    /// How many runs were killed only at another call of the same name, since the intended one was never reached.
    at_namesakes: usize,
    failures: Vec<String>,
}

impl Tally {
    fn add(&mut self, bench: &Bench<'_>, at: usize, alive: bool) {
        match case::kill(bench, at, alive) {
            Ok(outcome) => {
                self.killed += 1;
                *if outcome.left == EndState::Old { &mut self.old } else { &mut self.new } += 1;
                self.by_watchdog += usize::from(outcome.by_watchdog);
                self.at_namesakes += usize::from(outcome.met == KillPrecision::Namesake);
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
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { points, left_out, killed, old, new, by_watchdog, at_namesakes, failures } = self;
        write!(
            f,
            "{points} kill points ({left_out} calls that not every run makes are left out); runs killed: {killed}, \
             {at_namesakes} of them at another call of the same name only; left old {old}, new {new}; rolled back by \
             the watchdog {by_watchdog}; failures {}",
            failures.len()
        )
    }
}
