//! The public halves of host keys, and throw-away keys for proofs.

use crate::{
    error::{Error, Result},
    machine::keys,
};
use ssh_key::{Algorithm, LineEnding, PrivateKey, PublicKey, rand_core::OsRng};
use std::{fs, path::Path};
use zeroize::Zeroizing;

/// The public key of a host key file: from the private key itself, else from the `.pub` beside it
/// (old PEM files, keys that we may not read, keys kept in an agent). None if neither can be read.
#[must_use]
pub fn public(path: &Path) -> Option<PublicKey> {
    let private = fs::read(path).map(Zeroizing::new).ok();
    public_of(private.as_deref().map(Vec::as_slice), path)
}

/// The same for the bytes of a private key that is not in place yet.
#[must_use]
pub fn public_of(private: Option<&[u8]>, path: &Path) -> Option<PublicKey> {
    let parsed = private.and_then(|bytes| {
        let own = keys::public_of(bytes, None).ok();
        own.or_else(|| PublicKey::from_openssh(std::str::from_utf8(bytes).ok()?.trim()).ok())
    });
    parsed.or_else(|| {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".pub");
        PublicKey::from_openssh(fs::read_to_string(beside).ok()?.trim()).ok()
    })
}

/// A new Ed25519 key, and the text of its private half.
///
/// # Errors
/// When the system has no randomness to give, which does not happen.
pub fn throw_away() -> Result<(PrivateKey, Zeroizing<Vec<u8>>)> {
    let wrong = |error: ssh_key::Error| Error::failed("cannot make a throw-away key").cause(error);
    let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(wrong)?;
    let text = key.to_openssh(LineEnding::LF).map_err(wrong)?;
    Ok((key, Zeroizing::new(text.as_bytes().to_vec())))
}
