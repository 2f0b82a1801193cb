//! The CA is asked: after the review, and after everything local that could fail.

use super::{Work, issued, rotation};
use crate::{broker::Identity, context::Context};
use ssh_key::PublicKey;
use std::collections::{BTreeMap, btree_map::Entry};
use warded_lib::{
    audit::{Event, Kind as EventKind},
    ca::{self, CaError, Certificate, IssueRequest, rotation::NewSigner, verify},
    change_set::Request,
    error::{Error, Result},
};

/// Makes sure that the CA can be asked for what the work needs: finds the password, the key or the tokens, and asks
/// a person where there is one. Nothing is used up. Returns why certificates were put off, if some were.
///
/// # Errors
/// Something is missing, or the CA will not accept it.
pub fn ready(context: &Context, work: &mut Work) -> Result<Vec<String>> {
    let requests = work.requests();
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let authority = context.authority.open()?;
    let mut new = Vec::new();
    for (_, request) in requests.iter().filter(|(_, request)| request.current.is_none()) {
        let wanted = wanted(request);
        if issued::find(context, &wanted, None, &authority.roots(request.kind)?)?.is_none() {
            new.push(wanted);
        }
    }
    let Err(error) = authority.ready(&new) else { return Ok(Vec::new()) };
    let renewals = requests.len() - requests.iter().filter(|(_, request)| request.current.is_none()).count();
    // Renewals need no password and no token: they go on.
    if let CaError::Credential { cause, next } = &error
        && work.may_put_off
        && renewals > 0
    {
        let new = requests.into_iter().filter(|(_, request)| request.current.is_none());
        let (ids, keys): (Vec<_>, Vec<_>) = new.map(|(id, request)| (id, request.key)).unzip();
        work.withdraw(&ids);
        let put_off = |key| format!("{key} needs a new certificate, and gets none in this run: {cause}; {next}");
        return Ok(keys.into_iter().map(put_off).collect());
    }
    Err(Error::from(error).state("nothing was changed"))
}

/// What the CA gave.
#[derive(Debug, Default)]
pub struct Filled {
    /// The certificates to install.
    pub certificates: Vec<Certificate>,
    /// The new keys of the CA that the operator accepts.
    pub accepted: Vec<NewSigner>,
    /// The new keys of the CA whose certificates come now because the present ones may end before the next renewal.
    pub last_run: Vec<NewSigner>,
    /// The new keys of the CA for which certificates were put off.
    pub put_off: Vec<NewSigner>,
}

/// Asks for every certificate that the work waits for, checks each, and fills it in.
///
/// # Errors
/// The CA cannot be reached, refuses, or answers with something else than was asked for; or it signs with a new key,
/// and nothing else is left to do.
pub fn fill_in(context: &Context, identity: &Identity, work: &mut Work) -> Result<Filled> {
    let (mut filled, mut put_off) = (Filled::default(), Vec::new());
    let mut roots = BTreeMap::new();
    for (id, request) in work.requests() {
        let authority = context.authority.open()?;
        let roots = match roots.entry(request.kind) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(authority.roots(request.kind)?),
        };
        let certificate = obtain(context, identity, &request, roots)?;
        let change = rotation::of_request(context, work, (id, &request), (certificate.signer(), roots));
        let is_last_run = work.may_put_off && change.as_ref().is_some_and(|change| change.is_last_run(ca::now()));
        let is_put_off = change.is_some() && !work.may_change_signer && !is_last_run;
        if let Some(change) = change {
            let (what, told) = if is_put_off {
                ("put off", &mut filled.put_off)
            } else if work.may_change_signer {
                ("accepted", &mut filled.accepted)
            } else {
                ("in the last run before the end", &mut filled.last_run)
            };
            let event = event(identity, &request, EventKind::Result).detail(&format!("{what}: {change}"));
            context.log.append_synced(&event)?;
            if !told.contains(&change) {
                told.push(change);
            }
        }
        if is_put_off {
            put_off.push(id);
        } else {
            work.fill(id, certificate.clone());
            filled.certificates.push(certificate);
        }
    }
    if put_off.is_empty() || (work.may_put_off && work.withdraw(&put_off)) {
        return Ok(filled);
    }
    Err(rotation::refusal(&filled.put_off))
}

/// One certificate: one that an earlier run was given and did not install, or else a new one.
fn obtain(context: &Context, identity: &Identity, request: &Request, roots: &[PublicKey]) -> Result<Certificate> {
    let authority = context.authority.open()?;
    let wanted = wanted(request);
    let event = |kind| event(identity, request, kind);
    if let Some(certificate) = issued::find(context, &wanted, request.current.as_ref(), roots)? {
        let detail = format!("serial {}, which an earlier run was given", certificate.serial());
        context.log.append(&event(EventKind::Result).detail(&detail))?;
        return Ok(certificate);
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
            let detail = format!("serial {}, signed by {}", certificate.serial(), certificate.signer_fingerprint());
            context.log.append_synced(&event(EventKind::Result).detail(&detail))?;
            Ok(certificate)
        }
        Err(error) => {
            context.log.append_synced(&event(EventKind::Failed).detail(&error.to_string()))?;
            Err(told(error, request).state("nothing was changed"))
        }
    }
}

fn event(identity: &Identity, request: &Request, kind: EventKind) -> Event {
    let action = match &request.current {
        None => "authority.issue",
        Some(_) if request.is_rekey() => "authority.rekey",
        Some(_) => "authority.renew",
    };
    let need = format!("{} certificate for {}", request.kind, request.principals);
    identity.event(kind).capability(action).need(&need)
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
