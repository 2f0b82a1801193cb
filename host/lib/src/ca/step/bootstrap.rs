//! Establishes trust in a CA: fetches its root certificate by fingerprint.

use super::{
    Fingerprint, Settings, api,
    api::Failure,
    describe,
    http::{Http, Trust},
    url::CaUrl,
    x509::X509,
};
use crate::{
    ca::{CaError, now},
    moment::distance,
};
use std::time::Duration;

/// Why a root was not fetched.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// The server did not return a root.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The server returned another certificate.
    #[error("it returned a certificate with the fingerprint {0}")]
    Other(Fingerprint),
    /// The server returned something that is not a certificate.
    #[error("it returned {0}")]
    Unreadable(String),
    /// The server returned the right root, but it is not valid now.
    #[error("its root certificate {subject} {fault}{clock}")]
    OutOfTime {
        subject: String,
        /// When it was, or will be, valid.
        fault: String,
        /// The difference between this machine's clock and the CA's, if it is more than a minute.
        clock: String,
    },
}

/// Fetches a root by its fingerprint. Nothing is trusted yet, so the received bytes are checked against the whole
/// fingerprint.
///
/// # Errors
/// There is no such root at that address, or it is not valid now.
pub fn fetch(url: &CaUrl, fingerprint: &Fingerprint, proxy: Option<&str>) -> Result<X509, FetchError> {
    let http = Http::new(url, Trust::Anybody, proxy).map_err(Failure::from)?;
    let roots = X509::parse_all(api::root(&http, fingerprint)?.as_bytes()).map_err(FetchError::Unreadable)?;
    let other = roots.first().map(X509::fingerprint);
    let Some(root) = roots.into_iter().find(|root| root.fingerprint() == *fingerprint) else {
        return Err(other.map_or_else(|| FetchError::Unreadable("no certificate".to_owned()), FetchError::Other));
    };
    if let Some(fault) = root.out_of_time(now()) {
        let apart = http.ahead().map(i64::unsigned_abs).map(Duration::from_millis);
        let apart = apart.filter(|apart| *apart > Duration::from_mins(1)).map(distance);
        let clock = apart.map(|apart| format!("; this machine's clock and the CA's are {apart} apart"));
        return Err(FetchError::OutOfTime { subject: root.subject, fault, clock: clock.unwrap_or_default() });
    }
    Ok(root)
}

/// The fingerprints of the roots that a server lists. They are not verified: they may be shown as what that server
/// says, but must never be trusted.
///
/// # Errors
/// The server does not list its roots.
pub fn unverified_roots(url: &CaUrl, proxy: Option<&str>) -> Result<Vec<Fingerprint>, Failure> {
    let http = Http::new(url, Trust::Anybody, proxy)?;
    let roots = api::roots(&http)?;
    Ok(roots.iter().filter_map(|root| X509::parse(root.as_bytes()).ok()).map(|root| root.fingerprint()).collect())
}

/// The pinned root, in DER: the one in the file that has the configured fingerprint. `step ca roots` writes several
/// into one file while a root is being replaced.
///
/// # Errors
/// There is no such root.
pub(super) fn pinned(settings: &Settings) -> Result<Vec<u8>, CaError> {
    let file = settings.root.as_path();
    let unusable = |cause: String| CaError::Unusable {
        ca: describe(settings),
        cause: format!("{}: {cause}", file.display()),
        next: format!("warded bootstrap --ca-url {} --fingerprint {}", settings.url, settings.fingerprint),
    };
    let bytes = std::fs::read(file).map_err(|error| unusable(format!("the root cannot be read: {error}")))?;
    let roots = X509::parse_all(&bytes).map_err(unusable)?;
    let found: Vec<String> = roots.iter().map(|root| root.fingerprint().to_string()).collect();
    let pinned = roots.into_iter().find(|root| root.fingerprint() == settings.fingerprint);
    pinned.map(|root| root.der).ok_or_else(|| {
        unusable(format!("it has the fingerprint {}, and {} is configured", found.join(", "), settings.fingerprint))
    })
}
