//! The CA is asked: after the review, and after everything local that could fail.

use super::Work;
use crate::{
    audit::Kind as EventKind,
    broker::Identity,
    ca::{self, Certificate, IssueRequest, verify},
    context::Context,
    error::{Error, Result},
};
use std::collections::{BTreeMap, btree_map::Entry};

/// Asks for every certificate that the work waits for, checks each, and fills it in.
///
/// # Errors
/// The CA cannot be reached, refuses, or answers with something else than was asked for.
pub fn fill_in(context: &Context, identity: &Identity, work: &mut Work) -> Result<Vec<Certificate>> {
    let mut certificates = Vec::new();
    let mut roots = BTreeMap::new();
    for (id, request) in work.requests() {
        let authority = context.authority.open()?;
        let roots = match roots.entry(request.kind) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(authority.roots(request.kind)?),
        };
        let wanted = IssueRequest {
            kind: request.kind,
            key: request.public.clone(),
            key_id: key_id(&request.principals),
            principals: request.principals.clone(),
        };
        let event = |kind| {
            let action = if request.current.is_some() { "authority.renew" } else { "authority.issue" };
            identity
                .event(kind)
                .capability(action)
                .need(&format!("{} certificate for {}", request.kind, request.principals))
        };
        context.log.append_synced(&event(EventKind::Intent).detail(&authority.describe()))?;
        let answer = match &request.current {
            Some(current) => authority.renew(current, request.key.as_path()),
            None => authority.issue(&wanted),
        };
        // Whatever the CA says it checked, the host checks itself.
        let checked = answer.and_then(|certificate| {
            verify::check(&certificate, &wanted, roots, ca::now())?;
            Ok(certificate)
        });
        match checked {
            Ok(certificate) => {
                context.log.append(&event(EventKind::Result).detail(&format!("serial {}", certificate.serial())))?;
                work.fill(id, certificate.clone());
                certificates.push(certificate);
            }
            Err(error) => {
                context.log.append_synced(&event(EventKind::Failed).detail(&error.to_string()))?;
                return Err(Error::from(error).state("nothing was changed"));
            }
        }
    }
    Ok(certificates)
}

/// What a certificate is called in the logs of those who meet it: its first name, as step-ca has it.
fn key_id(principals: &ca::Principals) -> String {
    principals.iter().next().map(ToString::to_string).unwrap_or_default()
}
