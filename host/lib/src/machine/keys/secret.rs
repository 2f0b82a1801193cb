//! Whether a file holds a private key, in any form in which programs store or pass one on. Such a file is not shown and
//! not given to a guest. A form that is not known here would be shown, so in doubt a file counts as a key.

use super::MAGIC;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use zeroize::Zeroizing;

/// Marks that only files with a private key contain: PuTTY, age, SSH 1 (`authfile.c`), BIND, Tor.
const MARKS: [&[u8]; 8] = [
    MAGIC,
    b"PuTTY-User-Key-File-",
    b"AGE-SECRET-KEY-",
    b"SSH PRIVATE KEY FILE FORMAT 1.",
    b"Private-key-format:",
    b"PrivateExponent:",
    b"ed25519v1-secret:",
    b"ED25519-V3:",
];
/// The beginnings in base64 of private keys of minisign, encrypted or not, and of signify; public keys are far shorter.
const SIGNERS: [&[u8]; 3] = [b"RWRTY0Iy", b"RWQAAEIy", b"RWRCSw"];
/// The length of the shortest of those keys.
const MIN_SIGNER: usize = 130;
/// The beginnings of binary files with a private key: Java's keystores.
const BEGINNINGS: [&[u8]; 2] = [b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce"];
/// The shortest word that is checked for an encoded key: an Ed25519 key in DER has 64 characters.
const MIN_ENCODED: usize = 32;
/// Longer than the text before `PRIVATE KEY` in any format.
const MAX_LABEL: usize = 64;
/// The number of characters by which an encoded key is recognized: 18 bytes.
const HEAD: usize = 24;

/// Whether some bytes hold a private key.
#[must_use]
pub fn holds_private_key(bytes: &[u8]) -> bool {
    MARKS.iter().any(|mark| contains(bytes, mark))
        || BEGINNINGS.iter().any(|beginning| bytes.starts_with(beginning))
        || is_der_key(bytes)
        || is_dropbear_key(bytes)
        || is_key_text(bytes)
}

/// A program's message about a file that it could not read, which may quote the file line by line: cut off where a
/// private key begins.
#[must_use]
pub fn without_private_key(said: &str) -> String {
    let begins = |line: &str| line.contains("-----BEGIN") || holds_private_key(line.as_bytes());
    let lines: Vec<&str> = said.lines().collect();
    let Some(at) = lines.iter().position(|line| begins(line)) else { return said.to_owned() };
    let mut kept: Vec<&str> = lines.iter().take(at).copied().collect();
    // The line with the PEM mark names the file, so it is kept.
    kept.extend(lines.get(at).filter(|line| !holds_private_key(line.as_bytes())));
    kept.push("the rest is not shown: it may quote a private key");
    kept.join("\n")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    let Some((first, rest)) = part.split_first() else { return true };
    let mut left = bytes;
    while let Some(at) = left.iter().position(|byte| byte == first) {
        left = left.get(at + 1..).unwrap_or_default();
        if left.starts_with(rest) {
            return true;
        }
    }
    false
}

fn is_key_text(bytes: &[u8]) -> bool {
    // UTF-16 has a NUL beside each ASCII character.
    let text = Zeroizing::new(bytes.iter().copied().filter(|byte| *byte != 0).collect::<Vec<u8>>());
    has_pem_key(&text) || is_json_key(&text) || has_encoded_key(&text) || has_wireguard_key(&text)
}

/// Whether there is a line that begins a private key in PEM, PGP or SSH2 armour, wherever it stands: after a byte order
/// mark, in quotes, in a string literal.
fn has_pem_key(text: &[u8]) -> bool {
    const BEGIN: &[u8] = b"BEGIN ";
    let is_key = |at: usize| {
        let behind = text.get(at + BEGIN.len()..).unwrap_or_default();
        let label = behind.get(..MAX_LABEL).unwrap_or(behind).split(|byte| b"-\r\n".contains(byte)).next();
        label.is_some_and(|label| contains(label, b"PRIVATE KEY"))
    };
    text.windows(BEGIN.len()).enumerate().any(|(at, window)| window == BEGIN && is_key(at))
}

/// Whether there is a JSON Web Key (RFC 7517) that has its private member, or is symmetric. It may be part of other
/// text, or written as YAML or TOML.
fn is_json_key(text: &[u8]) -> bool {
    let has = |name: &[u8]| has_member(text, name) || has_setting(text, name);
    has(b"kty") && (has(b"d") || has(b"k"))
}

/// Whether there is an unquoted setting of that name, at the beginning of a line or in a list.
fn has_setting(text: &[u8], name: &[u8]) -> bool {
    text.split(|byte| matches!(byte, b'\r' | b'\n' | b',' | b'{' | b'[')).any(|part| {
        let part = part.trim_ascii();
        let part = part.strip_prefix(b"- ").unwrap_or(part).trim_ascii_start();
        part.strip_prefix(name).is_some_and(|rest| matches!(rest.trim_ascii_start(), [b':' | b'=', ..]))
    })
}

/// Whether there is a member of that name: in quotes, which may be escaped, before a colon.
fn has_member(text: &[u8], name: &[u8]) -> bool {
    text.windows(name.len() + 1).enumerate().any(|(at, window)| {
        let Some((quote @ (b'"' | b'\''), rest)) = window.split_first() else { return false };
        if rest != name {
            return false;
        }
        let behind = text.get(at + window.len()..).unwrap_or_default();
        let escapes = behind.iter().take_while(|byte| **byte == b'\\').count();
        let behind = behind.get(escapes..).and_then(<[u8]>::split_first);
        behind.is_some_and(|(end, behind)| end == quote && behind.trim_ascii_start().starts_with(b":"))
    })
}

/// Whether there is a key in base64 without the surrounding lines of PEM: one word, or lines that hold nothing else.
fn has_encoded_key(text: &[u8]) -> bool {
    let is_other = |byte: &u8| !is_base64(*byte);
    if text.split(is_other).any(is_encoded_key) {
        return true;
    }
    let mut lines = Zeroizing::new(Vec::with_capacity(text.len()));
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).chain([&b""[..]]) {
        if !line.is_empty() && line.iter().all(|byte| is_base64(*byte) || *byte == b'=') {
            lines.extend_from_slice(line);
        } else {
            if lines.split(is_other).any(is_encoded_key) {
                return true;
            }
            lines.clear();
        }
    }
    false
}

/// Whether a byte belongs to one of the two alphabets of RFC 4648.
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

fn is_encoded_key(word: &[u8]) -> bool {
    if word.len() < MIN_ENCODED {
        return false;
    }
    if word.len() >= MIN_SIGNER && SIGNERS.iter().any(|beginning| word.starts_with(beginning)) {
        return true;
    }
    let head = decoded(word.get(..HEAD).unwrap_or(word));
    if is_der_key(&head) || head.starts_with(MAGIC) {
        return true;
    }
    // A whole encoded file, as secrets are passed on in JSON and YAML: `-----BEGIN …`, `{"kty": …`.
    let whole = decoded(word);
    has_pem_key(&whole) || contains(&whole, MAGIC) || (whole.starts_with(b"{") && is_json_key(&whole))
}

/// The decoded bytes of a word; empty if it is not base64.
fn decoded(word: &[u8]) -> Zeroizing<Vec<u8>> {
    let standard = |byte: &u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    };
    let whole = word.len() - word.len() % 4;
    let word = Zeroizing::new(word.iter().take(whole).map(standard).collect::<Vec<u8>>());
    Zeroizing::new(STANDARD_NO_PAD.decode(&*word).unwrap_or_default())
}

/// Whether there is a key of WireGuard: after its name in a configuration, or alone in a file, as `wg genkey` prints
/// it. Alone it cannot be told from a public key.
fn has_wireguard_key(text: &[u8]) -> bool {
    let is_key = |word: &[u8]| {
        let encoded = word.len() == 44 && word.ends_with(b"=") && word.iter().take(43).all(|byte| is_base64(*byte));
        encoded || (word.len() == 64 && word.iter().all(u8::is_ascii_hexdigit))
    };
    let names_one = |line: &[u8]| {
        let letters: Vec<u8> = line.to_ascii_lowercase().into_iter().filter(|byte| !b"-_".contains(byte)).collect();
        contains(&letters, b"privatekey") || contains(&letters, b"presharedkey")
    };
    let has_one = |line: &[u8]| {
        let mut words = line.split(|byte| !is_base64(*byte) && *byte != b'=');
        // `PrivateKey=…=` is a single word here.
        words.any(|word| {
            is_key(word)
                || word.iter().position(|byte| *byte == b'=').and_then(|at| word.get(at + 1..)).is_some_and(is_key)
        })
    };
    let text = text.trim_ascii();
    (text.len() == 44 && is_key(text))
        || text.split(|byte| b"\r\n".contains(byte)).any(|line| names_one(line) && has_one(line))
}

/// Whether this is a host key of dropbear: the public key as SSH sends it, followed by the private number, all binary.
fn is_dropbear_key(bytes: &[u8]) -> bool {
    let name = bytes.strip_prefix(&[0, 0, 0]).and_then(|rest| rest.get(1..)).unwrap_or_default();
    name.starts_with(b"ssh-") || name.starts_with(b"ecdsa-sha2-")
}

/// Whether this is a private key in DER. PKCS#8, PKCS#1, SEC 1 and PKCS#12 begin with a sequence that begins with a
/// small version number. In encrypted PKCS#8 a nested sequence comes first, which names a cipher of PKCS#5 or PKCS#12.
/// Certificates and public keys have neither.
fn is_der_key(bytes: &[u8]) -> bool {
    fn inside(bytes: &[u8]) -> Option<&[u8]> {
        match bytes {
            [0x30, length, rest @ ..] if *length < 0x80 => Some(rest),
            [0x30, length @ 0x81..=0x84, rest @ ..] => rest.get(usize::from(length & 0x0f)..),
            _ => None,
        }
    }
    /// 1.2.840.113549.1.5 and .12: PKCS#5, PKCS#12.
    const CIPHERS: [&[u8]; 2] = [b"\x2a\x86\x48\x86\xf7\x0d\x01\x05", b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c"];
    match inside(bytes) {
        Some([0x02, 0x01, 0..=3, ..]) => true,
        Some(rest) => inside(rest).is_some_and(
            |cipher| matches!(cipher, [0x06, _, name @ ..] if CIPHERS.iter().any(|known| name.starts_with(known))),
        ),
        None => false,
    }
}

#[cfg(test)]
mod tests;
