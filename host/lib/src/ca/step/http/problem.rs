//! Why there is no complete answer.

use std::{error::Error, io};
use x509_cert::der::{Decode as _, SliceReader, asn1::ObjectIdentifier};

/// A failure between this machine and the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No connection: it was refused, there is no route, or there is no such name.
    #[error("{0}")]
    NoConnection(String),
    /// The exchange took too long.
    #[error("no answer in time")]
    TimedOut,
    /// The server's certificate leads to another root.
    #[error("its TLS certificate was not issued by the root that this machine trusts")]
    OtherRoot,
    /// The server's certificate is for other names.
    #[error("its TLS certificate is not for this name")]
    OtherName,
    /// By this machine's clock, the server's certificate has expired or is not valid yet.
    #[error("its TLS certificate is not valid at this machine's time")]
    OtherTime,
    /// A certificate in the server's chain has a signature that this program cannot verify.
    #[error("a certificate in its TLS chain is signed with {0}, which Warded does not support")]
    Unsupported(String),
    /// A certificate in the server's chain violates another rule.
    #[error("its TLS certificate, or one above it, is not valid: {0}")]
    Invalid(String),
    /// Anything else in TLS: no TLS at all, an alert.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The server redirects.
    #[error("it answered with a redirection, which is not followed")]
    Redirect,
    /// The answer is too long.
    #[error("its answer is longer than {0} bytes")]
    TooLong(usize),
    /// The connection broke before the answer was complete.
    #[error("the connection ended before the answer did: {0}")]
    Broken(String),
    /// The request could not be sent.
    #[error("{0}")]
    Local(String),
}

impl Problem {
    /// Converts an error of `reqwest` to words of our own.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        if let Some(tls) = find::<rustls::Error>(error) {
            return Self::of_tls(tls);
        }
        if error.is_timeout() && !error.is_connect() {
            return Self::TimedOut;
        }
        // The library's text would contain a URL of its documentation, or a function's name.
        match (error.is_connect(), has_ended(error)) {
            (true, true) => Self::NoConnection("the server closed the connection during the TLS handshake".to_owned()),
            (true, false) => Self::NoConnection(innermost(error)),
            (false, true) => Self::Broken("the server closed it".to_owned()),
            (false, false) => Self::Broken(innermost(error)),
        }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        use rustls::CertificateError as Wrong;
        #[expect(clippy::wildcard_enum_match_arm, reason = "rustls may add others; they are told in its words")]
        let wrong = match error {
            rustls::Error::InvalidCertificate(wrong) => wrong,
            rustls::Error::InvalidMessage(_) => {
                return Self::Tls("the server there does not speak TLS".to_owned());
            }
            rustls::Error::AlertReceived(alert) => {
                return Self::Tls(format!("the server ended it: {}", words(&format!("{alert:?}"))));
            }
            rustls::Error::PeerIncompatible(why) => return Self::Tls(words(&format!("{why:?}"))),
            other => return Self::Tls(other.to_string()),
        };
        #[expect(clippy::wildcard_enum_match_arm, reason = "rustls may add others; they are told in its words")]
        match wrong {
            Wrong::UnknownIssuer | Wrong::BadSignature => Self::OtherRoot,
            Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => Self::OtherName,
            Wrong::Expired | Wrong::ExpiredContext { .. } | Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
                Self::OtherTime
            }
            Wrong::UnsupportedSignatureAlgorithmContext { signature_algorithm_id: signature, .. } => {
                Self::Unsupported(algorithm(signature))
            }
            Wrong::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: signature,
                public_key_algorithm_id: key,
            } => Self::Unsupported(format!("{} and a key of the type {}", algorithm(signature), algorithm(key))),
            Wrong::BadEncoding => Self::Invalid("it cannot be decoded".to_owned()),
            Wrong::InvalidPurpose | Wrong::InvalidPurposeContext { .. } => {
                Self::Invalid("it is not for a TLS server (extended key usage)".to_owned())
            }
            Wrong::UnhandledCriticalExtension => {
                Self::Invalid("it has a critical extension that Warded does not know".to_owned())
            }
            Wrong::Other(other) => Self::Invalid(words(&other.to_string())),
            other => Self::Invalid(words(&other.to_string())),
        }
    }

    /// Whether something answered: with another certificate, in another protocol, or at too great a length.
    #[must_use]
    pub fn is_an_answer(&self) -> bool {
        match self {
            Self::OtherRoot
            | Self::OtherName
            | Self::OtherTime
            | Self::Unsupported(_)
            | Self::Invalid(_)
            | Self::Tls(_)
            | Self::Redirect
            | Self::TooLong(_) => true,
            Self::NoConnection(_) | Self::TimedOut | Self::Broken(_) | Self::Local(_) => false,
        }
    }

    /// Whether a later try may succeed and cannot carry out the request twice.
    #[must_use]
    pub fn was_not_sent(&self) -> bool {
        matches!(self, Self::NoConnection(_))
    }
}

/// Names the contents of an `AlgorithmIdentifier` (without its outer tag): the OID and, for a key, the curve.
fn algorithm(der: &[u8]) -> String {
    let read = || -> Result<Vec<ObjectIdentifier>, x509_cert::der::Error> {
        let mut reader = SliceReader::new(der)?;
        let first = ObjectIdentifier::decode(&mut reader)?;
        Ok([Some(first), ObjectIdentifier::decode(&mut reader).ok()].into_iter().flatten().collect())
    };
    let names: Vec<String> = read().unwrap_or_default().iter().map(name).collect();
    if names.is_empty() { "an algorithm that cannot be read".to_owned() } else { names.join(" ") }
}

/// The common name of an algorithm or a curve.
fn name(oid: &ObjectIdentifier) -> String {
    match oid.to_string().as_str() {
        "1.2.840.10045.2.1" => "ECDSA".to_owned(),
        "1.2.840.10045.3.1.7" => "P-256".to_owned(),
        "1.3.132.0.34" => "P-384".to_owned(),
        "1.3.132.0.35" => "P-521".to_owned(),
        "1.3.132.0.10" => "secp256k1".to_owned(),
        "1.3.36.3.3.2.8.1.1.7" => "brainpoolP256r1".to_owned(),
        "1.2.840.10045.4.1" => "ECDSA and SHA-1".to_owned(),
        "1.2.840.10045.4.3.1" => "ECDSA and SHA-224".to_owned(),
        "1.2.840.10045.4.3.2" => "ECDSA and SHA-256".to_owned(),
        "1.2.840.10045.4.3.3" => "ECDSA and SHA-384".to_owned(),
        "1.2.840.10045.4.3.4" => "ECDSA and SHA-512".to_owned(),
        "1.2.840.113549.1.1.1" => "RSA".to_owned(),
        "1.2.840.113549.1.1.4" => "RSA and MD5".to_owned(),
        "1.2.840.113549.1.1.5" => "RSA and SHA-1".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        oid => format!("the algorithm {oid}"),
    }
}

/// Splits the library's name of an error, such as `BadEncoding`, into words.
fn words(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if character.is_ascii_uppercase() && !out.is_empty() && !out.ends_with(' ') {
            out.push(' ');
        }
        out.push(character.to_ascii_lowercase());
    }
    crate::text::neutral(&out)
}

/// Whether the other side closed the connection, at whatever depth the error says so.
fn has_ended(error: &(dyn Error + 'static)) -> bool {
    find_where(error, &|error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof).is_some()
}

/// The first error of type `T` in a chain of causes, including those inside I/O errors.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    find_where(error, &|_| true)
}

fn find_where<'a, T: Error + 'static>(error: &'a (dyn Error + 'static), is_it: &dyn Fn(&T) -> bool) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>().filter(|found| is_it(found)) {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|inner| find_where(inner, is_it)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The innermost cause: the system's message.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    crate::text::neutral(&last.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{CertificateError, OtherError, pki_types::alg_id};
    use std::sync::Arc;

    #[test]
    fn an_end_is_found_however_deep_it_is() {
        let end = || io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        for (error, expected) in [
            (end(), true),
            (io::Error::other(end()), true),
            (io::Error::new(io::ErrorKind::ConnectionReset, io::Error::other(end())), true),
            (refused(), false),
            (io::Error::other(refused()), false),
        ] {
            assert_eq!(has_ended(&error), expected, "{error:?}");
        }
    }

    #[test]
    fn a_fault_in_a_certificate_is_told_in_words() {
        let pair = CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: alg_id::ECDSA_SHA512.to_vec(),
            public_key_algorithm_id: alg_id::ECDSA_P256K1.to_vec(),
        };
        let alone = |id: &[u8]| CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: id.to_vec(),
            supported_algorithms: Vec::new(),
        };
        #[derive(Debug, thiserror::Error)]
        #[error("NameConstraintViolation")]
        struct Violation;
        for (error, expected) in [
            (pair, "signed with ECDSA and SHA-512 and a key of the type ECDSA secp256k1"),
            (alone(&alg_id::ED448), "signed with Ed448, which Warded does not support"),
            (alone(&[6, 3, 42, 3, 4]), "signed with the algorithm 1.2.3.4,"),
            (alone(&[1, 2]), "signed with an algorithm that cannot be read"),
            (CertificateError::Other(OtherError(Arc::new(Violation))), "not valid: name constraint violation"),
            (CertificateError::InvalidPurpose, "not for a TLS server"),
            (CertificateError::Revoked, "not valid: revoked"),
        ] {
            let told = Problem::of_tls(&rustls::Error::InvalidCertificate(error)).to_string();
            assert!(told.contains(expected) && !told.contains(['{', '[']), "{told}");
        }
        for (error, expected) in [
            (rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "does not speak TLS"),
            (rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion), "protocol version"),
            (
                rustls::Error::PeerIncompatible(rustls::PeerIncompatible::NoCipherSuitesInCommon),
                "no cipher suites in common",
            ),
        ] {
            let told = Problem::of_tls(&error).to_string();
            assert!(told.starts_with("TLS failed: ") && told.ends_with(expected), "{told}");
        }
    }
}
