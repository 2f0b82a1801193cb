//! One staged change.

use super::RequestId;
use crate::machine::{
    files::{Place, Snapshot},
    keys::replaced::KeyReplacement,
    path::AbsolutePath,
};
use ssh_key::PublicKey;
use sshd_config::known_hosts::is_file_name;
use zeroize::Zeroizing;

/// The permission bits of a file for which a procedure chooses no mode (files.wit).
pub const DEFAULT_MODE: u32 = 0o644;

/// A change to one file.
#[derive(Debug)]
pub struct StagedChange {
    /// The path as the procedure gave it.
    pub path: AbsolutePath,
    /// The place that the path leads to.
    pub place: Place,
    /// What is there now.
    pub before: Option<Snapshot>,
    /// What should be there.
    pub after: After,
    /// The grant that allows the change.
    pub grant: String,
}

impl StagedChange {
    /// Whether the file is one of ssh's known_hosts files, by the given name or by the resolved one. A key or a
    /// certificate never is, whatever its name.
    #[must_use]
    pub fn is_known_hosts(&self) -> bool {
        if !matches!(self.after, After::Bytes { .. } | After::Removed) {
            return false;
        }
        self.path.as_path().file_name().and_then(|name| name.to_str()).is_some_and(is_file_name)
            || is_file_name(self.place.name())
    }

    /// The private key that is replaced, if another one takes its place.
    #[must_use]
    pub fn replaced(&self) -> Option<KeyReplacement> {
        let (After::PrivateKey { text, .. }, Some(before)) = (&self.after, &self.before) else { return None };
        KeyReplacement::between(self.path.as_str(), &before.contents, text.as_bytes())
    }
}

/// What a file should become.
pub enum After {
    /// No file.
    Removed,
    /// These bytes. Without a mode, the file keeps its own, or gets [`DEFAULT_MODE`].
    Bytes {
        contents: Vec<u8>,
        /// Permission bits.
        mode: Option<u32>,
    },
    /// The certificate with which the CA will answer a request.
    Certificate { request: RequestId },
    /// A private key made on this host. It exists nowhere else.
    PrivateKey {
        /// OpenSSH's format.
        text: Zeroizing<String>,
        /// Its public half.
        public: PublicKey,
    },
}

impl After {
    /// Whether the file would differ from what is there.
    #[must_use]
    pub fn differs_from(&self, before: Option<&Snapshot>) -> bool {
        match (self, before) {
            (Self::Removed, before) => before.is_some(),
            (Self::Bytes { contents, mode }, Some(before)) => {
                before.contents.as_slice() != contents.as_slice() || mode.is_some_and(|mode| mode != before.mode)
            }
            (Self::Bytes { .. }, None) | (Self::Certificate { .. } | Self::PrivateKey { .. }, _) => true,
        }
    }

    /// The contents, where they are plain bytes.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes { contents, .. } => Some(contents),
            Self::Removed | Self::Certificate { .. } | Self::PrivateKey { .. } => None,
        }
    }

    /// The text of the private key, if the change is one.
    #[must_use]
    pub fn private_key(&self) -> Option<&str> {
        match self {
            Self::PrivateKey { text, .. } => Some(text),
            Self::Removed | Self::Bytes { .. } | Self::Certificate { .. } => None,
        }
    }

    /// The permission bits of the result.
    #[must_use]
    pub fn mode(&self, before: Option<&Snapshot>) -> u32 {
        match self {
            // As the key that it replaces, but without write access for the group and any access for others.
            Self::PrivateKey { .. } => before.map_or(0o600, |before| before.mode & 0o640),
            Self::Bytes { mode: Some(mode), .. } => *mode,
            Self::Bytes { .. } | Self::Certificate { .. } | Self::Removed => {
                before.map_or(DEFAULT_MODE, |before| before.mode)
            }
        }
    }
}

impl std::fmt::Debug for After {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Removed => "removed",
            Self::Bytes { .. } => "bytes",
            Self::Certificate { .. } => "certificate",
            Self::PrivateKey { .. } => "private key",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{files::Root, keys::generate};

    #[test]
    fn a_key_is_no_known_hosts_whatever_its_name() {
        let scratch = tempfile::tempdir().unwrap();
        let staged = |name: &str, after: After| {
            let path: AbsolutePath = scratch.path().join(name).to_str().unwrap().parse().unwrap();
            let place = Root::ambient().unwrap().place(&path, usize::MAX).unwrap().unwrap();
            StagedChange { path, place, before: None, after, grant: String::new() }
        };
        let bytes = || After::Bytes { contents: Vec::new(), mode: None };
        let public = generate("ssh-ed25519", "x").unwrap().public;
        let key = After::PrivateKey { text: Zeroizing::new(String::new()), public };
        for (name, after, is_known_hosts) in [
            ("known_hosts", bytes(), true),
            ("known_hosts", After::Removed, true),
            ("sshd_config", bytes(), false),
            ("known_hosts", key, false),
            ("known_hosts", After::Certificate { request: RequestId(0) }, false),
        ] {
            let staged = staged(name, after);
            assert_eq!(staged.is_known_hosts(), is_known_hosts, "{staged:?}");
        }
    }
}
