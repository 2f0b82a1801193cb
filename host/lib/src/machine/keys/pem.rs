//! The older private key formats that sshd still reads: PKCS#1 (RSA), SEC1 (EC) and PKCS#8.

use super::KeyError;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ssh_key::{
    Mpint, PublicKey,
    private::Ed25519Keypair,
    public::{EcdsaPublicKey, KeyData, RsaPublicKey},
};
use zeroize::Zeroizing;

/// id-ecPublicKey, rsaEncryption (RFC 5480, 8017) and id-Ed25519 (RFC 8410).
const EC: &str = "1.2.840.10045.2.1";
const RSA: &str = "1.2.840.113549.1.1.1";
const ED25519: &str = "1.3.101.112";

/// One PEM block.
pub(super) struct Block {
    /// The text between `BEGIN` and the dashes.
    pub(super) label: String,
    /// The decoded contents; empty if they are encrypted or not base64.
    pub(super) contents: Zeroizing<Vec<u8>>,
}

impl Block {
    /// The first block whose label ends in `PRIVATE KEY`.
    pub(super) fn find(file: &[u8]) -> Option<Self> {
        let text = Zeroizing::new(String::from_utf8_lossy(file).into_owned());
        let mut lines = text.lines().map(str::trim);
        let label = lines.find_map(|line| {
            let label = line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
            label.ends_with("PRIVATE KEY").then(|| label.to_owned())
        })?;
        let mut encoded = Zeroizing::new(String::with_capacity(text.len()));
        for line in lines.take_while(|line| !line.starts_with("-----END ")) {
            encoded.push_str(line);
        }
        let contents = Zeroizing::new(STANDARD.decode(encoded.as_bytes()).unwrap_or_default());
        Some(Self { label, contents })
    }
}

/// The public key in a block that is not in OpenSSH's format.
pub(super) fn public_key(block: &Block) -> Result<PublicKey, KeyError> {
    let key = match block.label.as_str() {
        // A traditional block with a passphrase has header lines, which are not base64.
        _ if block.contents.is_empty() => None,
        "RSA PRIVATE KEY" => rsa(&block.contents),
        "EC PRIVATE KEY" => ec(&block.contents),
        "PRIVATE KEY" => pkcs8(&block.contents),
        _ => None,
    };
    key.map(PublicKey::from)
        .ok_or_else(|| KeyError::NotAKey(format!("no public key can be read from a block of type {:?}", block.label)))
}

fn rsa(der: &[u8]) -> Option<KeyData> {
    let key = pkcs1::RsaPrivateKey::try_from(der).ok()?;
    Some(KeyData::Rsa(RsaPublicKey {
        e: Mpint::from_positive_bytes(key.public_exponent.as_bytes()).ok()?,
        n: Mpint::from_positive_bytes(key.modulus.as_bytes()).ok()?,
    }))
}

fn ec(der: &[u8]) -> Option<KeyData> {
    let key = sec1::EcPrivateKey::try_from(der).ok()?;
    EcdsaPublicKey::from_sec1_bytes(key.public_key?).ok().map(KeyData::Ecdsa)
}

fn pkcs8(der: &[u8]) -> Option<KeyData> {
    let info = pkcs8::PrivateKeyInfo::try_from(der).ok()?;
    match info.algorithm.oid.to_string().as_str() {
        RSA => rsa(info.private_key),
        EC => ec(info.private_key),
        ED25519 => {
            // An OCTET STRING of 32 bytes inside another: 04 20 seed.
            let seed = Zeroizing::new(<[u8; 32]>::try_from(info.private_key.strip_prefix(&[4, 32])?).ok()?);
            Some(KeyData::Ed25519(Ed25519Keypair::from_seed(&seed).public))
        }
        _ => None,
    }
}
