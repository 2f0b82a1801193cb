//! The local CA's directory: `host_ca`, `host_ca.pub`, `user_ca`, `user_ca.pub`.

use crate::{
    ca::kind::Kind,
    error::{Error, Result},
    machine::{
        durable,
        ownership::{self, chown},
    },
};
use ssh_key::{Algorithm, LineEnding, PrivateKey, PublicKey, rand_core::OsRng};
use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};
use zeroize::Zeroizing;

/// Far larger than any private key.
const MAX_FILE: u64 = 64 * 1024;

/// Creates both key pairs. The directory appears complete or not at all.
pub(super) fn create(directory: &Path) -> Result<()> {
    let (host, host_public) = key_pair(Kind::Host)?;
    let (user, user_public) = key_pair(Kind::User)?;
    let files = [
        ("host_ca", host.as_bytes(), 0o600),
        ("host_ca.pub", host_public.as_bytes(), 0o644),
        ("user_ca", user.as_bytes(), 0o600),
        ("user_ca.pub", user_public.as_bytes(), 0o644),
    ];
    durable::new_directory(directory, &files).map_err(|error| {
        let taken = [io::ErrorKind::DirectoryNotEmpty, io::ErrorKind::AlreadyExists, io::ErrorKind::NotADirectory];
        if taken.contains(&error.kind()) {
            Error::refused(format!("{} exists already", directory.display()))
                .cause("a CA's keys are never overwritten: every certificate they signed would stop working")
                .next("use the CA that is there, or name another directory for a new one")
        } else {
            Error::failed(format!("could not make a CA in {}", directory.display())).cause(error)
        }
    })
}

/// Refuses a directory in which other users could replace the keys.
pub(super) fn check_directory(directory: &Path) -> Result<()> {
    let metadata = std::fs::metadata(directory).map_err(|error| missing(directory, &error))?;
    if !metadata.is_dir() {
        return Err(missing(directory, &io::Error::from(io::ErrorKind::NotADirectory)));
    }
    check(directory, "0700", &metadata, 0o077)
}

/// Reads one of the two private keys.
pub(super) fn load(directory: &Path, kind: Kind) -> Result<PrivateKey> {
    let path = directory.join(format!("{kind}_ca"));
    let unusable = |cause: &str, next: &str| {
        Error::failed(format!("the {kind} CA key {} cannot be used", path.display())).cause(cause).next(next)
    };
    let text = read(&path)?;
    let key = PrivateKey::from_openssh(text.as_bytes())
        .map_err(|error| unusable(&error.to_string(), "restore the file from a backup"))?;
    if key.is_encrypted() {
        return Err(unusable("it has a passphrase", "remove it from a copy with: ssh-keygen -p -N '' -f COPY"));
    }
    let algorithm = key.algorithm();
    // ssh-key 0.6 makes wrong RSA signatures (it rebuilds the key with p for q), and the private half of a FIDO key is
    // in its token.
    if !matches!(algorithm, Algorithm::Ed25519 | Algorithm::Ecdsa { .. }) {
        let cause = format!("this CA does not sign with {algorithm} keys");
        return Err(unusable(&cause, "make a new CA with Ed25519 keys"));
    }
    check_public(&path, &key)?;
    Ok(key)
}

/// Checks that the public key file, which administrators distribute, matches the private key.
fn check_public(path: &Path, key: &PrivateKey) -> Result<()> {
    let public = path.with_extension("pub");
    let text = match std::fs::read_to_string(&public) {
        // Without a public key file, no wrong key can have been distributed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(|error| missing(&public, &error))?,
    };
    if PublicKey::from_openssh(&text).is_ok_and(|public| public.key_data() == key.public_key().key_data()) {
        return Ok(());
    }
    Err(Error::refused(format!("{} is not the public key of {}", public.display(), path.display()))
        .cause("clients that trust the public key would not accept what the private key signs")
        .next(format!(
            "find out which of them is the CA's; if it is the private key: ssh-keygen -y -f {} >{}",
            path.display(),
            public.display()
        )))
}

fn key_pair(kind: Kind) -> Result<(Zeroizing<String>, String)> {
    let failed = |error: ssh_key::Error| Error::failed(format!("could not make a {kind} CA key")).cause(error);
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(failed)?;
    key.set_comment(format!("warded {kind} CA"));
    let public = key.public_key().to_openssh().map_err(failed)?;
    Ok((key.to_openssh(LineEnding::LF).map_err(failed)?, format!("{public}\n")))
}

/// The contents of a file that only its owner can read, and that is not a link.
#[expect(clippy::disallowed_methods, reason = "opened for reading, and without following a link")]
fn read(path: &Path) -> Result<Zeroizing<String>> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| missing(path, &error.into()))?;
    let file = File::from(opened);
    let metadata = file.metadata().map_err(|error| missing(path, &error))?;
    if !metadata.is_file() {
        return Err(Error::refused(format!("{} is not a file", path.display())));
    }
    check(path, "0600", &metadata, 0o077)?;
    // Allocated at full size: growing would leave copies of the key in freed memory.
    let mut text =
        Zeroizing::new(String::with_capacity(usize::try_from(metadata.len().min(MAX_FILE)).unwrap_or(0) + 1));
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| missing(path, &error))?;
    Ok(text)
}

fn check(path: &Path, mode: &str, metadata: &std::fs::Metadata, forbidden: u32) -> Result<()> {
    let shown = path.display();
    if !ownership::is_ours(metadata.uid()) {
        return Err(Error::refused(format!("{shown} belongs to another user"))
            .cause("the owner of a CA's files can sign as this CA")
            .next(format!("if nobody else has read it: {}; otherwise make a new CA", chown(path))));
    }
    if metadata.mode() & forbidden != 0 {
        return Err(Error::refused(format!("{shown} is open to others (mode {:04o})", metadata.mode() & 0o7777))
            .cause("a user who can read a CA's key can sign as this CA")
            .next(format!("if nobody else has read it: chmod {mode} {shown}; otherwise make a new CA")));
    }
    Ok(())
}

fn missing(path: &Path, error: &io::Error) -> Error {
    let failed = Error::failed(format!("could not read {}", path.display())).cause(error);
    if error.kind() == io::ErrorKind::NotFound {
        failed.next("make a CA with: warded ca init DIRECTORY")
    } else {
        failed
    }
}
