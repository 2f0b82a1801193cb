//! Key revocation lists, as sshd loads them: what it would not load is an error here, because sshd
//! then refuses every public key, and `sshd -t` says nothing. The crate `sshd-config` reads the
//! list, and this module the CAs' keys in it.

use ssh_key::public::{EcdsaPublicKey, KeyData};
use sshd_config::krl::{Krl, LONGEST_NUMBER};

pub use sshd_config::krl::is_list;

/// As sshkey.h: no RSA modulus is shorter, in bits.
const SHORTEST_MODULUS: usize = 1024;

/// The kinds of keys that a revocation list revokes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revokes {
    /// Certificates, and nothing else.
    Certificates,
    /// Keys, plain ones too.
    Keys,
}

/// Reads a list.
///
/// # Errors
/// Why sshd would not load it, as the rest of a sentence.
pub fn read(list: &[u8]) -> Result<Revokes, String> {
    let list = Krl::parse(list).map_err(|fault| fault.to_string())?;
    if !list.authorities().all(is_key) {
        return Err("is damaged: a CA's key in it is none that sshd can read".to_owned());
    }
    Ok(if list.revokes_keys() { Revokes::Keys } else { Revokes::Certificates })
}

/// Whether sshd can read a public key: as its bytes, not as a certificate.
fn is_key(bytes: &[u8]) -> bool {
    let Ok(key) = ssh_key::PublicKey::from_bytes(bytes) else { return false };
    if key.to_bytes().ok().as_deref() != Some(bytes) {
        return false;
    }
    match key.key_data() {
        KeyData::Ed25519(_) => true,
        KeyData::SkEd25519(key) => !key.application().contains('\0'),
        KeyData::Ecdsa(key) => is_point(key),
        KeyData::SkEcdsaSha2NistP256(key) => {
            !key.application().contains('\0') && is_point(&EcdsaPublicKey::NistP256(*key.ec_point()))
        }
        KeyData::Rsa(key) => {
            let length = |number: &ssh_key::Mpint| number.as_positive_bytes().map_or(0, <[u8]>::len);
            let zeros = key.n.as_positive_bytes().and_then(<[u8]>::first).map_or(0, |byte| byte.leading_zeros());
            let bits = (length(&key.n) * 8).saturating_sub(usize::try_from(zeros).unwrap_or(0));
            bits >= SHORTEST_MODULUS
                && length(&key.n) <= LONGEST_NUMBER
                && (1..=LONGEST_NUMBER).contains(&length(&key.e))
        }
        // DSA is gone from newer releases; others no sshd knows.
        KeyData::Dsa(_) | KeyData::Other(_) | _ => false,
    }
}

/// Whether it is on its curve, and both coordinates are long enough for sshd.
fn is_point(key: &EcdsaPublicKey) -> bool {
    let bytes = key.as_sec1_bytes();
    let on_curve = match key {
        EcdsaPublicKey::NistP256(_) => p256::PublicKey::from_sec1_bytes(bytes).is_ok(),
        EcdsaPublicKey::NistP384(_) => p384::PublicKey::from_sec1_bytes(bytes).is_ok(),
        EcdsaPublicKey::NistP521(_) => p521::PublicKey::from_sec1_bytes(bytes).is_ok(),
    };
    let Some((4, both)) = bytes.split_first() else { return false };
    let (x, y) = both.split_at(both.len() / 2);
    on_curve && [x, y].iter().all(|one| one.iter().take(one.len() / 2).any(|byte| *byte != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::keys::testing::Workshop;
    use std::{fs, process::Command};

    /// Each list, by the key that it names as a CA, and whether sshd loads it.
    fn lists(ca: &[u8]) -> Vec<(&'static str, Vec<u8>, bool)> {
        let flipped = |at: usize| {
            let mut key = ca.to_vec();
            key[at] ^= 0xff;
            key
        };
        let of = |ca: &[u8]| {
            let mut list = Krl::default();
            assert!(list.revoke(ca, &[7]));
            list.to_bytes()
        };
        vec![
            ("a key", of(ca), true),
            ("every CA", of(b""), true),
            ("garbage", of(b"garbage"), false),
            ("of a type that there is not", of(&flipped(6)), false),
            ("off its curve", of(&flipped(ca.len() - 1)), false),
            ("with more behind it", of(&[ca, b"x"].concat()), false),
        ]
    }

    /// The same table, read here and by this machine's OpenSSH.
    #[test]
    fn what_sshd_would_not_load_is_refused() {
        let workshop = Workshop::new();
        for (name, kind) in [("ecdsa", "ecdsa"), ("ed25519", "ed25519"), ("rsa", "rsa")] {
            workshop.keygen(&["-q", "-N", "", "-t", kind, "-f", name]);
            let line = fs::read_to_string(workshop.path(&format!("{name}.pub"))).unwrap();
            let ca = ssh_key::PublicKey::from_openssh(&line).unwrap().to_bytes().unwrap();
            for (what, list, is_fine) in lists(&ca) {
                // Any other 32 bytes are an Ed25519 key, and any other number is a modulus.
                let is_fine = is_fine || what == "off its curve" && kind != "ecdsa";
                let ours = read(&list);
                assert_eq!(ours.is_ok(), is_fine, "{kind}: {what}: {ours:?}");
                let path = workshop.path("list");
                fs::write(&path, &list).unwrap();
                let theirs = Command::new("ssh-keygen").args(["-Q", "-l", "-f"]).arg(&path).output().unwrap();
                assert_eq!(theirs.status.success(), is_fine, "{kind}: {what}: {theirs:?}");
            }
        }
    }
}
