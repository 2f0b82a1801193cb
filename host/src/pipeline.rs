//! From a procedure to a changed machine: one stage a line. Whatever is changed, is changed here.
//!
//! Nothing is touched before the journal; from then on a failure is rolled back.

pub mod certify;
pub mod plan;
pub mod prove;
pub mod settle;
pub mod work;

pub use plan::{Planned, Request, plan};
pub use work::Work;

use crate::{
    audit::Kind as EventKind,
    broker::Identity,
    ca::Certificate,
    cli::progress::Progress,
    context::Context,
    enrolment::Enrolment,
    error::{Error, Result},
    guard::{Proof, Verified},
    policy::{file::Service, name::Name, store::Granting},
    text::count,
    transaction::Transaction,
};
use prove::Guard;

/// What a run that was carried out did.
#[derive(Debug)]
pub struct Done {
    /// Its number: `warded undo` takes the newest back.
    pub run: u64,
    /// The certificates that came from the CA.
    pub certificates: Vec<Certificate>,
    /// What was proved before anything was touched; none where there is no sshd.
    pub proof: Option<Proof>,
    /// What was seen afterwards; none where there is no sshd.
    pub verified: Option<Verified>,
    /// How each service was reloaded.
    pub reloads: Vec<(String, crate::machine::services::Reloaded)>,
}

/// Carries out what was reviewed.
///
/// # Errors
/// Before the journal: nothing was changed. After it: everything was put back, and the error says
/// so; or it could not all be put back, and the error says what is left to do.
pub fn carry_out(
    context: &Context,
    identity: &Identity,
    mut work: Work,
    enrolment: Option<&Enrolment>,
    progress: &Progress,
) -> Result<Done> {
    let record = |kind, detail: &str| context.log.append_synced(&identity.event(kind).detail(detail));
    let unchanged = |error: Error| -> Error {
        // A log that cannot be written must not hide why the run failed.
        drop(record(EventKind::Ended, &format!("{}: {}", error.heading(), error.message())));
        error.or_state("nothing was changed")
    };

    progress.stage("looking at sshd as it is");
    let guard = Guard::baseline(context).map_err(unchanged)?;
    progress.stage("checking the result");
    guard.check(&work).map_err(unchanged)?;
    progress.stage("asking the CA");
    let certificates = certify::fill_in(context, identity, &mut work).map_err(unchanged)?;
    progress.stage("proving the result");
    let proof = guard.prove(&work, &certificates).map_err(unchanged)?;

    record(EventKind::Intent, &work.describe()).map_err(unchanged)?;
    let mut transaction = Transaction::begin(
        &context.root,
        &context.state,
        &work.run_identity(identity).map_err(unchanged)?,
        work.changes().map_err(unchanged)?,
        work.reads(),
        &work.reload_names(),
    )
    .map_err(unchanged)?;
    let run = transaction.journal().run.run;

    progress.stage("changing");
    let outcome = guard.still_holds().and_then(|()| transaction.commit()).and_then(|()| {
        progress.stage("reloading");
        let reloads = settle::reload(context, identity, &guard, &work)?;
        progress.stage("proving it live");
        let verified = guard.verify(&certificates)?;
        transaction.keep()?;
        Ok((reloads, verified))
    });
    match outcome {
        Ok((reloads, verified)) => {
            // Too late to take anything back, and no reason to: what was meant to be changed is changed.
            let kept = |error: Error| error.or_state(format!("the change was made and kept, as run {run}"));
            if let Some(enrolment) = enrolment {
                enrolment.save(&context.state).map_err(|error| {
                    kept(error).next("apply it again: until then `warded renew` does not know this machine's names")
                })?;
            }
            record(EventKind::Ended, "kept").map_err(kept)?;
            Ok(Done { run, certificates, proof, verified, reloads })
        }
        Err(error) => {
            progress.stage("taking it back");
            let state = take_back(context, identity, &guard, &work, &mut transaction);
            let error = match state {
                Ok(state) => error.into_rolled_back(state),
                Err(failed) => error.into_rolled_back(format!("not all could be put back: {failed}")),
            };
            Err(unchanged(error))
        }
    }
}

/// Files first, then the reload, then a look whether everything is as before.
fn take_back(
    context: &Context,
    identity: &Identity,
    guard: &Guard,
    work: &Work,
    transaction: &mut Transaction,
) -> Result<String> {
    let restored = transaction.roll_back()?;
    let reloaded =
        if !restored.restored.is_empty() { !settle::reload(context, identity, guard, work)?.is_empty() } else { false };
    let mut state = vec![restored.to_string()];
    if reloaded {
        guard.verify_as_before()?;
        state.push("sshd reloaded, checked".to_owned());
    }
    Ok(format!("as before ({})", state.join(", ")))
}

/// How the services that a journal names are reached: as their policy says.
#[must_use]
pub fn services_of(policies: &[Granting], policy: &Name, names: &[String]) -> Vec<(Name, Service)> {
    let Some(granting) = policies.iter().find(|granting| granting.policy.name == *policy) else { return Vec::new() };
    let services = &granting.policy.services;
    names
        .iter()
        .filter_map(|name| services.iter().find(|(known, _)| known.as_str() == name))
        .map(|(name, service)| (name.clone(), service.clone()))
        .collect()
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
                proved.push("clients that know only the CA get in".to_owned());
            }
            if !proof.logins.is_empty() {
                proved.push(format!("{} can log in", proof.logins.join(", ")));
            }
            if !proved.is_empty() {
                lines.push(format!("Proved beforehand: {}.", proved.join(", ")));
            }
        }
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
            Some(_) => lines.push("No sshd is listening now: the next one to start serves this.".to_owned()),
            None => lines.push("There is no sshd on this machine, so nothing was proved.".to_owned()),
        }
        lines
    }

    /// The serial numbers that were seen live, as text: JSON's numbers are not exact above 2^53.
    #[must_use]
    pub fn served(&self) -> Vec<String> {
        self.verified.iter().flat_map(|verified| &verified.certificates).map(ToString::to_string).collect()
    }
}
