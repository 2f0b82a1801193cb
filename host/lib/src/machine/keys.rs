//! SSH key pairs: reads the public key from a private key's file, and makes new pairs. This module itself never decodes
//! the private part of a file, only the public part; no format but old PEM encrypts that.

mod pem;
mod private;
pub mod public;
pub mod replaced;
mod secret;
pub mod signing;

pub use public::is_certificate;
pub use secret::{holds_private_key, without_private_key};

use public::{CERTIFIED_TYPES, RawPublicKey};
use ssh_encoding::Decode;
use ssh_key::{
    Algorithm, EcdsaCurve, LineEnding, PrivateKey, PublicKey,
    private::{KeypairData, RsaKeypair},
    rand_core::OsRng,
};
use std::{io::Read as _, path::Path};
use zeroize::Zeroizing;

/// Far above the size of any key file.
const MAX_FILE: u64 = 64 * 1024;
/// What `ssh-keygen` makes by default.
const RSA_BITS: usize = 3072;
/// The largest RSA key that is made: doubling the size takes sixteen times as long.
const MAX_RSA_BITS: usize = 4096;
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// The header of a traditional PEM block with a passphrase (RFC 1421, 4.6.1.1).
const ENCRYPTED_PEM: &[u8] = b"Proc-Type: 4,ENCRYPTED";

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No public key can be read from the file.
    #[error("not a key: {0}")]
    NotAKey(String),
    /// The type of the key is not known here.
    #[error("a key of the type {0}, which is not one of those that CAs certify")]
    UnknownType(String),
    /// Keys of that algorithm cannot be made.
    #[error("{0}: new keys are made for ssh-ed25519, ecdsa-sha2-nistp256 (384, 521), and ssh-rsa of up to 4096 bits")]
    Algorithm(String),
    /// The key could not be made.
    #[error("the key could not be made: {0}")]
    Generation(String),
    /// The key cannot sign.
    #[error("{0}")]
    Signature(String),
}

impl KeyError {
    /// The stable error code for procedures (`keys.wit`).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAKey(_) => "not-a-key",
            Self::UnknownType(_) | Self::Algorithm(_) => "algorithm",
            Self::Generation(_) | Self::Signature(_) => "io",
        }
    }
}

/// A new key pair.
pub struct NewKey {
    /// The file of the private key, in OpenSSH's format, without a passphrase. Wiped when dropped.
    pub private: Zeroizing<String>,
    /// The public key with its comment.
    pub public: PublicKey,
}

impl NewKey {
    /// The contents of the `.pub` file.
    ///
    /// # Errors
    /// Never for keys that [`generate`] made.
    pub fn public_file(&self) -> Result<String, KeyError> {
        self.public
            .to_openssh()
            .map(|line| format!("{line}\n"))
            .map_err(|error| KeyError::Generation(error.to_string()))
    }
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Makes a key pair: `ssh-ed25519`, `ecdsa-sha2-nistp256` (384, 521) or `ssh-rsa` (3072 bits). `ssh-keygen -A` uses
/// `root@HOST` as the `comment`.
///
/// # Errors
/// For any other algorithm, or when the machine has no randomness.
pub fn generate(algorithm: &str, comment: &str) -> Result<NewKey, KeyError> {
    make(algorithm, RSA_BITS, comment)
}

/// Makes a key pair with the same algorithm and curve as another key. An RSA key gets the same size, but at least 3072
/// bits.
///
/// # Errors
/// Keys of this type cannot be made, or the machine has no randomness.
pub fn generate_like(other: &PublicKey, comment: &str) -> Result<NewKey, KeyError> {
    let bits = public::rsa_bits(other).unwrap_or(0);
    if bits > MAX_RSA_BITS {
        return Err(KeyError::Algorithm(format!("an RSA key of {bits} bits")));
    }
    make(other.algorithm().as_str(), bits.max(RSA_BITS), comment)
}

fn make(algorithm: &str, rsa_bits: usize, comment: &str) -> Result<NewKey, KeyError> {
    let failed = |error: ssh_key::Error| KeyError::Generation(error.to_string());
    let ecdsa = |curve| PrivateKey::random(&mut OsRng, Algorithm::Ecdsa { curve });
    let mut key = match algorithm {
        "ssh-ed25519" => PrivateKey::random(&mut OsRng, Algorithm::Ed25519),
        "ecdsa-sha2-nistp256" => ecdsa(EcdsaCurve::NistP256),
        "ecdsa-sha2-nistp384" => ecdsa(EcdsaCurve::NistP384),
        "ecdsa-sha2-nistp521" => ecdsa(EcdsaCurve::NistP521),
        "ssh-rsa" => {
            RsaKeypair::random(&mut OsRng, rsa_bits).and_then(|pair| PrivateKey::new(KeypairData::Rsa(pair), ""))
        }
        other => return Err(KeyError::Algorithm(crate::text::neutral(other))),
    }
    .map_err(failed)?;
    key.set_comment(crate::text::neutral(comment));
    let private = key.to_openssh(LineEnding::LF).map_err(failed)?;
    Ok(NewKey { private, public: key.public_key().clone() })
}

/// The public key of the private key at `path`, read from that file. It gets the comment of `path.pub` if that is the
/// same key. If an agent has the private key, only `path.pub` exists, and is used.
///
/// # Errors
/// When neither file can be read, or no public key can be read from it.
pub fn read_public(path: &Path) -> Result<PublicKey, KeyError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    let public = read(Path::new(&beside)).ok();
    let in_agent = || PublicKey::from_openssh(std::str::from_utf8(public.as_ref()?).ok()?.trim()).ok();
    let private = match (read(path), in_agent()) {
        (Ok(private), _) => private,
        (Err(error), Some(key)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(key),
        (Err(error), _) => return Err(KeyError::NotAKey(format!("{}: {error}", path.display()))),
    };
    public_of(&private, public.as_ref().map(|bytes| bytes.as_slice()))
        .map_err(|error| KeyError::NotAKey(format!("{}: {error}", path.display())))
}

/// The public key in a private key's file. `beside` is the `.pub` file: its comment is used if it is the same key;
/// otherwise it is ignored.
///
/// # Errors
/// When no public key can be read from the private file: then its key is unknown.
pub fn public_of(private: &[u8], beside: Option<&[u8]>) -> Result<PublicKey, KeyError> {
    let blob = blob_of(private)?;
    let is_known = CERTIFIED_TYPES.contains(&blob.algorithm());
    // `ssh-key` can also read DSA keys and keys on hardware tokens.
    let mut key = PublicKey::from_bytes(blob.blob()).map_err(|error| match is_known {
        true => KeyError::NotAKey(error.to_string()),
        false => KeyError::UnknownType(blob.algorithm().to_owned()),
    })?;
    let beside =
        beside.and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| PublicKey::from_openssh(text).ok());
    if let Some(beside) = beside.filter(|beside| beside.key_data() == key.key_data()) {
        key.set_comment(beside.comment());
    }
    Ok(key)
}

/// The public key in a private key's file, whatever its type.
///
/// # Errors
/// When no public key can be read from the file.
pub fn blob_of(private: &[u8]) -> Result<RawPublicKey, KeyError> {
    match pem::Block::find(private) {
        Some(block) if block.label == "OPENSSH PRIVATE KEY" => openssh(&block.contents),
        Some(block) => {
            let encoded = pem::public_key(&block)?.to_bytes();
            RawPublicKey::from_blob(&encoded.map_err(|error| KeyError::NotAKey(error.to_string()))?)
        }
        None => Err(KeyError::NotAKey("there is no private key in the file".to_owned())),
    }
}

/// Whether the private key in a file has a passphrase; false if the file has no private key.
#[must_use]
pub fn has_passphrase(file: &[u8]) -> bool {
    let Some(block) = pem::Block::find(file) else { return false };
    match block.label.as_str() {
        "OPENSSH PRIVATE KEY" => {
            let fields = block.contents.strip_prefix(MAGIC);
            fields.is_some_and(|mut fields| String::decode(&mut fields).is_ok_and(|cipher| cipher != "none"))
        }
        "ENCRYPTED PRIVATE KEY" => true,
        _ => file.windows(ENCRYPTED_PEM.len()).any(|window| window == ENCRYPTED_PEM),
    }
}

/// OpenSSH's own format (PROTOCOL.key): the public key comes first, never encrypted. The private part is not decoded.
/// If that starts with zeros, it is one byte shorter than `ssh-key` 0.6 accepts, so that decoding would refuse one
/// ECDSA host key in 256.
fn openssh(blob: &[u8]) -> Result<RawPublicKey, KeyError> {
    let damaged = || KeyError::NotAKey("the OpenSSH private key is damaged".to_owned());
    let mut reader = blob.strip_prefix(MAGIC).ok_or_else(damaged)?;
    for _field in ["cipher", "kdf", "kdf options"] {
        Vec::<u8>::decode(&mut reader).map_err(|_| damaged())?;
    }
    if u32::decode(&mut reader).map_err(|_| damaged())? != 1 {
        return Err(damaged());
    }
    let public = Vec::<u8>::decode(&mut reader).map_err(|_| damaged())?;
    let private = Vec::<u8>::decode(&mut reader).map(Zeroizing::new).map_err(|_| damaged())?;
    if private.is_empty() {
        return Err(damaged());
    }
    RawPublicKey::from_blob(&public)
}

pub(super) fn read(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let file = std::fs::File::open(path)?;
    let length = file.metadata()?.len().min(MAX_FILE);
    let mut contents = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    file.take(MAX_FILE).read_to_end(&mut contents)?;
    Ok(contents)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
