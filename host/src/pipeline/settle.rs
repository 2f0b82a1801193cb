//! After the files are in place: services are told, in the order asked for.

use super::{Work, prove::Guard};
use crate::{
    audit::Kind as EventKind,
    broker::Identity,
    context::Context,
    error::Result,
    machine::{
        facts::Init,
        services::{self, Reloaded},
    },
};

/// Reloads the services of the work.
///
/// # Errors
/// The first reload that failed; or a record that could not be written.
pub fn reload(context: &Context, identity: &Identity, guard: &Guard, work: &Work) -> Result<Vec<(String, Reloaded)>> {
    let mut done = Vec::new();
    for (name, service) in &work.reloads {
        let event = |kind| identity.event(kind).capability("services.reload").need(name.as_str());
        context.log.append_synced(&event(EventKind::Intent))?;
        let outcome = services::reload(name, service, context.facts.init == Init::Systemd, guard.sshd());
        let (kind, detail) = match &outcome {
            Ok(reloaded) => (EventKind::Result, reloaded.to_string()),
            Err(error) => (EventKind::Failed, error.message().to_owned()),
        };
        context.log.append(&event(kind).detail(&detail))?;
        done.push((name.to_string(), outcome?));
    }
    Ok(done)
}
