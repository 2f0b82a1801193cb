//! The files of a login: the key, its certificate, its public half.

use super::place::{PREFIX, Place, home};
use ssh_key::{LineEnding, PrivateKey, PublicKey};
use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf, absolute},
};
use warded_lib::{
    ca::{self, Certificate, Kind, certificate},
    error::{Error, Result},
    machine::durable,
    text::{neutral, shell_word},
};

/// How the comment of a key ends that Warded made for a login: no other key is ever replaced or removed.
const MARK: &str = " (warded login)";
const CERTIFICATE: &str = "-cert.pub";

/// The comment of a login's key.
pub(super) fn comment(user: &str) -> String {
    format!("{user}{MARK}")
}

/// Where a login's key is, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    key: PathBuf,
    home: Option<PathBuf>,
    /// Whether a person named it.
    is_named: bool,
}

impl Files {
    /// The files that a person named.
    pub(crate) fn at(key: &Path) -> Result<Self> {
        let key = absolute(key).map_err(|error| Error::usage("--out names no file").cause(error))?;
        Ok(Self { key, home: home().ok(), is_named: true })
    }

    /// The files of a user's logins with one CA.
    pub(super) fn of(place: &Place, user: &str) -> Self {
        Self::in_place(place, &format!("{PREFIX}{user}"))
    }

    /// Those of all logins with one CA.
    pub(crate) fn all(place: &Place) -> Vec<Self> {
        let entries = fs::read_dir(place.directory()).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let is_ours = |name: String| {
            let name = name.strip_suffix(CERTIFICATE).filter(|name| name.starts_with(PREFIX))?;
            Some(Self::in_place(place, name))
        };
        names.filter_map(is_ours).collect()
    }

    fn in_place(place: &Place, name: &str) -> Self {
        Self { key: place.directory().join(name), home: Some(place.home().clone()), is_named: false }
    }

    /// The certificate.
    pub(crate) fn certificate(&self) -> Option<Certificate> {
        let found = certificate::parse(&fs::read(self.beside(CERTIFICATE)).ok()?).ok()?;
        (found.kind() == Kind::User).then_some(found)
    }

    /// The certificate, where its private key lies beside it and is Warded's.
    pub(super) fn usable(&self) -> Option<Certificate> {
        let key = self.private()?;
        self.certificate().filter(|found| found.key().key_data() == key.public_key().key_data())
    }

    /// Refuses to replace a key that Warded did not make.
    pub(super) fn refuse_others(&self) -> Result<()> {
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        // A certificate of ours in `~/.ssh` may be alone: its key is in an agent.
        let there = is_there(&self.key) || (self.is_named && is_there(&self.beside(CERTIFICATE)));
        if !there || self.private().is_some() {
            return Ok(());
        }
        Err(Error::refused(format!("{} is there, and `warded login` did not make it", self.key.display()))
            .unchanged()
            .next("name another file with --out"))
    }

    /// Writes the private key and its certificate.
    pub(super) fn write(&self, key: &PrivateKey, certificate: &Certificate) -> Result<()> {
        self.refuse_others()?;
        let text = key.to_openssh(LineEnding::LF).map_err(|error| self.failed("write", &self.key, &error))?;
        let public = key.public_key().to_openssh().map_err(|error| self.failed("write", &self.key, &error))?;
        self.put(&self.key, text.as_bytes(), 0o600)?;
        self.put(&self.beside(".pub"), format!("{public}\n").as_bytes(), 0o644)?;
        self.put(&self.beside(CERTIFICATE), certificate.to_file().as_bytes(), 0o644)
    }

    /// Writes the certificate alone, for `IdentityFile`; a key of an earlier login would not fit it.
    pub(super) fn write_public(&self, certificate: &Certificate) -> Result<()> {
        self.forget_key()?;
        self.put(&self.beside(CERTIFICATE), certificate.to_file().as_bytes(), 0o644)
    }

    /// Removes all of them that are Warded's; those that were there.
    pub(crate) fn remove(&self) -> Result<Vec<PathBuf>> {
        let mut removed = self.forget_key()?;
        // Beside a key that is not Warded's the certificate is not, either.
        if self.key.symlink_metadata().is_err() && self.certificate().is_some() {
            removed.extend(self.take(self.beside(CERTIFICATE))?);
        }
        Ok(removed)
    }

    /// The argument of `IdentityFile` in ssh_config(5).
    pub(super) fn identity_file(&self, is_written: bool) -> String {
        let path = if is_written { self.key.clone() } else { self.beside(CERTIFICATE) };
        let text = self.shown(&path).replace('%', "%%");
        if text.contains([' ', '"', '#']) { format!("\"{text}\"") } else { text }
    }

    /// Where the files are after the agent did not take the key.
    pub(super) fn state(&self, certificate: &Certificate) -> String {
        let hours = certificate.valid_before().saturating_sub(ca::now()) / 3600;
        format!(
            "the key and its certificate (good for {hours} h) are in files, without a passphrase; to use them: ssh -i {} HOST; \
             to remove them: warded logout",
            shell_word(&self.key.display().to_string())
        )
    }

    /// The paths of what `write` writes, or of the certificate alone.
    pub(super) fn paths(&self, is_written: bool) -> Vec<String> {
        let key = is_written.then(|| self.key.display().to_string());
        key.into_iter().chain([self.beside(CERTIFICATE).display().to_string()]).collect()
    }

    fn forget_key(&self) -> Result<Vec<PathBuf>> {
        if self.private().is_none() {
            return Ok(Vec::new());
        }
        Ok(self.take(self.key.clone())?.into_iter().chain(self.take(self.beside(".pub"))?).collect())
    }

    fn take(&self, path: PathBuf) -> Result<Option<PathBuf>> {
        match durable::remove(&path) {
            Ok(()) => Ok(Some(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("remove", &path, &error)),
        }
    }

    /// The private key, if Warded made it.
    fn private(&self) -> Option<PrivateKey> {
        let key = PrivateKey::read_openssh_file(&self.key).ok()?;
        key.comment().ends_with(MARK).then_some(key)
    }

    fn put(&self, path: &Path, contents: &[u8], mode: u32) -> Result<()> {
        let written = path
            .parent()
            .filter(|directory| !directory.exists())
            .map_or(Ok(()), durable::private_directory)
            .and_then(|()| durable::replace(path, contents, mode));
        written.map_err(|error| self.failed("write", path, &error))
    }

    fn failed(&self, verb: &str, path: &Path, error: &dyn std::fmt::Display) -> Error {
        Error::failed(format!("could not {verb} {}", neutral(&self.shown(path)))).cause(error)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.key);
        name.push(suffix);
        name.into()
    }

    /// A path as ssh_config and a shell read it.
    fn shown(&self, path: &Path) -> String {
        let below = self.home.as_ref().and_then(|home| path.strip_prefix(home).ok());
        below.map_or_else(|| path.display().to_string(), |below| format!("~/{}", below.display()))
    }
}

/// The keys that signed the certificates of earlier logins.
pub(crate) fn known_signers(files: &[Files]) -> Vec<PublicKey> {
    files.iter().filter_map(|files| Some(files.certificate()?.signer().clone())).collect()
}
