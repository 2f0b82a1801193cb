//! Decrypts the contents of a JWE with the content encryption key (RFC 7518, 5): AES-GCM, and AES-CBC with HMAC.

use super::JweError;
use aes::{Aes128, Aes192, Aes256, cipher::block_padding::Pkcs7};
use aes_gcm::{
    Aes128Gcm, Aes256Gcm, AesGcm, KeyInit, Nonce,
    aead::{AeadInPlace, consts::U12, generic_array::GenericArray},
};
use cbc::cipher::{BlockDecryptMut, KeyIvInit};
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

/// The algorithm for the contents (`enc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    A128Gcm,
    A192Gcm,
    A256Gcm,
    A128CbcHs256,
    A192CbcHs384,
    A256CbcHs512,
}

/// Encrypted contents.
pub(super) struct EncryptedContents<'a> {
    /// The header in its encoded form, which is authenticated, too.
    pub(super) header: &'a [u8],
    pub(super) iv: &'a [u8],
    pub(super) ciphertext: Vec<u8>,
    pub(super) tag: &'a [u8],
}

impl Encryption {
    /// The algorithm with this name; the error contains the name of an unsupported one.
    pub(super) fn named(name: &str) -> Result<Self, JweError> {
        match name {
            "A128GCM" => Ok(Self::A128Gcm),
            "A192GCM" => Ok(Self::A192Gcm),
            "A256GCM" => Ok(Self::A256Gcm),
            "A128CBC-HS256" => Ok(Self::A128CbcHs256),
            "A192CBC-HS384" => Ok(Self::A192CbcHs384),
            "A256CBC-HS512" => Ok(Self::A256CbcHs512),
            other => Err(JweError::Unsupported(crate::text::neutral(other))),
        }
    }

    /// Decrypts the contents. The key has been unwrapped, so the password is right even if this fails.
    pub(super) fn open(self, key: &[u8], sealed: EncryptedContents<'_>) -> Result<Zeroizing<Vec<u8>>, JweError> {
        match self {
            Self::A128Gcm => gcm::<Aes128Gcm>(key, sealed),
            Self::A192Gcm => gcm::<AesGcm<Aes192, U12>>(key, sealed),
            Self::A256Gcm => gcm::<Aes256Gcm>(key, sealed),
            Self::A128CbcHs256 => cbc::<Hmac<Sha256>, cbc::Decryptor<Aes128>>(key, 16, sealed),
            Self::A192CbcHs384 => cbc::<Hmac<Sha384>, cbc::Decryptor<Aes192>>(key, 24, sealed),
            Self::A256CbcHs512 => cbc::<Hmac<Sha512>, cbc::Decryptor<Aes256>>(key, 32, sealed),
        }
    }
}

const ALTERED: JweError = JweError::Damaged("its contents were altered");
const LENGTH: JweError = JweError::Damaged("a part has the wrong length");

fn gcm<C>(key: &[u8], sealed: EncryptedContents<'_>) -> Result<Zeroizing<Vec<u8>>, JweError>
where
    C: KeyInit + AeadInPlace<NonceSize = U12>,
{
    let mut text = Zeroizing::new(sealed.ciphertext);
    if sealed.iv.len() != 12 || sealed.tag.len() != 16 {
        return Err(LENGTH);
    }
    let (nonce, tag) = (Nonce::<U12>::from_slice(sealed.iv), GenericArray::from_slice(sealed.tag));
    let cipher = C::new_from_slice(key).map_err(|_| LENGTH)?;
    cipher.decrypt_in_place_detached(nonce, sealed.header, &mut text, tag).map_err(|_| ALTERED)?;
    Ok(text)
}

/// RFC 7518, 5.2.2.2: the first half of the key is for the HMAC, and the tag is the first half of the HMAC's output.
fn cbc<M, C>(key: &[u8], half: usize, sealed: EncryptedContents<'_>) -> Result<Zeroizing<Vec<u8>>, JweError>
where
    M: Mac + KeyInit,
    C: KeyIvInit + BlockDecryptMut,
{
    let mut text = Zeroizing::new(sealed.ciphertext);
    let (mac_key, cipher_key) = key.split_at_checked(half).filter(|(_, rest)| rest.len() == half).ok_or(LENGTH)?;
    if sealed.tag.len() != half {
        return Err(LENGTH);
    }
    let bits = u64::try_from(sealed.header.len()).unwrap_or(u64::MAX).saturating_mul(8);
    let mut mac = <M as Mac>::new_from_slice(mac_key).map_err(|_| LENGTH)?;
    for part in [sealed.header, sealed.iv, &text, &bits.to_be_bytes()] {
        mac.update(part);
    }
    mac.verify_truncated_left(sealed.tag).map_err(|_| ALTERED)?;
    let cipher = C::new_from_slices(cipher_key, sealed.iv).map_err(|_| LENGTH)?;
    let length = cipher.decrypt_padded_mut::<Pkcs7>(&mut text).map_err(|_| ALTERED)?.len();
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        (0..hexadecimal.len()).step_by(2).map(|at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap()).collect()
    }

    /// The test vectors of RFC 7518, B.1 to B.3: ciphertext and tag.
    #[test]
    fn the_standards_examples_of_cbc() {
        let plain: &[u8] = b"A cipher system must not be required to be secret, and it must be able to fall into the \
                             hands of the enemy without inconvenience";
        let header = b"The second principle of Auguste Kerckhoffs";
        let iv = bytes("1af38c2dc2b96ffdd86694092341bc04");
        for (encryption, key_length, ciphertext, tag) in [
            (Encryption::A128CbcHs256, 32_u8, CIPHERTEXTS[0], "652c3fa36b0a7c5b3219fab3a30bc1c4"),
            (Encryption::A192CbcHs384, 48, CIPHERTEXTS[1], "8490ac0e58949bfe51875d733f93ac2075168039ccc733d7"),
            (
                Encryption::A256CbcHs512,
                64,
                CIPHERTEXTS[2],
                "4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5",
            ),
        ] {
            let key: Vec<u8> = (0..key_length).collect();
            let tag = bytes(tag);
            let sealed = |tag| EncryptedContents { header, iv: &iv, ciphertext: bytes(ciphertext), tag };
            assert_eq!(**encryption.open(&key, sealed(&tag)).unwrap(), *plain, "{encryption:?}");
            let mut other = tag.clone();
            other[0] ^= 1;
            assert_eq!(encryption.open(&key, sealed(&other)), Err(ALTERED));
            assert_eq!(encryption.open(&key, sealed(&tag[1..])), Err(LENGTH));
            assert_eq!(encryption.open(&key, sealed(&[])), Err(LENGTH));
            assert_eq!(encryption.open(&key[1..], sealed(&tag)), Err(LENGTH));
        }
    }

    const CIPHERTEXTS: [&str; 3] = [
        "c80edfa32ddf39d5ef00c0b468834279a2e46a1b8049f792f76bfe54b903a9c9a94ac9b47ad2655c5f10f9aef71427e2\
         fc6f9b3f399a221489f16362c703233609d45ac69864e3321cf82935ac4096c86e133314c54019e8ca7980dfa4b9cf1b\
         384c486f3a54c51078158ee5d79de59fbd34d848b3d69550a67646344427ade54b8851ffb598f7f80074b9473c82e2db",
        "ea65da6b59e61edb419be62d19712ae5d303eeb50052d0dfd6697f77224c8edb000d279bdc14c1072654bd30944230c6\
         57bed4ca0c9f4a8466f22b226d1746214bf8cfc2400add9f5126e479663fc90b3bed787a2f0ffcbf3904be2a641d5c21\
         05bfe591bae23b1d7449e532eef60a9ac8bb6c6b01d35d49787bcd57ef484927f280adc91ac0c4e79c7b11efc60054e3",
        "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd822c301dd67c373bccb584ad3e9279c2\
         e6d12a1374b77f077553df829410446b36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3\
         a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950bbe2638d09dd7a4930930806d0703b1f6",
    ];
}
