//! The certificate authority: what can be asked of one, and the check that everything it returns
//! has to pass. `local` is a CA in a directory, `step` a step-ca on a server.

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

/// What is asked of a CA, and what its answer is held against.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// Host or user.
    pub kind: Kind,
    /// The key to certify.
    pub key: PublicKey,
    /// The names to certify it for: these, and no others.
    pub principals: Principals,
    /// Free text for the logs of those who meet the certificate.
    pub key_id: String,
}

/// A host key that proves to a CA that this machine has it. Its private half never leaves the machine.
#[derive(Clone, Copy)]
pub struct HeldKey<'a> {
    /// The file of the private key, or of where it would be: the public one lies beside it.
    pub path: &'a Path,
    /// What signs with it where that file does not have it: an agent, or the key itself before it is in place.
    pub signer: Option<&'a dyn Sign>,
}

impl<'a> HeldKey<'a> {
    /// One whose private half is in this file.
    #[must_use]
    pub fn in_file(path: &'a Path) -> Self {
        Self { path, signer: None }
    }
}

/// A certificate authority.
///
/// What an implementation needs to be trusted (a password file, a one-time token, an X.509
/// certificate of the machine) it is given when it is made, and reads when it needs it.
/// An implementation returns only certificates that passed [`verify::check`].
pub trait CertificateAuthority {
    /// Which CA this is, for messages: `the CA https://ca.example`, `the local CA in /srv/ca`.
    fn describe(&self) -> String;

    /// The CA's public keys of that kind, freshly fetched. More than one while keys are replaced: the one that signs
    /// comes first.
    ///
    /// # Errors
    /// When the CA does not answer, or has no keys of that kind.
    fn roots(&self, kind: Kind) -> Result<Vec<PublicKey>, CaError>;

    /// Makes sure that it can be asked for these new certificates, before it is: finds what it takes, and
    /// asks a person for it where there is one. None: only renewals will be asked for.
    ///
    /// # Errors
    /// Something that it takes is missing, or will not be accepted.
    fn ready(&self, requests: &[IssueRequest]) -> Result<(), CaError>;

    /// Whether a certificate of this machine is the better credential for its other host keys: new certificates take
    /// one-time tokens here, and this CA rekeys.
    fn goes_by_word(&self) -> bool {
        false
    }

    /// Whether it renews certificates that have expired.
    ///
    /// # Errors
    /// When the CA does not answer.
    fn renews_expired(&self) -> Result<bool, CaError>;

    /// A new certificate.
    ///
    /// # Errors
    /// When the CA does not answer, says no, or returns something else than was asked for.
    fn issue(&self, request: &IssueRequest) -> Result<Certificate, CaError>;

    /// A successor of a host certificate: same key, names and length of life. `key` is its key, for proof of
    /// possession.
    ///
    /// # Errors
    /// As for `issue`; also when this CA did not sign `current`, or its time is over.
    fn renew(&self, current: &Certificate, key: HeldKey<'_>) -> Result<Certificate, CaError>;

    /// A successor of a host certificate for another key, `new`. `key` is the present key, for proof of possession.
    ///
    /// # Errors
    /// As for `renew`.
    fn rekey(&self, current: &Certificate, key: HeldKey<'_>, new: &PublicKey) -> Result<Certificate, CaError>;
}

/// Why there is no certificate.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CaError {
    /// The CA did not answer, or something else did in its place.
    #[error("{ca} {}: {cause}", unreached(*.answered))]
    Unreachable {
        ca: String,
        /// Whether there was an answer, which is of no use.
        answered: bool,
        /// What was tried and how it ended.
        cause: String,
        next: String,
    },
    /// No CA was chosen.
    #[error("no CA is configured")]
    NotConfigured { next: String },
    /// The user who runs this has chosen none, and the machine has one.
    #[error("you have no CA configured; this machine has one, {address}")]
    OfRootOnly { address: String },
    /// What this machine knows of the CA does not serve: it is not asked.
    #[error("{ca} cannot be used: {cause}")]
    Unusable { ca: String, cause: String, next: String },
    /// The CA answered with a no.
    #[error("{ca} refused: {cause}")]
    Refused { ca: String, cause: String, next: String },
    /// It cannot be asked: a password, a key or a token is missing, or does not fit.
    #[error("{cause}")]
    Credential { cause: String, next: String },
    /// The CA's answer is not what was asked for.
    #[error("the CA's certificate is not the one that was asked for: {0}")]
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

    /// Whether it says nothing about what else the CA is asked for.
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

/// What is said of a CA that was not reached, after its name. `answered`: by something, which is of no use.
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
            CaError::Wrong(wrong) => Self::refused("the CA returned another certificate than was asked for")
                .next(wrong.advice())
                .cause(wrong),
        }
    }
}

/// The time, as certificates have it: seconds since 1970, UTC.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
