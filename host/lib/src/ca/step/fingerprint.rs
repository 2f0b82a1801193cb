//! The fingerprint of a root certificate: SHA-256 of its DER.

use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// Identifies a root certificate, in what a person types and in a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The first and last bytes, for messages.
    #[must_use]
    pub fn short(&self) -> String {
        let [first, second, .., last_but_one, last] = self.0;
        format!("{first:02x}{second:02x}…{last_but_one:02x}{last:02x}")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Parses hexadecimal digits. Case, blanks, `:`, `-` and a prefix `SHA256:` do not matter.
impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let bare = match trimmed.get(..7) {
            Some(prefix) if prefix.eq_ignore_ascii_case("sha256:") => trimmed.get(7..).unwrap_or_default(),
            _ => trimmed,
        };
        let digits: Vec<u32> = bare
            .chars()
            .filter(|letter| !matches!(letter, ':' | '-') && !letter.is_whitespace())
            .map(|letter| letter.to_digit(16).ok_or_else(|| format!("{letter:?} is no hexadecimal digit")))
            .collect::<Result<_, _>>()?;
        if digits.len() != 64 {
            return Err(format!(
                "a fingerprint has 64 hexadecimal digits, and this has {}: it is the SHA-256 of the root certificate, \
                 as `warded root-fingerprint root_ca.crt` or `step certificate fingerprint root_ca.crt` prints it",
                digits.len()
            ));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            if let [high, low] = pair {
                *byte = u8::try_from(high * 16 + low).map_err(|error| error.to_string())?;
            }
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_it_is_written_does_not_matter() {
        let plain = "2f47acd7e0f3e3c1a25b06cc5a1a8e43e1d1d2a8c6c70a2d7b8d3a7a57c13153";
        let fingerprint: Fingerprint = plain.parse().unwrap();
        assert_eq!(fingerprint.to_string(), plain);
        assert_eq!(fingerprint.short(), "2f47…3153");
        let pairs: Vec<&str> = (0..32).map(|at| &plain[2 * at..2 * at + 2]).collect();
        for text in [
            plain.to_uppercase(),
            pairs.join(":"),
            pairs.join("-"),
            pairs.join(" "),
            format!("SHA256:{plain}"),
            format!(" {plain}\n"),
        ] {
            assert_eq!(text.parse::<Fingerprint>(), Ok(fingerprint), "{text}");
        }
        for (text, why) in [("", "64"), (&plain[1..], "64"), ("zz", "'z'"), ("SHA256:", "64"), ("ä", "'ä'")] {
            let error = text.parse::<Fingerprint>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn it_is_the_sha256_of_the_bytes() {
        assert_eq!(
            Fingerprint::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
