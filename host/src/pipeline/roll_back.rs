//! Rolls a run back: files first, then services, then a check that everything is as before. The run itself, its
//! watchdog and `warded recover` use this module; it reads only the journal.

mod aftermath;
mod programs;
mod sshd_state;
mod start;

use super::settle;
use crate::{
    context::Context,
    outcomes::{LastRollBack, Outcome as _, RollbackReason},
};
pub use aftermath::Aftermath;
use jiff::Timestamp;
use sshd_state::{ReadState, as_before, has_read, may_reload, would_start};
use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use warded_lib::{
    audit::{Ending, Event, Kind, Log},
    error::{Error, Exit, Result},
    guard::{config_digest, live},
    machine::{
        action::{Programs, Runner, StepRollback},
        facts::{self, Facts, Init},
        files::Root,
        private::StateDir,
        scratch,
        services::{self, ReloadResult},
        sshd::{self, Listener, Sshd},
    },
    transaction::{
        self, Journal, Reload, RollbackReport, RunIdentity, Settlement, SshdBefore, State, StillNamed, UntouchedFile,
    },
};

/// How long Warded retries the reload of a service that failed for a passing reason.
const TELL: Duration = Duration::from_secs(10);

/// What is needed to roll runs back. It uses nothing of the configuration, which may be what went wrong.
#[derive(Debug)]
pub struct Recovery<'a> {
    state: &'a StateDir,
    root: &'a Root,
    log: &'a Log,
    runner: Arc<dyn Runner>,
    systemd: bool,
    patience: Duration,
}

/// A run that was rolled back.
#[derive(Debug)]
pub struct RolledBackRun {
    pub run: RunIdentity,
    pub files: RollbackReport,
    /// What became of its programs and services.
    pub aftermath: Aftermath,
}

impl<'a> Recovery<'a> {
    /// For the runs in a state directory.
    #[must_use]
    pub fn new(state: &'a StateDir, root: &'a Root, log: &'a Log) -> Self {
        let systemd = Facts::read(Path::new("/")).init == Init::Systemd;
        Self { state, root, log, runner: Arc::new(Programs), systemd, patience: TELL }
    }

    /// Allows more time for the reloads, where nobody waits for them and no other process would do them.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// For the runs in the context's state directory.
    #[must_use]
    pub fn of(context: &'a Context) -> Self {
        let systemd = context.facts.init == Init::Systemd;
        let runner = Arc::clone(&context.runner);
        Self { state: &context.state, root: &context.root, log: &context.log, runner, systemd, patience: TELL }
    }

    /// Rolls back every interrupted run, and passes each to `show`.
    ///
    /// # Errors
    /// A file could not be put back, or another process has the directory locked.
    pub fn all(&self, mut show: impl FnMut(RolledBackRun)) -> Result<()> {
        loop {
            let mut aftermath = Aftermath::default();
            let mut why = RollbackReason::Interrupted;
            let settle =
                |journal: &Journal, done: &RollbackReport| self.settled(journal, done, &mut aftermath, &mut || {});
            if transaction::interrupted(self.state)?.is_some_and(|journal| is_unconfirmed(&journal)) {
                why = RollbackReason::Unconfirmed;
            }
            let Some(recovered) = transaction::recover(self.state, self.root, settle)? else { return Ok(()) };
            let done = RolledBackRun { run: recovered.run, files: recovered.rolled_back, aftermath };
            show(self.record(done, why));
        }
    }

    /// Rolls one run back; `None` if it has ended by now.
    ///
    /// # Errors
    /// As [`Recovery::all`]; refused while the run is in progress.
    pub fn one(&self, number: u64, why: RollbackReason) -> Result<Option<RolledBackRun>> {
        self.roll_back(number, why, |journal, done, aftermath| self.settled(journal, done, aftermath, &mut || {}))
    }

    /// The same during shutdown, only for the files and for the links of units: sshd stops as well, and by then systemd
    /// answers no request.
    ///
    /// # Errors
    /// As [`Recovery::one`].
    pub fn files_of_one(&self, number: u64, why: RollbackReason) -> Result<Option<RolledBackRun>> {
        self.roll_back(number, why, |journal, done, aftermath| {
            for reload in journal.reloads.iter().filter(|reload| reload.is_schedule()) {
                let linked = services::reconcile_links(&reload.schedule, self.systemd).map_err(Error::from);
                aftermath.reloads.push((reload.name.to_string(), linked));
            }
            let open = (!done.steps.is_empty()).then(|| {
                Error::failed("the machine goes down: what programs changed is rolled back at its next start")
            });
            Settlement { named: StillNamed::nothing(), open }
        })
    }

    fn roll_back(
        &self,
        number: u64,
        why: RollbackReason,
        settle: impl FnOnce(&Journal, &RollbackReport, &mut Aftermath) -> Settlement,
    ) -> Result<Option<RolledBackRun>> {
        let Some(Journal { run, .. }) = transaction::look(self.state, number)? else { return Ok(None) };
        let mut aftermath = Aftermath::default();
        let settle = |journal: &Journal, done: &RollbackReport| settle(journal, done, &mut aftermath);
        let files = transaction::roll_back_run(self.state, self.root, number, settle)?;
        Ok(files.map(|files| self.record(RolledBackRun { run, files, aftermath }, why)))
    }

    /// Rolls back what programs changed, reloads services and checks sshd. It calls `begins` before each slow step. A
    /// failure is reported and does not stop the remaining steps; a program whose change could not be rolled back keeps
    /// the run open.
    pub fn settled(
        &self,
        journal: &Journal,
        done: &RollbackReport,
        aftermath: &mut Aftermath,
        begins: &mut dyn FnMut(),
    ) -> Settlement {
        let programs = self.roll_back_programs(journal, done, begins);
        let again = self.restored_again(journal, done, &programs, aftermath);
        let open = programs.iter().find_map(|(_, ended)| ended.as_ref().err()).cloned().or(again.err());
        // sshd was reloaded in the first attempt already.
        let named = if open.is_some() && done.is_again {
            StillNamed::Unknown
        } else {
            begins();
            self.told(journal, done, aftermath)
        };
        aftermath.programs = programs;
        Settlement { named, open }
    }

    /// A program that undoes its own change may write a file again as the run had left it: that file is put back once
    /// more.
    fn restored_again(
        &self,
        journal: &Journal,
        done: &RollbackReport,
        programs: &[(String, Result<StepRollback>)],
        aftermath: &mut Aftermath,
    ) -> Result<()> {
        if programs.is_empty() {
            return Ok(());
        }
        let again = transaction::restore_again(self.state, self.root, journal.run.run)?;
        let is_told = |left: &UntouchedFile| done.left_alone.iter().any(|told| told.path == left.path);
        aftermath.left_alone.extend(again.left_alone.into_iter().filter(|left| !is_told(left)));
        Ok(())
    }

    /// Reloads the services and checks sshd. Returns what the sshds use then.
    fn told(&self, journal: &Journal, done: &RollbackReport, aftermath: &mut Aftermath) -> StillNamed {
        let all: Vec<&Reload> = journal.reloads.iter().collect();
        let untold = || self.tell_all(&journal.run, &all, None, &|| Ok(()));
        let mut named = StillNamed::nothing();
        match journal.sshd.as_ref().map(|before| (before, Sshd::find(&before.config, before.binary.as_deref()))) {
            None => aftermath.reloads = untold(),
            Some((before, Ok(Some(sshd)))) => {
                let settled = self.settle(&journal.run, &all, before, &sshd, done.was_told);
                (*aftermath, named) = settled;
            }
            Some((_, Ok(None))) if !sshd::is_running() => aftermath.reloads = untold(),
            Some((_, lost)) => {
                aftermath.fault = Some(not_found("sshd", lost.err()));
                named = StillNamed::Unknown;
            }
        }
        for before in &journal.bystanders {
            let (own, still) = self.settle_bystander(journal, before, done.was_told);
            let reloads = own.reloads.into_iter().map(|(name, told)| (format!("{name} ({})", before.config), told));
            aftermath.reloads.extend(reloads);
            aftermath.fault = aftermath.fault.take().or(own.fault);
            named = named.and(still);
        }
        named
    }

    /// Reloads and checks an sshd that reads files which a run for another sshd had changed.
    fn settle_bystander(&self, journal: &Journal, before: &SshdBefore, was_told: bool) -> (Aftermath, StillNamed) {
        match Sshd::find(&before.config, before.binary.as_deref()) {
            Ok(Some(sshd)) => {
                let tells = |reload: &&Reload| {
                    sshd.listener.as_ref().is_some_and(|listener| services::is_sshd(&reload.service, listener))
                };
                let reloads: Vec<&Reload> = journal.reloads.iter().filter(tells).collect();
                self.settle(&journal.run, &reloads, before, &sshd, was_told)
            }
            Ok(None) if !sshd::is_running() => (Aftermath::default(), StillNamed::nothing()),
            lost => {
                let fault = Some(not_found(&format!("the sshd of {}", before.config), lost.err()));
                (Aftermath { fault, ..Aftermath::default() }, StillNamed::Unknown)
            }
        }
    }

    fn settle(
        &self,
        run: &RunIdentity,
        reloads: &[&Reload],
        before: &SshdBefore,
        sshd: &Sshd,
        was_told: bool,
    ) -> (Aftermath, StillNamed) {
        let boot = facts::boot();
        // The files are restored by now: an sshd that was signalled, and has not read its files yet, reads the restored
        // ones.
        let seen = has_read(before, sshd.listener.as_ref(), boot.as_deref());
        let read = if seen == ReadState::Unknown && was_told { ReadState::Yes } else { seen };
        let look = || may_reload(sshd, before, read);
        let told = |(_, outcome): &(_, Result<ReloadResult>)| {
            matches!(
                outcome,
                Ok(ReloadResult::Unit { .. } | ReloadResult::Restarted { .. } | ReloadResult::Signalled { .. })
            )
        };
        let once = || {
            let reloads = self.tell_all(run, reloads, Some(sshd), &look);
            if reloads.iter().any(told) {
                live::await_reload(sshd);
            }
            Aftermath { fault: as_before(sshd, before).err(), reloads, ..Aftermath::default() }
        };
        let mut aftermath = once();
        // While sshd re-executes itself for one reload, it ignores SIGHUP, so the next signal may be lost.
        if aftermath.fault.is_some() && aftermath.reloads.iter().any(told) {
            aftermath = once();
        }
        self.start_again(run, before, sshd, &mut aftermath);
        if let Err(refused) = would_start(sshd, before) {
            let lost = aftermath.fault.take().map(|lost| format!("{}; {}", lost.message(), refused.message()));
            aftermath.fault = Some(lost.map_or(refused, Error::failed));
        }
        let is_told = |listener: &Listener| {
            let outcomes = aftermath.reloads.iter().map(|(_, outcome)| outcome);
            outcomes.into_iter().any(|outcome| match outcome {
                Ok(ReloadResult::Unit { unit } | ReloadResult::Restarted { unit }) => {
                    listener.unit.as_ref() == Some(unit)
                }
                Ok(ReloadResult::Signalled { pid }) => listener.pid == *pid,
                Ok(
                    ReloadResult::NotRunning
                    | ReloadResult::Scheduled { .. }
                    | ReloadResult::DisabledLater { .. }
                    | ReloadResult::Started { .. }
                    | ReloadResult::Anew { .. }
                    | ReloadResult::LeftStopped { .. },
                )
                | Err(_) => false,
            })
        };
        if read != ReadState::No && !sshd.listener.as_ref().is_none_or(is_told) {
            return (aftermath, StillNamed::Unknown);
        }
        // A configuration that cannot be read may name any file.
        let named = config_digest::contents(before.config.as_path()).map_or(StillNamed::Unknown, StillNamed::Named);
        (aftermath, named)
    }

    fn tell_all(
        &self,
        run: &RunIdentity,
        reloads: &[&Reload],
        sshd: Option<&Sshd>,
        look: &dyn Fn() -> Result<()>,
    ) -> Vec<(String, Result<ReloadResult>)> {
        reloads.iter().map(|reload| (reload.name.to_string(), self.tell(run, reload, sshd, look))).collect()
    }

    /// If the reload cannot be recorded, it is made all the same: a full disk may be the reason for this rollback.
    fn tell(
        &self,
        run: &RunIdentity,
        reload: &Reload,
        sshd: Option<&Sshd>,
        look: &dyn Fn() -> Result<()>,
    ) -> Result<ReloadResult> {
        let event = |kind| settle::named(event(run, kind), reload);
        drop(self.log.append_synced(&event(Kind::Intent)));
        let deadline = Instant::now() + self.patience;
        let mut pause = Duration::from_millis(100);
        let outcome = loop {
            match settle::tell(reload, self.systemd, sshd, look).map_err(Error::from) {
                // Only passing faults are retried (systemd is busy, no process can be started). An edit by somebody
                // else does not pass.
                Err(error) if error.exit() != Exit::Refused && Instant::now() + pause < deadline => {
                    thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                outcome => break outcome,
            }
        };
        drop(self.log.append(&match &outcome {
            Ok(reloaded) => event(Kind::Result).detail(&reloaded.to_string()),
            Err(error) => event(Kind::Failed).detail(error.message()),
        }));
        outcome
    }

    fn record(&self, mut done: RolledBackRun, why: RollbackReason) -> RolledBackRun {
        let detail = format!("rolled back ({why}): {done}");
        let told = format!("rolled back, {why}: {done}");
        let recorded = self.log.conclude(&event(&done.run, Kind::Ended).detail(&detail), Ending::RolledBack, &told);
        if let Err(error) = recorded {
            done.aftermath.fault = done.aftermath.fault.or(Some(error));
        }
        let RunIdentity { run, procedure, .. } = done.run.clone();
        LastRollBack { run, procedure, at: Timestamp::now(), why }.save(self.state);
        scratch::sweep();
        done
    }
}

/// The error for an sshd that cannot be found, and may be running with the files that were rolled back.
fn not_found(what: &str, why: Option<Error>) -> Error {
    let fault = Error::failed(format!("{what} could not be found, so it was not reloaded"));
    let fault = match why {
        Some(why) => fault.cause(why),
        None => fault,
    };
    fault.next("make sure that sshd runs, and reload it")
}

impl RolledBackRun {
    /// Whether everything is as before, as far as Warded can see.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.files.left_alone.is_empty() && self.aftermath.left().is_none() && self.aftermath.first_failure().is_none()
    }
}

impl std::fmt::Display for RolledBackRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.files, self.aftermath)
    }
}

/// Whether a run waited for a confirmation that did not come in time.
fn is_unconfirmed(journal: &Journal) -> bool {
    let is_late = journal.confirm.as_ref().is_some_and(|confirm| confirm.until < Timestamp::now());
    journal.state == State::Unconfirmed && is_late
}

/// An audit event of a run that is known from its journal.
#[must_use]
pub fn event(run: &RunIdentity, kind: Kind) -> Event {
    Event {
        policy: run.policy.clone(),
        component: Some(run.component),
        procedure: run.procedure.clone(),
        ..Event::new(run.run, kind)
    }
}

/// Whether a run's journal says that it has ended.
///
/// # Errors
/// The journal cannot be read.
pub fn has_ended(state: &StateDir, number: u64) -> Result<bool> {
    Ok(transaction::look(state, number)?.is_none_or(|journal| matches!(journal.state, State::Kept | State::RolledBack)))
}
