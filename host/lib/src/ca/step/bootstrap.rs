//! Trust in a CA: its root certificate, by fingerprint.

use super::{
    Fingerprint, Settings, api,
    api::Failure,
    describe,
    http::{Http, Trust},
    url::CaUrl,
};
use crate::{ca::CaError, text::neutral};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_cert::{Certificate, der::Decode as _};

/// A root certificate, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// DER.
    pub der: Vec<u8>,
    /// PEM, as it is kept in a file.
    pub pem: String,
    /// Its name, neutralised.
    pub name: String,
    /// Its key, in words.
    pub key: &'static str,
    /// Until when it holds.
    pub until: Option<Timestamp>,
}

impl Root {
    /// Reads a certificate in PEM or DER.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let not = |error: x509_cert::der::Error| format!("not an X.509 certificate: {error}");
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.contains("-----BEGIN"));
        let der = match text {
            // Only the first of a file, and what stands before it is no matter.
            Some(text) => CertificateDer::from_pem_slice(text.as_bytes())
                .map_err(|error| format!("not an X.509 certificate: {error}"))?
                .to_vec(),
            None => bytes.to_vec(),
        };
        // The fingerprint is that of these very bytes: encoded anew they might be others.
        let certificate = Certificate::from_der(&der).map_err(not)?;
        let pem = x509_cert::der::pem::encode_string("CERTIFICATE", x509_cert::der::pem::LineEnding::LF, &der)
            .map_err(|error| error.to_string())?;
        let body = &certificate.tbs_certificate;
        let until = i64::try_from(body.validity.not_after.to_unix_duration().as_secs()).ok();
        Ok(Self {
            name: neutral(&common_name(&body.subject.to_string())),
            key: key(&body.subject_public_key_info.algorithm.oid.to_string()),
            until: until.and_then(|seconds| Timestamp::from_second(seconds).ok()),
            pem,
            der,
        })
    }

    /// Its fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }
}

/// `Example Root CA` of `CN=Example Root CA,O=Example`; all of it where there is no CN.
fn common_name(subject: &str) -> String {
    subject.split(',').find_map(|part| part.trim().strip_prefix("CN=")).unwrap_or(subject).to_owned()
}

fn key(oid: &str) -> &'static str {
    match oid {
        "1.2.840.10045.2.1" => "ECDSA",
        "1.2.840.113549.1.1.1" => "RSA",
        "1.3.101.112" => "Ed25519",
        _ => "another kind of key",
    }
}

/// Why a root was not fetched.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotFetched {
    /// The server did not give it.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// It gave something else.
    #[error("it returned a certificate with the fingerprint {0}")]
    Other(Fingerprint),
    /// It gave something that is none.
    #[error("it returned {0}")]
    Unreadable(String),
}

/// Fetches a root by its fingerprint. Nothing is trusted yet, so the bytes that come are held against all of it.
///
/// # Errors
/// There is no such root at that address.
pub fn fetch(url: &CaUrl, fingerprint: &Fingerprint, proxy: Option<&str>) -> Result<Root, NotFetched> {
    let http = Http::new(url, Trust::Anybody, proxy).map_err(Failure::from)?;
    let root = Root::parse(api::root(&http, fingerprint)?.as_bytes()).map_err(NotFetched::Unreadable)?;
    let found = root.fingerprint();
    if found == *fingerprint { Ok(root) } else { Err(NotFetched::Other(found)) }
}

/// The pinned root, in DER.
///
/// # Errors
/// It is not there, or not the one whose fingerprint is configured.
pub(super) fn pinned(settings: &Settings) -> Result<Vec<u8>, CaError> {
    let unusable = |cause: String| CaError::Refused {
        ca: format!("{} cannot be trusted: this machine", describe(settings)),
        cause,
        next: format!("warded bootstrap --ca-url {} --fingerprint {}", settings.url, settings.fingerprint),
    };
    let file = settings.root.as_path();
    let bytes =
        std::fs::read(file).map_err(|error| unusable(format!("cannot read the root {}: {error}", file.display())))?;
    let root = Root::parse(&bytes).map_err(|error| unusable(format!("{}: {error}", file.display())))?;
    if root.fingerprint() != settings.fingerprint {
        return Err(unusable(format!(
            "{} has the fingerprint {}, and {} is configured",
            file.display(),
            root.fingerprint(),
            settings.fingerprint
        )));
    }
    Ok(root.der)
}
