//! The files of a login: the private key, its certificate, and the public key.

use super::place::{PREFIX, Place, home};
use ssh_key::{LineEnding, PrivateKey, PublicKey};
use std::{
    ffi::OsString,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf, absolute},
};
use warded_lib::{
    ca::{self, Certificate, Kind, certificate},
    error::{Error, Result},
    machine::{durable, named_file},
    text::{neutral, neutral_path, shell_word},
};
use zeroize::Zeroizing;

/// The end of the comment of a key that Warded made for a login. Warded never replaces or removes another key.
const MARK: &str = " (warded login)";
const CERTIFICATE: &str = "-cert.pub";
const PUBLIC: &str = ".pub";
/// Much more than the size of a key or a certificate.
const MAX_BYTES: u64 = 256 * 1024;

/// The comment of a login's key.
pub(super) fn comment(user: &str) -> String {
    format!("{user}{MARK}")
}

/// The paths of a login's key and its certificate, whether or not the files exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    key: PathBuf,
    home: Option<PathBuf>,
    /// Whether a person named the path.
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

    /// The files of all logins with one CA.
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
        let found = certificate::parse(&read(&self.beside(CERTIFICATE))?).ok()?;
        (found.kind() == Kind::User).then_some(found)
    }

    /// The certificate, if its private key is beside it and is Warded's.
    pub(super) fn usable(&self) -> Option<Certificate> {
        let key = self.private()?;
        self.certificate().filter(|found| found.key().key_data() == key.public_key().key_data())
    }

    /// Refuses to replace what Warded did not make: a private key, a public key (which may be that of a smartcard), or
    /// anything that is not a regular file.
    pub(super) fn refuse_others(&self) -> Result<()> {
        let all = [self.key.clone(), self.beside(PUBLIC), self.beside(CERTIFICATE)];
        all.iter().try_for_each(|path| named_file::refuse_other(path))?;
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        // A certificate in `~/.ssh` may be Warded's even without a key file: its key is in an agent.
        let there = is_there(&self.key) || (self.is_named && is_there(&self.beside(CERTIFICATE)));
        let others = if there && self.private().is_none() {
            self.key.clone()
        } else if is_there(&self.beside(PUBLIC)) && !self.public_is_ours() {
            self.beside(PUBLIC)
        } else {
            return Ok(());
        };
        Err(Error::refused(format!("{} is there, and `warded login` did not make it", neutral_path(&others)))
            .unchanged()
            .next("name another file with --out"))
    }

    /// Checks that the files can be written, before the CA is asked for a certificate.
    pub(super) fn ready(&self) -> Result<()> {
        self.refuse_others()?;
        self.directory().and_then(durable::writable).map_err(|error| self.failed("write", &self.key, &error))
    }

    /// Writes the private key and its certificate.
    pub(super) fn write(&self, key: &PrivateKey, certificate: &Certificate) -> Result<()> {
        self.refuse_others()?;
        let text = key.to_openssh(LineEnding::LF).map_err(|error| self.failed("write", &self.key, &error))?;
        let public = key.public_key().to_openssh().map_err(|error| self.failed("write", &self.key, &error))?;
        self.put(&self.key, text.as_bytes(), 0o600)?;
        self.put(&self.beside(PUBLIC), format!("{public}\n").as_bytes(), 0o644)?;
        self.put(&self.beside(CERTIFICATE), certificate.to_file().as_bytes(), 0o644)
    }

    /// Writes only the certificate, for `IdentityFile`; a key of an earlier login would not fit it.
    pub(super) fn write_public(&self, certificate: &Certificate) -> Result<()> {
        self.forget_key()?;
        self.put(&self.beside(CERTIFICATE), certificate.to_file().as_bytes(), 0o644)
    }

    /// Removes those of the files that are Warded's, and returns them.
    pub(crate) fn remove(&self) -> Result<Vec<PathBuf>> {
        self.removable().into_iter().filter_map(|path| self.take(path).transpose()).collect()
    }

    /// The files that exist and are Warded's.
    pub(crate) fn removable(&self) -> Vec<PathBuf> {
        let mut ours = self.key_and_public();
        // A certificate beside a key that is not Warded's is not Warded's, either. In a place that a person named, a
        // certificate without a key may be that of a smartcard.
        let goes_with_key = ours.contains(&self.key) || (!self.is_named && self.key.symlink_metadata().is_err());
        if goes_with_key && self.certificate().is_some() {
            ours.push(self.beside(CERTIFICATE));
        }
        ours
    }

    /// The argument of `IdentityFile` in ssh_config(5).
    pub(super) fn identity_file(&self, is_written: bool) -> String {
        let path = if is_written { self.key.clone() } else { self.beside(CERTIFICATE) };
        let text = self.shown(&path).replace('%', "%%");
        if text.contains([' ', '"', '#']) { format!("\"{text}\"") } else { text }
    }

    /// What to say of the files after the agent has refused the key.
    pub(super) fn state(&self, certificate: &Certificate) -> String {
        let hours = certificate.valid_before().saturating_sub(ca::now()) / 3600;
        format!(
            "the key and its certificate (good for {hours} h) are in files, without a passphrase; to use them: ssh -i {} HOST; \
             to remove them: warded logout",
            shell_word(&self.key.display().to_string())
        )
    }

    /// The paths that `write` writes, or only that of the certificate.
    pub(super) fn paths(&self, is_written: bool) -> Vec<String> {
        let key = is_written.then(|| self.key.display().to_string());
        key.into_iter().chain([self.beside(CERTIFICATE).display().to_string()]).collect()
    }

    fn forget_key(&self) -> Result<()> {
        self.key_and_public().into_iter().try_for_each(|path| self.take(path).map(drop))
    }

    /// The private key and the public key, if Warded made them.
    fn key_and_public(&self) -> Vec<PathBuf> {
        if self.private().is_none() {
            return Vec::new();
        }
        let public = self.public_is_ours().then(|| self.beside(PUBLIC));
        [Some(self.key.clone()), public].into_iter().flatten().collect()
    }

    /// Whether Warded made this public key file.
    fn public_is_ours(&self) -> bool {
        let public = read(&self.beside(PUBLIC)).and_then(|text| String::from_utf8(text).ok());
        public.and_then(|text| PublicKey::from_openssh(&text).ok()).is_some_and(|key| key.comment().ends_with(MARK))
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
        let key = PrivateKey::from_openssh(Zeroizing::new(read(&self.key)?)).ok()?;
        key.comment().ends_with(MARK).then_some(key)
    }

    fn put(&self, path: &Path, contents: &[u8], mode: u32) -> Result<()> {
        let written = self.directory().and_then(|_| durable::replace(path, contents, mode));
        written.map_err(|error| self.failed("write", path, &error))
    }

    /// The directory of the files, which is created if necessary.
    fn directory(&self) -> io::Result<&Path> {
        let directory = self.key.parent().unwrap_or(Path::new("/"));
        if !directory.exists() {
            durable::private_directory(directory)?;
        }
        Ok(directory)
    }

    fn failed(&self, verb: &str, path: &Path, error: &dyn std::fmt::Display) -> Error {
        Error::failed(format!("could not {verb} {}", neutral(&self.shown(path)))).cause(error)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.key);
        name.push(suffix);
        name.into()
    }

    /// The path as ssh_config and a shell read it.
    fn shown(&self, path: &Path) -> String {
        let below = self.home.as_ref().and_then(|home| path.strip_prefix(home).ok());
        below.map_or_else(|| path.display().to_string(), |below| format!("~/{}", below.display()))
    }
}

/// The contents of a regular file. Nothing else is opened, since opening a FIFO would wait for a writer.
fn read(path: &Path) -> Option<Vec<u8>> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut contents = Vec::new();
    fs::File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut contents).ok()?;
    Some(contents)
}

/// The keys that signed the certificates of earlier logins.
pub(crate) fn known_signers(files: &[Files]) -> Vec<PublicKey> {
    files.iter().filter_map(|files| Some(files.certificate()?.signer().clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use ssh_key::{Algorithm, rand_core::OsRng};

    fn key(comment: &str) -> PrivateKey {
        let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
        key.set_comment(comment);
        key
    }

    #[test]
    fn what_another_program_made_is_neither_replaced_nor_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let public = |key: &PrivateKey| format!("{}\n", key.public_key().to_openssh().unwrap());
        let (ours, theirs) = (key(&comment("ann")), key("ann@smartcard"));
        fs::write(at("card.pub"), public(&theirs)).unwrap();
        fs::write(at("mixed"), ours.to_openssh(LineEnding::LF).unwrap()).unwrap();
        fs::write(at("mixed.pub"), public(&theirs)).unwrap();
        for suffix in ["", PUBLIC, CERTIFICATE] {
            mknodat(CWD, at(&format!("fifo{suffix}{suffix}")), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        }
        for (name, named) in [
            ("card", "card.pub is there, and `warded login` did not make it"),
            ("mixed", "mixed.pub is there, and `warded login` did not make it"),
            ("fifo", "fifo is a FIFO"),
            ("fifo.pub", "fifo.pub.pub is a FIFO"),
            ("fifo-cert.pub", "fifo-cert.pub-cert.pub is a FIFO"),
        ] {
            let error = Files::at(&at(name)).unwrap().ready().unwrap_err();
            assert!(error.message().contains(named), "{name}: {error}");
        }
        assert!(Files::at(&at("card")).unwrap().remove().unwrap().is_empty());
        assert!(Files::at(&at("fifo")).unwrap().remove().unwrap().is_empty());
        assert_eq!(Files::at(&at("mixed")).unwrap().remove().unwrap(), [at("mixed")]);
        for name in ["card.pub", "mixed.pub"] {
            assert_eq!(fs::read_to_string(at(name)).unwrap(), public(&theirs), "{name}");
        }
        fs::write(at("mine"), ours.to_openssh(LineEnding::LF).unwrap()).unwrap();
        fs::write(at("mine.pub"), public(&ours)).unwrap();
        Files::at(&at("mine")).unwrap().ready().unwrap();
        assert_eq!(Files::at(&at("mine")).unwrap().remove().unwrap(), [at("mine"), at("mine.pub")]);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_found_before_the_ca_is_asked() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("file"), "").unwrap();
        for bad in [scratch.path().join("file/key"), scratch.path().join("file/deeper/key"), "/proc/x/key".into()] {
            let error = Files::at(&bad).unwrap().ready().unwrap_err();
            assert!(error.message().contains("write"), "{error}");
        }
        Files::at(&scratch.path().join("new/key")).unwrap().ready().unwrap();
        assert_eq!(fs::read_dir(scratch.path().join("new")).unwrap().count(), 0);
    }
}
