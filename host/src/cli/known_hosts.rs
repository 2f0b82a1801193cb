//! The known_hosts lines by which clients know machines that a CA certified (sshd(8), "`SSH_KNOWN_HOSTS` FILE FORMAT").

use ssh_key::PublicKey;
use sshd_config::known_hosts::Patterns;
use warded_lib::{
    ca::{Certificate, Kind},
    error::{Error, Result},
    text::neutral,
};

/// Checks patterns of host names for use in a known_hosts line.
///
/// # Errors
/// ssh would read them as something else there.
pub(super) fn pattern(text: &str) -> Result<String, String> {
    text.parse::<Patterns>().map(|patterns| patterns.to_string())
}

/// The line for one key of a CA.
///
/// # Errors
/// The key cannot be written.
pub(super) fn line(pattern: &str, signer: &PublicKey) -> Result<String> {
    Ok(format!("@cert-authority {pattern} {}", key(signer)?))
}

/// The lines for machines with these certificates.
pub(super) fn of(certificates: &[Certificate]) -> Vec<String> {
    let hosts = certificates.iter().filter(|certificate| certificate.kind() == Kind::Host);
    let mut lines: Vec<String> = hosts
        .filter_map(|certificate| {
            let names: Vec<String> = certificate.principals().iter().map(|name| neutral(name)).collect();
            line(&names.join(","), certificate.signer()).ok()
        })
        .collect();
    lines.dedup();
    lines
}

/// A key without a comment.
///
/// # Errors
/// It cannot be written.
pub(super) fn key(key: &PublicKey) -> Result<String> {
    let bare = PublicKey::new(key.key_data().clone(), "");
    bare.to_openssh().map_err(|error| Error::failed("cannot write the CA's public key").cause(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stays_one_word_of_one_line() {
        for good in ["web1", "*.example.org", "web1.example.org,web1", "!old.example.org,*.example.org", "[::1]:2222"] {
            assert_eq!(pattern(good).as_deref(), Ok(good));
        }
        for bad in
            ["", "a b", "a,,b", "a\nb", "#a", "@revoked", "|1|x", "!", "ä", "web1:2222", "[web1]:22", ".example.org"]
        {
            assert!(pattern(bad).is_err(), "{bad:?}");
        }
    }
}
