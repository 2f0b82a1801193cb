//! The commands that are killed, and the judgement of the state that they leave.

use super::{
    machine::{Appliance, Kept},
    traced,
};
use crate::{
    scenarios::recovery::kill_points::point::{self, Point, TracedPoint},
    support::{
        true_nas::{CERTIFY, REMOVE, TRUST},
        wait::{LONG, wait},
    },
};
use std::{collections::BTreeSet, fs, path::PathBuf};

const UNDO: [&str; 2] = ["undo", "--yes"];
const RECOVER: [&str; 1] = ["recover"];

/// A command that is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Certify,
    Trust,
    Remove,
    Undo,
    /// A run that fails after it has changed everything, and rolls itself back.
    RollBack,
    /// The recovery of a run that was killed, together with its watchdog, after it had changed everything.
    Recover,
}

/// The state that the command left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Old,
    New,
}

/// The result of one kill.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) left: Left,
    /// Whether the run was killed at the intended call.
    pub(super) was_met: bool,
    pub(super) by_watchdog: bool,
}

impl Work {
    pub(super) const ALL: [Self; 6] =
        [Self::Certify, Self::Trust, Self::Remove, Self::Undo, Self::RollBack, Self::Recover];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Certify => "certify-host",
            Self::Trust => "trust-user-ca",
            Self::Remove => "remove",
            Self::Undo => "undo",
            Self::RollBack => "roll back",
            Self::Recover => "recover",
        }
    }

    pub(super) fn is_watched(self) -> bool {
        self != Self::Recover
    }

    fn words(self, appliance: &Appliance) -> Vec<&'static str> {
        match (self, appliance) {
            (Self::RollBack, Appliance::NethServer(_)) => {
                [&CERTIFY[..], &["--sshd", appliance.refusing_sshd()]].concat()
            }
            (Self::Certify | Self::RollBack, _) => CERTIFY.to_vec(),
            (Self::Trust, _) => TRUST.to_vec(),
            (Self::Remove, _) => REMOVE.to_vec(),
            (Self::Undo, _) => UNDO.to_vec(),
            (Self::Recover, _) => RECOVER.to_vec(),
        }
    }

    fn can_be_new(self) -> bool {
        matches!(self, Self::Certify | Self::Trust | Self::Remove | Self::Undo)
    }

    /// Whether a client that knows only the CA can connect.
    fn is_certified(self, left: Left) -> bool {
        match self {
            Self::Certify => left == Left::New,
            Self::Remove | Self::Undo => left == Left::Old,
            Self::Trust | Self::RollBack | Self::Recover => false,
        }
    }
}

/// An appliance that is brought to the state before one work again and again.
pub(super) struct Bench<'a> {
    appliance: &'a Appliance,
    pub(super) work: Work,
    /// The state before the work.
    old: Kept,
    /// The state after the work, without the certificates, which differ each time.
    new: Kept,
    /// The calls at which the work can be killed.
    pub(super) points: Vec<TracedPoint>,
    /// How many calls only one of the two traces had.
    pub(super) left_out: usize,
}

impl<'a> Bench<'a> {
    /// Brings the appliance to where the work begins, and traces the work; twice, if all of its calls are to be tried.
    pub(super) fn set_up(appliance: &'a Appliance, work: Work, all: bool) -> Self {
        traced::install(appliance);
        appliance.keep("clean");
        let clean = appliance.kept();
        match (work, appliance) {
            (Work::Certify | Work::Trust, _) | (Work::RollBack, Appliance::NethServer(_)) => {}
            (Work::RollBack, Appliance::TrueNas(machine)) => machine.mode("cronjob.create:fails-after"),
            (Work::Undo, _) => drop(appliance.warded(&CERTIFY).ends(0)),
            (Work::Remove, _) => {
                appliance.warded(&CERTIFY).ends(0);
                appliance.warded(&TRUST).ends(0);
            }
            (Work::Recover, _) => {
                let kept = newest_run(appliance, 1).join("journal.kept");
                let kept = format!("-e trace=rename -P {} -e inject=rename:signal=KILL:when=1", kept.display());
                let traced = traced::run(appliance, &CERTIFY, &kept, false);
                assert!(traced.was_killed() && appliance.kept() != clean, "{:?}", traced.run);
            }
        }
        appliance.keep("before");
        let old = if work == Work::Recover { clean } else { appliance.kept() };
        let mut bench = Self { appliance, work, old, new: Kept::new(), points: Vec::new(), left_out: 0 };
        let mut traces = Vec::new();
        for _ in 0..1 + usize::from(all) {
            let traced = traced::run(appliance, &work.words(appliance), &format!("-e trace={}", point::CALLS), true);
            let exit = if work == Work::RollBack { 1 } else { 0 };
            assert_eq!(traced.run.code, Some(exit), "{:?}", traced.run);
            traces.push(from_queue(work, &traced));
            bench.new = appliance.kept();
            bench.restore();
        }
        let known: BTreeSet<&Point> = traces[traces.len() - 1].iter().map(|seen| &seen.point).collect();
        let (stable, other): (Vec<&TracedPoint>, Vec<&TracedPoint>) =
            traces[0].iter().filter(|seen| seen.counts).partition(|seen| known.contains(&seen.point));
        assert!(stable.len() > 20, "{work:?} makes {} calls", stable.len());
        bench.left_out = other.len();
        bench.points = stable.into_iter().cloned().collect();
        bench
    }

    /// Kills the work before this call, and kills its watchdog unless `alive`. Then it recovers, and judges the result.
    pub(super) fn kill(&self, at: usize, alive: bool) -> Result<Outcome, String> {
        let TracedPoint { point, number, .. } = &self.points[at];
        let Point { call, path, nth } = point;
        let options = if point.has_path() {
            format!("-e trace={call} -P \"{path}\" -e inject={call}:signal=KILL:when={nth}")
        } else {
            format!("-e trace={call} -e inject={call}:signal=KILL:when={number}")
        };
        let traced = traced::run(self.appliance, &self.work.words(self.appliance), &options, alive);
        let last = traced.seen.last().map(|seen| &seen.point);
        // A call without a file is matched by its name alone: how many calls other threads make before it differs from
        // run to run.
        let is_meant = |last: &Point| if point.has_path() { last == point } else { last.call == *call };
        let was_met = traced.was_killed() && last.is_some_and(is_meant);
        let left = self.judge(alive && traced.was_killed())?;
        Ok(Outcome { left, was_met, by_watchdog: alive && was_met && left == Left::Old && self.work.is_watched() })
    }

    /// `is_watched`: the watchdog was alive, so the state must agree even before `recover`.
    fn judge(&self, is_watched: bool) -> Result<Left, String> {
        let appliance = self.appliance;
        wait("the watchdog has ended", LONG, || appliance.processes().is_empty());
        if is_watched {
            appliance.agrees().map_err(|why| format!("before recovery: {why}"))?;
        }
        let recovered = appliance.warded(&["recover", "--json"]);
        if recovered.code != Some(0) {
            return Err(format!("recover: {recovered:?}"));
        }
        let runs = &recovered.object("warded.recover/1")["runs"];
        if is_watched && !runs.as_array().unwrap().is_empty() {
            return Err(format!("the watchdog lived, and left something to recover: {runs}"));
        }
        let verified = appliance.warded(&["audit", "verify"]);
        if verified.code != Some(0) {
            return Err(format!("the audit log: {verified:?}"));
        }
        let now = appliance.kept();
        let left = if now == self.old {
            Left::Old
        } else if self.work.can_be_new() && without_what_is_made_anew(&now) == without_what_is_made_anew(&self.new) {
            Left::New
        } else {
            return Err(format!("neither old nor new: {}", differences(&self.old, &now)));
        };
        appliance.agrees()?;
        appliance.lets_in(self.work.is_certified(left))?;
        Ok(left)
    }

    /// Brings the appliance back to the state before the work.
    pub(super) fn restore(&self) {
        wait("the watchdog has ended", LONG, || self.appliance.processes().is_empty());
        self.appliance.put_back("before", self.work == Work::Recover || self.appliance.kept() != self.old);
    }

    pub(super) fn tear_down(self) {
        self.appliance.put_back("clean", true);
    }
}

/// The calls from the first intent of the queue on; for a recovery, from the first call that concerns a run.
fn from_queue(work: Work, traced: &traced::Traced) -> Vec<TracedPoint> {
    let begins = if work == Work::Recover {
        traced.seen.iter().position(|seen| seen.counts && seen.whole.starts_with("/var/lib/warded/runs/"))
    } else {
        let is_intent = |line: &&str| {
            let has = |words: &str| line.contains(words);
            let is_queued = has(r#"\"capability\":\"actions.change\""#) || has(r#"\"capability\":\"services.reload\""#);
            line.starts_with("write(") && has(r#"\"kind\":\"intent\""#) && is_queued
        };
        let lines = traced.trace.lines().take_while(|line| !is_intent(line));
        let number = 1 + lines.filter(|line| line.starts_with("write(")).count();
        traced.seen.iter().position(|seen| seen.point.call == "write" && seen.number == number)
    };
    let begins = begins.unwrap_or_else(|| panic!("nothing is queued: {}", traced.trace));
    traced.seen[begins..].to_vec()
}

/// The directory of the newest run, or of the run `further` numbers later.
fn newest_run(appliance: &Appliance, further: u64) -> PathBuf {
    let runs = fs::read_dir(appliance.file("/var/lib/warded/runs"));
    let numbers = runs.into_iter().flatten().filter_map(|run| run.unwrap().file_name().to_str()?.parse::<u64>().ok());
    PathBuf::from(format!("/var/lib/warded/runs/{}", numbers.max().unwrap_or(0) + further))
}

/// Removes the certificates and the time of the enrolment, which differ each time.
fn without_what_is_made_anew(kept: &Kept) -> Kept {
    let mut kept = kept.clone();
    for (path, (.., bytes)) in &mut kept {
        let path = path.to_str().unwrap();
        if path.ends_with("-cert.pub") || path.ends_with("enrolment.json") {
            bytes.clear();
        }
    }
    kept
}

fn differences(old: &Kept, now: &Kept) -> String {
    let paths: BTreeSet<_> = old.keys().chain(now.keys()).collect();
    let differs = paths.into_iter().filter(|path| old.get(*path) != now.get(*path));
    let shown = |kept: &Kept, path| kept.get(path).map(|(.., bytes)| String::from_utf8_lossy(bytes).into_owned());
    differs.map(|path| format!("{}: was {:?}, is {:?}; ", path.display(), shown(old, path), shown(now, path))).collect()
}
