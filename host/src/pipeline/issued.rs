//! Certificates that the CA issued and that were not installed, because the run failed afterwards. The next run uses
//! them instead of asking again: that would need another one-time token, and would lengthen the CA's list of
//! certificates.

use crate::context::Context;
use ssh_key::PublicKey;
use warded_lib::{
    ca::{Certificate, IssueRequest, certificate, due, now, verify},
    digest::Digest,
    error::Result,
};

const DIRECTORY: &str = "issued";

/// Remembers a certificate until it is installed. Failing to write it is no error. If a token was used up for it, it is
/// synced to disk to survive a power cut; for a renewal the CA can be asked again.
pub(super) fn remember(context: &Context, certificate: &Certificate, is_renewed: bool) {
    let Some(name) = name(certificate.key()) else { return };
    let text = certificate.to_file();
    drop(context.state.sub(DIRECTORY).and_then(|issued| match is_renewed {
        true => issued.write_unsynced(&name, text.as_bytes(), 0o600),
        false => issued.write(&name, text.as_bytes(), 0o600),
    }));
}

/// Finds a certificate from an earlier run that is as good as a new one: it matches what is asked for now, one of the
/// CA's present keys signed it, it is not the one to be replaced, and half of its time until it is due is left. If the
/// certificate to be replaced has expired, the found one is good as long as it is valid.
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
    // A CA need not renew an expired certificate. Then a certificate that was put off until now is the only one there
    // is.
    let is_over = current.is_some_and(|current| current.valid_before() <= now());
    let is_young = || !due::is_due(&found, now(), context.renew_after / 2, &context.facts.machine_id);
    let good = is_another && (is_over || is_young()) && verify::check(&found, wanted, roots, now()).is_ok();
    Ok(good.then_some(found))
}

/// The keys that have a certificate from an earlier run which is valid now.
pub(super) fn keys(context: &Context) -> Result<Vec<PublicKey>> {
    let Some(issued) = context.state.find_sub(DIRECTORY)? else { return Ok(Vec::new()) };
    let mut keys = Vec::new();
    for name in issued.names()? {
        let certificate = issued.read(&name)?.and_then(|file| certificate::parse(&file).ok());
        keys.extend(certificate.filter(|found| now() < found.valid_before()).map(|found| found.key().clone()));
    }
    Ok(keys)
}

/// Forgets the certificates that were installed.
pub(super) fn forget(context: &Context, certificates: &[Certificate]) {
    let Ok(Some(issued)) = context.state.find_sub(DIRECTORY) else { return };
    for certificate in certificates {
        if let Some(name) = name(certificate.key()) {
            // If it cannot be removed, `find` still returns it only where it fits.
            drop(issued.remove(&name));
        }
    }
}

/// The file name for a key's certificate.
fn name(key: &PublicKey) -> Option<String> {
    let digest = Digest::of(&key.to_bytes().ok()?).to_string();
    digest.strip_prefix("sha256:").map(|hex| format!("{hex}-cert.pub"))
}
