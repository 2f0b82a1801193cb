//! Key revocation lists, as sshd loads them. A list that sshd would not load is an error here, because sshd then
//! refuses every public key, and `sshd -t` does not report it. The crate `sshd-config` reads the list; this module
//! checks the CAs' keys in it.

use ssh_key::public::{EcdsaPublicKey, KeyData};
use sshd_config::krl::{Krl, LONGEST_NUMBER};

pub use sshd_config::krl::is_list;

/// The shortest RSA modulus, in bits (sshkey.h).
const SHORTEST_MODULUS: usize = 1024;

/// The kinds of keys that a revocation list revokes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationScope {
    /// Certificates, and nothing else.
    Certificates,
    /// Keys, plain ones too.
    Keys,
}

/// Reads a list.
///
/// # Errors
/// Why sshd would not load it, as the rest of a sentence.
pub fn read(list: &[u8]) -> Result<RevocationScope, String> {
    let list = Krl::parse(list).map_err(|fault| fault.to_string())?;
    if !list.authorities().all(is_key) {
        return Err("is damaged: sshd cannot read a CA key in it".to_owned());
    }
    Ok(if list.revokes_keys() { RevocationScope::Keys } else { RevocationScope::Certificates })
}

/// Whether sshd can read these bytes as a public key that is not a certificate.
fn is_key(bytes: &[u8]) -> bool {
    let Ok(key) = ssh_key::PublicKey::from_bytes(bytes) else { return false };
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
            bits >= SHORTEST_MODULUS && length(&key.n) <= LONGEST_NUMBER && length(&key.e) <= LONGEST_NUMBER
        }
        // Newer releases have no DSA; no sshd knows the others.
        KeyData::Dsa(_) | KeyData::Other(_) | _ => false,
    }
}

/// Whether the point is on its curve, and both coordinates are long enough for sshd.
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
    use crate::machine::keys::testing::{TYPES, Workshop};
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

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    /// A number of so many bits, the first and the last of them set, as a key has it.
    fn number(bits: usize) -> Vec<u8> {
        let mut bytes = vec![0; bits / 8 + 1];
        let first = bytes.len() - 1 - (bits - 1) / 8;
        bytes[first] = 1 << ((bits - 1) % 8);
        *bytes.last_mut().unwrap() |= 1;
        string(&bytes)
    }

    fn rsa(modulus: usize, exponent: usize) -> Vec<u8> {
        [string(b"ssh-rsa"), number(exponent), number(modulus)].concat()
    }

    /// A point of P-256: its coordinates in hexadecimal digits.
    fn point([x, y]: [&str; 2]) -> Vec<u8> {
        let digits = format!("{x:0>64}{y:0>64}");
        let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
        std::iter::once(4).chain((0..digits.len()).step_by(2).map(byte)).collect()
    }

    fn ecdsa(point: &[u8]) -> Vec<u8> {
        [string(b"ecdsa-sha2-nistp256"), string(b"nistp256"), string(point)].concat()
    }

    fn sk_ecdsa(point: &[u8], application: &str) -> Vec<u8> {
        let name = string(b"sk-ecdsa-sha2-nistp256@openssh.com");
        [name, string(b"nistp256"), string(point), string(application.as_bytes())].concat()
    }

    fn sk_ed25519(application: &str) -> Vec<u8> {
        [string(b"sk-ssh-ed25519@openssh.com"), string(&[7; 32]), string(application.as_bytes())].concat()
    }

    /// Points of P-256: half of a coordinate's bits are not enough for sshd, and one more is.
    const LONG: [&str; 2] =
        ["100000000000000000000000000000000", "4d8531d11aecbfe7bc2c6f48e2a1a3fd264a9165a891001f9b7c2d4a19d9d622"];
    const SHORT_X: [&str; 2] =
        ["ffffffffffffffffffffffffffffffff", "4f2b92b4c596a5a47f8b041d2dea6043021ac77b9a80b1343ac9d778f4f8f733"];
    const SHORT_Y: [&str; 2] = ["d7325d7646cd60d80a92738ceb345f844cffaf35841022cab176f692de8de1d7", "5"];
    const OFF_CURVE: [&str; 2] = [LONG[0], SHORT_X[1]];

    /// The same list, read here and by this machine's OpenSSH.
    #[track_caller]
    fn compare(workshop: &Workshop, what: &str, list: &[u8], is_fine: bool) {
        let ours = read(list);
        assert_eq!(ours.is_ok(), is_fine, "{what}: {ours:?}");
        let path = workshop.path("list");
        fs::write(&path, list).unwrap();
        let theirs = Command::new("ssh-keygen").args(["-Q", "-l", "-f"]).arg(&path).output().unwrap();
        assert_eq!(theirs.status.success(), is_fine, "{what}: {theirs:?}");
    }

    #[test]
    fn what_sshd_would_not_load_is_refused() {
        let workshop = Workshop::new();
        for (index, kind) in TYPES.into_iter().enumerate() {
            let ca = workshop.key(&index.to_string(), kind).to_bytes().unwrap();
            for (what, list, is_fine) in lists(&ca) {
                // Any other 32 bytes are an Ed25519 key, and any other number is a modulus.
                let is_fine = is_fine || what == "off its curve" && !kind.contains(&"ecdsa");
                compare(&workshop, &format!("{kind:?}: {what}"), &list, is_fine);
            }
        }
    }

    #[test]
    fn keys_at_the_bounds_of_what_sshd_reads() {
        let workshop = Workshop::new();
        // Its x alone has all the bits that are wanted.
        let compressed = [&[3], &point(SHORT_Y)[1..33]].concat();
        for (what, ca, is_fine) in [
            ("a short modulus", rsa(1023, 17), false),
            ("the shortest modulus", rsa(1024, 17), true),
            ("a modulus of one bit more", rsa(1025, 17), true),
            ("the longest modulus", rsa(8 * LONGEST_NUMBER, 17), true),
            ("a long modulus", rsa(8 * LONGEST_NUMBER + 1, 17), false),
            ("the longest exponent", rsa(2048, 8 * LONGEST_NUMBER), true),
            ("a long exponent", rsa(2048, 8 * LONGEST_NUMBER + 1), false),
            ("a point", ecdsa(&point(LONG)), true),
            ("a compressed point", ecdsa(&compressed), false),
            ("a short x", ecdsa(&point(SHORT_X)), false),
            ("a short y", ecdsa(&point(SHORT_Y)), false),
            ("no point", ecdsa(&point(OFF_CURVE)), false),
            ("a point in a token", sk_ecdsa(&point(LONG), "ssh:"), true),
            ("no point in a token", sk_ecdsa(&point(OFF_CURVE), "ssh:"), false),
            ("a token's point for a name with a NUL", sk_ecdsa(&point(LONG), "s\0h"), false),
            ("a key in a token", sk_ed25519("ssh:"), true),
            ("a key in a token for a name with a NUL", sk_ed25519("s\0h"), false),
            ("of a type that there is not", [string(b"ssh-none"), string(b"x")].concat(), false),
        ] {
            let mut list = Krl::default();
            assert!(list.revoke(&ca, &[7]));
            compare(&workshop, what, &list.to_bytes(), is_fine);
            assert_eq!(read(&list.to_bytes()).ok(), is_fine.then_some(RevocationScope::Certificates), "{what}");
        }
    }
}
