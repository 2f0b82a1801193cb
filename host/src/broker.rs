//! The broker: the one place where a need becomes granted, and the only way to an effect.
//!
//! [`Granted`] cannot be made elsewhere, and an operation cannot be executed without one: an effect
//! that no policy grants does not compile. Each call is on record before it is carried out.

use crate::{
    audit::{Event, Kind as EventKind, Log},
    digest::Digest,
    error::{Error, Result},
    operation::{Failure, Operation, Session},
    policy::{
        authorize::{Denial, Permit, authorize},
        file::Procedure,
        name::Name,
        need::Need,
        pattern::Pattern,
    },
    text::neutral,
};
use std::sync::Arc;

/// An operation that the policy grants, with the terms of the grant.
#[derive(Debug)]
pub struct Granted<O> {
    operation: O,
    permit: Permit,
}

impl<O> Granted<O> {
    /// The operation.
    pub fn operation(&self) -> &O {
        &self.operation
    }

    /// The grant, as the policy has it.
    pub fn grant(&self) -> &str {
        &self.permit.grant
    }

    /// For paths: how many leading segments the policy wrote out, and the host may resolve.
    pub fn literal(&self) -> usize {
        self.permit.literal
    }
}

/// Which run of which procedure of which component, as the audit names it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The run's number; none for a run that changes nothing.
    pub run: Option<u64>,
    /// The policy.
    pub policy: Name,
    /// The component's digest.
    pub component: Digest,
    /// The procedure.
    pub procedure: Name,
}

impl Identity {
    /// An audit event of this run.
    #[must_use]
    pub fn event(&self, kind: EventKind) -> Event {
        Event {
            policy: self.policy.to_string(),
            component: Some(self.component),
            procedure: self.procedure.to_string(),
            ..Event::new(self.run.unwrap_or_default(), kind)
        }
    }
}

/// Decides, records and carries out what one run of a procedure asks for.
#[derive(Debug)]
pub struct Broker {
    identity: Identity,
    procedure: Procedure,
    log: Arc<Log>,
}

impl Broker {
    /// A broker for one run.
    #[must_use]
    pub fn new(identity: Identity, procedure: Procedure, log: Arc<Log>) -> Self {
        Self { identity, procedure, log }
    }

    /// Carries an operation out, if it is granted. The inner result is what the guest gets to see.
    ///
    /// # Errors
    /// A denial, or an audit log that cannot be written: both end the run.
    pub fn perform<O: Operation>(&self, operation: O, session: &mut Session) -> Result<Result<O::Output, Failure>> {
        let need = operation.need();
        let permit = match authorize(&self.procedure, &session.circumstances, &need) {
            Ok(permit) => permit,
            Err(denial) => return Err(self.deny(&need, &denial)?),
        };
        self.log.append(&self.event(EventKind::Asked, &need).grant(&permit.grant))?;
        let outcome = O::execute(&Granted { operation, permit }, session);
        if let Err(failure) = &outcome {
            self.log.append(&self.event(EventKind::Failed, &need).detail(&failure.to_string()))?;
        }
        Ok(outcome)
    }

    /// Records an argument that names nothing that could be granted: a path that is none, say.
    ///
    /// # Errors
    /// The audit log cannot be written.
    pub fn reject(&self, capability: &'static str, argument: &str, failure: &Failure) -> Result<()> {
        let event = self.identity.event(EventKind::Failed).capability(capability);
        self.log.append(&event.need(&shortened(argument)).detail(&failure.to_string()))
    }

    /// The patterns of what the procedure may read, for a listing.
    #[must_use]
    pub fn readable(&self) -> Vec<Pattern> {
        let files = &self.procedure.files;
        files.read.iter().chain(&files.write).cloned().collect()
    }

    fn deny(&self, need: &Need, denial: &Denial) -> Result<Error> {
        let Identity { policy, procedure, .. } = &self.identity;
        let why = denial.reason.clone().unwrap_or_else(|| "no grant covers it".to_owned());
        self.log.append_synced(&self.event(EventKind::Denied, need).detail(&why))?;
        let asked = shortened(&need.to_string());
        let error = Error::refused(format!("{procedure} of policy {policy} asked for {}: {asked}", need.capability()))
            .cause(neutral(&why))
            .state("nothing was changed; the denial is on record");
        Ok(match &denial.grant {
            Some(grant) => {
                error.next(format!("if it should be allowed, [procedure.{procedure}] needs: {}", neutral(grant)))
            }
            None => error.next("this cannot be granted"),
        })
    }

    fn event(&self, kind: EventKind, need: &Need) -> Event {
        self.identity.event(kind).capability(need.capability()).need(&shortened(&need.to_string()))
    }
}

/// A guest's text, fit to be printed and stored.
fn shortened(text: &str) -> String {
    const CHARACTERS: usize = 300;
    let short: String = text.chars().take(CHARACTERS).collect();
    let cut = short.len() < text.len();
    format!("{}{}", neutral(&short), if cut { "…" } else { "" })
}
