//! For tests: real certificates, made by the machine's `ssh-keygen`.

use super::{Certificate, certificate};
use crate::machine::keys::testing::Workshop;

/// Certificates for the keys of a test's workshop.
pub(crate) trait Certifies {
    /// Certifies `name.pub` with the CA key `ca`.
    fn certify(&self, ca: &str, name: &str, options: &[&str]) -> Certificate;
    /// The output of `ssh-keygen -L` for a certificate.
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
