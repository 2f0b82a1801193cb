//! TLS certificates for the CAs of tests, with a root and an intermediate, as a real CA has them.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use std::time::{Duration, SystemTime};

const HOUR: Duration = Duration::from_secs(3600);
/// A year in seconds.
const YEAR: i64 = 365 * 24 * 3600;

/// A root, and an intermediate that signs.
#[derive(Debug)]
pub(crate) struct Authority {
    root: Certificate,
    intermediate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A leaf certificate, and its key.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// The certificate, and the intermediate that signed it.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The same chain in PEM.
    pub(crate) pem: String,
    pub(crate) key: KeyPair,
}

impl Authority {
    /// A new authority, whose name must be unique.
    pub(crate) fn new(name: &str) -> Self {
        Self::ending(name, [YEAR, YEAR])
    }

    /// An authority whose root and intermediate expire so many seconds from now; a negative number is in the past.
    pub(crate) fn ending(name: &str, [root, intermediate]: [i64; 2]) -> Self {
        let (root, root_key) = (authority(&format!("{name} Root"), 1, root), KeyPair::generate().unwrap());
        let certificate = root.self_signed(&root_key).unwrap();
        let intermediate = authority(&format!("{name} Intermediate"), 0, intermediate);
        let key = KeyPair::generate().unwrap();
        let signed = intermediate.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
        Self { root: certificate, intermediate: signed, issuer: Issuer::new(intermediate, key) }
    }

    pub(crate) fn root(&self) -> String {
        self.root.pem()
    }

    /// The SHA-256 of the root, as `step` prints it.
    pub(crate) fn fingerprint(&self) -> String {
        Sha256::digest(self.root.der()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn intermediate(&self) -> String {
        self.intermediate.pem()
    }

    /// The intermediate's key.
    pub(crate) fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate for a server with these names, or for a client: valid since an hour ago, and for this long from
    /// now.
    pub(crate) fn leaf(&self, names: &[&str], valid: Duration) -> Leaf {
        self.leaf_until(names, SystemTime::now() + valid)
    }

    /// A certificate that has expired.
    pub(crate) fn expired(&self, names: &[&str]) -> Leaf {
        self.leaf_until(names, SystemTime::now() - HOUR / 2)
    }

    fn leaf_until(&self, names: &[&str], end: SystemTime) -> Leaf {
        let mut parameters = named(names.first().unwrap(), names);
        parameters.not_before = (SystemTime::now() - HOUR).into();
        parameters.not_after = end.into();
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let chain = vec![certificate.der().clone(), self.intermediate.der().clone()];
        Leaf { chain, pem: certificate.pem() + &self.intermediate.pem(), key }
    }
}

impl Leaf {
    /// Its key in the form that rustls takes.
    pub(crate) fn private(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

fn authority(name: &str, below: u8, end: i64) -> CertificateParams {
    let mut parameters = named(name, &[]);
    parameters.not_before = (SystemTime::now() - 2 * Duration::from_secs(YEAR.unsigned_abs())).into();
    let distance = Duration::from_secs(end.unsigned_abs());
    parameters.not_after = if end < 0 { SystemTime::now() - distance } else { SystemTime::now() + distance }.into();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

fn named(name: &str, alternatives: &[&str]) -> CertificateParams {
    let alternatives: Vec<String> = alternatives.iter().map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(alternatives).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}
