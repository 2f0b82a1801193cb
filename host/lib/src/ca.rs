//! The certificate authority: the operations of a CA, and the check that every certificate it returns has to pass.
//! `local` is a CA in a directory, `step` a step-ca on a server.

pub mod attempts;
pub mod certificate;
pub mod configured;
pub mod due;
pub mod kind;
pub mod local;
pub mod placeholder;
pub mod principal;
pub mod rotation;
mod sign;
pub mod step;
#[cfg(test)]
pub(crate) mod testing;
pub mod throw_away;
pub mod verify;

pub use certificate::{Certificate, CertificateError};
pub use kind::Kind;
pub use principal::{Principal, Principals};
pub use verify::CertificateFault;

use crate::{error::Error, machine::keys::signing::Sign};
use ssh_key::PublicKey;
use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// A request to a CA. The CA's answer is checked against it.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// Host or user.
    pub kind: Kind,
    /// The key to certify.
    pub key: PublicKey,
    /// The names to certify it for: these, and no others.
    pub principals: Principals,
    /// The key ID: free text that appears in the logs of servers and clients.
    pub key_id: String,
}

/// A host key that proves possession to a CA. Its private half never leaves the machine.
#[derive(Clone, Copy)]
pub struct HeldKey<'a> {
    /// The path of the private key, even if there is no private key in that file; the public key is beside it.
    pub path: &'a Path,
    /// Signs in place of that file, if the file does not contain the key: an agent, or a new key that is not in place
    /// yet.
    pub signer: Option<&'a dyn Sign>,
}

impl<'a> HeldKey<'a> {
    /// A host key whose private half is in this file.
    #[must_use]
    pub fn in_file(path: &'a Path) -> Self {
        Self { path, signer: None }
    }
}

/// A certificate authority.
///
/// An implementation is given its credential (a password file, a one-time token, an X.509 certificate of the machine)
/// when it is created, and reads it when it first needs it. An implementation returns only certificates that passed
/// [`verify::check`].
pub trait CertificateAuthority {
    /// Which CA this is, for messages: `the CA https://ca.example`, `the local CA in /srv/ca`.
    fn describe(&self) -> String;

    /// The CA's public keys of that kind, freshly fetched. There are several while keys are being replaced: the one
    /// that signs comes first.
    ///
    /// # Errors
    /// The CA does not answer, or has no keys of that kind.
    fn roots(&self, kind: Kind) -> Result<Vec<PublicKey>, CaError>;

    /// Checks in advance that these new certificates can be requested: finds the credential, and asks a person for it
    /// if there is a terminal. An empty slice: only renewals will be requested.
    ///
    /// # Errors
    /// The credential is missing, or will not be accepted.
    fn ready(&self, requests: &[IssueRequest]) -> Result<(), CaError>;

    /// Whether the machine had better use its first host certificate as the credential for its other host keys. That
    /// is so if the credential consists of one-time tokens and this CA can rekey.
    fn goes_by_word(&self) -> bool {
        false
    }

    /// Whether the CA renews certificates that have expired.
    ///
    /// # Errors
    /// The CA does not answer.
    fn renews_expired(&self) -> Result<bool, CaError>;

    /// Requests a new certificate.
    ///
    /// # Errors
    /// The CA does not answer, refuses, or returns something else than was requested.
    fn issue(&self, request: &IssueRequest) -> Result<Certificate, CaError>;

    /// Requests a successor of a host certificate, with the same key, names and validity period. `key` is its key, for
    /// the proof of possession.
    ///
    /// # Errors
    /// As for `issue`; also if this CA did not sign `current`, or if `current` has expired.
    fn renew(&self, current: &Certificate, key: HeldKey<'_>) -> Result<Certificate, CaError>;

    /// Requests a successor of a host certificate for another key, `new`. `key` is the present key, for the proof of
    /// possession.
    ///
    /// # Errors
    /// As for `renew`.
    fn rekey(&self, current: &Certificate, key: HeldKey<'_>, new: &PublicKey) -> Result<Certificate, CaError>;
}

/// Why there is no certificate.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CaError {
    /// The CA did not answer, or its place was taken by something that is not a CA.
    #[error("{ca} {}: {cause}", unreached(*.answered))]
    Unreachable {
        ca: String,
        /// Whether there was an answer, although an unusable one.
        answered: bool,
        /// What was tried, and how it failed.
        cause: String,
        next: String,
    },
    /// No CA is configured.
    #[error("no CA is configured")]
    NotConfigured { next: String },
    /// The user who runs this has no CA configured, but the machine has.
    #[error("you have no CA configured; this machine has one, {address}")]
    OfRootOnly { address: String },
    /// This machine's settings for the CA are not usable, so nothing was sent.
    #[error("{ca} cannot be used: {cause}")]
    Unusable { ca: String, cause: String, next: String },
    /// The CA refused.
    #[error("{ca} refused: {cause}")]
    Refused { ca: String, cause: String, next: String },
    /// No request could be made: a password, a key or a token is missing, or does not fit.
    #[error("{cause}")]
    Credential { cause: String, next: String },
    /// The CA returned something else than was requested.
    #[error("the CA's certificate does not match the request: {0}")]
    Wrong(#[from] CertificateFault),
}

impl CaError {
    /// The stable word for procedures (`authority.wit`).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::NotConfigured { .. }
            | Self::OfRootOnly { .. }
            | Self::Unusable { .. }
            | Self::Refused { .. }
            | Self::Credential { .. } => "refused",
            Self::Wrong(wrong) => wrong.code(),
        }
    }

    /// Whether the error concerns only this one request, so that other requests to the CA may succeed.
    #[must_use]
    pub fn is_about_one(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Credential { .. } | Self::Wrong(_) => true,
            Self::Unreachable { .. } | Self::NotConfigured { .. } | Self::OfRootOnly { .. } | Self::Unusable { .. } => {
                false
            }
        }
    }
}

/// The words after the CA's name in a message about a failed connection. `answered`: there was an answer, although an
/// unusable one.
#[must_use]
pub fn unreached(answered: bool) -> &'static str {
    if answered { "gives no usable answer" } else { "cannot be reached" }
}

impl From<CaError> for Error {
    fn from(error: CaError) -> Self {
        match error {
            CaError::Unreachable { ca, answered, cause, next } => {
                Self::unreachable(format!("{ca} {}", unreached(answered))).cause(cause).next(next)
            }
            CaError::NotConfigured { next } => Self::no_authority("no CA is configured").next(next),
            CaError::OfRootOnly { .. } => Self::usage(error.to_string()).next(crate::text::by_sudo()),
            CaError::Unusable { ca, cause, next } => {
                Self::usage(format!("{ca} cannot be used")).cause(cause).next(next)
            }
            CaError::Refused { ca, cause, next } => Self::failed(format!("{ca} refused")).cause(cause).next(next),
            CaError::Credential { cause, next } => {
                Self::usage("the CA cannot be asked for a certificate").cause(cause).next(next)
            }
            CaError::Wrong(wrong) => Self::refused("the CA returned a certificate that does not match the request")
                .next(wrong.advice())
                .cause(wrong),
        }
    }
}

/// The present time as in certificates: seconds since 1970, UTC.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
