//! Clients that know only one host key of this machine. If the key is of the type that OpenSSH's client prefers, the
//! client asks for any certificate before it asks for a plain key (sshconnect2.c, `order_hostkeyalgs`). It knows no
//! CA, so it takes the certificate for the plain key in it, finds that it knows another key, and refuses. So a key of
//! such a type must not stay without a certificate while other keys get one.

use super::{
    baseline::{self, Baseline, is_offered},
    candidate::Candidate,
};
use crate::{
    ca::certificate::{self, Certificate},
    error::{Error, Result},
    machine::sshd::{
        Effective,
        tree::{Overlay, StagedFiles},
    },
};
use ssh_key::PublicKey;
use std::path::Path;

/// The types that clients prefer: the first from OpenSSH 8.5 on; the second in 8.4, which introduced the rule.
const PREFERRED: [&str; 2] = ["ssh-ed25519", "ecdsa-sha2-nistp256"];

impl Candidate {
    /// Refuses a configuration in which an offered host key would have no certificate while others have one, so that
    /// clients that know only this key would refuse the machine.
    ///
    /// # Errors
    /// Refused: with the type of the key.
    pub fn keeps_pins(&self, baseline: &Baseline) -> Result<()> {
        let before = exposed_in(&baseline.view.effective, Overlay(&StagedFiles::new()), baseline);
        let after = self.exposed(baseline)?;
        let Some(key_type) = after.into_iter().find(|key_type| !before.contains(key_type)) else { return Ok(()) };
        Err(Error::refused(format!("clients that know only sshd's {key_type} host key would be refused"))
            .cause(format!(
                "this key has no certificate, and others would have one: a client that prefers {key_type} asks for a \
                 certificate first, gets that of another key, and takes it for a changed host key"
            ))
            .next("correct what keeps this key from being certified: a warning above names the cause")
            .next("if these clients do not matter, run it again with --accept-risk=replace-host-keys"))
    }

    /// The types of those host keys with which a client that knows no other key of this machine could not connect.
    pub(super) fn exposed(&self, baseline: &Baseline) -> Result<Vec<&'static str>> {
        Ok(exposed_in(&self.view()?.effective, Overlay(&self.staged), baseline))
    }
}

/// The types of the exposed keys of a configuration.
fn exposed_in(effective: &Effective, overlay: Overlay<'_>, baseline: &Baseline) -> Vec<&'static str> {
    let keys = baseline::public_keys(effective, overlay);
    let paths = effective.values("hostcertificate").iter();
    let certificates: Vec<Certificate> =
        paths.filter_map(|path| certificate::parse(&overlay.read(Path::new(path)).ok()?).ok()).collect();
    exposed(&keys, &certificates, |key| is_offered(key, baseline))
}

/// The preferred types for which sshd has a key without a certificate that somebody may know, while other keys, new
/// ones included, have certificates. Of several keys of a type, sshd offers the first that it loads.
fn exposed(
    keys: &[PublicKey],
    certificates: &[Certificate],
    may_be_known: impl Fn(&PublicKey) -> bool,
) -> Vec<&'static str> {
    let is_certified = |key: &PublicKey| certificates.iter().any(|one| one.key().key_data() == key.key_data());
    if !keys.iter().any(is_certified) {
        return Vec::new();
    }
    let known = |key_type: &str| keys.iter().find(|key| key.algorithm().as_str() == key_type && may_be_known(key));
    PREFERRED.into_iter().filter(|key_type| known(key_type).is_some_and(|key| !is_certified(key))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ca::testing::Certifies as _, machine::keys::testing::Workshop};

    #[test]
    fn a_preferred_key_is_exposed_beside_the_certificates_of_others() {
        let workshop = Workshop::new();
        workshop.key("ca", &["-t", "ed25519"]);
        for (name, kind) in [("rsa", "rsa"), ("ecdsa", "ecdsa"), ("ed25519", "ed25519"), ("second", "ed25519")] {
            workshop.key(name, &["-t", kind]);
            workshop.certify("ca", name, &["-h", "-n", "web1"]);
        }
        let read = |name: &str| std::fs::read(workshop.path(name)).unwrap();
        for (keys, certified, expected) in [
            ("rsa ecdsa ed25519", "", vec![]),
            ("rsa ecdsa ed25519", "rsa ecdsa ed25519", vec![]),
            ("rsa ecdsa ed25519", "ecdsa", vec!["ssh-ed25519"]),
            ("rsa ecdsa ed25519", "ed25519", vec!["ecdsa-sha2-nistp256"]),
            ("rsa ecdsa ed25519", "rsa", vec!["ssh-ed25519", "ecdsa-sha2-nistp256"]),
            ("rsa ecdsa", "ecdsa", vec![]),
            ("rsa ed25519", "ed25519", vec![]),
            ("ed25519 second rsa", "ed25519 rsa", vec![]),
            ("second ed25519 rsa", "ed25519 rsa", vec!["ssh-ed25519"]),
            // A certificate of a key that sshd does not have is not offered.
            ("ed25519", "rsa", vec![]),
        ] {
            let key = |name: &str| String::from_utf8(read(&format!("{name}.pub"))).unwrap().parse().unwrap();
            let certificate = |name: &str| certificate::parse(&read(&format!("{name}-cert.pub"))).unwrap();
            let keys: Vec<PublicKey> = keys.split(' ').map(key).collect();
            let certificates: Vec<Certificate> = certified.split_whitespace().map(certificate).collect();
            assert_eq!(exposed(&keys, &certificates, |_| true), expected, "{certified}");
            // Nobody can know a key that nobody has seen.
            assert_eq!(exposed(&keys, &certificates, |_| false), [""; 0], "{certified}");
        }
        // A key that comes with its certificate: nobody knows it, and clients ask for it all the same.
        let public = |name: &str| -> PublicKey { String::from_utf8(read(name)).unwrap().parse().unwrap() };
        let keys = ["rsa.pub", "ed25519.pub", "ecdsa.pub"].map(public);
        let [_, known, new] = &keys;
        let certificates = [certificate::parse(&read("ecdsa-cert.pub")).unwrap()];
        assert_eq!(exposed(&keys, &certificates, |key| key != new), ["ssh-ed25519"]);
        assert_eq!(exposed(&keys, &certificates, |key| key != known), [""; 0]);
        // sshd does not load the first one of this type.
        let keys = ["ed25519.pub", "second.pub", "rsa.pub"].map(public);
        let certificates = ["ed25519-cert.pub", "rsa-cert.pub"].map(|name| certificate::parse(&read(name)).unwrap());
        let [ignored, ..] = &keys;
        assert_eq!(exposed(&keys, &certificates, |key| key != ignored), ["ssh-ed25519"]);
    }
}
