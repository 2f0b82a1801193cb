//! The path of a host key's certificate.

use super::parse;
use crate::machine::bounded;
use ssh_key::PublicKey;
use std::path::Path;

/// The file with the certificate of a host key: the file that sshd's configuration names for that key, or else
/// `KEY-cert.pub` beside the key. `named`: sshd's values of `HostCertificate`.
#[must_use]
pub fn whereabouts(named: &[String], key_path: &str, key: Option<&PublicKey>) -> String {
    let beside = format!("{key_path}-cert.pub");
    let is_of_key = |path: &&String| {
        let certificate = bounded::read(Path::new(path)).ok().and_then(|bytes| parse(&bytes).ok());
        key.zip(certificate).is_some_and(|(key, certificate)| certificate.key().key_data() == key.key_data())
    };
    if named.contains(&beside) {
        return beside;
    }
    named.iter().find(is_of_key).cloned().unwrap_or(beside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ca::testing::Certifies as _, machine::keys::testing::Workshop};
    use std::fs;

    #[test]
    fn a_certificate_lies_where_sshd_is_told_or_beside_its_key() {
        let workshop = Workshop::new();
        for name in ["ca", "key", "other"] {
            workshop.key(name, &["-t", "ed25519"]);
        }
        workshop.certify("ca", "key", &["-h", "-n", "web1"]);
        let at = |name: &str| workshop.path(name).to_str().unwrap().to_owned();
        let key =
            |name: &str| PublicKey::from_openssh(&fs::read_to_string(at(&format!("{name}.pub"))).unwrap()).unwrap();
        fs::rename(workshop.path("key-cert.pub"), workshop.path("elsewhere.pub")).unwrap();
        let named = [at("none"), at("key.pub"), at("elsewhere.pub")];
        assert_eq!(whereabouts(&named, &at("key"), Some(&key("key"))), at("elsewhere.pub"));
        for (named, name) in [(&named[..], "other"), (&named[..2], "key"), (&[], "key")] {
            let beside = at(&format!("{name}-cert.pub"));
            assert_eq!(whereabouts(named, &at(name), Some(&key(name))), beside);
            assert_eq!(whereabouts(&[named, std::slice::from_ref(&beside)].concat(), &at(name), None), beside);
        }
    }
}
