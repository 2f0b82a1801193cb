//! Stand-ins for host certificates that have not been requested yet. With them, a candidate configuration is tested
//! before a one-time token is spent. They are never installed on the machine.

use super::{
    IssueRequest,
    certificate::Certificate,
    kind::Kind,
    now,
    principal::Principals,
    sign::{Window, sign},
};
use crate::error::{Error, Result};
use ssh_key::{Algorithm, PrivateKey, PublicKey, rand_core::OsRng};

/// The validity before and after now, in seconds: longer than any run, even if the clock is set in the meantime.
const HOUR: u64 = 3600;

/// A host certificate for this key and these names, from a CA whose key is discarded at once.
///
/// # Errors
/// The key cannot be put into a certificate.
pub fn host_certificate(key: &PublicKey, principals: &Principals) -> Result<Certificate> {
    let failed = |error: ssh_key::Error| {
        Error::failed("could not make a certificate to try the configuration with")
            .cause(format!("{}: {error}", key.algorithm()))
    };
    let ca = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(failed)?;
    let request = IssueRequest {
        kind: Kind::Host,
        key: key.clone(),
        principals: principals.clone(),
        key_id: "placeholder".to_owned(),
    };
    let now = now();
    sign(&ca, &request, Window { after: now.saturating_sub(HOUR), before: now.saturating_add(HOUR) }).map_err(failed)
}
