//! X.509 certificates, parsed to be shown to a person: roots, intermediates, and what a server presents.

use super::Fingerprint;
use crate::text::neutral;
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::{fmt::Write as _, net::IpAddr};
use x509_cert::{
    Certificate,
    attr::AttributeTypeAndValue,
    der::{Decode as _, pem},
    ext::pkix::{SubjectAltName, name::GeneralName},
    name::Name,
};

/// A certificate with its parsed fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509 {
    pub der: Vec<u8>,
    /// The certificate in PEM, as it is stored in a file.
    pub pem: String,
    /// The whole name of the subject, neutralised.
    pub subject: String,
    /// The type of its key, in words.
    pub key: &'static str,
    /// The first second of its validity, since 1970.
    pub from: u64,
    /// The last second of its validity, since 1970.
    pub until: u64,
    /// DNS names and addresses, neutralised.
    pub names: Vec<String>,
}

impl X509 {
    /// Parses every certificate in a file: in PEM, with any text between them, or a single one in DER.
    ///
    /// # Errors
    /// There is no certificate, or one is damaged.
    pub fn parse_all(bytes: &[u8]) -> Result<Vec<Self>, String> {
        // A byte order mark would hide the first certificate.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if !bytes.windows(BEGIN.len()).any(|window| window == BEGIN) {
            return Ok(vec![Self::of_der(bytes)?]);
        }
        let found: Vec<Self> = CertificateDer::pem_slice_iter(bytes)
            .map(|der| Self::of_der(&der.map_err(|error| format!("not an X.509 certificate in PEM: {error}"))?))
            .collect::<Result<_, _>>()?;
        if found.is_empty() { Err("there is no X.509 certificate in it".to_owned()) } else { Ok(found) }
    }

    /// Parses the first certificate in a file.
    ///
    /// # Errors
    /// There is no certificate.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        Self::parse_all(bytes)?.into_iter().next().ok_or_else(|| "there is no X.509 certificate in it".to_owned())
    }

    /// Parses a certificate in DER.
    ///
    /// # Errors
    /// The bytes are not a certificate.
    pub fn of_der(der: &[u8]) -> Result<Self, String> {
        let certificate = Certificate::from_der(der).map_err(|error| format!("not an X.509 certificate: {error}"))?;
        let body = &certificate.tbs_certificate;
        let pem = pem::encode_string("CERTIFICATE", pem::LineEnding::LF, der).map_err(|error| error.to_string())?;
        let names = match body.get::<SubjectAltName>() {
            Ok(Some((_, names))) => names.0.iter().filter_map(alternative).collect(),
            Ok(None) | Err(_) => Vec::new(),
        };
        Ok(Self {
            // The fingerprint is that of these exact bytes: another encoding could have another one.
            der: der.to_vec(),
            pem,
            subject: neutral(&whole(&body.subject)),
            key: key(&body.subject_public_key_info.algorithm.oid.to_string()),
            from: body.validity.not_before.to_unix_duration().as_secs(),
            until: body.validity.not_after.to_unix_duration().as_secs(),
            names,
        })
    }

    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }

    /// Why it is not valid at that second since 1970; `None` if it is.
    #[must_use]
    pub fn out_of_time(&self, now: u64) -> Option<String> {
        if now > self.until {
            return Some(format!("expired on {}", day(self.until)));
        }
        (now < self.from).then(|| format!("holds only from {} on", day(self.from)))
    }
}

const BEGIN: &[u8] = b"-----BEGIN";

/// The date of a second since 1970.
#[must_use]
pub fn day(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    // RFC 5280, 4.1.2.5: the last second of the year 9999 means no end.
    timestamp.map_or_else(|| "9999-12-31".to_owned(), |timestamp| timestamp.strftime("%F").to_string())
}

/// `CN=Example Root CA,O="Example, Inc."`.
fn whole(name: &Name) -> String {
    let parts = name.0.iter().rev().flat_map(|part| part.0.iter());
    parts.map(part).collect::<Vec<_>>().join(",")
}

/// One part of a name. The library's text contains backslashes (RFC 4514), which make it hard to read.
fn part(part: &AttributeTypeAndValue) -> String {
    let escaped = part.to_string();
    let (kind, value) = escaped.split_once('=').unwrap_or(("", &escaped));
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            // A control character, as two hexadecimal digits.
            Some(digit) if digit.is_ascii_hexdigit() => drop(write!(plain, "\\{digit}")),
            Some(other) => plain.push(other),
            None => {}
        }
    }
    let is_plain = plain.chars().all(|character| !matches!(character, ',' | '+' | '"' | '=' | ';'));
    if is_plain { format!("{kind}={plain}") } else { format!("{kind}=\"{}\"", plain.replace('"', "\\\"")) }
}

fn key(oid: &str) -> &'static str {
    match oid {
        "1.2.840.10045.2.1" => "ECDSA",
        "1.2.840.113549.1.1.1" => "RSA",
        "1.3.101.112" => "Ed25519",
        _ => "another kind of key",
    }
}

fn alternative(name: &GeneralName) -> Option<String> {
    if let GeneralName::DnsName(name) = name {
        return Some(neutral(name.as_ref()));
    }
    let GeneralName::IpAddress(address) = name else { return None };
    let bytes = address.as_bytes();
    let address =
        <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.ok().map(|address| address.to_string())
}

#[cfg(test)]
pub(crate) mod tests;
