//! From a procedure to a changed machine, one stage after the other. All changes to the machine are made here.
//!
//! No file changes before the journal is on disk; from then on a failure is rolled back.

pub mod announce;
pub mod at_rest;
pub mod certify;
mod done;
mod ending;
mod issued;
pub mod known_hosts;
pub mod overtaken;
pub mod plan;
pub mod prove;
pub mod roll_back;
mod rolled_back;
pub mod rotation;
pub mod serve;
pub mod settle;
pub mod stage;
pub mod terms;
pub mod unnamed;
pub mod vouch;
pub mod watchdog;
pub mod work;
mod yields;

pub(crate) use done::not_reloaded;
pub use done::{RunReport, users};
pub use ending::{not_accepted, nothing_renewed, renewal_did_not_begin};
pub use plan::{PlannedRun, Request, plan};
pub use stage::{Reporter, Stage};
pub use terms::Terms;
pub use work::{QueueItem, Work};

use crate::{
    broker::Identity,
    context::Context,
    outcomes::{LastProof, Outcome as _},
};
use ending::{end_failed, end_kept, end_not_begun, end_served};
use jiff::Timestamp;
use overtaken::PlanInputs;
pub use prove::Forecast;
use prove::Guard;
use roll_back::Recovery;
use warded_lib::{
    audit::Kind as EventKind,
    config::is_root,
    error::{Error, Result},
    guard::LiveReport,
    machine::{
        action::{Code, Step},
        facts::Init,
        schedule::SCHEDULE,
        services::ReloadResult,
        signals::Shield,
    },
    transaction::{Confirm, Followup, Reload, Transaction, UntouchedFile},
};
use watchdog::{IdleWatchdog, Watchdog};

/// How each service was reloaded, by its name in the policy.
type Reloads = Vec<(String, ReloadResult)>;

/// Finds out what `carry_out` would refuse before it asks the CA, and changes nothing.
///
/// # Errors
/// Refused: the reason why the run cannot be carried out.
pub fn foresee(context: &Context, work: &Work) -> Result<Forecast> {
    let look = || {
        let guard = Guard::baseline(context, work)?;
        work.refuse_irreplaceable()?;
        guard.foresee(work)
    };
    look().map_err(Error::or_unchanged)
}

/// Carries out what the operator reviewed.
///
/// # Errors
/// Before the journal: nothing was changed. After it: either everything was put back, and the error says so; or
/// something could not be put back, and the error says what is left to do.
pub fn carry_out(context: &Context, identity: &Identity, work: Work, reporter: &dyn Reporter) -> Result<RunReport> {
    Run { context, identity, reporter }.carry_out(work)
}

/// One run: what all of its stages need.
struct Run<'a> {
    context: &'a Context,
    identity: &'a Identity,
    reporter: &'a dyn Reporter,
}

impl Run<'_> {
    fn carry_out(&self, mut work: Work) -> Result<RunReport> {
        let Self { context, identity, reporter } = *self;
        let expected = PlanInputs::of(&work);
        let ended = |end: fn(&Context, &Identity, &Error), error: Error| -> Error {
            let error = expected.explained(error, context);
            end(context, identity, &error);
            error.or_unchanged()
        };
        let unchanged = |error| ended(end_failed, error);
        // The log already says what the run was going to change, so the failure is recorded as a run that did not
        // begin.
        let not_begun = |error| ended(end_not_begun, error);

        reporter.stage(Stage::Baseline);
        let mut guard = Guard::baseline(context, &work).map_err(unchanged)?;
        guard.spare(&mut work);
        reporter.stage(Stage::Check);
        work.refuse_irreplaceable().and_then(|()| guard.check(&work)).map_err(unchanged)?;
        let outlives_login = work.terms.confirm_within.is_some() && context.facts.init == Init::Systemd && is_root();
        // Starting the watchdog takes about as long as the CA takes to answer, so both happen at the same time.
        let idle = identity.run.filter(|_| !outlives_login).map(|run| IdleWatchdog::start(context, run));
        reporter.stage(Stage::Certify);
        let given = certify::fill_in(context, identity, &mut work).map_err(unchanged)?;
        // One sync to disk for this intent and for the CA's answers: from here on, these records cannot be cut off the
        // log.
        let intent = identity.event(EventKind::Intent).detail(&work.describe());
        context.log.append_synced(&intent).map_err(unchanged)?;
        reporter.stage(Stage::Prove);
        let known_hosts = known_hosts::prove(&work).map_err(not_begun)?;
        let proof = guard.prove(&work, &given.certificates).map_err(not_begun)?;

        let _signals_held = Shield::up().map_err(not_begun)?;
        let mut transaction = self.prepare(&guard, &work).map_err(not_begun)?;
        let run = transaction.journal().run.run;
        let started = match idle {
            Some(idle) => Watchdog::start(context, run, idle),
            None => Watchdog::start_in_scope(context, run),
        };
        let mut watchdog = match started {
            Ok(watchdog) => watchdog,
            Err(error) => return Err(unchanged(self.roll_back(&mut transaction, error, &mut || {}))),
        };
        match self.change(&guard, &work, &mut transaction, &mut watchdog) {
            Ok(ChangeReport { reloads, verified, left_alone }) => {
                let confirm = transaction.journal().confirm.clone();
                if confirm.is_some() {
                    watchdog.leave();
                } else {
                    watchdog.release();
                }
                issued::forget(context, &given.certificates);
                remember_proof(context, run, &guard, &work);
                let (unknown, unseen) = (guard.unknown().cloned(), guard.unseen().cloned());
                let done = RunReport {
                    run,
                    given,
                    withdrawn: std::mem::take(&mut work.withdrawn),
                    proof,
                    known_hosts,
                    verified,
                    unknown,
                    unseen,
                    reloads,
                    bystanders: guard.bystanders().iter().map(|one| one.sshd().config.clone()).collect(),
                    unwatched: guard.unwatched().to_vec(),
                    former: guard.former(),
                    left_alone,
                    confirm,
                };
                let files = transaction.journal().entries.len();
                end_kept(context, identity, &work, files, &done)
                    .map_err(|error| error.or_state(format!("the change was made and kept, as run {run}")))?;
                Ok(done)
            }
            Err(error) => {
                reporter.stage(Stage::RollBack);
                watchdog.stage();
                let error = self.roll_back(&mut transaction, error, &mut || watchdog.stage());
                // If something could not be put back now, the watchdog tries again.
                if transaction.journal().is_final() {
                    watchdog.release();
                }
                Err(unchanged(error))
            }
        }
    }

    /// Writes the journal and the new files to disk. No file of the machine has changed yet.
    fn prepare(&self, guard: &Guard, work: &Work) -> Result<Transaction> {
        let Self { context, identity, .. } = *self;
        let confirm = |within| Confirm { until: Timestamp::now() + within, since: None };
        let (sshd, bystanders) = guard.before(context);
        let followup = Followup {
            reloads: work.reloads.clone(),
            steps: work.steps.clone(),
            sshd,
            bystanders,
            confirm: work.terms.confirm_within.map(confirm),
            own: work.own.clone(),
        };
        let run = work.run_identity(identity)?;
        Transaction::begin(&context.root, &context.state, &run, work.changes()?, work.reads(), &followup)
    }

    /// From the first changed file to the last check. After an error the caller rolls everything back.
    fn change(
        &self,
        guard: &Guard,
        work: &Work,
        transaction: &mut Transaction,
        watchdog: &mut Watchdog,
    ) -> Result<ChangeReport> {
        let Self { context, identity, reporter } = *self;
        let systemd = context.facts.init == Init::Systemd;
        let event = |kind| identity.event(kind);
        let mut stage = |name| {
            reporter.stage(name);
            watchdog.stage();
        };
        stage(Stage::Commit);
        guard.still_holds()?;
        work.ask_again(context.runner.as_ref(), &context.root, &mut || stage(Stage::Commit))?;
        transaction.commit()?;
        let mut reloads = Vec::new();
        let retires = transaction.retires_recovery();
        let told_now = |reload: &Reload| if retires { reload.without_recovery() } else { Some(reload.clone()) };
        for queued in work.queue() {
            let reload = match queued {
                QueueItem::Program(index, step) => {
                    // The program may make sshd read its configuration.
                    guard.is_as_proved().and_then(|()| transaction.note_reload_begins())?;
                    self.run(step, || transaction.note_step_begins(index), &mut || stage(Stage::Run))?;
                    continue;
                }
                QueueItem::Reload(reload) => told_now(reload),
            };
            let Some(reload) = &reload else { continue };
            stage(Stage::Reload);
            let last_look = || guard.is_as_proved().and_then(|()| transaction.note_reload_begins());
            let reloaded = settle::reload(&context.log, event, reload, systemd, guard.sshd(), &last_look)?;
            reloads.push((reload.name.to_string(), reloaded));
            for bystander in guard.bystanders().iter().filter(|bystander| bystander.is_told_by(reload)) {
                let sshd = bystander.sshd();
                let last_look = || bystander.is_as_proved().and_then(|()| transaction.note_reload_begins());
                let reloaded = settle::reload(&context.log, event, reload, systemd, Some(sshd), &last_look)?;
                reloads.push((format!("{} ({})", reload.name, sshd.config), reloaded));
            }
        }
        stage(Stage::Verify);
        // If a program wrote one of sshd's files, the running sshd would read it only at the next start of the machine.
        if !work.steps.is_empty() {
            guard.all_are_as_proved()?;
        }
        let verified = guard.verify(work)?;
        context.log.append(&event(EventKind::Intent).detail("keep"))?;
        let mut left_alone = Vec::new();
        if work.terms.confirm_within.is_some() {
            transaction.await_confirmation()?;
            watchdog.hand_over()?;
        } else {
            left_alone = transaction.keep()?;
            for left in &left_alone {
                let left = left.to_string();
                // The run is kept, even if this cannot be recorded now.
                drop(context.log.append(&event(EventKind::Result).detail(&left)));
                reporter.note(&left);
            }
            match settle::forget_recovery(&context.log, event, context.facts.init) {
                Some(Ok(how)) => reloads.push((SCHEDULE.to_owned(), how)),
                Some(Err(error)) => reporter.note(&format!("note: {}", error.message())),
                None => {}
            }
        }
        Ok(ChangeReport { reloads, verified, left_alone })
    }

    /// Runs a program of the queue, on record.
    fn run(&self, step: &Step, note: impl FnOnce() -> Result<()>, begins: &mut dyn FnMut()) -> Result<()> {
        let Self { context, identity, .. } = *self;
        let event = |kind| settle::of_program(identity.event(kind), step);
        context.log.append_synced(&event(EventKind::Intent).detail(&step.change.digests()))?;
        note()?;
        match step.carry_out(context.runner.as_ref(), begins) {
            Ok(()) => context.log.append(&event(EventKind::Result).detail("done")),
            Err(fault) => {
                // A log that cannot be written must not hide why the program failed.
                drop(context.log.append(&event(EventKind::Failed).detail(&fault.message)));
                let is_timeout = fault.code == Code::Timeout;
                let error = Error::from(fault);
                Err(if is_timeout { error.next("in a few minutes: warded status") } else { error })
            }
        }
    }

    /// Rolls back the files first, then the programs, then reloads, then checks that everything is as before; a failure
    /// of one does not stop the others. Calls `begins` before each step that may take long.
    fn roll_back(&self, transaction: &mut Transaction, error: Error, begins: &mut dyn FnMut()) -> Error {
        let mut aftermath = roll_back::Aftermath::default();
        let restored = transaction
            .roll_back(|journal, done| Recovery::of(self.context).settled(journal, done, &mut aftermath, begins));
        rolled_back::told(error, restored, &aftermath)
    }
}

/// What a committed change led to: the reloads, and what sshd serves.
struct ChangeReport {
    reloads: Vec<(String, ReloadResult)>,
    verified: Option<LiveReport>,
    left_alone: Vec<UntouchedFile>,
}

/// Remembers what proved this run. The next `status` compares its version of OpenSSH with the installed one.
fn remember_proof(context: &Context, run: u64, guard: &Guard, work: &Work) {
    if let Some(sshd) = guard.sshd() {
        // The operator accepted what Warded cannot see: Warded does not ask about it again until something changes.
        let is_accepted = guard.unseen().is_some() && work.terms.not_seen_live;
        let at = Timestamp::now();
        let (read_at, host_keys) = if guard.has_read(&work.reloads) || is_accepted {
            (Some(at), guard.host_keys())
        } else {
            let before = LastProof::load(&context.state);
            before.map(|proof| (proof.read_at, proof.host_keys)).unwrap_or_default()
        };
        let program = sshd.proven_version().map(|(_, program)| program.clone());
        let openssh = sshd.version().to_owned();
        LastProof { run, at, openssh, program, read_at, host_keys }.save(&context.state);
    }
}
