//! `services.*`: queued, and carried out after the files are in place.

use super::{Failure, Operation};
use crate::broker::{granted::Granted, session::Session};
use warded_lib::{name::Name, policy::need::Need};

/// The reload of a service.
#[derive(Debug)]
pub struct Reload(pub String);

impl Operation for Reload {
    type Output = ();

    fn need(&self) -> Need {
        Need::Reload(self.0.clone())
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<(), Failure> {
        let name = granted.operation().0.parse::<Name>().ok().filter(|name| session.services.contains(name));
        let name = name.ok_or_else(|| Failure::new("unknown-service", "the policy has no such service"))?;
        session.changes.reload(name);
        Ok(())
    }
}
