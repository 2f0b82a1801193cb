//! For tests: real keys made by the machine's `ssh-keygen`.

use super::read_public;
use ssh_key::PublicKey;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A temporary directory in which `ssh-keygen` runs.
pub(crate) struct Workshop(tempfile::TempDir);

impl Workshop {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes a key pair in `name` and `name.pub`.
    pub(crate) fn key(&self, name: &str, options: &[&str]) -> PublicKey {
        self.keygen(&[&["-q", "-N", "", "-C", "made here", "-f", name], options].concat());
        read_public(&self.path(name)).unwrap()
    }

    /// Runs `ssh-keygen`, and returns what it prints.
    pub(crate) fn keygen(&self, arguments: &[&str]) -> String {
        let output = Command::new("ssh-keygen").args(arguments).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
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
