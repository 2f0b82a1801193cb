//! The judgement on a certificate. sshd says nothing about most of what is wrong with one
//! (`sshd -t` is silent even for an expired or a user certificate), so this is where it is found.

use super::{IssueRequest, certificate::Certificate, kind::Kind};
use crate::text::neutral;
use jiff::Timestamp;
use ssh_key::{HashAlg, PublicKey};

/// The critical options of user certificates that sshd knows; any other makes it refuse.
const USER_OPTIONS: [&str; 3] = ["force-command", "source-address", "verify-required"];

/// What is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// It certifies another key.
    #[error("it is for another key, {0}")]
    OtherKey(String),
    /// Host instead of user, or the reverse.
    #[error("it is a {0} certificate")]
    OtherKind(Kind),
    /// It names nobody: older clients take it for everybody.
    #[error("it names no principal")]
    NoPrincipals,
    /// A name that was asked for is not in it.
    #[error("the principal {0:?} is missing")]
    MissingPrincipal(String),
    /// It holds for a name that was not asked for.
    #[error("it also holds for {0:?}, which was not asked for")]
    ExtraPrincipal(String),
    /// None of the CA's keys signed it.
    #[error("it names {0} as its signer, which is not a key of this CA")]
    UnknownSigner(String),
    /// The signature is one that OpenSSH no longer takes.
    #[error("it is signed with {0}, which clients refuse")]
    WeakSignature(String),
    /// The signature does not fit.
    #[error("its signature is not the CA's")]
    BadSignature,
    /// Its time has not come; or a clock is wrong.
    #[error("it holds only from {} on", time(*.0))]
    NotYetValid(u64),
    /// Its time is over.
    #[error("it expired at {}", time(*.0))]
    Expired(u64),
    /// It has no end, and cannot be undone.
    #[error("it never expires")]
    NoEnd,
    /// It has an option that makes OpenSSH refuse it.
    #[error("it has the critical option {0:?}, which makes OpenSSH refuse it")]
    CriticalOption(String),
}

impl CertificateFault {
    /// What a person can do.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NotYetValid(_) | Self::Expired(_) => "compare this machine's clock with the CA's",
            Self::UnknownSigner(_) | Self::BadSignature => {
                "make sure that this is the CA you mean, and that its keys have not just been replaced"
            }
            Self::WeakSignature(_) => "let the CA sign with rsa-sha2-256 or better, or with an ECDSA or Ed25519 key",
            Self::NoEnd => "let the CA give its certificates an end",
            Self::OtherKey(_)
            | Self::OtherKind(_)
            | Self::NoPrincipals
            | Self::MissingPrincipal(_)
            | Self::ExtraPrincipal(_)
            | Self::CriticalOption(_) => "look at the CA's templates and policies: nothing was installed",
        }
    }

    /// The stable word for procedures (`authority.wit`).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownSigner(_) | Self::BadSignature => "foreign",
            Self::OtherKey(_)
            | Self::OtherKind(_)
            | Self::NoPrincipals
            | Self::MissingPrincipal(_)
            | Self::ExtraPrincipal(_)
            | Self::WeakSignature(_)
            | Self::NotYetValid(_)
            | Self::Expired(_)
            | Self::NoEnd
            | Self::CriticalOption(_) => "refused",
        }
    }
}

/// Holds what a CA returned against what was asked for: that key, that kind, those principals and
/// no others, signed by one of the CA's keys (`roots`) in a way that clients accept, valid now
/// (`now`: seconds since 1970) and not for ever, with no option that OpenSSH refuses.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(
    certificate: &Certificate,
    request: &IssueRequest,
    roots: &[PublicKey],
    now: u64,
) -> Result<(), CertificateFault> {
    check_but_names(certificate, request, roots, now)?;
    for asked in request.principals.iter() {
        if !certificate.principals().iter().any(|held| held == asked.as_str()) {
            return Err(CertificateFault::MissingPrincipal(asked.as_str().to_owned()));
        }
    }
    for held in certificate.principals() {
        if !request.principals.contains(held) {
            return Err(CertificateFault::ExtraPrincipal(neutral(held)));
        }
    }
    Ok(())
}

/// The same but for the principals, which the CA chooses for who comes with a single sign-on: there is at least one.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_but_names(
    certificate: &Certificate,
    request: &IssueRequest,
    roots: &[PublicKey],
    now: u64,
) -> Result<(), CertificateFault> {
    // Its signer is looked up among those of the wanted kind: the kind is the clearer thing to tell.
    if certificate.kind() != request.kind {
        return Err(CertificateFault::OtherKind(certificate.kind()));
    }
    signed_by(certificate, roots)?;
    if certificate.valid_before() == u64::MAX {
        return Err(CertificateFault::NoEnd);
    }
    problem(certificate, request.kind, std::slice::from_ref(&request.key), now).map_or(Ok(()), Err)
}

/// Whether one of these keys signed it, with a signature that clients accept.
///
/// # Errors
/// The first thing that is wrong.
pub fn signed_by(certificate: &Certificate, roots: &[PublicKey]) -> Result<(), CertificateFault> {
    if !roots.iter().any(|root| root.key_data() == certificate.signer().key_data()) {
        return Err(CertificateFault::UnknownSigner(certificate.signer_fingerprint()));
    }
    signature(certificate).map_or(Ok(()), Err)
}

/// What keeps a certificate, whoever issued it, from working for one of these keys now; none if
/// nothing does. Does not ask which CA signed it.
#[must_use]
pub fn problem(certificate: &Certificate, kind: Kind, keys: &[PublicKey], now: u64) -> Option<CertificateFault> {
    if certificate.kind() != kind {
        return Some(CertificateFault::OtherKind(certificate.kind()));
    }
    if !keys.iter().any(|key| key.key_data() == certificate.key().key_data()) {
        return Some(CertificateFault::OtherKey(certificate.key().fingerprint(HashAlg::Sha256).to_string()));
    }
    if certificate.principals().is_empty() {
        return Some(CertificateFault::NoPrincipals);
    }
    let known: &[&str] = match kind {
        Kind::Host => &[],
        Kind::User => &USER_OPTIONS,
    };
    if let Some((name, _)) = certificate.critical_options().iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Some(CertificateFault::CriticalOption(neutral(name)));
    }
    // PROTOCOL.certkeys: valid after <= now < valid before.
    if now < certificate.valid_after() {
        return Some(CertificateFault::NotYetValid(certificate.valid_after()));
    }
    if now >= certificate.valid_before() {
        return Some(CertificateFault::Expired(certificate.valid_before()));
    }
    signature(certificate)
}

fn signature(certificate: &Certificate) -> Option<CertificateFault> {
    match certificate.signature_algorithm() {
        // CASignatureAlgorithms has neither since OpenSSH 8.2.
        weak @ ("ssh-rsa" | "ssh-dss") => Some(CertificateFault::WeakSignature(format!("{weak} (SHA-1)"))),
        _ if !certificate.is_signed() => Some(CertificateFault::BadSignature),
        _ => None,
    }
}

/// A time as people read it, without a distance: what is wrong with a certificate is also recorded, and read later.
/// A number that is no time is shown as a number.
pub(super) fn time(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("second {seconds}"), |timestamp| timestamp.strftime("%F %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests;
