//! Signs single messages with a private key, to prove to the CA that this machine holds it. `ssh-key` 0.6 cannot be
//! used: it refuses ECDSA keys that begin with a zero byte, one in 256.

use super::{KeyError, private};
use rsa::{
    BigUint, RsaPrivateKey,
    signature::{RandomizedSigner as _, SignatureEncoding as _, Signer as _},
};
use sha2::Sha256;
use ssh_key::rand_core::OsRng;
use std::path::Path;
use zeroize::Zeroizing;

/// A private key in memory. Wiped when dropped.
pub enum SigningKey {
    /// Ed25519.
    Ed25519(ed25519_dalek::SigningKey),
    /// ECDSA with P-256 and SHA-256.
    P256(p256::ecdsa::SigningKey),
    /// ECDSA with P-384 and SHA-384.
    P384(p384::ecdsa::SigningKey),
    /// ECDSA with P-521 and SHA-512.
    P521(p521::ecdsa::SigningKey),
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rsa(Box<rsa::pkcs1v15::SigningKey<Sha256>>),
}

/// The curves of ECDSA keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

impl Curve {
    /// The length of a private key, in bytes.
    fn length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

impl SigningKey {
    /// Reads the key in a file: OpenSSH's format, PKCS #1, SEC 1 or PKCS #8, without a passphrase.
    ///
    /// # Errors
    /// The file cannot be read, or holds no such key.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let wrong = |why: String| KeyError::NotAKey(format!("{}: {why}", path.display()));
        let contents = super::read(path).map_err(|error| wrong(error.to_string()))?;
        Self::parse(&contents).map_err(|error| wrong(error.to_string()))
    }

    /// Reads the key in the contents of such a file.
    ///
    /// # Errors
    /// They hold no such key.
    pub fn parse(contents: &[u8]) -> Result<Self, KeyError> {
        private::parse(contents)
    }

    /// A key from a seed of 32 bytes (RFC 8032).
    ///
    /// # Errors
    /// The seed has another length.
    pub fn ed25519(seed: &[u8]) -> Result<Self, KeyError> {
        let seed = Zeroizing::new(<[u8; 32]>::try_from(seed).map_err(|_| not_a_key("an Ed25519 seed has 32 bytes"))?);
        Ok(Self::Ed25519(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// A key from a big-endian scalar, with or without leading zeros.
    ///
    /// # Errors
    /// The scalar does not belong to that curve.
    pub fn ecdsa(curve: Curve, scalar: &[u8]) -> Result<Self, KeyError> {
        let digits: &[u8] = match scalar.iter().position(|byte| *byte != 0) {
            Some(first) => scalar.get(first..).unwrap_or_default(),
            None => &[],
        };
        let missing = curve
            .length()
            .checked_sub(digits.len())
            .ok_or_else(|| not_a_key("the private number is longer than the curve allows"))?;
        let mut padded = Zeroizing::new(vec![0; missing]);
        // Reserved at once: a reallocation would leave a copy that is not wiped.
        padded.reserve_exact(digits.len());
        padded.extend_from_slice(digits);
        let wrong = |_| not_a_key("the private number is not one of the curve");
        match curve {
            Curve::P256 => p256::ecdsa::SigningKey::from_slice(&padded).map(Self::P256).map_err(wrong),
            Curve::P384 => p384::ecdsa::SigningKey::from_slice(&padded).map(Self::P384).map_err(wrong),
            Curve::P521 => p521::ecdsa::SigningKey::from_slice(&padded).map(Self::P521).map_err(wrong),
        }
    }

    /// A key from the big-endian numbers n, e, d, p, q.
    ///
    /// # Errors
    /// The numbers do not belong together, or the key is shorter than 2048 bits.
    pub fn rsa([n, e, d, p, q]: [&[u8]; 5]) -> Result<Self, KeyError> {
        let number = BigUint::from_bytes_be;
        let modulus = number(n);
        if modulus.bits() < 2048 {
            return Err(not_a_key("an RSA key of less than 2048 bits is not used"));
        }
        RsaPrivateKey::from_components(modulus, number(e), number(d), vec![number(p), number(q)])
            .map(|key| Self::Rsa(Box::new(rsa::pkcs1v15::SigningKey::new(key))))
            .map_err(|error| not_a_key(format!("the numbers of the RSA key do not fit: {error}")))
    }

    /// The name of its signature algorithm in a JSON Web Signature (RFC 7518, RFC 8037).
    #[must_use]
    pub fn jws_algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::P384(_) => "ES384",
            Self::P521(_) => "ES512",
            Self::Rsa(_) => "RS256",
        }
    }

    /// Signs a message in the format of a JSON Web Signature: for ECDSA, r followed by s.
    ///
    /// # Errors
    /// The signature cannot be made.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |error: signature::Error| KeyError::Generation(error.to_string());
        match self {
            Self::Ed25519(key) => Ok(key.try_sign(message).map_err(failed)?.to_bytes().to_vec()),
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.try_sign(message).map_err(failed)?;
                Ok(signature.to_bytes().to_vec())
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::Signature = key.try_sign(message).map_err(failed)?;
                Ok(signature.to_bytes().to_vec())
            }
            Self::P521(key) => {
                let signature: p521::ecdsa::Signature = key.try_sign(message).map_err(failed)?;
                Ok(signature.to_bytes().to_vec())
            }
            // With blinding: the duration of the plain operation would reveal something about the key.
            Self::Rsa(key) => Ok(key.try_sign_with_rng(&mut OsRng, message).map_err(failed)?.to_vec()),
        }
    }
}

/// A signer that works like a private key, wherever the key is.
pub trait Sign {
    /// As [`SigningKey::jws_algorithm`].
    fn jws_algorithm(&self) -> &'static str;

    /// As [`SigningKey::sign`].
    ///
    /// # Errors
    /// The signature cannot be made.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// Advice if it cannot sign.
    fn next(&self) -> String;
}

impl Sign for SigningKey {
    fn jws_algorithm(&self) -> &'static str {
        Self::jws_algorithm(self)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        Self::sign(self, message)
    }

    fn next(&self) -> String {
        "look at that key".to_owned()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.jws_algorithm())
    }
}

pub(super) fn not_a_key(why: impl Into<String>) -> KeyError {
    KeyError::NotAKey(why.into())
}
