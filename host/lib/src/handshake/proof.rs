//! Proves, by a signature over the exchange hash, that a side holds the key which it presents.

use super::{
    algorithm::{HostKeyAlgorithm, KeyKind},
    fault::Fault,
    wire::{Reader, Writer},
};
use p521::ecdsa::{Signature as P521Signature, VerifyingKey as P521Key, signature::Verifier as _};
use ring::{
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, EcdsaVerificationAlgorithm,
        RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY as RSA_SHA256,
        RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY as RSA_SHA512, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
        UnparsedPublicKey,
    },
};
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use signature::Signer as _;
use ssh_key::{
    Mpint, PrivateKey, PublicKey,
    private::{KeypairData, RsaKeypair},
    public::{EcdsaPublicKey, Ed25519PublicKey, KeyData, RsaPublicKey},
};

/// The sizes of RSA keys whose signatures this module can check. OpenSSH does not accept shorter ones either.
const RSA_BITS: std::ops::RangeInclusive<usize> = 1024..=8192;
/// The longest public exponent, in bytes.
const RSA_EXPONENT: usize = 4;

/// A host key that a server proved that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    /// How it was proved.
    pub algorithm: HostKeyAlgorithm,
    /// The key; if a certificate was presented, the key in it.
    pub key: PublicKey,
    /// What the server presented: the key or the certificate. Only the key in a certificate was checked.
    pub blob: Vec<u8>,
}

impl HostKey {
    /// The certificate, if one was presented.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        self.algorithm.certificate.then_some(&*self.blob)
    }

    /// Reads what a server presents, which has to be of the type that was agreed on.
    pub(super) fn parse(algorithm: HostKeyAlgorithm, blob: &[u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(blob, "the host key");
        let presented = reader.string()?;
        if presented != algorithm.blob_type().as_bytes() {
            let presented = presented.get(..64).unwrap_or(presented).to_vec();
            return Err(Fault::KeyType { asked: algorithm, presented });
        }
        if algorithm.certificate {
            let _nonce = reader.string()?;
        }
        let data = match algorithm.kind {
            KeyKind::Ed25519 => {
                let key = reader.string()?.try_into().map_err(|_| reader.malformed())?;
                KeyData::Ed25519(Ed25519PublicKey(key))
            }
            KeyKind::EcdsaP256 => ecdsa(&mut reader, b"nistp256", 32)?,
            KeyKind::EcdsaP384 => ecdsa(&mut reader, b"nistp384", 48)?,
            KeyKind::EcdsaP521 => ecdsa(&mut reader, b"nistp521", 66)?,
            KeyKind::RsaSha512 | KeyKind::RsaSha256 => rsa(&mut reader)?,
        };
        if !algorithm.certificate {
            reader.finish()?;
        }
        Ok(Self { algorithm, key: data.into(), blob: blob.to_vec() })
    }

    /// Checks a signature over the exchange hash.
    pub(super) fn verify(&self, exchange: &[u8], signature: &[u8]) -> Result<(), Fault> {
        let kind = self.algorithm.kind;
        let (name, bytes) = parts(signature)?;
        let is_right =
            name == kind.signature_name().as_bytes() && is_signed(kind, self.key.key_data(), exchange, bytes);
        if is_right { Ok(()) } else { Err(Fault::Signature { algorithm: self.algorithm }) }
    }
}

/// The name and the value of a signature.
fn parts(signature: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let mut reader = Reader::new(signature, "the host key's signature");
    let parts = (reader.string()?, reader.string()?);
    reader.finish()?;
    Ok(parts)
}

/// Checks a signature of this kind, by this key, over this message. Returns it in the form that a JSON Web Signature
/// has: without its name, and with each ECDSA number as long as the field. None: the signature is wrong.
#[must_use]
pub fn checked(kind: KeyKind, key: &PublicKey, message: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
    let (name, bytes) = parts(signature).ok()?;
    if name != kind.signature_name().as_bytes() || !is_signed(kind, key.key_data(), message, bytes) {
        return None;
    }
    match (kind, key.key_data()) {
        (KeyKind::EcdsaP256, _) => scalars(bytes, 32),
        (KeyKind::EcdsaP384, _) => scalars(bytes, 48),
        (KeyKind::EcdsaP521, _) => scalars(bytes, 66),
        (KeyKind::RsaSha256 | KeyKind::RsaSha512, KeyData::Rsa(key)) => padded(bytes, key.n.as_positive_bytes()?.len()),
        _ => Some(bytes.to_vec()),
    }
}

fn ecdsa(reader: &mut Reader<'_>, curve: &[u8], field: usize) -> Result<KeyData, Fault> {
    let (name, point) = (reader.string()?, reader.string()?);
    if name != curve || point.len() != 1 + 2 * field {
        return Err(reader.malformed());
    }
    EcdsaPublicKey::from_sec1_bytes(point).map(KeyData::Ecdsa).map_err(|_| reader.malformed())
}

fn rsa(reader: &mut Reader<'_>) -> Result<KeyData, Fault> {
    let (exponent, modulus) = (reader.mpint()?, reader.mpint()?);
    let unused = modulus.first().map_or(0, |first| first.leading_zeros());
    let bits = (modulus.len() * 8).saturating_sub(usize::try_from(unused).unwrap_or_default());
    if !RSA_BITS.contains(&bits) || exponent.len() > RSA_EXPONENT {
        return Err(Fault::KeySize { bits });
    }
    let number = |bytes| Mpint::from_positive_bytes(bytes).map_err(|_| reader.malformed());
    Ok(KeyData::Rsa(RsaPublicKey { e: number(exponent)?, n: number(modulus)? }))
}

/// Whether the key signed the message, with the parameters of this kind.
fn is_signed(kind: KeyKind, key: &KeyData, message: &[u8], signature: &[u8]) -> bool {
    let signed = match (kind, key) {
        (KeyKind::Ed25519, KeyData::Ed25519(key)) => {
            UnparsedPublicKey::new(&ED25519, &key.0).verify(message, signature).ok()
        }
        (KeyKind::EcdsaP256, KeyData::Ecdsa(key)) => fixed(&ECDSA_P256_SHA256_FIXED, key, message, signature, 32),
        (KeyKind::EcdsaP384, KeyData::Ecdsa(key)) => fixed(&ECDSA_P384_SHA384_FIXED, key, message, signature, 48),
        (KeyKind::EcdsaP521, KeyData::Ecdsa(key)) => scalars(signature, 66).and_then(|both| {
            let key = P521Key::from_sec1_bytes(key.as_sec1_bytes()).ok()?;
            key.verify(message, &P521Signature::from_slice(&both).ok()?).ok()
        }),
        (KeyKind::RsaSha256 | KeyKind::RsaSha512, KeyData::Rsa(key)) => is_rsa_signed(kind, key, message, signature),
        _ => None,
    };
    signed.is_some()
}

fn fixed(
    algorithm: &'static EcdsaVerificationAlgorithm,
    key: &EcdsaPublicKey,
    message: &[u8],
    signature: &[u8],
    field: usize,
) -> Option<()> {
    UnparsedPublicKey::new(algorithm, key.as_sec1_bytes()).verify(message, &scalars(signature, field)?).ok()
}

/// Both numbers of an ECDSA signature, each padded to the length of the field.
fn scalars(signature: &[u8], field: usize) -> Option<Vec<u8>> {
    let mut reader = Reader::new(signature, "the signature");
    let (r, s) = (reader.mpint().ok()?, reader.mpint().ok()?);
    reader.finish().ok()?;
    Some([padded(r, field)?, padded(s, field)?].concat())
}

fn padded(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut padded = vec![0; length.checked_sub(number.len())?];
    padded.extend_from_slice(number);
    Some(padded)
}

fn is_rsa_signed(kind: KeyKind, key: &RsaPublicKey, message: &[u8], signature: &[u8]) -> Option<()> {
    let (n, e) = (key.n.as_positive_bytes()?, key.e.as_positive_bytes()?);
    let algorithm = if kind == KeyKind::RsaSha256 { &RSA_SHA256 } else { &RSA_SHA512 };
    // A signature that is a small number may be written shorter than the modulus.
    PublicKeyComponents { n, e }.verify(algorithm, message, &padded(signature, n.len())?).ok()
}

/// The kind of signature that a key makes; for RSA, the one with the longer hash.
#[must_use]
pub fn kind_of(key: &KeyData) -> Option<KeyKind> {
    KeyKind::ALL.into_iter().find(|kind| key.algorithm().as_str() == kind.key_type())
}

/// Signs a message. Returns the signature with its name.
pub(crate) fn sign(kind: KeyKind, key: &PrivateKey, message: &[u8]) -> Result<Vec<u8>, Fault> {
    if key.algorithm().as_str() != kind.key_type() && !matches!(key.key_data(), KeypairData::Rsa(_)) {
        return Err(Fault::Unable);
    }
    if let KeypairData::Rsa(pair) = key.key_data() {
        let signature = rsa_sign(kind, pair, message).ok_or(Fault::Unable)?;
        return Ok(Writer::new().string(kind.signature_name()).string(signature).finish());
    }
    let signature: ssh_key::Signature = key.try_sign(message).map_err(|_| Fault::Unable)?;
    Vec::try_from(signature).map_err(|_| Fault::Unable)
}

/// Signs with ring, whose timing does not reveal the key (RUSTSEC-2023-0071 is about the `rsa` crate).
fn rsa_sign(kind: KeyKind, pair: &RsaKeypair, message: &[u8]) -> Option<Vec<u8>> {
    let padding = match kind {
        KeyKind::RsaSha256 => &RSA_PKCS1_SHA256,
        KeyKind::RsaSha512 => &RSA_PKCS1_SHA512,
        KeyKind::Ed25519 | KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 => return None,
    };
    let number = |number: &Mpint| Some(rsa::BigUint::from_bytes_be(number.as_positive_bytes()?));
    let (public, private) = (&pair.public, &pair.private);
    // `ssh-key` 0.6 uses the first prime twice when it converts the pair.
    let primes = vec![number(&private.p)?, number(&private.q)?];
    let (n, e, d) = (number(&public.n)?, number(&public.e)?, number(&private.d)?);
    let document = rsa::RsaPrivateKey::from_components(n, e, d, primes).ok()?.to_pkcs1_der().ok()?;
    let pair = RsaKeyPair::from_der(document.as_bytes()).ok()?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(padding, &SystemRandom::new(), message, &mut signature).ok()?;
    Some(signature)
}
