//! Decrypts a provisioner's key, which the CA stores encrypted with a password (RFC 7516, RFC 7518 4.8: PBES2).

mod contents;

use aes_kw::{KekAes128, KekAes192, KekAes256};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use contents::{EncryptedContents, Encryption};
use pbkdf2::pbkdf2_hmac;
use serde::Deserialize;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

/// step-ca writes 600,000, and wrote 100,000 before 2023. A server could name any number; this limits the time to some
/// seconds.
const MOST_ROUNDS: u32 = 10_000_000;
const FEWEST_ROUNDS: u32 = 1_000;

/// Why a key was not decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JweError {
    /// It is not a JWE.
    #[error("the encrypted key is damaged: {0}")]
    Damaged(&'static str),
    /// It is encrypted with an algorithm that is not supported.
    #[error("the encrypted key uses {0}, which Warded does not support")]
    Unsupported(String),
    /// The count would keep this machine busy, or is so low that it would help to guess the password.
    #[error("the encrypted key wants {0} rounds of PBKDF2; between {FEWEST_ROUNDS} and {MOST_ROUNDS} are accepted")]
    Rounds(u64),
    /// The password does not unwrap the key.
    #[error("the password is wrong")]
    Password,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    enc: String,
    #[serde(default)]
    p2c: u64,
    #[serde(default)]
    p2s: String,
    #[serde(default)]
    zip: Option<String>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

/// The flattened JSON form (RFC 7516, 7.2.2), as written by `step crypto jwk create`.
#[derive(Deserialize)]
struct Flattened {
    protected: String,
    encrypted_key: String,
    iv: String,
    ciphertext: String,
    tag: String,
}

/// The compact form of a JWE in JSON; `None` if the JSON is something else.
pub(super) fn compact_of(json: &str) -> Option<String> {
    let Flattened { protected, encrypted_key, iv, ciphertext, tag } = serde_json::from_str(json).ok()?;
    Some([protected, encrypted_key, iv, ciphertext, tag].join("."))
}

/// Decrypts a compact JWE.
///
/// # Errors
/// The password is wrong, or the algorithm is not supported.
pub(super) fn decrypt(compact: &str, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, JweError> {
    let mut parts = compact.trim().split('.');
    let mut part = || parts.next().ok_or(JweError::Damaged("it has fewer than five parts"));
    let (protected, key, iv, ciphertext, tag) = (part()?, part()?, part()?, part()?, part()?);
    if parts.next().is_some() {
        return Err(JweError::Damaged("it has more than five parts"));
    }
    let header: Header =
        serde_json::from_slice(&decode(protected)?).map_err(|_| JweError::Damaged("its header is not JSON"))?;
    if header.zip.is_some() {
        return Err(JweError::Unsupported("compression (zip)".to_owned()));
    }
    if header.crit.is_some() {
        return Err(JweError::Unsupported("an extension (crit)".to_owned()));
    }
    let encryption = Encryption::named(&header.enc)?;
    let cek = content_key(&header, &decode(key)?, password)?;
    let (iv, tag, ciphertext) = (decode(iv)?, decode(tag)?, decode(ciphertext)?);
    encryption.open(&cek, EncryptedContents { header: protected.as_bytes(), iv: &iv, ciphertext, tag: &tag })
}

/// The algorithm that wraps the content encryption key with a password (RFC 7518, 4.8).
#[derive(Clone, Copy, Debug)]
enum Wrapping {
    Sha256Aes128,
    Sha384Aes192,
    Sha512Aes256,
}

impl Wrapping {
    fn named(name: &str) -> Result<Self, JweError> {
        match name {
            "PBES2-HS256+A128KW" => Ok(Self::Sha256Aes128),
            "PBES2-HS384+A192KW" => Ok(Self::Sha384Aes192),
            "PBES2-HS512+A256KW" => Ok(Self::Sha512Aes256),
            other => Err(JweError::Unsupported(crate::text::neutral(other))),
        }
    }
}

/// Unwraps the content encryption key (RFC 3394). That fails if the password is wrong.
fn content_key(header: &Header, wrapped: &[u8], password: &[u8]) -> Result<Zeroizing<Vec<u8>>, JweError> {
    let wrapping = Wrapping::named(&header.alg)?;
    let rounds = u32::try_from(header.p2c)
        .ok()
        .filter(|rounds| (FEWEST_ROUNDS..=MOST_ROUNDS).contains(rounds))
        .ok_or(JweError::Rounds(header.p2c))?;
    let mut salt = header.alg.clone().into_bytes();
    salt.push(0);
    salt.extend(decode(&header.p2s)?);
    let wrapped_length = wrapped.len().checked_sub(8).ok_or(JweError::Damaged("its key is too short"))?;
    let mut cek = Zeroizing::new(vec![0; wrapped_length]);
    let wrong = |_| JweError::Password;
    match wrapping {
        Wrapping::Sha256Aes128 => {
            let mut kek = Zeroizing::new([0; 16]);
            pbkdf2_hmac::<Sha256>(password, &salt, rounds, &mut *kek);
            KekAes128::from(*kek).unwrap(wrapped, &mut cek).map_err(wrong)?;
        }
        Wrapping::Sha384Aes192 => {
            let mut kek = Zeroizing::new([0; 24]);
            pbkdf2_hmac::<Sha384>(password, &salt, rounds, &mut *kek);
            KekAes192::from(*kek).unwrap(wrapped, &mut cek).map_err(wrong)?;
        }
        Wrapping::Sha512Aes256 => {
            let mut kek = Zeroizing::new([0; 32]);
            pbkdf2_hmac::<Sha512>(password, &salt, rounds, &mut *kek);
            KekAes256::from(*kek).unwrap(wrapped, &mut cek).map_err(wrong)?;
        }
    }
    Ok(cek)
}

fn decode(part: &str) -> Result<Vec<u8>, JweError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JweError::Damaged("a part is not base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce, aead::AeadInPlace as _};

    /// Encrypts as in RFC 7517, C, with each of the algorithms for wrapping.
    fn encrypt(alg: &str, rounds: u32, password: &[u8]) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let header = format!(r#"{{"alg":"{alg}","enc":"A256GCM","p2c":{rounds},"p2s":"{}"}}"#, encode(b"saltsalt"));
        let (cek, iv) = ([7_u8; 32], [3_u8; 12]);
        let salt = [alg.as_bytes(), &[0], b"saltsalt"].concat();
        let mut wrapped = [0; 40];
        let mut kek = [0; 32];
        match alg {
            "PBES2-HS256+A128KW" => {
                pbkdf2_hmac::<Sha256>(password, &salt, rounds, &mut kek[..16]);
                KekAes128::try_from(&kek[..16]).unwrap().wrap(&cek, &mut wrapped).unwrap();
            }
            "PBES2-HS384+A192KW" => {
                pbkdf2_hmac::<Sha384>(password, &salt, rounds, &mut kek[..24]);
                KekAes192::try_from(&kek[..24]).unwrap().wrap(&cek, &mut wrapped).unwrap();
            }
            _ => {
                pbkdf2_hmac::<Sha512>(password, &salt, rounds, &mut kek);
                KekAes256::from(kek).wrap(&cek, &mut wrapped).unwrap();
            }
        }
        let protected = encode(header.as_bytes());
        let mut text = *b"the private key";
        let tag = Aes256Gcm::new_from_slice(&cek)
            .unwrap()
            .encrypt_in_place_detached(Nonce::from_slice(&iv), protected.as_bytes(), &mut text)
            .unwrap();
        [protected, encode(&wrapped), encode(&iv), encode(&text), encode(&tag)].join(".")
    }

    #[test]
    fn every_algorithm_opens_with_the_password_only() {
        for alg in ["PBES2-HS256+A128KW", "PBES2-HS384+A192KW", "PBES2-HS512+A256KW"] {
            let jwe = encrypt(alg, 1000, b"right");
            assert_eq!(**decrypt(&jwe, b"right").unwrap(), *b"the private key", "{alg}");
            assert_eq!(decrypt(&jwe, b"wrong"), Err(JweError::Password), "{alg}");
            assert_eq!(decrypt(&jwe, b""), Err(JweError::Password), "{alg}");
        }
    }

    #[test]
    fn what_step_writes_into_a_file_opens_too() {
        let jwe = encrypt("PBES2-HS256+A128KW", 1000, b"p");
        let parts: Vec<&str> = jwe.split('.').collect();
        let json = serde_json::json!({
            "protected": parts[0], "encrypted_key": parts[1], "iv": parts[2], "ciphertext": parts[3], "tag": parts[4],
        });
        assert_eq!(compact_of(&json.to_string()), Some(jwe));
        assert_eq!(compact_of("{\"kty\":\"EC\"}"), None);
    }

    /// Counts with which a server could keep a client busy, or find out the password.
    #[test]
    fn the_count_is_bounded() {
        for rounds in [0, 999, 10_000_001, 1_u64 << 31, u64::MAX] {
            let header = format!(r#"{{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":{rounds},"p2s":"AA"}}"#);
            let jwe = format!("{}.AA.AA.AA.AA", URL_SAFE_NO_PAD.encode(header));
            assert_eq!(decrypt(&jwe, b"p"), Err(JweError::Rounds(rounds)));
        }
    }

    #[test]
    fn what_was_altered_does_not_open() {
        let good = encrypt("PBES2-HS256+A128KW", 1000, b"p");
        for at in 0..5 {
            let mut parts: Vec<String> = good.split('.').map(str::to_owned).collect();
            let last = parts[at].pop().unwrap();
            parts[at].push(if last == 'A' { 'E' } else { 'A' });
            assert!(decrypt(&parts.join("."), b"p").is_err(), "part {at}");
        }
        for (wrong, why) in [
            ("", "fewer than five"),
            ("a.b.c.d.e.f", "more than five"),
            ("e30.AA.AA.AA.AA", "not JSON"),
            (&good.replacen('.', "=.", 1), "base64url"),
        ] {
            assert!(decrypt(wrong, b"p").unwrap_err().to_string().contains(why), "{wrong}");
        }
    }

    /// The error names an unsupported algorithm, and does not call the key damaged, whatever lengths its parts have.
    #[test]
    fn other_algorithms_are_named() {
        for (header, name) in [
            (r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#, "RSA-OAEP"),
            (r#"{"alg":"dir","enc":"A256GCM"}"#, "dir"),
            (r#"{"alg":"PBES2-HS1+A128KW","enc":"A256GCM","p2c":1000,"p2s":"AA"}"#, "PBES2-HS1+A128KW"),
            (r#"{"alg":"PBES2-HS256+A128KW","enc":"XC20P","p2c":1000,"p2s":"AA"}"#, "XC20P"),
            (r#"{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","zip":"DEF"}"#, "compression"),
            (r#"{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","crit":["b64"]}"#, "extension"),
        ] {
            let jwe = format!("{}.AA.AA.AA.AA", URL_SAFE_NO_PAD.encode(header));
            let error = decrypt(&jwe, b"p").unwrap_err();
            assert!(matches!(&error, JweError::Unsupported(what) if what.contains(name)), "{header}: {error}");
        }
    }
}
