//! For tests: real certificates, made by the machine's `ssh-keygen`.

use super::{Certificate, certificate};
use crate::machine::keys;
use ssh_key::PublicKey;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A directory in which `ssh-keygen` works.
pub(crate) struct Workshop(tempfile::TempDir);

impl Workshop {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A key pair in `name` and `name.pub`.
    pub(crate) fn key(&self, name: &str, options: &[&str]) -> PublicKey {
        self.keygen(&[&["-q", "-N", "", "-C", "made here", "-f", name], options].concat());
        keys::read_public(&self.path(name)).unwrap()
    }

    /// A certificate of `name.pub` by the key in `ca`.
    pub(crate) fn certify(&self, ca: &str, name: &str, options: &[&str]) -> Certificate {
        self.keygen(&[&["-q", "-s", ca, "-I", "an id", "-z", "7"], options, &[&format!("{name}.pub")]].concat());
        certificate::parse(&std::fs::read(self.path(&format!("{name}-cert.pub"))).unwrap()).unwrap()
    }

    /// What `ssh-keygen` prints.
    pub(crate) fn keygen(&self, arguments: &[&str]) -> String {
        let output = Command::new("ssh-keygen").args(arguments).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// How `ssh-keygen -L` understands a certificate.
    pub(crate) fn list(&self, certificate: &Certificate) -> String {
        std::fs::write(self.path("listed"), certificate.to_file()).unwrap();
        self.keygen(&["-L", "-f", "listed"])
    }
}

/// The types of key that machines have, as options of `ssh-keygen`.
pub(crate) const TYPES: [&[&str]; 5] = [
    &["-t", "ed25519"],
    &["-t", "ecdsa", "-b", "256"],
    &["-t", "ecdsa", "-b", "384"],
    &["-t", "ecdsa", "-b", "521"],
    &["-t", "rsa", "-b", "2048"],
];

/// The line of a public key, without its comment.
pub(crate) fn line(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap().split(' ').take(2).collect::<Vec<_>>().join(" ")
}
