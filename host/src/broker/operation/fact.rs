//! `machine.fact`.

use super::{Failure, Operation};
use crate::broker::{granted::Granted, session::Session};
use warded_lib::policy::need::Need;

/// Asks for a fact by name.
#[derive(Debug)]
pub struct Fact(pub String);

impl Operation for Fact {
    type Output = Option<String>;

    fn need(&self) -> Need {
        Need::Fact(self.0.clone())
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<Self::Output, Failure> {
        let sshd_config = session.circumstances.places.sshd_config.clone();
        Ok(match granted.operation().0.as_str() {
            "os.id" => Some(session.facts.os_id.clone()),
            "os.version" => Some(session.facts.os_version.clone()),
            "init" => Some(session.facts.init.as_str().to_owned()),
            "hostname" => Some(session.facts.hostname.clone()),
            "user.id" => Some(rustix::process::geteuid().as_raw().to_string()),
            "ca.name" => session.authority.name(),
            "home" => session.circumstances.places.home.as_ref().map(ToString::to_string),
            "sshd.config" => Some(sshd_config.to_string()),
            "sshd.directory" => sshd_config.parent().map(|directory| directory.to_string()),
            "sshd.version" => session.version()?,
            _ => None,
        })
    }
}
