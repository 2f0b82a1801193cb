//! Where the logins with one CA keep their files, and what they know of each other. The CA without a name keeps its
//! certificates in `~/.ssh` itself. A CA with a name has a directory of its own, so that the logins of different CAs
//! never share files.

use std::{fs, io, path::PathBuf};
use warded_lib::{
    error::{Error, Result},
    machine::{private::StateDir, users},
    name::Name,
};

/// The directory in `~/.ssh` with the state that logins share. For a CA with a name, `-NAME` is appended.
const STATE: &str = "warded-login";
/// The file in it with the address at which the session with the provider of a single sign-on is ended.
pub(super) const SESSION: &str = "session";
/// The prefix of the file names of keys and certificates.
pub(super) const PREFIX: &str = "warded-";

/// The place of one CA's logins, in the home directory that `ssh` uses, whatever `HOME` says.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    home: PathBuf,
    ca: Option<Name>,
}

impl Place {
    /// The place for the CA with this name, or for the one without.
    ///
    /// # Errors
    /// This machine knows no home directory for this user.
    pub(crate) fn of(ca: Option<&Name>) -> Result<Self> {
        Ok(Self { home: home()?, ca: ca.cloned() })
    }

    /// All existing places.
    ///
    /// # Errors
    /// As [`Place::of`].
    pub(crate) fn all() -> Result<Vec<Self>> {
        let home = home()?;
        let entries = fs::read_dir(home.join(".ssh")).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut cas: Vec<Name> =
            names.filter_map(|name| name.strip_prefix(STATE)?.strip_prefix('-')?.parse().ok()).collect();
        cas.sort();
        Ok([None].into_iter().chain(cas.into_iter().map(Some)).map(|ca| Self { home: home.clone(), ca }).collect())
    }

    pub(super) fn home(&self) -> &PathBuf {
        &self.home
    }

    /// The directory of keys and certificates.
    pub(super) fn directory(&self) -> PathBuf {
        let ssh = self.home.join(".ssh");
        if self.ca.is_some() { ssh.join(self.state_name()) } else { ssh }
    }

    /// The directory with the state that logins on demand share, and with the address that ends the provider's session.
    pub(super) fn state(&self) -> Result<StateDir> {
        StateDir::open(&self.home.join(".ssh").join(self.state_name()))
    }

    /// Whether a login began a session with the provider of a single sign-on.
    pub(crate) fn has_session(&self) -> bool {
        self.home.join(".ssh").join(self.state_name()).join(SESSION).exists()
    }

    /// Removes the state that logins share; returns the contents of the file `wanted`.
    pub(crate) fn leave(&self, wanted: &str) -> Option<Vec<u8>> {
        let above = StateDir::find(&self.home.join(".ssh")).ok()??;
        let state = StateDir::find(&above.path().join(self.state_name())).ok()??;
        let found = state.read(wanted).ok().flatten().map(|contents| contents.to_vec());
        // Keys and certificates that are left there are not Warded's.
        for name in state.names().ok()?.into_iter().filter(|name| !name.starts_with(PREFIX)) {
            state.remove(&name).ok()?;
        }
        drop(above.remove_if_empty(&self.state_name()));
        found
    }

    fn state_name(&self) -> String {
        self.ca.as_ref().map_or_else(|| STATE.to_owned(), |ca| format!("{STATE}-{ca}"))
    }
}

/// The home directory of the user who runs this.
pub(super) fn home() -> Result<PathBuf> {
    let home = users::own().map(|user| PathBuf::from(user.home)).filter(|home| home.is_absolute());
    home.ok_or_else(|| {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        Error::usage("your home directory is not known on this machine").cause(missing).next("name a file with --out")
    })
}
