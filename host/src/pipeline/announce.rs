//! At the end of a run: what root tells every user of the machine.

use crate::{
    context::Context,
    enrolment::Enrolments,
    outcomes::{LastRenewal, Outcome as _},
    public_status::{CertifiedKey, LOCAL, PublicRenewal, PublicStatus, file_of},
};
use jiff::Timestamp;
use std::path::Path;
use warded_lib::{
    ca::{certificate, due},
    config,
    error::Result,
    machine::{
        facts::Init,
        path::AbsolutePath,
        schedule::Schedule,
        sshd::{HostKey, Sshd},
    },
    text::neutral,
    transaction,
};

/// Writes the public status, as root. Of a machine that is not enrolled, and never was, there is nothing to tell.
///
/// # Errors
/// Something of Warded's own cannot be read, or the file cannot be written.
pub fn announce(context: &Context) -> Result<()> {
    let enrolments = Enrolments::load(&context.state)?;
    let is_enrolled = enrolments.iter().next().is_some();
    if !config::is_root() || (!is_enrolled && !file_of(context.state.path()).exists()) {
        return Ok(());
    }
    status(context, &enrolments)?.write(context.state.path())
}

fn status(context: &Context, enrolments: &Enrolments) -> Result<PublicStatus> {
    let renewal = LastRenewal::load(&context.state);
    let mut status = PublicStatus {
        last_renewal: renewal.map(|LastRenewal { at, exit, error, .. }| PublicRenewal { at, exit, error }),
        scheduled: Schedule::find(Path::new("/"), context.facts.init == Init::Systemd).is_there(),
        change_waits: transaction::unconfirmed(&context.state)?.is_some(),
        ..PublicStatus::empty()
    };
    if enrolments.iter().next().is_none() {
        return Ok(status);
    }
    status.ca = Some(context.authority.address().unwrap_or_else(|| LOCAL.to_owned()));
    status.names = enrolments.principals();
    match certificates_of(context, enrolments) {
        Ok(found) => {
            status.due = found.iter().filter_map(|(_, due)| *due).min();
            status.keys = found.into_iter().map(|(key, _)| key).collect();
        }
        // An sshd that does not start now says nothing about the certificates.
        Err(_) => {
            let before = PublicStatus::read(&file_of(context.state.path())).ok().flatten();
            (status.keys, status.due) = before.map(|before| (before.keys, before.due)).unwrap_or_default();
        }
    }
    Ok(status)
}

/// Those of every sshd that is enrolled, each once.
fn certificates_of(context: &Context, enrolments: &Enrolments) -> Result<Vec<(CertifiedKey, Option<Timestamp>)>> {
    let mut all = Vec::new();
    for enrolled in enrolments.iter().filter(|enrolled| enrolled.sshd_config.as_path().exists()) {
        for found in certificates(&context.for_sshd(&enrolled.sshd_config))? {
            if !all.contains(&found) {
                all.push(found);
            }
        }
    }
    Ok(all)
}

/// The certificates beside the host keys, each with the time at which it is due.
fn certificates(context: &Context) -> Result<Vec<(CertifiedKey, Option<Timestamp>)>> {
    let Some(sshd) = Sshd::find(&context.places.sshd_config, context.sshd_binary.as_deref())? else {
        return Ok(Vec::new());
    };
    let certified = |key: &HostKey| {
        let path = AbsolutePath::spelled(&key.private_path()).ok()?;
        let certificate = certificate::parse(&std::fs::read(format!("{path}-cert.pub")).ok()?).ok()?;
        let algorithm = neutral(key.public.as_ref()?.algorithm());
        let due = due::due_at(&certificate, context.renew_after, &context.facts.machine_id);
        let until = time(certificate.valid_before());
        Some((CertifiedKey { algorithm, until }, due.and_then(time)))
    };
    Ok(sshd.host_keys()?.iter().filter_map(certified).collect())
}

fn time(seconds: u64) -> Option<Timestamp> {
    i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok())
}
