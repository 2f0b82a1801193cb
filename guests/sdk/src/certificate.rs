//! Certificate files, and whether sshd would show a certificate to a client.

use crate::keys::KeyPair;

/// The path of a key's certificate: `KEY-cert.pub`, beside the key, where `ssh` and `ssh-keygen` look for one.
#[must_use]
pub fn certificate_path(key: &KeyPair) -> String {
    format!("{}-cert.pub", key.path())
}

/// Whether two lines in OpenSSH's format hold the same public key, whatever their comments.
#[must_use]
pub fn same_key(left: &str, right: &str) -> bool {
    left.split_whitespace().take(2).eq(right.split_whitespace().take(2))
}

/// What sshd does with a host key and its certificate, according to its `HostKeyAlgorithms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// sshd offers both.
    Certified,
    /// sshd offers only the plain key, so no client would see the certificate. The names are those that the list lacks.
    Hidden(Vec<String>),
    /// sshd does not offer even the plain key.
    Nothing,
}

/// What sshd offers for a key of that algorithm. `effective` is its value of `hostkeyalgorithms`; an empty one is no
/// restriction.
///
/// From OpenSSH 7.8 on, the list also filters certificates, and neither a log nor `sshd -t` says so
/// (`append_hostkey_type` in its sshd.c).
#[must_use]
pub fn offer(effective: &[String], key_algorithm: &str) -> Offer {
    let listed: Vec<&str> =
        effective.iter().flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty()).collect();
    if listed.is_empty() {
        return Offer::Certified;
    }
    let plain = signature_algorithms(key_algorithm);
    if !plain.iter().any(|name| listed.contains(name)) {
        return Offer::Nothing;
    }
    let certified = plain.iter().map(|name| certificate_algorithm(name));
    if certified.clone().any(|name| listed.contains(&name.as_str())) {
        return Offer::Certified;
    }
    let lacking = certified.zip(&plain).filter(|(_, name)| listed.contains(name)).map(|(certificate, _)| certificate);
    Offer::Hidden(lacking.collect())
}

/// The signature algorithms of a key of that algorithm. An RSA key has three.
fn signature_algorithms(key_algorithm: &str) -> Vec<&str> {
    match key_algorithm {
        "ssh-rsa" | "rsa-sha2-256" | "rsa-sha2-512" => vec!["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"],
        other => vec![other],
    }
}

/// The algorithm's name for a certificate of a key: the domain in a vendor's name moves behind `-cert-v01`.
fn certificate_algorithm(plain: &str) -> String {
    format!("{}-cert-v01@openssh.com", plain.strip_suffix("@openssh.com").unwrap_or(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_without_their_comments() {
        assert!(same_key("ssh-ed25519 AAAA", "ssh-ed25519 AAAA root@web\n"));
        assert!(!same_key("ssh-ed25519 AAAA", "ssh-ed25519 AAAB"));
        assert!(!same_key("ssh-ed25519 AAAA", "ssh-ed25519"));
    }

    #[test]
    fn a_list_of_algorithms_may_hide_a_certificate() {
        let hidden = |names: &[&str]| Offer::Hidden(names.iter().map(|name| (*name).to_owned()).collect());
        let cases = [
            ("", "ssh-ed25519", Offer::Certified),
            ("ssh-ed25519,ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519", Offer::Certified),
            ("ssh-ed25519", "ssh-ed25519", hidden(&["ssh-ed25519-cert-v01@openssh.com"])),
            ("ssh-ed25519,rsa-sha2-512", "ecdsa-sha2-nistp256", Offer::Nothing),
            ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", hidden(&["ecdsa-sha2-nistp256-cert-v01@openssh.com"])),
            ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp256", Offer::Nothing),
            ("rsa-sha2-256,rsa-sha2-512-cert-v01@openssh.com", "ssh-rsa", Offer::Certified),
            ("ssh-rsa,ssh-rsa-cert-v01@openssh.com", "ssh-rsa", Offer::Certified),
            (
                "rsa-sha2-256, rsa-sha2-512",
                "ssh-rsa",
                hidden(&["rsa-sha2-512-cert-v01@openssh.com", "rsa-sha2-256-cert-v01@openssh.com"]),
            ),
            ("ssh-ed25519", "ssh-rsa", Offer::Nothing),
            (
                "sk-ssh-ed25519@openssh.com,sk-ssh-ed25519-cert-v01@openssh.com",
                "sk-ssh-ed25519@openssh.com",
                Offer::Certified,
            ),
        ];
        for (effective, algorithm, expected) in cases {
            assert_eq!(offer(&[effective.to_owned()], algorithm), expected, "{effective} / {algorithm}");
        }
        assert_eq!(offer(&[], "ssh-rsa"), Offer::Certified);
    }
}
