//! For tests: real certificates, made by the machine's `ssh-keygen`.

use super::{Certificate, certificate};
use crate::machine::keys::testing::Workshop;

/// What a workshop can do with keys that are there.
pub(crate) trait Certifies {
    /// A certificate of `name.pub` by the key in `ca`.
    fn certify(&self, ca: &str, name: &str, options: &[&str]) -> Certificate;
    /// How `ssh-keygen -L` understands a certificate.
    fn list(&self, certificate: &Certificate) -> String;
}

impl Certifies for Workshop {
    fn certify(&self, ca: &str, name: &str, options: &[&str]) -> Certificate {
        self.keygen(&[&["-q", "-s", ca, "-I", "an id", "-z", "7"], options, &[&format!("{name}.pub")]].concat());
        certificate::parse(&std::fs::read(self.path(&format!("{name}-cert.pub"))).unwrap()).unwrap()
    }

    fn list(&self, certificate: &Certificate) -> String {
        std::fs::write(self.path("listed"), certificate.to_file()).unwrap();
        self.keygen(&["-L", "-f", "listed"])
    }
}
