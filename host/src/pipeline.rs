//! From a procedure to a changed machine: one stage a line. Whatever is changed, is changed here.
//!
//! Nothing is touched before the journal; from then on a failure is rolled back.

pub mod announce;
pub mod certify;
mod ending;
mod issued;
pub mod known_hosts;
pub mod overtaken;
pub mod plan;
pub mod prove;
mod rolled_back;
pub mod rotation;
pub mod serve;
pub mod settle;
pub mod stage;
pub mod take_back;
pub mod vouch;
pub mod watchdog;
pub mod work;

pub use ending::did_not_begin;
pub use plan::{Planned, Request, plan};
pub use stage::{Reporter, Stage};
pub use work::Work;

use crate::{
    broker::Identity,
    context::Context,
    outcomes::{LastProof, Outcome as _},
};
use certify::{Filled, Refusal};
use ending::{end, end_failed, told};
use jiff::Timestamp;
use overtaken::Expected;
use prove::Guard;
use std::time::Duration;
use take_back::Recovery;
use warded_lib::{
    audit::{Ending, Kind as EventKind},
    ca::{
        Certificate,
        rotation::{self as ca_rotation, NewSigner},
        step::diagnosis::distance,
    },
    config::is_root,
    error::{Error, Exit, Result},
    guard::{Proof, Verified, known_hosts::Proof as KnownHosts},
    machine::{
        facts::Init,
        path::AbsolutePath,
        services::Reloaded,
        signals::Shield,
        sshd::{Sshd, Unknown},
    },
    text::count,
    transaction::{Confirm, Followup, LeftAlone, Transaction},
};
use watchdog::Watchdog;

/// How each service was reloaded, by its name in the policy.
type Reloads = Vec<(String, Reloaded)>;

/// What a run that was carried out did.
#[derive(Debug)]
pub struct Done {
    /// Its number: `warded undo` takes the newest back.
    pub run: u64,
    /// The certificates that came from the CA.
    pub certificates: Vec<Certificate>,
    /// The keys that were certified on the word of another one: a sentence for each.
    pub vouched: Vec<String>,
    /// What the CA refused to a renewal.
    pub refused: Vec<Refusal>,
    /// New keys of the CA, which the operator accepted.
    pub accepted: Vec<NewSigner>,
    /// New keys of the CA, whose certificates came because the former ones may end before the next renewal.
    pub last_run: Vec<NewSigner>,
    /// New keys of the CA, for which certificates were put off.
    pub put_off: Vec<NewSigner>,
    /// Why it was not written down that these keys have certificates, and what follows.
    pub unrecorded: Option<String>,
    /// What was planned, and left for another run.
    pub withdrawn: Vec<AbsolutePath>,
    /// What was proved before anything was touched; none where there is no sshd, or it has nothing to do with it.
    pub proof: Option<Proof>,
    /// What was proved of ssh's known_hosts files.
    pub known_hosts: Vec<KnownHosts>,
    /// What was seen afterwards; none where there is no sshd.
    pub verified: Option<Verified>,
    /// What listens in sshd's place and is not known; then nothing was seen live.
    pub unknown: Option<Unknown>,
    /// How each service was reloaded.
    pub reloads: Reloads,
    /// The main configuration files of the other sshds that read what has changed.
    pub bystanders: Vec<AbsolutePath>,
    /// Those of them that could not be looked at, and why, each in a sentence.
    pub unwatched: Vec<String>,
    /// What could not be tidied up: somebody has written to it.
    pub left_alone: Vec<LeftAlone>,
    /// Until when somebody has to confirm it; none: it is kept.
    pub confirm: Option<Confirm>,
}

/// Finds out what `carry_out` would refuse before it asks the CA, and changes nothing. Returns what would not be proved.
///
/// # Errors
/// Refused: what stands against it.
pub fn foresee(context: &Context, work: &Work) -> Result<Vec<String>> {
    let guard = Guard::baseline(context, work)?;
    work.refuse_irreplaceable()?;
    guard.foresee(work)
}

/// Carries out what was reviewed.
///
/// # Errors
/// Before the journal: nothing was changed. After it: everything was put back, and the error says
/// so; or it could not all be put back, and the error says what is left to do.
pub fn carry_out(context: &Context, identity: &Identity, mut work: Work, reporter: &dyn Reporter) -> Result<Done> {
    let expected = Expected::of(&work);
    let unchanged = |error: Error| -> Error {
        let error = expected.explained(error, context);
        end_failed(context, identity, &error);
        error.or_state("nothing was changed")
    };

    reporter.stage(Stage::Baseline);
    let mut guard = Guard::baseline(context, &work).map_err(unchanged)?;
    reporter.stage(Stage::Check);
    work.refuse_irreplaceable().and_then(|()| guard.check(&work)).map_err(unchanged)?;
    reporter.stage(Stage::Certify);
    let Filled { certificates, vouched, refused, accepted, last_run, put_off, unrecorded } =
        certify::fill_in(context, identity, &mut work).map_err(unchanged)?;
    reporter.stage(Stage::Prove);
    let known_hosts = known_hosts::prove(&work).map_err(unchanged)?;
    let proof = guard.prove(&work, &certificates).map_err(unchanged)?;

    let _nobody_needs_to_be_there = Shield::up()?;
    let mut transaction = prepare(context, identity, &guard, &work).map_err(unchanged)?;
    let run = transaction.journal().run.run;
    let outlives_login = work.confirm_within.is_some() && context.facts.init == Init::Systemd && is_root();
    let mut watchdog = match Watchdog::start(context, run, outlives_login) {
        Ok(watchdog) => watchdog,
        Err(error) => return Err(unchanged(take_back(context, &mut transaction, error))),
    };
    match change(context, identity, &guard, &work, &mut transaction, &mut watchdog, reporter) {
        Ok(Changed { reloads, verified, left_alone }) => {
            let confirm = transaction.journal().confirm.clone();
            if confirm.is_some() {
                watchdog.leave();
            } else {
                watchdog.release();
            }
            issued::forget(context, &certificates);
            remember_proof(context, run, guard.sshd());
            let (detail, ending) = match &confirm {
                Some(_) => ("waits to be confirmed", Ending::Waits),
                None => ("kept", Ending::Kept),
            };
            let files = transaction.journal().entries.len();
            let told = told(&certificates, files, &reloads, confirm.as_ref());
            end(context, identity, detail, ending, &told)
                .map_err(|error| error.or_state(format!("the change was made and kept, as run {run}")))?;
            let unknown = guard.unknown().cloned();
            Ok(Done {
                run,
                certificates,
                vouched,
                refused,
                accepted,
                last_run,
                put_off,
                unrecorded,
                withdrawn: work.withdrawn,
                proof,
                known_hosts,
                verified,
                unknown,
                reloads,
                bystanders: guard.bystanders().iter().map(|one| one.sshd().config.clone()).collect(),
                unwatched: guard.unwatched().to_vec(),
                left_alone,
                confirm,
            })
        }
        Err(error) => {
            reporter.stage(Stage::RollBack);
            watchdog.stage();
            let error = take_back(context, &mut transaction, error);
            // What could not be put back now, the watchdog tries again.
            if transaction.journal().is_final() {
                watchdog.release();
            }
            Err(unchanged(error))
        }
    }
}

/// Journal and new files, on disk; no file has changed yet.
fn prepare(context: &Context, identity: &Identity, guard: &Guard, work: &Work) -> Result<Transaction> {
    context.log.append_synced(&identity.event(EventKind::Intent).detail(&work.describe()))?;
    let confirm = |within| Confirm { until: Timestamp::now() + within, since: None };
    let (sshd, bystanders) = guard.before(context);
    let followup = Followup {
        reloads: work.reloads.clone(),
        sshd,
        bystanders,
        confirm: work.confirm_within.map(confirm),
        own: work.own.clone(),
    };
    let run = work.run_identity(identity)?;
    Transaction::begin(&context.root, &context.state, &run, work.changes()?, work.reads(), &followup)
}

/// What was seen of a change.
struct Changed {
    reloads: Vec<(String, Reloaded)>,
    verified: Option<Verified>,
    left_alone: Vec<LeftAlone>,
}

/// From the first file to the last look. After an error the caller takes everything back.
fn change(
    context: &Context,
    identity: &Identity,
    guard: &Guard,
    work: &Work,
    transaction: &mut Transaction,
    watchdog: &mut Watchdog,
    reporter: &dyn Reporter,
) -> Result<Changed> {
    let systemd = context.facts.init == Init::Systemd;
    let event = |kind| identity.event(kind);
    let mut stage = |name| {
        reporter.stage(name);
        watchdog.stage();
    };
    stage(Stage::Commit);
    guard.still_holds()?;
    transaction.commit()?;
    let mut reloads = Vec::new();
    for reload in &work.reloads {
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
    let verified = guard.verify(work)?;
    context.log.append_synced(&event(EventKind::Intent).detail("keep"))?;
    let mut left_alone = Vec::new();
    if work.confirm_within.is_some() {
        transaction.await_confirmation()?;
        watchdog.hand_over()?;
    } else {
        left_alone = transaction.keep()?;
        for left in &left_alone {
            let left = left.to_string();
            // It is kept, whatever cannot be recorded now.
            drop(context.log.append(&event(EventKind::Result).detail(&left)));
            reporter.note(&left);
        }
    }
    Ok(Changed { reloads, verified, left_alone })
}

/// Files first, then the reload, then a look whether everything is as before; each for itself.
fn take_back(context: &Context, transaction: &mut Transaction, error: Error) -> Error {
    let mut aftermath = take_back::Aftermath::default();
    let restored = transaction.roll_back(|journal, done| Recovery::of(context).settled(journal, done, &mut aftermath));
    rolled_back::told(error, restored, &aftermath)
}

/// The next `status` compares the version of OpenSSH with this one's.
fn remember_proof(context: &Context, run: u64, sshd: Option<&Sshd>) {
    if let Some(sshd) = sshd {
        LastProof { run, at: Timestamp::now(), openssh: sshd.version().to_owned() }.save(&context.state);
    }
}

impl Done {
    /// What a person wants to know of it.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(certificate) = self.certificates.first() {
            let names = certificate.principals().join(" ");
            lines.push(format!("Certified {} for {names}.", count(self.certificates.len(), "key")));
        } else {
            lines.push("Done.".to_owned());
        }
        if let Some(proof) = &self.proof {
            let mut proved = Vec::new();
            if !proof.keys.is_empty() {
                proved.push(format!("clients that pinned a plain key ({}) get in", proof.keys.join(", ")));
            }
            if !proof.certificates.is_empty() {
                let mut signers: Vec<String> = self.certificates.iter().map(Certificate::signer_fingerprint).collect();
                signers.dedup();
                proved.push(format!("clients that know only the CA ({}) get in", signers.join(", ")));
            }
            if !proof.logins.is_empty() {
                proved.push(format!("{} can log in", proof.logins.join(", ")));
            }
            if !proved.is_empty() {
                lines.push(format!("Proved beforehand: {}.", proved.join(", ")));
            }
            lines.extend(proof.not_proved.iter().map(|what| format!("Not proved: {what}.")));
        }
        lines.extend(self.known_hosts.iter().map(|proof| format!("Proved beforehand: {proof}.")));
        match &self.verified {
            Some(verified) if verified.live && !verified.certificates.is_empty() => {
                lines.push(format!(
                    "Seen live: {} served, the plain keys still offered.",
                    count(verified.certificates.len(), "certificate")
                ));
            }
            Some(verified) if verified.live => {
                lines.push("Seen live: the plain keys are offered as before.".to_owned());
            }
            Some(_) if let Some(unknown) = &self.unknown => lines.push(format!("Not seen live: {unknown}.")),
            Some(_) => lines.push("No sshd is listening now: the next one to start serves this.".to_owned()),
            None if self.known_hosts.is_empty() => {
                lines.push("There is no sshd on this machine, so nothing was proved.".to_owned());
            }
            None => {}
        }
        lines.extend(self.vouched.iter().cloned());
        lines.extend(self.refused.iter().map(ToString::to_string));
        lines.extend(self.told_beside());
        let next = ca_rotation::NEXT;
        lines.extend(self.accepted.iter().map(|change| {
            format!("Clients that know only the CA's former key, {}, do not accept this; {next}", change.former)
        }));
        lines.extend(self.last_run.iter().map(|change| format!("{}; {next}", change.installed_in_last_run())));
        lines.extend(self.put_off.iter().map(|change| format!("Put off: {change}; {next}")));
        lines.extend(self.unrecorded.clone());
        lines.extend(self.confirm_lines());
        lines
    }

    /// What there is to say of the other sshds that read what has changed.
    #[must_use]
    pub fn told_beside(&self) -> Vec<String> {
        let told = self.bystanders.iter();
        let told = told.map(|config| format!("The sshd of {config} reads these files, too; it was proved as well."));
        told.chain(self.unwatched.iter().map(|what| format!("Attention: {what}."))).collect()
    }

    /// What a person has to do, if it does not stay by itself.
    #[must_use]
    pub fn confirm_lines(&self) -> Vec<String> {
        let Some(confirm) = &self.confirm else { return Vec::new() };
        let left = confirm.until.duration_since(Timestamp::now()).unsigned_abs() + Duration::from_millis(500);
        vec![
            format!(
                "Not final yet. Log in to this machine again and run `warded confirm` there within {} (by {}).",
                distance(left),
                confirm.until.strftime("%T UTC")
            ),
            format!("Otherwise run {} is undone automatically.", self.run),
        ]
    }

    /// How the run ended: not as it should where nobody knows what is served, clients need a new key of the CA, or a
    /// later run lacks what this one should have written down.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let has_new_signer = !self.put_off.is_empty() || !self.last_run.is_empty();
        let is_in_doubt = self.unknown.is_some() || !self.unwatched.is_empty() || self.unrecorded.is_some();
        if is_in_doubt || has_new_signer || !self.refused.is_empty() { Exit::Degraded } else { Exit::Done }
    }

    /// What listens and is not known, in words.
    #[must_use]
    pub fn unknown_listener(&self) -> Option<String> {
        self.unknown.as_ref().map(ToString::to_string)
    }

    /// The serial numbers that were seen live, as text: JSON's numbers are not exact above 2^53.
    #[must_use]
    pub fn served(&self) -> Vec<String> {
        self.verified.iter().flat_map(|verified| &verified.certificates).map(ToString::to_string).collect()
    }
}
