//! Key revocation lists (OpenSSH's PROTOCOL.krl), read to the last byte as sshd does it: what it
//! would not load is an error here, because sshd then refuses every public key, and `sshd -t` says
//! nothing. In doubt, where one release takes what another does not, it is an error too.

use ssh_key::public::{EcdsaPublicKey, KeyData};

/// How a list begins.
const MAGIC: &[u8] = b"SSHKRL\n\0";
/// As sshbuf.h: no number is longer, in bytes.
const LONGEST_NUMBER: usize = 16384 / 8;
/// As sshkey.h: no RSA modulus is shorter, in bits.
const SHORTEST_MODULUS: usize = 1024;

/// What a list takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revokes {
    /// Certificates, and nothing else.
    Certificates,
    /// Keys, plain ones too.
    Keys,
}

/// Whether this is meant to be a key revocation list.
#[must_use]
pub fn is_list(contents: &[u8]) -> bool {
    contents.starts_with(MAGIC)
}

/// Reads a list.
///
/// # Errors
/// Why sshd would not load it, as the rest of a sentence.
pub fn read(list: &[u8]) -> Result<Revokes, String> {
    let mut rest = Bytes(list.strip_prefix(MAGIC).ok_or("is no key revocation list")?);
    let version = u32::from_be_bytes(rest.array()?);
    if version != 1 {
        return Err(format!("is damaged: its format is of version {version}"));
    }
    let (_version, _date, _flags, _reserved) = (rest.number()?, rest.number()?, rest.number()?, rest.string()?);
    rest.text()?;
    let mut revokes = Revokes::Certificates;
    while !rest.0.is_empty() {
        let [kind] = rest.array()?;
        let mut section = Bytes(rest.string()?);
        match kind {
            1 => certificates(section)?,
            2 | 3 | 5 => {
                let length = match kind {
                    3 => Some(20),
                    5 => Some(32),
                    _ => None,
                };
                revokes = Revokes::Keys;
                while !section.0.is_empty() {
                    let one = section.string()?;
                    if length.is_some_and(|length| one.len() != length) {
                        return Err("is damaged: a fingerprint in it is no such thing".to_owned());
                    }
                }
            }
            // Signatures (4), too: older releases look at them.
            kind => return Err(format!("has a section of type {kind}, which not every sshd reads")),
        }
    }
    Ok(revokes)
}

/// A section about the certificates of one CA; where it names none, of all.
fn certificates(mut section: Bytes<'_>) -> Result<(), String> {
    let authority = section.string()?;
    if !authority.is_empty() && !is_key(authority) {
        return Err("is damaged: a CA's key in it is none that sshd can read".to_owned());
    }
    let _reserved = section.string()?;
    while !section.0.is_empty() {
        let [kind] = section.array()?;
        let mut data = Bytes(section.string()?);
        match kind {
            0x20 => {
                while !data.0.is_empty() {
                    serials(data.number()?, 0)?;
                }
            }
            0x21 => {
                let (first, last) = (data.number()?, data.number()?);
                serials(first, last.checked_sub(first).ok_or("is damaged: a range in it ends before it begins")?)?;
            }
            0x22 => bitmap(&mut data)?,
            0x23 => {
                while !data.0.is_empty() {
                    data.text()?;
                }
            }
            kind => return Err(format!("has certificates listed in a way (type {kind:#x}) that not every sshd reads")),
        }
        if !data.0.is_empty() {
            return Err("is damaged: it has more in it than sshd reads".to_owned());
        }
    }
    Ok(())
}

/// So many serial numbers more than one: zero is what a CA gives that does not number its certificates.
fn serials(first: u64, more: u64) -> Result<(), String> {
    let wrong = || "is damaged: it has a serial number that there cannot be".to_owned();
    if first == 0 || first.checked_add(more).is_none() { Err(wrong()) } else { Ok(()) }
}

/// An offset, and a number whose bits count from there.
fn bitmap(data: &mut Bytes<'_>) -> Result<(), String> {
    let (offset, bits) = (data.number()?, data.string()?);
    let is_negative = bits.first().is_some_and(|byte| byte & 0x80 != 0);
    let is_long = bits.len() > LONGEST_NUMBER + 1 || bits.len() == LONGEST_NUMBER + 1 && bits.first() != Some(&0);
    if is_negative || is_long {
        return Err("is damaged: a set of serial numbers in it is none".to_owned());
    }
    let Some(highest) = bits.iter().position(|byte| *byte != 0) else { return Ok(()) };
    let top = 7 - bits.get(highest).map_or(0, |byte| byte.leading_zeros().min(7));
    let last = u64::try_from((bits.len() - highest - 1) * 8).unwrap_or(u64::MAX) + u64::from(top);
    // Zero is in it only where the lowest bit is set; from one on all that counts is where it ends.
    let has_zero = offset == 0 && bits.last().is_some_and(|byte| byte & 1 == 1);
    serials(if has_zero { 0 } else { offset.max(1) }, if offset == 0 { last.saturating_sub(1) } else { last })
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

/// What has not been read yet.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.0.split_first_chunk().ok_or("is cut off")?;
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], String> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).unwrap_or(usize::MAX);
        let (taken, rest) = self.0.split_at_checked(length).ok_or("is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    /// What sshd keeps as a C string: a NUL may only be its last byte.
    fn text(&mut self) -> Result<(), String> {
        let text = self.string()?;
        match text.iter().position(|byte| *byte == 0) {
            Some(at) if at + 1 < text.len() => Err("is damaged: a text in it has a NUL byte".to_owned()),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::testing::{TYPES, Workshop};
    use std::{fs, process::Command};

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn list(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let head = [MAGIC, &[0, 0, 0, 1], &[0; 24], &string(b""), &string(b"a comment")].concat();
        sections.iter().fold(head, |list, (kind, data)| [list, vec![*kind], string(data)].concat())
    }

    fn of(authority: &[u8], parts: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let head = [string(authority), string(b"")].concat();
        list(&[(1, parts.iter().fold(head, |all, (kind, data)| [all, vec![*kind], string(data)].concat()))])
    }

    fn numbers(numbers: &[u64]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    fn bits(offset: u64, bits: &[u8]) -> (u8, Vec<u8>) {
        (0x22, [numbers(&[offset]), string(bits)].concat())
    }

    /// Each list, and whether sshd takes it; for some what it takes depends on its release.
    fn lists(ca: &[u8]) -> Vec<(&'static str, Vec<u8>, bool)> {
        let flipped = |at: usize| {
            let mut key = ca.to_vec();
            key[at] ^= 0xff;
            key
        };
        let serials = |ca: &[u8]| of(ca, &[(0x20, numbers(&[7, u64::MAX]))]);
        let [mut cut, mut longer] = [serials(ca), serials(ca)];
        cut.pop();
        longer.push(1);
        let (mut long, mut longest) = (vec![1; LONGEST_NUMBER + 1], vec![1; LONGEST_NUMBER + 1]);
        (long[0], longest[0]) = (0, 1);
        vec![
            ("nothing", list(&[]), true),
            ("serials", serials(ca), true),
            ("of every CA", serials(b""), true),
            ("cut off", cut, false),
            ("one byte more", longer, false),
            ("a section of garbage", list(&[(1, b"garbage".to_vec())]), false),
            ("an empty section", list(&[(1, vec![])]), false),
            ("a section of one CA alone", of(ca, &[]), true),
            ("a CA's key that is none", serials(b"garbage"), false),
            ("of a type that there is not", serials(&flipped(6)), false),
            ("off its curve", serials(&flipped(ca.len() - 1)), false),
            ("with more behind it", serials(&[ca, b"x"].concat()), false),
            ("half a serial", of(ca, &[(0x20, vec![0; 4])]), false),
            ("serial 0", of(ca, &[(0x20, numbers(&[7, 0]))]), false),
            ("no serials", of(ca, &[(0x20, vec![])]), true),
            ("a range", of(ca, &[(0x21, numbers(&[9, 12]))]), true),
            ("all of them", of(ca, &[(0x21, numbers(&[1, u64::MAX]))]), true),
            ("a range backwards", of(ca, &[(0x21, numbers(&[12, 9]))]), false),
            ("a range from 0", of(ca, &[(0x21, numbers(&[0, 9]))]), false),
            ("half a range", of(ca, &[(0x21, numbers(&[9]))]), false),
            ("a range and more", of(ca, &[(0x21, numbers(&[9, 12, 13]))]), false),
            ("bits", of(ca, &[bits(7, &[0x41, 0x07])]), true),
            ("no bits", of(ca, &[bits(0, &[])]), true),
            ("bits from 0", of(ca, &[bits(0, &[0x06])]), true),
            ("serial 0 by a bit", of(ca, &[bits(0, &[0x07])]), false),
            ("the last serial", of(ca, &[bits(u64::MAX, &[0x01])]), true),
            ("bits over the end", of(ca, &[bits(u64::MAX, &[0x02])]), false),
            ("negative bits", of(ca, &[bits(7, &[0x80])]), false),
            ("many bits", of(ca, &[bits(7, &long)]), true),
            ("too many bits", of(ca, &[bits(7, &longest)]), false),
            ("bits and more", of(ca, &[(0x22, [bits(7, &[1]).1, vec![0]].concat())]), false),
            ("ids", of(ca, &[(0x23, [string(b"a"), string(b"b")].concat())]), true),
            ("an id with a NUL", of(ca, &[(0x23, string(b"a\0b"))]), false),
            ("half an id", of(ca, &[(0x23, vec![0, 0, 0, 2, b'a'])]), false),
            ("an unknown part", of(ca, &[(0x24, vec![])]), false),
            ("an unknown section", list(&[(6, vec![])]), false),
            ("a key", list(&[(2, string(ca))]), true),
            ("fingerprints", list(&[(3, string(&[1; 20])), (5, string(&[1; 32]))]), true),
            ("a short fingerprint", list(&[(3, string(&[1; 19]))]), false),
            ("a short fingerprint of the other kind", list(&[(5, string(&[1; 31]))]), false),
            ("half a key", list(&[(2, vec![0, 0, 0, 2, b'a'])]), false),
            ("the beginning alone", MAGIC.to_vec(), false),
            ("another version", [MAGIC, &[0, 0, 0, 2], &[0; 32]].concat(), false),
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

    #[test]
    fn what_only_some_releases_load_is_refused() {
        let workshop = Workshop::new();
        workshop.key("ca", TYPES[0]);
        let line = fs::read_to_string(workshop.path("ca.pub")).unwrap();
        let ca = ssh_key::PublicKey::from_openssh(&line).unwrap().to_bytes().unwrap();
        let extension = [string(b"x@example.org"), vec![0], string(b"")].concat();
        let signed = [list(&[(4, ca.clone())]), string(b"a signature")].concat();
        for list in [of(&ca, &[(0x39, extension.clone())]), list(&[(255, extension)]), signed] {
            assert!(read(&list).is_err_and(|why| why.contains("not every sshd reads")));
        }
    }
}
