//! The CA is asked: after the review, and after everything local that could fail.

use super::{Work, issued};
use crate::{broker::Identity, context::Context};
use std::collections::{BTreeMap, btree_map::Entry};
use warded_lib::{
    audit::Kind as EventKind,
    ca::{self, CaError, Certificate, IssueRequest, verify},
    change_set::Request,
    error::{Error, Result},
};

/// Makes sure that the CA can be asked for what the work needs: finds the password, the key or the tokens, and asks
/// a person where there is one. Nothing is used up.
///
/// # Errors
/// Something is missing, or the CA will not accept it.
pub fn ready(context: &Context, work: &Work) -> Result<()> {
    let requests = work.requests();
    if requests.is_empty() {
        return Ok(());
    }
    let authority = context.authority.open()?;
    let mut new = Vec::new();
    for (_, request) in requests.iter().filter(|(_, request)| request.current.is_none()) {
        let wanted = wanted(request);
        if issued::find(context, &wanted, None, &authority.roots(request.kind)?)?.is_none() {
            new.push(wanted);
        }
    }
    authority.ready(&new).map_err(|error| Error::from(error).state("nothing was changed"))
}

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
        let wanted = wanted(&request);
        let event = |kind| {
            let action = match &request.current {
                None => "authority.issue",
                Some(_) if request.is_rekey() => "authority.rekey",
                Some(_) => "authority.renew",
            };
            identity
                .event(kind)
                .capability(action)
                .need(&format!("{} certificate for {}", request.kind, request.principals))
        };
        if let Some(certificate) = issued::find(context, &wanted, request.current.as_ref(), roots)? {
            let detail = format!("serial {}, which an earlier run was given", certificate.serial());
            context.log.append(&event(EventKind::Result).detail(&detail))?;
            work.fill(id, certificate.clone());
            certificates.push(certificate);
            continue;
        }
        context.log.append_synced(&event(EventKind::Intent).detail(&authority.describe()))?;
        let answer = match &request.current {
            // What is there is still the old key: nothing has been touched.
            Some(current) if request.is_rekey() => authority.rekey(current, request.key.as_path(), &request.public),
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
                // The next run makes another key, to which this one would be of no use.
                if !request.is_rekey() {
                    issued::remember(context, &certificate);
                }
                context
                    .log
                    .append_synced(&event(EventKind::Result).detail(&format!("serial {}", certificate.serial())))?;
                work.fill(id, certificate.clone());
                certificates.push(certificate);
            }
            Err(error) => {
                context.log.append_synced(&event(EventKind::Failed).detail(&error.to_string()))?;
                return Err(told(error, &request).state("nothing was changed"));
            }
        }
    }
    Ok(certificates)
}

/// The failure, with the key that it is about.
fn told(error: CaError, request: &Request) -> Error {
    let CaError::Refused { ca, cause, next } = error else { return error.into() };
    let what = match &request.current {
        None => "certify",
        Some(_) if request.is_rekey() => "rekey the certificate of",
        Some(_) => "renew the certificate of",
    };
    Error::failed(format!("{ca} refused to {what} {}", request.key)).cause(cause).next(next)
}

fn wanted(request: &Request) -> IssueRequest {
    IssueRequest {
        kind: request.kind,
        key: request.public.clone(),
        key_id: key_id(&request.principals),
        principals: request.principals.clone(),
    }
}

/// What a certificate is called in the logs of those who meet it: its first name, as step-ca has it.
fn key_id(principals: &ca::Principals) -> String {
    principals.iter().next().map(ToString::to_string).unwrap_or_default()
}
