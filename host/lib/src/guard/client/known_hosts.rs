//! The known_hosts file of a probe, which holds what one kind of client knows and nothing else; and the names of the
//! host key algorithms.

use crate::{
    error::{Error, Result},
    machine::scratch::Scratch,
};
use ssh_key::{PublicKey, public::KeyData};
use std::path::PathBuf;

/// What a client knows of a server.
#[derive(Clone, Copy, Debug)]
pub enum ClientKnowledge<'a> {
    /// Nothing: it learns the key and goes no further.
    Nothing,
    /// These plain host keys.
    Keys(&'a [PublicKey]),
    /// These CAs.
    Authorities(&'a [PublicKey]),
}

impl ClientKnowledge<'_> {
    /// Writes this knowledge as a known_hosts file for any name; `number` goes into the file's name.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(self, scratch: &Scratch, number: usize) -> Result<PathBuf> {
        let (marker, keys) = match self {
            ClientKnowledge::Nothing => return Ok("/dev/null".into()),
            ClientKnowledge::Keys(keys) => ("", keys),
            ClientKnowledge::Authorities(keys) => ("@cert-authority ", keys),
        };
        let mut text = String::new();
        for key in keys {
            let line = line_of(key.key_data())?;
            text.push_str(&[marker, "* ", &line, "\n"].concat());
        }
        scratch.write(&format!("known_hosts-{number}"), text.as_bytes(), 0o600)
    }
}

/// A public key in one line, without its comment, which is free text.
///
/// # Errors
/// When the key cannot be encoded.
pub fn line_of(key: &KeyData) -> Result<String> {
    let wrong = |error| Error::failed("cannot write a public key").cause(error);
    PublicKey::new(key.clone(), "").to_openssh().map(|line| line.trim_end().to_owned()).map_err(wrong)
}

/// The release whose names of algorithms are used.
pub const MODERN: (u32, u32) = (8, 8);
/// The types of host keys that the guard asks for, in OpenSSH's own names.
pub const TYPES: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/// The key type of an algorithm that a server offers, and whether the algorithm is for certificates.
#[must_use]
pub fn type_of(algorithm: &str) -> Option<(&'static str, bool)> {
    let (plain, certificate) = match algorithm.strip_suffix("-cert-v01@openssh.com") {
        Some(plain) => (plain, true),
        None => (algorithm, false),
    };
    let plain = if plain.starts_with("rsa-sha2-") { "ssh-rsa" } else { plain };
    TYPES.into_iter().find(|name| *name == plain).map(|name| (name, certificate))
}

/// The algorithms to ask for when a plain key of this type, or its certificate, is wanted.
#[must_use]
pub fn algorithms(key_type: &str, certificate: bool, client: (u32, u32)) -> String {
    match (key_type, certificate) {
        ("ssh-rsa", false) if client < (8, 8) => "rsa-sha2-512,rsa-sha2-256,ssh-rsa".to_owned(),
        ("ssh-rsa", false) => "rsa-sha2-512,rsa-sha2-256".to_owned(),
        // RSA certificates have had SHA-2 names since OpenSSH 7.8.
        ("ssh-rsa", true) if client < (7, 8) => "ssh-rsa-cert-v01@openssh.com".to_owned(),
        ("ssh-rsa", true) => "rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com".to_owned(),
        (other, false) => other.to_owned(),
        (other, true) => format!("{other}-cert-v01@openssh.com"),
    }
}

/// The algorithms that sshd's HostKeyAlgorithms lacks for the certificate of a key of this algorithm, so that sshd does
/// not offer it; none if sshd does. A release that does not print the list tells nothing about it.
#[must_use]
pub fn lacking(host_key_algorithms: &[String], key: &str) -> Option<String> {
    let listed: Vec<_> = host_key_algorithms.iter().flat_map(|list| list.split(',')).filter_map(type_of).collect();
    let key_type = type_of(key).map_or("", |(key_type, _)| key_type);
    let is_hidden = !listed.is_empty() && !listed.contains(&(key_type, true));
    is_hidden.then(|| algorithms(key_type, true, MODERN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_hidden_by_a_list_without_its_type() {
        let list = |list: &str| vec![list.to_owned()];
        let ed25519 = "ssh-ed25519-cert-v01@openssh.com";
        for (lists, key, expected) in [
            (list("ssh-ed25519,rsa-sha2-512"), "ssh-ed25519", Some(ed25519)),
            (list(ed25519), "ssh-ed25519", None),
            (list("ssh-ed25519,rsa-sha2-256-cert-v01@openssh.com"), "ssh-rsa", None),
            (Vec::new(), "ssh-ed25519", None),
        ] {
            assert_eq!(lacking(&lists, key).as_deref(), expected, "{lists:?} {key}");
        }
    }

    #[test]
    fn algorithms_have_key_types() {
        for (algorithm, expected) in [
            ("rsa-sha2-512", Some(("ssh-rsa", false))),
            ("ssh-rsa", Some(("ssh-rsa", false))),
            ("rsa-sha2-256-cert-v01@openssh.com", Some(("ssh-rsa", true))),
            ("ssh-ed25519-cert-v01@openssh.com", Some(("ssh-ed25519", true))),
            ("ecdsa-sha2-nistp384", Some(("ecdsa-sha2-nistp384", false))),
            ("ssh-dss", None),
            ("", None),
        ] {
            assert_eq!(type_of(algorithm), expected, "{algorithm}");
        }
    }

    #[test]
    fn rsa_is_asked_for_in_the_clients_words() {
        assert_eq!(algorithms("ssh-rsa", true, (7, 4)), "ssh-rsa-cert-v01@openssh.com");
        assert!(algorithms("ssh-rsa", true, (9, 2)).starts_with("rsa-sha2-512-cert"));
        assert!(!algorithms("ssh-rsa", false, (9, 2)).contains("ssh-rsa"));
        assert_eq!(algorithms("ssh-ed25519", true, (9, 2)), "ssh-ed25519-cert-v01@openssh.com");
    }

    #[test]
    fn a_client_knows_what_it_is_given() {
        let scratch = Scratch::private().unwrap();
        let (key, _) = crate::machine::sshd::host_key::throw_away().unwrap();
        let mut key = key.public_key().clone();
        key.set_comment("a\nb");
        let path = ClientKnowledge::Authorities(&[key.clone()]).write(&scratch, 1).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("@cert-authority * ssh-ed25519 AAAA") && text.lines().count() == 1, "{text}");
        assert_eq!(ClientKnowledge::Nothing.write(&scratch, 2).unwrap(), PathBuf::from("/dev/null"));
    }
}
