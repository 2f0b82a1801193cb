//! Certificates that the CA gave and that were not put to use: the run failed after them. The next run takes them
//! instead of asking again, for a one-time token would be gone, and the CA's list one longer.

use crate::context::Context;
use ssh_key::PublicKey;
use warded_lib::{
    ca::{Certificate, IssueRequest, certificate, due, now, verify},
    digest::Digest,
    error::Result,
};

const DIRECTORY: &str = "issued";

/// Remembers one until it is put to use. Nothing fails because this cannot be written. One that a token was used up for
/// is remembered past a power cut; for a renewal the CA is asked again.
pub(super) fn remember(context: &Context, certificate: &Certificate, is_renewed: bool) {
    let Some(name) = name(certificate.key()) else { return };
    let text = certificate.to_file();
    drop(context.state.sub(DIRECTORY).and_then(|issued| match is_renewed {
        true => issued.write_unsynced(&name, text.as_bytes(), 0o600),
        false => issued.write(&name, text.as_bytes(), 0o600),
    }));
}

/// One from an earlier run that is as good as new: it is what is asked for now, the CA's present keys signed it,
/// it is not the one that is to be succeeded, and half of its time until it is due is left. Where what it is to succeed
/// has expired, it is good as long as it holds.
pub(super) fn find(
    context: &Context,
    wanted: &IssueRequest,
    current: Option<&Certificate>,
    roots: &[PublicKey],
) -> Result<Option<Certificate>> {
    let Some(issued) = context.state.find_sub(DIRECTORY)? else { return Ok(None) };
    let Some(name) = name(&wanted.key) else { return Ok(None) };
    let Some(found) = issued.read(&name)?.and_then(|file| certificate::parse(&file).ok()) else { return Ok(None) };
    let is_another = current.is_none_or(|current| current.serial() != found.serial());
    // No CA has to renew what has expired: then one that was put off until now is the only one there is.
    let is_over = current.is_some_and(|current| current.valid_before() <= now());
    let is_young = || !due::is_due(&found, now(), context.renew_after / 2, &context.facts.machine_id);
    let good = is_another && (is_over || is_young()) && verify::check(&found, wanted, roots, now()).is_ok();
    Ok(good.then_some(found))
}

/// The keys for which there is a certificate from an earlier run that holds now.
pub(super) fn keys(context: &Context) -> Result<Vec<PublicKey>> {
    let Some(issued) = context.state.find_sub(DIRECTORY)? else { return Ok(Vec::new()) };
    let mut keys = Vec::new();
    for name in issued.names()? {
        let certificate = issued.read(&name)?.and_then(|file| certificate::parse(&file).ok());
        keys.extend(certificate.filter(|found| now() < found.valid_before()).map(|found| found.key().clone()));
    }
    Ok(keys)
}

/// Forgets those that were put to use.
pub(super) fn forget(context: &Context, certificates: &[Certificate]) {
    let Ok(Some(issued)) = context.state.find_sub(DIRECTORY) else { return };
    for certificate in certificates {
        if let Some(name) = name(certificate.key()) {
            // One that stays is found again only for what it is good for.
            drop(issued.remove(&name));
        }
    }
}

/// A name for what belongs to a key.
fn name(key: &PublicKey) -> Option<String> {
    let digest = Digest::of(&key.to_bytes().ok()?).to_string();
    digest.strip_prefix("sha256:").map(|hex| format!("{hex}-cert.pub"))
}
