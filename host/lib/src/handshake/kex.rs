//! The key exchange methods. Each makes a share for the other side, and a secret from the other side's share.

use super::{fault::Fault, negotiate::Negotiable, wire::Writer};
use ml_kem::{
    B32, DecapsulationKey, EncapsulationKey, MlKem768, Seed,
    kem::{Decapsulate as _, KeyExport as _},
};
use p521::elliptic_curve::rand_core::OsRng;
use ring::{
    agreement::{self, ECDH_P256, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral},
    digest::{self, SHA256, SHA384, SHA512},
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::{Zeroize as _, Zeroizing};

/// Lengths of ML-KEM-768 (FIPS 203, table 3), of X25519, and of an uncompressed point of P-521.
const ML_KEM_KEY: usize = 1184;
const ML_KEM_CIPHERTEXT: usize = 1088;
const X25519_SHARE: usize = 32;
const P521_SHARE: usize = 133;

/// A key exchange method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kex {
    Curve25519,
    Curve25519Libssh,
    NistP256,
    NistP384,
    NistP521,
    MlKem768X25519,
}

impl Kex {
    /// The fastest first: what a proof of a host key exchanges needs no secrecy.
    pub(super) const ALL: [Self; 6] = [
        Self::Curve25519,
        Self::Curve25519Libssh,
        Self::NistP256,
        Self::NistP384,
        Self::MlKem768X25519,
        Self::NistP521,
    ];

    pub(super) fn hash(self) -> Hash {
        match self {
            Self::Curve25519 | Self::Curve25519Libssh | Self::NistP256 | Self::MlKem768X25519 => Hash::Sha256,
            Self::NistP384 => Hash::Sha384,
            Self::NistP521 => Hash::Sha512,
        }
    }

    fn bad_share(self) -> Fault {
        Fault::Share { kex: self.name() }
    }
}

impl Negotiable for Kex {
    fn name(self) -> &'static str {
        match self {
            Self::Curve25519 => "curve25519-sha256",
            Self::Curve25519Libssh => "curve25519-sha256@libssh.org",
            Self::NistP256 => "ecdh-sha2-nistp256",
            Self::NistP384 => "ecdh-sha2-nistp384",
            Self::NistP521 => "ecdh-sha2-nistp521",
            Self::MlKem768X25519 => "mlkem768x25519-sha256",
        }
    }
}

/// The hash of a key exchange method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(super) fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = digest::Context::new(match self {
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
            Self::Sha512 => &SHA512,
        });
        for part in parts {
            context.update(part);
        }
        context.finish().as_ref().to_vec()
    }

    pub(super) fn secret_digest(self, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.digest(parts))
    }
}

/// This side's half of an exchange.
pub(super) struct Ephemeral {
    kex: Kex,
    secret: Secret,
    /// What is sent to the other side.
    pub(super) share: Vec<u8>,
}

enum Secret {
    Ring(EphemeralPrivateKey),
    P521(Box<p521::ecdh::EphemeralSecret>),
    Hybrid(Box<DecapsulationKey<MlKem768>>, EphemeralPrivateKey),
}

/// A new private key for a curve, and its share.
fn generate(curve: &'static agreement::Algorithm) -> Result<(EphemeralPrivateKey, Vec<u8>), Fault> {
    let key = EphemeralPrivateKey::generate(curve, &SystemRandom::new())?;
    let share = key.compute_public_key()?.as_ref().to_vec();
    Ok((key, share))
}

impl Ephemeral {
    pub(super) fn generate(kex: Kex) -> Result<Self, Fault> {
        let ring = |curve| generate(curve).map(|(key, share)| (Secret::Ring(key), share));
        let (secret, share) = match kex {
            Kex::Curve25519 | Kex::Curve25519Libssh => ring(&X25519)?,
            Kex::NistP256 => ring(&ECDH_P256)?,
            Kex::NistP384 => ring(&ECDH_P384)?,
            Kex::NistP521 => {
                let secret = p521::ecdh::EphemeralSecret::random(&mut OsRng);
                let share = p521::EncodedPoint::from(secret.public_key()).as_bytes().to_vec();
                (Secret::P521(Box::new(secret)), share)
            }
            Kex::MlKem768X25519 => {
                let mut seed = Seed::default();
                SystemRandom::new().fill(&mut seed)?;
                let key = DecapsulationKey::<MlKem768>::from_seed(seed);
                seed.zeroize();
                let (classical, its_share) = generate(&X25519)?;
                let share = [&*key.encapsulation_key().to_bytes(), &its_share].concat();
                (Secret::Hybrid(Box::new(key), classical), share)
            }
        };
        Ok(Self { kex, secret, share })
    }

    /// The shared secret, in the encoding in which it is hashed. Refuses points that are not on the curve, and an
    /// X25519 result of all zeros.
    pub(super) fn finish(self, theirs: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let bad = || self.kex.bad_share();
        match self.secret {
            Secret::Ring(key) => {
                agree(key, theirs, |secret| Zeroizing::new(Writer::new().mpint(secret).finish())).ok_or_else(bad)
            }
            Secret::P521(secret) => {
                let theirs = p521_share(theirs).ok_or_else(bad)?;
                let shared = secret.diffie_hellman(&theirs);
                Ok(Zeroizing::new(Writer::new().mpint(shared.raw_secret_bytes()).finish()))
            }
            Secret::Hybrid(key, classical) => {
                let (ciphertext, their_share) = theirs.split_at_checked(ML_KEM_CIPHERTEXT).ok_or_else(bad)?;
                let ciphertext = ciphertext.try_into().map_err(|_| bad())?;
                let mut shared = key.decapsulate(ciphertext);
                let combined = combine(&shared, classical, their_share).ok_or_else(bad);
                shared.zeroize();
                combined
            }
        }
    }
}

/// The server's share and the shared secret.
pub(super) fn answer(kex: Kex, theirs: &[u8]) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), Fault> {
    if kex != Kex::MlKem768X25519 {
        let mut ours = Ephemeral::generate(kex)?;
        let share = std::mem::take(&mut ours.share);
        return Ok((share, ours.finish(theirs)?));
    }
    let bad = || kex.bad_share();
    let (key, their_share) = theirs.split_at_checked(ML_KEM_KEY).ok_or_else(bad)?;
    let key = EncapsulationKey::<MlKem768>::new(key.try_into().map_err(|_| bad())?).map_err(|_| bad())?;
    let mut random = B32::default();
    SystemRandom::new().fill(&mut random)?;
    let (ciphertext, mut shared) = key.encapsulate_deterministic(&random);
    random.zeroize();
    let (classical, share) = generate(&X25519)?;
    let combined = combine(&shared, classical, their_share).ok_or_else(bad);
    shared.zeroize();
    Ok(([&*ciphertext, &share].concat(), combined?))
}

/// The secret of a hybrid exchange: a hash of both secrets, encoded as a string.
fn combine(shared: &[u8], classical: EphemeralPrivateKey, theirs: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let both = |secret: &[u8]| Hash::Sha256.secret_digest(&[shared, secret]);
    let combined = (theirs.len() == X25519_SHARE).then(|| agree(classical, theirs, both))??;
    Some(Zeroizing::new(Writer::new().string(&*combined).finish()))
}

fn agree<T>(key: EphemeralPrivateKey, theirs: &[u8], derive: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let theirs = UnparsedPublicKey::new(key.algorithm(), theirs);
    agree_ephemeral(key, &theirs, derive).ok()
}

fn p521_share(bytes: &[u8]) -> Option<p521::PublicKey> {
    let uncompressed = bytes.len() == P521_SHARE && bytes.first() == Some(&4);
    uncompressed.then(|| p521::PublicKey::from_sec1_bytes(bytes).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_get_the_same_secret() {
        for kex in Kex::ALL {
            let client = Ephemeral::generate(kex).unwrap();
            let (share, secret) = answer(kex, &client.share).unwrap();
            assert_eq!(client.finish(&share).unwrap(), secret, "{kex:?}");
        }
    }

    #[test]
    fn shares_that_are_none_are_refused() {
        for kex in Kex::ALL {
            let (good, _) = answer(kex, &Ephemeral::generate(kex).unwrap().share).unwrap();
            let flip = |at: usize| {
                let mut bad = good.clone();
                bad[at] ^= 1;
                bad
            };
            let mut bad = vec![vec![], good[1..].to_vec(), [&good[..], &[0]].concat(), vec![0; good.len()]];
            if matches!(kex, Kex::NistP256 | Kex::NistP384 | Kex::NistP521) {
                // Not on the curve; compressed; the point at infinity.
                bad.extend([flip(5), [&[2], &good[1..=good.len() / 2]].concat(), vec![0]]);
            }
            for bad in bad {
                let finished = Ephemeral::generate(kex).unwrap().finish(&bad);
                assert!(matches!(finished, Err(Fault::Share { .. })), "{kex:?} {}", bad.len());
                assert!(matches!(answer(kex, &bad), Err(Fault::Share { .. })), "{kex:?} {}", bad.len());
            }
        }
    }

    /// RFC 7748, section 6.1: a share of low order leads to a result of all zeros.
    #[test]
    fn a_share_of_low_order_is_refused() {
        for share in [[0; 32], {
            let mut one = [0; 32];
            one[0] = 1;
            one
        }] {
            assert!(Ephemeral::generate(Kex::Curve25519).unwrap().finish(&share).is_err());
        }
    }
}
