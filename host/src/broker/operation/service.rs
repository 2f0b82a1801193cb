//! `services.*`: queued, and carried out after the files are in place.

use super::{Failure, Operation};
use crate::broker::{granted::Granted, session::Session};
use warded_lib::{machine::service::ServiceOperation, name::Name, policy::need::Need};

/// The reload or restart of a service.
#[derive(Debug)]
pub struct ServiceCall(pub ServiceOperation, pub String);

impl Operation for ServiceCall {
    type Output = ();

    fn need(&self) -> Need {
        Need::Service(self.0, self.1.clone())
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<(), Failure> {
        let ServiceCall(operation, name) = granted.operation();
        let name = name.parse::<Name>().ok().filter(|name| session.services.contains(name));
        let name = name.ok_or_else(|| Failure::new("unknown-service", "the policy has no such service"))?;
        session.changes.tell(*operation, name);
        Ok(())
    }
}
