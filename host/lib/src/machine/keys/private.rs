//! Decodes the private parts of key files, for [`SigningKey`] only.

use super::{
    KeyError, MAGIC, pem,
    signing::{Curve, SigningKey, not_a_key},
};
use ssh_encoding::Decode;
use zeroize::Zeroizing;

/// id-ecPublicKey, rsaEncryption (RFC 5480, 8017), id-Ed25519 (RFC 8410).
const EC: &str = "1.2.840.10045.2.1";
const RSA: &str = "1.2.840.113549.1.1.1";
const ED25519: &str = "1.3.101.112";

pub(super) fn parse(contents: &[u8]) -> Result<SigningKey, KeyError> {
    let block = pem::Block::find(contents).ok_or_else(|| not_a_key("there is no private key in the file"))?;
    let der = block.contents.as_slice();
    match block.label.as_str() {
        "OPENSSH PRIVATE KEY" => openssh(der),
        _ if der.is_empty() => Err(not_a_key("it has a passphrase, or is damaged")),
        "RSA PRIVATE KEY" => rsa(der),
        "EC PRIVATE KEY" => ec(der, None),
        "PRIVATE KEY" => pkcs8(der),
        "ENCRYPTED PRIVATE KEY" => Err(not_a_key("it has a passphrase")),
        other => Err(not_a_key(format!("a block of type {:?} is not understood", crate::text::neutral(other)))),
    }
}

/// PROTOCOL.key: magic, cipher, kdf, its options, the number of keys, public key, private part.
fn openssh(blob: &[u8]) -> Result<SigningKey, KeyError> {
    let mut reader = blob.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let cipher = text(&mut reader)?;
    let (_kdf, _options) = (bytes(&mut reader)?, bytes(&mut reader)?);
    if cipher != "none" {
        return Err(not_a_key("it has a passphrase"));
    }
    if u32::decode(&mut reader).map_err(|_| damaged())? != 1 {
        return Err(damaged());
    }
    let _public = bytes(&mut reader)?;
    let private = bytes(&mut reader)?;
    let mut reader = private.as_slice();
    let check = |reader: &mut &[u8]| u32::decode(reader).map_err(|_| damaged());
    if check(&mut reader)? != check(&mut reader)? {
        return Err(damaged());
    }
    match text(&mut reader)?.as_str() {
        "ssh-ed25519" => {
            let _public = bytes(&mut reader)?;
            SigningKey::ed25519(bytes(&mut reader)?.get(..32).ok_or_else(damaged)?)
        }
        "ssh-rsa" => {
            let (n, e, d) = (bytes(&mut reader)?, bytes(&mut reader)?, bytes(&mut reader)?);
            let (_inverse, p, q) = (bytes(&mut reader)?, bytes(&mut reader)?, bytes(&mut reader)?);
            SigningKey::rsa([&n, &e, &d, &p, &q])
        }
        name => {
            let curve = match name {
                "ecdsa-sha2-nistp256" => Curve::P256,
                "ecdsa-sha2-nistp384" => Curve::P384,
                "ecdsa-sha2-nistp521" => Curve::P521,
                other => return Err(not_a_key(format!("a {} key cannot sign for this", crate::text::neutral(other)))),
            };
            let (_curve, _public) = (bytes(&mut reader)?, bytes(&mut reader)?);
            SigningKey::ecdsa(curve, &bytes(&mut reader)?)
        }
    }
}

fn rsa(der: &[u8]) -> Result<SigningKey, KeyError> {
    let key = pkcs1::RsaPrivateKey::try_from(der).map_err(|_| damaged())?;
    SigningKey::rsa([
        key.modulus.as_bytes(),
        key.public_exponent.as_bytes(),
        key.private_exponent.as_bytes(),
        key.prime1.as_bytes(),
        key.prime2.as_bytes(),
    ])
}

/// `curve`: the curve that PKCS #8 names outside of the key; in SEC 1 the key itself names it.
fn ec(der: &[u8], curve: Option<Curve>) -> Result<SigningKey, KeyError> {
    let key = sec1::EcPrivateKey::try_from(der).map_err(|_| damaged())?;
    let inside = key.parameters.and_then(sec1::EcParameters::named_curve).map(|oid| oid.to_string());
    let curve = match curve {
        Some(curve) => curve,
        None => curve_of(inside.as_deref().unwrap_or_default())?,
    };
    SigningKey::ecdsa(curve, key.private_key)
}

fn pkcs8(der: &[u8]) -> Result<SigningKey, KeyError> {
    let info = pkcs8::PrivateKeyInfo::try_from(der).map_err(|_| damaged())?;
    match info.algorithm.oid.to_string().as_str() {
        RSA => rsa(info.private_key),
        EC => {
            let curve = info.algorithm.parameters_oid().map_err(|_| damaged())?;
            ec(info.private_key, Some(curve_of(&curve.to_string())?))
        }
        // An OCTET STRING of 32 bytes inside another: 04 20 seed.
        ED25519 => SigningKey::ed25519(info.private_key.strip_prefix(&[4, 32]).ok_or_else(damaged)?),
        other => Err(not_a_key(format!("keys of type {other} cannot sign for this"))),
    }
}

/// RFC 5480, 2.1.1.1.
fn curve_of(oid: &str) -> Result<Curve, KeyError> {
    match oid {
        "1.2.840.10045.3.1.7" => Ok(Curve::P256),
        "1.3.132.0.34" => Ok(Curve::P384),
        "1.3.132.0.35" => Ok(Curve::P521),
        other => Err(not_a_key(format!("the curve {other} is not one of SSH's"))),
    }
}

fn bytes(reader: &mut &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    Vec::<u8>::decode(reader).map(Zeroizing::new).map_err(|_| damaged())
}

fn text(reader: &mut &[u8]) -> Result<String, KeyError> {
    String::decode(reader).map_err(|_| damaged())
}

fn damaged() -> KeyError {
    not_a_key("the private key is damaged")
}

#[cfg(test)]
mod tests;
