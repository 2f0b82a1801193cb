//! A public key as SSH sends it, of any type, even one that `ssh-key` cannot read. Such keys are compared as bytes.

use super::KeyError;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};
use ssh_encoding::Decode as _;
use ssh_key::{Fingerprint, PublicKey};

/// The types of host key that CAs certify, by OpenSSH's names. Without DSA, which OpenSSH has dropped.
pub const CERTIFIED_TYPES: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/// Whether a file contains an OpenSSH certificate, of any type and signer.
#[must_use]
pub fn is_certificate(contents: &[u8]) -> bool {
    let line = std::str::from_utf8(contents).ok();
    line.and_then(|line| RawPublicKey::from_line(line).ok())
        .is_some_and(|key| key.algorithm().ends_with("-cert-v01@openssh.com"))
}

/// A public key of any type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawPublicKey {
    algorithm: String,
    blob: Vec<u8>,
}

impl RawPublicKey {
    /// Parses the bytes that SSH sends (RFC 4253, 6.6), which begin with the name of the type.
    ///
    /// # Errors
    /// They do not begin with a name of a type.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        let wrong = || KeyError::NotAKey("the public key does not begin with the name of its type".to_owned());
        let algorithm = String::decode(&mut &*blob).map_err(|_| wrong())?;
        let is_name = !algorithm.is_empty() && algorithm.len() <= 64 && algorithm.bytes().all(|b| b.is_ascii_graphic());
        if is_name { Ok(Self { algorithm, blob: blob.to_vec() }) } else { Err(wrong()) }
    }

    /// Parses a line of a `.pub` file: the type, the key in base64, a comment.
    ///
    /// # Errors
    /// It is not such a line.
    pub fn from_line(line: &str) -> Result<Self, KeyError> {
        let mut words = line.split_ascii_whitespace();
        let (name, encoded) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let wrong = || KeyError::NotAKey("there is no public key in the file".to_owned());
        let public = Self::from_blob(&STANDARD.decode(encoded).map_err(|_| wrong())?)?;
        if public.algorithm == name { Ok(public) } else { Err(wrong()) }
    }

    /// The name of its type: `ssh-ed25519`.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// The bytes that SSH sends.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// Its fingerprint: `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        Fingerprint::Sha256(Sha256::digest(&self.blob).into()).to_string()
    }

    /// The key without a comment; none if its type is not one of [`CERTIFIED_TYPES`].
    #[must_use]
    pub fn key(&self) -> Option<PublicKey> {
        CERTIFIED_TYPES.contains(&self.algorithm.as_str()).then(|| PublicKey::from_bytes(&self.blob).ok())?
    }
}

/// The size of an RSA key in bits; none for a key of another type.
#[must_use]
pub fn rsa_bits(key: &PublicKey) -> Option<usize> {
    let modulus = key.key_data().rsa()?.n.as_positive_bytes()?;
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros());
    Some((modulus.len() * 8).saturating_sub(usize::try_from(leading).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::keys::{generate, testing::Workshop};
    use ssh_key::HashAlg;

    #[test]
    fn a_key_of_any_type_has_a_name_and_a_fingerprint() {
        let made = generate("ssh-ed25519", "a comment").unwrap().public;
        let public = RawPublicKey::from_line(&made.to_openssh().unwrap()).unwrap();
        assert_eq!(public.algorithm(), "ssh-ed25519");
        assert_eq!(public.fingerprint(), made.fingerprint(HashAlg::Sha256).to_string());
        assert_eq!(public.key().unwrap().key_data(), made.key_data());
        assert_eq!(public, RawPublicKey::from_blob(&made.to_bytes().unwrap()).unwrap());

        let name = b"ssh-mldsa44-ed25519";
        let blob = [&[0, 0, 0, 19], &name[..], &[0, 0, 0, 2, 7, 8]].concat();
        let line = format!("ssh-mldsa44-ed25519 {} root@web1", STANDARD.encode(&blob));
        let unknown = RawPublicKey::from_line(&line).unwrap();
        assert_eq!((unknown.algorithm(), unknown.blob()), ("ssh-mldsa44-ed25519", blob.as_slice()));
        assert!(unknown.key().is_none() && unknown.fingerprint().starts_with("SHA256:"));
        assert_ne!(unknown, public);
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        for blob in [&b""[..], b"\0\0\0\x05ab", b"\0\0\0\0", b"\0\0\0\x02a\x1b", b"\xff\xff\xff\xff"] {
            assert!(RawPublicKey::from_blob(blob).is_err(), "{blob:?}");
        }
        let line = generate("ssh-ed25519", "").unwrap().public.to_openssh().unwrap();
        for line in ["", "ssh-ed25519", "ssh-ed25519 AAAA", &line.replace("ssh-ed25519 ", "ssh-rsa ")] {
            assert!(RawPublicKey::from_line(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn the_size_of_an_rsa_key_is_known() {
        let workshop = Workshop::new();
        assert_eq!(rsa_bits(&workshop.key("rsa", &["-t", "rsa", "-b", "1024"])), Some(1024));
        assert_eq!(rsa_bits(&workshop.key("ed25519", &["-t", "ed25519"])), None);
    }
}
