//! A CA that exists for one test only: its certificates show how the machine would treat those of the real CA.

use super::{
    certificate::Certificate,
    kind::Kind,
    now,
    sign::{Window, sign_for},
};
use crate::error::{Error, Result};
use ssh_key::{Algorithm, EcdsaCurve, PrivateKey, PublicKey, rand_core::OsRng};

/// The validity before and after now, in seconds: longer than any run, even if the clock is set in the meantime.
const HOUR: u64 = 3600;

/// The CA; its key exists in memory only.
#[derive(Debug)]
pub struct ThrowAway(PrivateKey);

impl ThrowAway {
    /// Creates a CA with a key of the same type as another CA's. RSA is replaced by ECDSA, because generating an RSA
    /// key takes seconds; most programs accept both.
    ///
    /// # Errors
    /// The system has no randomness, which does not happen in practice.
    pub fn like(algorithm: &Algorithm) -> Result<Self> {
        let kind = match algorithm {
            Algorithm::Ed25519 => Algorithm::Ed25519,
            Algorithm::Ecdsa { curve } => Algorithm::Ecdsa { curve: *curve },
            Algorithm::Dsa | Algorithm::Rsa { .. } | Algorithm::SkEcdsaSha2NistP256 | Algorithm::SkEd25519 | _ => {
                Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }
            }
        };
        PrivateKey::random(&mut OsRng, kind).map(Self).map_err(|error| failed(&error))
    }

    /// Its public key.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        self.0.public_key()
    }

    /// Certifies a key for one name. The name is not checked: a test may need a name that no CA would certify.
    ///
    /// # Errors
    /// The key cannot be put into a certificate.
    pub fn certify(&self, key: &PublicKey, kind: Kind, name: &str) -> Result<Certificate> {
        let window = Window { after: now().saturating_sub(HOUR), before: now().saturating_add(HOUR) };
        sign_for(&self.0, key, (kind, "throw-away"), [name].into_iter(), window).map_err(|error| failed(&error))
    }
}

fn failed(error: &ssh_key::Error) -> Error {
    Error::failed("cannot make a throw-away certificate").cause(error)
}
