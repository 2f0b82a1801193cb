//! A CA that lives for one proof: what it signs shows what the machine would make of the real CA's certificates.

use super::{
    certificate::Certificate,
    kind::Kind,
    now,
    sign::{Window, sign_for},
};
use crate::error::{Error, Result};
use ssh_key::{Algorithm, EcdsaCurve, PrivateKey, PublicKey, rand_core::OsRng};

/// How long its certificates hold around now, in seconds: longer than any run, on clocks that are set meanwhile.
const HOUR: u64 = 3600;

/// The CA; its key is in memory alone.
#[derive(Debug)]
pub struct ThrowAway(PrivateKey);

impl ThrowAway {
    /// A CA with a key of the same type as another CA's. In place of RSA, which takes seconds to make, there is an
    /// ECDSA key: most programs take both.
    ///
    /// # Errors
    /// When the system has no randomness to give, which does not happen.
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

    /// A certificate for a key and one name, which is not looked at: a proof may need a name that no CA gives.
    ///
    /// # Errors
    /// When the key cannot be put into a certificate.
    pub fn certify(&self, key: &PublicKey, kind: Kind, name: &str) -> Result<Certificate> {
        let window = Window { after: now().saturating_sub(HOUR), before: now().saturating_add(HOUR) };
        sign_for(&self.0, key, (kind, "throw-away"), [name].into_iter(), window).map_err(|error| failed(&error))
    }
}

fn failed(error: &ssh_key::Error) -> Error {
    Error::failed("cannot make a throw-away certificate").cause(error)
}
