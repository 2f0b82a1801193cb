//! The replacement of a private key by another one, which cannot be undone for clients.

use super::public_of;
use ssh_key::{Fingerprint, HashAlg, PublicKey};

/// A private key that is replaced by another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyReplacement {
    /// The private key's path.
    pub path: String,
    /// The public half of the old key.
    pub old: PublicKey,
    /// The public half of the new key.
    pub new: PublicKey,
}

impl KeyReplacement {
    /// The key replacement in a change of a file. None: the file does not hold a private key before and after, or the
    /// key is the same.
    #[must_use]
    pub fn between(path: &str, before: &[u8], after: &[u8]) -> Option<Self> {
        let (old, new) = (public_of(before, None).ok()?, public_of(after, None).ok()?);
        (old.key_data() != new.key_data()).then(|| Self { path: path.to_owned(), old, new })
    }

    /// The fingerprint of the old key.
    #[must_use]
    pub fn ended(&self) -> Fingerprint {
        self.old.fingerprint(HashAlg::Sha256)
    }

    /// The consequence of losing the old key, as a sentence.
    #[must_use]
    pub fn ends(&self) -> String {
        format!("clients that pinned {} will warn of a changed host key, and refuse to connect", self.ended())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::keys::generate;

    #[test]
    fn only_another_private_key_replaces_one() {
        let [one, other] = [(); 2].map(|()| generate("ssh-ed25519", "x").unwrap());
        let (before, after) = (one.private.as_bytes(), other.private.as_bytes());
        let replaced = KeyReplacement::between("/k", before, after).unwrap();
        assert_eq!(
            (replaced.old.key_data(), replaced.new.key_data()),
            (one.public.key_data(), other.public.key_data())
        );
        assert!(replaced.ends().contains(&one.public.fingerprint(HashAlg::Sha256).to_string()));
        assert_eq!(KeyReplacement::between("/k", before, before), None);
        let public = one.public_file().unwrap();
        for (before, after) in [(b"".as_slice(), after), (before, b"".as_slice()), (before, public.as_bytes())] {
            assert_eq!(KeyReplacement::between("/k", before, after), None);
        }
    }
}
