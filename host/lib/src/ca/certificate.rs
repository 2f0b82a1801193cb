//! Parses SSH certificates in their wire form (OpenSSH's PROTOCOL.certkeys) without judging them. It accepts also
//! certificates without an end, without a principal or with a SHA-1 signature, because machines have such certificates;
//! `verify` judges. The exact bytes are kept, and signatures are verified over them.

mod whereabouts;

pub use whereabouts::whereabouts;

use super::kind::Kind;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ssh_encoding::{Decode, Encode};
use ssh_key::{HashAlg, PublicKey, Signature};
use std::fmt;

const SUFFIX: &str = "-cert-v01@openssh.com";
/// OpenSSH reads no longer key lines (16 KiB in authfile.c); this is far above.
const MAX_FILE: usize = 64 * 1024;

/// Why some bytes are not a valid certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an SSH certificate: {0}")]
pub struct CertificateError(String);

/// The ordered names and values of critical options, or of extensions.
pub type Options = Vec<(String, Vec<u8>)>;

#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    bytes: Vec<u8>,
    algorithm: String,
    comment: String,
    key: PublicKey,
    serial: u64,
    kind: Kind,
    key_id: String,
    principals: Vec<String>,
    valid_after: u64,
    valid_before: u64,
    critical_options: Options,
    extensions: Options,
    signer: PublicKey,
    signature_algorithm: String,
    signature: Vec<u8>,
    signed_length: usize,
}

/// Parses a certificate file (`KEY-cert.pub`): the first line that is neither empty nor a comment.
///
/// # Errors
/// It is not a certificate; the error says why.
pub fn parse(file: &[u8]) -> Result<Certificate, CertificateError> {
    if file.len() > MAX_FILE {
        return unreadable("the file is too large");
    }
    let text = std::str::from_utf8(file).or_else(|_| unreadable("the file is not text"))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(line) = lines.next() else { return unreadable("the file is empty") };
    let mut fields = line.splitn(3, [' ', '\t']);
    let (algorithm, encoded) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    if algorithm.starts_with("-----BEGIN") {
        return unreadable("the file is in PEM format, and is not an SSH certificate");
    }
    if !algorithm.ends_with(SUFFIX) {
        return unreadable("it is not a certificate's line (a plain key?)");
    }
    let blob = STANDARD.decode(encoded).or_else(|_| unreadable("its base64 is damaged"))?;
    let mut certificate = Certificate::from_bytes(&blob)?;
    if certificate.algorithm != algorithm {
        return unreadable("the line begins with another algorithm than the certificate");
    }
    fields.next().unwrap_or_default().trim().clone_into(&mut certificate.comment);
    Ok(certificate)
}

impl Certificate {
    /// Parses a certificate's wire form.
    ///
    /// # Errors
    /// It is not a certificate; the error says why.
    pub fn from_bytes(blob: &[u8]) -> Result<Self, CertificateError> {
        let mut rest = blob;
        let reader = &mut rest;
        let algorithm: String = take(reader, "algorithm")?;
        let key_algorithm = key_algorithm(&algorithm)?;
        let _nonce: Vec<u8> = take(reader, "nonce")?;
        let key = take_key(reader, &key_algorithm)?;
        let serial = take(reader, "serial")?;
        let number = take(reader, "kind")?;
        let Some(kind) = Kind::from_number(number) else {
            return unreadable("it is neither for a host nor for a user");
        };
        let key_id = take(reader, "key ID")?;
        let principals = take_strings(&take::<Vec<u8>>(reader, "principals")?)?;
        let valid_after = take(reader, "validity")?;
        let valid_before = take(reader, "validity")?;
        let critical_options = take_options(&take::<Vec<u8>>(reader, "critical options")?)?;
        let extensions = take_options(&take::<Vec<u8>>(reader, "extensions")?)?;
        let _reserved: Vec<u8> = take(reader, "reserved field")?;
        let signer = PublicKey::from_bytes(&take::<Vec<u8>>(reader, "CA key")?)
            .or_else(|error| unreadable(format!("its CA key: {error}")))?;
        let signed_length = blob.len() - reader.len();
        let signature: Vec<u8> = take(reader, "signature")?;
        if !reader.is_empty() {
            return unreadable("it has extra bytes after its end");
        }
        let signature_algorithm = take(&mut &*signature, "signature")?;
        Ok(Self {
            bytes: blob.to_vec(),
            algorithm,
            comment: String::new(),
            key,
            serial,
            kind,
            key_id,
            principals,
            valid_after,
            valid_before,
            critical_options,
            extensions,
            signer,
            signature_algorithm,
            signature,
            signed_length,
        })
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The contents of a certificate file: one line with a newline.
    #[must_use]
    pub fn to_file(&self) -> String {
        let encoded = STANDARD.encode(&self.bytes);
        let blank = if self.comment.is_empty() { "" } else { " " };
        format!("{} {encoded}{blank}{}\n", self.algorithm, self.comment)
    }

    /// The certificate's type: `ssh-ed25519-cert-v01@openssh.com` …
    #[must_use]
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// The certified key, without a comment.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The serial number; any 64 bits.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Host or user.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The key ID, which is the CA's free text. Pass it through `neutral` before showing it.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The principals, unchecked: there may be none, or invalid ones.
    #[must_use]
    pub fn principals(&self) -> &[String] {
        &self.principals
    }

    /// The start of the validity, in seconds since 1970; 0: no start.
    #[must_use]
    pub fn valid_after(&self) -> u64 {
        self.valid_after
    }

    /// The end of the validity (exclusive), in seconds since 1970; [`u64::MAX`]: no end.
    #[must_use]
    pub fn valid_before(&self) -> u64 {
        self.valid_before
    }

    /// The critical options (PROTOCOL.certkeys): a program that does not know one of them rejects the certificate.
    #[must_use]
    pub fn critical_options(&self) -> &Options {
        &self.critical_options
    }

    /// The extensions, such as `permit-pty`.
    #[must_use]
    pub fn extensions(&self) -> &Options {
        &self.extensions
    }

    /// The CA key that the certificate names as its signer. Only `verify` checks that this key signed it.
    #[must_use]
    pub fn signer(&self) -> &PublicKey {
        &self.signer
    }

    /// The fingerprint of the CA key, `SHA256:…`.
    #[must_use]
    pub fn signer_fingerprint(&self) -> String {
        self.signer.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The signature algorithm: `ssh-ed25519`, `rsa-sha2-512` …; `ssh-rsa` means SHA-1.
    #[must_use]
    pub fn signature_algorithm(&self) -> &str {
        &self.signature_algorithm
    }

    /// The signature with its algorithm's name, from the certificate's end.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether the named CA key made the signature. Says nothing about trust in that key.
    pub(super) fn is_signed(&self) -> bool {
        let Some(signed) = self.bytes.get(..self.signed_length) else { return false };
        Signature::try_from(self.signature.as_slice())
            .is_ok_and(|signature| signature::Verifier::verify(self.signer.key_data(), signed, &signature).is_ok())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} {} {:?} {:?})", self.kind, self.serial, self.key_id, self.principals)
    }
}

impl TryFrom<&ssh_key::Certificate> for Certificate {
    type Error = CertificateError;
    fn try_from(certificate: &ssh_key::Certificate) -> Result<Self, CertificateError> {
        let bytes = certificate.to_bytes().or_else(|error| unreadable(error.to_string()))?;
        Ok(Self { comment: certificate.comment().to_owned(), ..Self::from_bytes(&bytes)? })
    }
}

impl TryFrom<&Certificate> for ssh_key::Certificate {
    type Error = CertificateError;
    /// Fails for what `ssh_key`'s type cannot represent: a certificate without an end, a SHA-1 signature.
    fn try_from(certificate: &Certificate) -> Result<Self, CertificateError> {
        Self::from_bytes(&certificate.bytes).or_else(|error| unreadable(error.to_string()))
    }
}

fn unreadable<T>(why: impl Into<String>) -> Result<T, CertificateError> {
    Err(CertificateError(why.into()))
}

fn take<T: Decode>(reader: &mut &[u8], field: &str) -> Result<T, CertificateError> {
    T::decode(reader).or_else(|_| unreadable(format!("it is cut off or damaged at its {field}")))
}

/// `ssh-ed25519` for `ssh-ed25519-cert-v01@openssh.com`; the names for FIDO keys have a suffix in both.
fn key_algorithm(algorithm: &str) -> Result<String, CertificateError> {
    match algorithm.strip_suffix(SUFFIX) {
        Some(plain) if plain.starts_with("sk-") => Ok(format!("{plain}@openssh.com")),
        Some(plain) => Ok(plain.to_owned()),
        None => unreadable("its type is not a certificate's"),
    }
}

/// In a certificate, the key's fields lack the algorithm's name and the length of the whole key.
fn take_key(reader: &mut &[u8], algorithm: &str) -> Result<PublicKey, CertificateError> {
    let fields = match algorithm {
        "ssh-ed25519" => 1,
        "ssh-rsa" | "sk-ssh-ed25519@openssh.com" => 2,
        "sk-ecdsa-sha2-nistp256@openssh.com" => 3,
        "ssh-dss" => 4,
        _ if algorithm.starts_with("ecdsa-sha2-nistp") => 2,
        _ => return unreadable("keys of its type are unknown"),
    };
    let mut blob = Vec::new();
    let put = |part: &dyn Fn(&mut Vec<u8>) -> Result<(), ssh_encoding::Error>, blob: &mut Vec<u8>| {
        part(blob).or_else(|_| unreadable("its key is too long"))
    };
    put(&|out| algorithm.encode(out), &mut blob)?;
    for _ in 0..fields {
        let field: Vec<u8> = take(reader, "key")?;
        put(&|out| field.encode(out), &mut blob)?;
    }
    PublicKey::from_bytes(&blob).or_else(|error| unreadable(format!("its key: {error}")))
}

fn take_strings(mut list: &[u8]) -> Result<Vec<String>, CertificateError> {
    let mut strings = Vec::new();
    while !list.is_empty() {
        strings.push(take(&mut list, "principals")?);
    }
    Ok(strings)
}

fn take_options(mut list: &[u8]) -> Result<Options, CertificateError> {
    let mut options = Options::new();
    while !list.is_empty() {
        options.push((take(&mut list, "options")?, take(&mut list, "options")?));
    }
    Ok(options)
}

#[cfg(test)]
mod tests;
