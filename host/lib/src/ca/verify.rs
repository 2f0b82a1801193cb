//! Judges a certificate. sshd does not report most of what can be wrong with one: `sshd -t` accepts even an expired
//! certificate, or a user certificate for a host key.

use super::{IssueRequest, certificate::Certificate, kind::Kind};
use crate::text::neutral;
use jiff::Timestamp;
use ssh_key::{HashAlg, PublicKey};

/// The critical options of user certificates that sshd knows; it rejects a certificate with any other.
const USER_OPTIONS: [&str; 3] = ["force-command", "source-address", "verify-required"];

/// What is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// The certificate is for another key.
    #[error("it is for another key, {0}")]
    OtherKey(String),
    /// A host certificate instead of a user certificate, or the reverse.
    #[error("it is a {0} certificate")]
    OtherKind(Kind),
    /// It has no principals: older clients accept it for every name.
    #[error("it names no principal")]
    NoPrincipals,
    /// A requested name is missing.
    #[error("the principal {0:?} is missing")]
    MissingPrincipal(String),
    /// It also contains a name that was not requested.
    #[error("it also holds for {0:?}, which was not asked for")]
    ExtraPrincipal(String),
    /// None of the CA's keys signed it.
    #[error("it names {0} as its signer, which is not a key of this CA")]
    UnknownSigner(String),
    /// OpenSSH no longer accepts signatures of this kind.
    #[error("it is signed with {0}, which clients refuse")]
    WeakSignature(String),
    /// The signature is not valid.
    #[error("its signature is not the CA's")]
    BadSignature,
    /// It is not valid yet; or a clock is wrong.
    #[error("it holds only from {} on", time(*.0))]
    NotYetValid(u64),
    /// It has expired.
    #[error("it expired at {}", time(*.0))]
    Expired(u64),
    /// It has no end, and certificates cannot be recalled.
    #[error("it never expires")]
    NoEnd,
    /// It has a critical option that makes OpenSSH reject it.
    #[error("it has the critical option {0:?}, which makes OpenSSH refuse it")]
    CriticalOption(String),
}

impl CertificateFault {
    /// What a person can do about it.
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

/// Checks a certificate from a CA against the request. It has to be for that key and that kind, and for those
/// principals and no others. One of the CA's keys (`roots`) has to have signed it, in a way that clients accept. It has
/// to be valid now (`now`: seconds since 1970), but not for ever, and may have no option that OpenSSH rejects.
///
/// # Errors
/// The first fault.
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

/// As [`check`], except for the principals: with single sign-on the CA chooses them. There has to be at least one.
///
/// # Errors
/// The first fault.
pub fn check_but_names(
    certificate: &Certificate,
    request: &IssueRequest,
    roots: &[PublicKey],
    now: u64,
) -> Result<(), CertificateFault> {
    // Checked first: `roots` are the keys of the wanted kind, so the error would otherwise be about the signer.
    if certificate.kind() != request.kind {
        return Err(CertificateFault::OtherKind(certificate.kind()));
    }
    signed_by(certificate, roots)?;
    if certificate.valid_before() == u64::MAX {
        return Err(CertificateFault::NoEnd);
    }
    problem(certificate, request.kind, std::slice::from_ref(&request.key), now).map_or(Ok(()), Err)
}

/// Checks that one of these keys signed the certificate, with a signature that clients accept.
///
/// # Errors
/// The first fault.
pub fn signed_by(certificate: &Certificate, roots: &[PublicKey]) -> Result<(), CertificateFault> {
    if !roots.iter().any(|root| root.key_data() == certificate.signer().key_data()) {
        return Err(CertificateFault::UnknownSigner(certificate.signer_fingerprint()));
    }
    signature(certificate).map_or(Ok(()), Err)
}

/// The fault that keeps a certificate from working with one of these keys now; `None` if there is none. Does not check
/// which CA signed it.
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
    outside(certificate.valid_after(), certificate.valid_before(), now).or_else(|| signature(certificate))
}

/// The fault of a certificate that is valid from `after` to `before`, if now is not within that time (all in seconds since
/// 1970).
#[must_use]
pub const fn outside(after: u64, before: u64, now: u64) -> Option<CertificateFault> {
    // PROTOCOL.certkeys: valid after <= now < valid before.
    if now < after {
        return Some(CertificateFault::NotYetValid(after));
    }
    if now >= before { Some(CertificateFault::Expired(before)) } else { None }
}

fn signature(certificate: &Certificate) -> Option<CertificateFault> {
    match certificate.signature_algorithm() {
        // CASignatureAlgorithms has contained neither since OpenSSH 8.2.
        weak @ ("ssh-rsa" | "ssh-dss") => Some(CertificateFault::WeakSignature(format!("{weak} (SHA-1)"))),
        _ if !certificate.is_signed() => Some(CertificateFault::BadSignature),
        _ => None,
    }
}

/// A time for people, without the distance from now, since the message may be recorded and read later. A number that is
/// out of range is shown as a number.
pub(super) fn time(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("second {seconds}"), |timestamp| timestamp.strftime("%F %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests;
