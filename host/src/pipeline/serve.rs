//! Certificates that are on disk but that sshd does not serve. Since OpenSSH 9.8, sshd keeps the certificates that it
//! read at its start until it is reloaded; these were installed without a reload. No file changes here, so there is
//! nothing to journal and nothing to roll back.

use super::{PlannedRun, Reporter, Stage, Work, end_failed, end_served, prove::Guard, settle};
use crate::{broker::Identity, context::Context, enrolment::Enrolments};
use ssh_key::HashAlg;
use std::{collections::BTreeMap, path::Path};
use warded_lib::{
    audit::Kind as EventKind,
    ca::{self, Certificate, Kind, certificate, verify},
    change_set::review::ServiceChange,
    error::{Error, Exit, Result, UNCHANGED},
    guard::{
        FormerKey, OfferedCertificate,
        former_key::{former, keeps_certificates},
        live, unread,
    },
    machine::{
        facts::Init,
        service::ServiceOperation,
        services::{ReloadDelivery, ReloadFault, ReloadResult},
        signals::Shield,
        sshd::{
            Effective, host_key,
            tree::{Overlay, StagedFiles, Tree},
        },
    },
    transaction::Reload,
};

/// What a reload would change.
#[derive(Debug, Default)]
pub struct PendingReload {
    /// Certificates on disk for which sshd serves another one, or none.
    pub certificates: Vec<Certificate>,
    /// Keys that sshd offers, and would stop offering after a reload.
    pub former: Vec<FormerKey>,
    /// Why Warded cannot find out what sshd serves, if that is so.
    pub unseen: Option<Error>,
    /// The services that the policy lets the procedure reload.
    pub reloads: Vec<Reload>,
    /// What is not proved about the reload, because sshd would read somebody's change, too.
    pub unread: Option<String>,
}

/// The report on a reload that changed no file.
#[derive(Debug)]
pub struct ReloadReport {
    /// How each service was reloaded.
    pub reloads: Vec<(String, ReloadResult)>,
    /// The serial numbers of what is served now.
    pub certificates: Vec<u64>,
}

impl PendingReload {
    /// Whether there is nothing for a reload to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty() || self.reloads.is_empty()
    }

    /// Whether sshd is left as it is although it may serve something else than what is on disk.
    #[must_use]
    pub fn is_spared(&self) -> bool {
        self.unseen.is_some() || !self.former.is_empty()
    }

    /// The services, by their names.
    #[must_use]
    pub fn services(&self) -> Vec<String> {
        self.reloads.iter().map(|reload| reload.name.to_string()).collect()
    }

    /// The reloads, for a person to review.
    #[must_use]
    pub fn reviewed(&self) -> Vec<ServiceChange> {
        self.reloads.iter().map(|reload| ServiceChange::of(reload.operation, &reload.name, &reload.service)).collect()
    }
}

/// Compares what sshd serves with what is on disk, for a renewal that found nothing to do.
///
/// # Errors
/// Warded cannot find out what sshd serves; nothing was changed.
pub fn unserved(context: &Context, planned: &PlannedRun<'_>) -> Result<PendingReload> {
    look(context, planned).map_err(Error::or_unchanged)
}

fn look(context: &Context, planned: &PlannedRun<'_>) -> Result<PendingReload> {
    let identity = &planned.identity;
    let enrolments = Enrolments::load(&context.state)?;
    let enrolled = enrolments.of(&context.places.sshd_config).filter(|enrolled| enrolled.policy == identity.policy);
    let is_renewal = enrolled.is_some_and(|enrolled| enrolled.procedure == identity.procedure);
    let enrols = enrolled.is_some_and(|enrolled| planned.procedure.renewal.as_ref() == Some(&enrolled.procedure));
    if !(is_renewal || enrols) || !planned.session.changes.is_empty() {
        return Ok(PendingReload::default());
    }
    let Some(sshd) = context.sshd()? else {
        return Ok(PendingReload::default());
    };
    let Some(listener) = sshd.listener.as_ref().filter(|_| keeps_certificates(&sshd)) else {
        return Ok(PendingReload::default());
    };
    let effective = sshd.for_nobody()?;
    let on_disk = on_disk(&effective);
    if on_disk.is_empty() {
        return Ok(PendingReload::default());
    }
    let offered = match live::served(&sshd) {
        Ok(Some(offered)) => offered,
        Ok(None) => return Ok(PendingReload::default()),
        // sshd was asked, and did not answer.
        Err(unseen) if unseen.exit() == Exit::Refused => {
            return Ok(PendingReload { unseen: Some(unseen), ..PendingReload::default() });
        }
        Err(error) => return Err(error),
    };
    let keys = effective.host_keys.iter();
    let keys: Vec<_> = keys.filter_map(|path| Some((path.clone(), host_key::public(path)?))).collect();
    let is_unserved = |(key, certificate): &(String, Certificate)| {
        let offers_key = offered.keys.iter().any(|offered| offered.fingerprint == *key);
        let serves_it = |seen: &OfferedCertificate| seen.seen.key == *key && seen.seen.serial == certificate.serial();
        offers_key && !offered.certificates.iter().any(serves_it)
    };
    let services = &planned.granting.policy.services;
    let granted = planned.procedure.services.iter();
    let granted = granted.filter(|(_, operations)| operations.contains(&ServiceOperation::Reload));
    let tree = Tree::read(sshd.config.as_path(), Overlay(&StagedFiles::new()))?;
    Ok(PendingReload {
        former: former(&offered, &keys, listener),
        unseen: None,
        unread: unread(&sshd, &tree),
        certificates: on_disk.into_iter().filter(is_unserved).map(|(_, certificate)| certificate).collect(),
        // The procedure that enrols only says why sshd should read its files; the renewal makes it do so.
        reloads: granted
            .filter(|_| is_renewal)
            .filter_map(|(name, _)| Some(Reload::service(name.clone(), services.get(name)?.clone())))
            .collect(),
    })
}

/// The certificates that sshd would serve if it were started now, by the fingerprint of their key.
fn on_disk(effective: &Effective) -> BTreeMap<String, Certificate> {
    let (mut found, nothing) = (BTreeMap::new(), StagedFiles::new());
    for path in effective.values("hostcertificate") {
        let read = Overlay(&nothing).read(Path::new(path));
        let Some(certificate) = read.ok().and_then(|bytes| certificate::parse(&bytes).ok()) else { continue };
        let own = std::slice::from_ref(certificate.key());
        // A certificate that no client accepts is not missed.
        if verify::problem(&certificate, Kind::Host, own, ca::now()).is_none() {
            // Of several certificates for one key, sshd uses the last.
            found.insert(certificate.key().fingerprint(HashAlg::Sha256).to_string(), certificate);
        }
    }
    found
}

/// Makes sshd read the certificates, with the same proofs before and after as for any change.
///
/// # Errors
/// Refused: sshd would not serve them, or would lose something. Failed: sshd was reloaded, and does not serve them.
pub fn carry_out(
    context: &Context,
    identity: &Identity,
    work: &Work,
    unserved: &PendingReload,
    reporter: &dyn Reporter,
) -> Result<ReloadReport> {
    let failed = |error: Error, state: &str| {
        end_failed(context, identity, &error);
        error.or_state(state)
    };
    let unchanged = |error| failed(error, UNCHANGED);
    reporter.stage(Stage::Baseline);
    let mut guard = Guard::baseline(context, work).map_err(unchanged)?;
    if let Some(unseen) = guard.unseen() {
        return Err(unchanged(unseen.clone()));
    }
    reporter.stage(Stage::Prove);
    guard.check(work).map_err(unchanged)?;
    guard.prove(work, &unserved.certificates).map_err(unchanged)?;

    let _signals_held = Shield::up().map_err(unchanged)?;
    reporter.stage(Stage::Reload);
    let (systemd, event) = (context.facts.init == Init::Systemd, |kind: EventKind| identity.event(kind));
    let detail = format!("serve what is on disk; reload: {}", unserved.services().join(" "));
    context.log.append_synced(&event(EventKind::Intent).detail(&detail)).map_err(unchanged)?;
    let mut reloads = Vec::new();
    for reload in &unserved.reloads {
        let reloaded = settle::reload(&context.log, event, reload, systemd, guard.sshd(), &|| guard.is_as_proved());
        let reloaded = reloaded.map_err(|ReloadFault { told, error }| {
            let before: Vec<&str> = reloads.iter().map(|(name, _): &(String, ReloadResult)| name.as_str()).collect();
            failed(error, &state(reload.name.as_str(), told, &before))
        })?;
        reloads.push((reload.name.to_string(), reloaded));
    }
    reporter.stage(Stage::Verify);
    let verified = guard.verify(work).map_err(|error| failed(error, "sshd was reloaded; no file was changed"))?;
    end_served(context, identity, work, &unserved.services())
        .map_err(|error| error.or_state("no file was changed; sshd was reloaded, and serves what is on disk"))?;
    Ok(ReloadReport { reloads, certificates: verified.map(|verified| verified.certificates).unwrap_or_default() })
}

/// The state that the machine is in after a reload failed; `before` are the services that were reloaded before it.
fn state(service: &str, told: ReloadDelivery, before: &[&str]) -> String {
    let mut parts = vec!["no file was changed".to_owned()];
    if !before.is_empty() {
        parts.push(format!("reloaded: {}", before.join(", ")));
    }
    parts.push(match told {
        ReloadDelivery::No if before.is_empty() => return UNCHANGED.to_owned(),
        ReloadDelivery::No => format!("not told to reload: {service}"),
        ReloadDelivery::Unknown => format!("{service} may have reloaded, or may have ended"),
        ReloadDelivery::Yes => format!("{service} was reloaded"),
    });
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_says_which_service_was_told() {
        for (told, before, words) in [
            (ReloadDelivery::No, &[][..], UNCHANGED),
            (ReloadDelivery::No, &["a"], "no file was changed; reloaded: a; not told to reload: ssh"),
            (ReloadDelivery::Unknown, &[], "no file was changed; ssh may have reloaded, or may have ended"),
            (
                ReloadDelivery::Unknown,
                &["a", "b"],
                "no file was changed; reloaded: a, b; ssh may have reloaded, or may have ended",
            ),
            (ReloadDelivery::Yes, &[], "no file was changed; ssh was reloaded"),
        ] {
            assert_eq!(state("ssh", told, before), words);
        }
    }
}
