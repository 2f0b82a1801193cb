//! At the end of a run: what root publishes to every user of the machine.

use super::at_rest::RestRecord;
use crate::{
    context::{Context, Options},
    enrolment::Enrolments,
    outcomes::{LastRenewal, Outcome as _},
    public_status::{CertifiedKey, LOCAL, PublicRenewal, PublicStatus, file_of},
};
use jiff::Timestamp;
use std::{cell::OnceCell, collections::BTreeMap, path::Path};
use warded_lib::{
    ca::{certificate, due},
    config,
    error::Result,
    machine::{bounded, path::AbsolutePath, sshd::HostKey},
    text::neutral,
    transaction,
};

/// Writes the public status, as root. A machine that is not enrolled and never was has nothing to publish, unless a
/// change waits there for confirmation. A configuration that cannot be read, as after the rollback of the run that
/// wrote it, does not stop the rest from being published.
///
/// # Errors
/// One of Warded's own files cannot be read, or the file cannot be written.
pub fn announce(options: &Options) -> Result<()> {
    if !config::is_root() {
        return Ok(());
    }
    let (context, is_configured) = match Context::open(options) {
        Ok(context) => (context, true),
        Err(error) => {
            let state = options.state.clone().unwrap_or_else(config::default_state);
            if !state.exists() {
                return Err(error);
            }
            (Context::open(&options.without_config())?, false)
        }
    };
    let (enrolments, file) = (Enrolments::load(&context.state)?, file_of(context.state.path()));
    let is_enrolled = enrolments.iter().next().is_some();
    let change_waits = transaction::unconfirmed(&context.state)?.is_some();
    if !is_enrolled && !change_waits && !file.exists() {
        return Ok(());
    }
    let before = PublicStatus::read(&file).ok().flatten().unwrap_or_else(PublicStatus::empty);
    let renewal = LastRenewal::load(&context.state);
    // Only the configuration says which files a schedule needs.
    let scheduled = if is_configured { context.found_schedule().is_there() } else { before.scheduled };
    let last_renewal = renewal.map(|LastRenewal { at, exit, error, .. }| PublicRenewal { at, exit, error });
    if RestRecord::load(&context.state).is_some_and(|at_rest| at_rest.holds(&context)) && !before.keys.is_empty() {
        return PublicStatus { last_renewal, scheduled, ..before }.write(context.state.path());
    }
    let mut status = PublicStatus { last_renewal, scheduled, change_waits, ..PublicStatus::empty() };
    if is_enrolled {
        let address = || context.authority.address().unwrap_or_else(|| LOCAL.to_owned());
        status.ca = if is_configured { Some(address()) } else { before.ca.clone() };
        status.names = enrolments.principals();
        fill(&mut status, &context, &enrolments, before);
    }
    status.write(context.state.path())
}

/// Fills in the certificates, and when the first of them is due.
fn fill(status: &mut PublicStatus, context: &Context, enrolments: &Enrolments, before: PublicStatus) {
    match certificates_of(context, enrolments) {
        Ok(found) => {
            status.due = found.iter().filter_map(|key| key.due).min();
            status.keys = found;
        }
        // That sshd cannot be started now says nothing about the certificates.
        Err(_) => (status.keys, status.due) = (before.keys, before.due),
    }
}

/// The certificates of every enrolled sshd, each once.
fn certificates_of(context: &Context, enrolments: &Enrolments) -> Result<Vec<CertifiedKey>> {
    let mut all = BTreeMap::new();
    for enrolled in enrolments.iter().filter(|enrolled| enrolled.sshd_config.as_path().exists()) {
        all.extend(certificates(&context.for_sshd(&enrolled.sshd_config))?);
    }
    Ok(all.into_values().collect())
}

/// The certificates of the host keys, by the path of the key.
fn certificates(context: &Context) -> Result<BTreeMap<AbsolutePath, CertifiedKey>> {
    let Some(sshd) = context.sshd()? else {
        return Ok(BTreeMap::new());
    };
    let named = OnceCell::new();
    let ask = || {
        let effective = sshd.for_nobody();
        effective.map(|effective| effective.values("hostcertificate").to_vec()).unwrap_or_default()
    };
    let certified = |key: &HostKey| {
        let path = AbsolutePath::spelled(&key.private_path()).ok()?;
        let public = key.public.as_ref()?.key();
        // sshd is asked only if a key has no certificate file beside it.
        let read = |file: String| Some((bounded::read(Path::new(&file)).ok()?, file));
        let (bytes, file) = read(format!("{path}-cert.pub"))
            .or_else(|| read(certificate::whereabouts(named.get_or_init(ask), path.as_str(), public.as_ref())))?;
        let certificate = certificate::parse(&bytes).ok()?;
        let algorithm = neutral(key.public.as_ref()?.algorithm());
        let due = due::due_at(&certificate, context.renew_after, &context.facts.machine_id);
        let until = time(certificate.valid_before());
        let sshd_config = Some(context.places.sshd_config.as_path().to_owned());
        Some((path, CertifiedKey { algorithm, until, due: due.and_then(time), file: Some(file), sshd_config }))
    };
    Ok(sshd.host_keys()?.iter().filter_map(certified).collect())
}

fn time(seconds: u64) -> Option<Timestamp> {
    i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok())
}
