//! The state before a change: sshd's messages, its configuration, and the host keys that it really offers. Everything
//! later is compared with this.

use super::{
    client::{Client, trust},
    config::{
        config_digest::{self, Digests},
        files,
    },
    former_key::{self, FormerKey},
    survey::{ListenerOffer, Prober},
};
use crate::{
    error::{Error, Exit, Result},
    machine::{
        keys::replaced::KeyReplacement,
        sshd::{
            Effective, Listener, Sshd, View, host_key,
            tree::{Overlay, StagedFiles, Tree},
        },
        users,
    },
};
use ssh_key::{HashAlg, PublicKey};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// At most this many logged-in users are asked about one by one where a change may affect who gets in.
const MAX_LOGGED_IN: usize = 20;

/// The state of an sshd before a change.
#[derive(Debug)]
pub struct Baseline {
    /// What sshd says of its configuration.
    pub view: View,
    /// The host keys on disk whose public half can be read.
    pub host_keys: Vec<(PathBuf, PublicKey)>,
    /// What is already wrong with the files that the configuration names.
    pub problems: Vec<String>,
    /// What the listener offers; none if there is no listener, or if it cannot be asked.
    pub offered: Option<ListenerOffer>,
    /// Why the listener cannot be asked: tcp wrappers, a packet filter, or penalties may keep every probe out.
    pub unseen: Option<Error>,
    /// The offered keys that sshd would drop by reading its files again, where the run does not make it do so.
    pub former: Vec<FormerKey>,
    /// Who must get in: users who are logged in, the one who runs this and the one who became root.
    pub users: Vec<String>,
    /// Those of them who run this: the user, and the one who became root.
    pub(super) kept: Vec<String>,
    /// How many more users are logged in.
    pub(super) more_users: usize,
    pub(super) client: Client,
    pub tree: Tree,
}

impl Baseline {
    /// Records the present state of an sshd.
    ///
    /// # Errors
    /// Its configuration is already broken.
    pub fn take(sshd: &Sshd) -> Result<Self> {
        let tree = Tree::read(sshd.config.as_path(), Overlay(&StagedFiles::new()))?;
        let view = sshd.view(sshd.config.as_path(), &tree).map_err(|error| {
            let broken =
                Error::refused(format!("sshd's configuration {config} is broken already", config = sshd.config));
            let broken = error.notes().fold(broken, |broken, (_, text)| broken.cause(text));
            broken.next(format!("correct it until `{} -t` is silent", sshd.binary.display()))
        })?;
        let effective = &view.effective;
        let keys = effective.host_keys.iter();
        let host_keys: Vec<_> = keys.filter_map(|path| Some((path.clone(), host_key::public(path)?))).collect();
        let public: Vec<_> = host_keys.iter().map(|(_, key)| key.clone()).collect();
        let problems = files::problems(effective, Overlay(&StagedFiles::new()), &public, trust::now());
        let mut users = users::logged_in();
        let more_users = users.len().saturating_sub(MAX_LOGGED_IN);
        users.truncate(MAX_LOGGED_IN);
        let kept = users::to_keep();
        users.extend(kept.iter().cloned());
        let (client, user) = (Client::default(), users.last().map_or("root", String::as_str));
        let prober = Prober::new(&client, sshd, user, Some(effective))?;
        let (offered, unseen) = match prober.map(|prober| prober.survey(false)).transpose() {
            Ok(offered) => (offered, None),
            // The listener was asked and did not answer.
            Err(error) if error.exit() == Exit::Refused => (None, Some(error)),
            Err(error) => return Err(error),
        };
        let former = Vec::new();
        Ok(Self { view, host_keys, problems, offered, unseen, former, users, kept, more_users, client, tree })
    }

    /// Notes the offered keys that sshd would drop by reading its files again: from here on, nothing is refused
    /// because of them. The caller must not make an sshd that offers such keys read its files again.
    pub fn spare_former(&mut self, listener: &Listener) {
        let former = self.offered.as_ref().map(|offered| former_key::former(offered, &self.host_keys, listener));
        self.former = former.unwrap_or_default();
    }

    /// The user as whom probes connect: the one most likely to log in for real.
    #[must_use]
    pub fn user(&self) -> &str {
        self.users.last().map_or("root", String::as_str)
    }

    /// Checks that nobody, Warded included, has changed a file of sshd's configuration since. To be called under the
    /// lock, right before the first exchange: the candidate was made from this configuration, and a reload would put
    /// into effect what is on disk.
    ///
    /// # Errors
    /// Refused: a file was changed, added or removed meanwhile.
    pub fn still_holds(&self, sshd: &Sshd) -> Result<()> {
        match config_digest::difference(&self.files(), &config_digest::now(sshd.config.as_path())?) {
            None => Ok(()),
            Some(path) => Err(Error::refused(format!("{} was changed while this ran", path.display()))
                .cause("what was checked is no longer what sshd would read")
                .next("run this again when nobody else is editing sshd's configuration")),
        }
    }

    /// Replaces keys by others: whatever is compared with this baseline from here on must have the new key where the
    /// old one was. The old keys stay known.
    pub fn replace_keys(&mut self, replaced: &[KeyReplacement]) {
        for one in replaced {
            let ended = one.ended().to_string();
            for key in self.offered.iter_mut().flat_map(|offered| &mut offered.keys) {
                if key.fingerprint == ended {
                    key.fingerprint = one.new.fingerprint(HashAlg::Sha256).to_string();
                }
            }
            let paths = self.host_keys.iter().filter(|(_, key)| key.key_data() == one.old.key_data());
            let new: Vec<_> = paths.map(|(path, _)| (path.clone(), one.new.clone())).collect();
            self.host_keys.extend(new);
        }
    }

    /// The files of its configuration.
    #[must_use]
    pub fn files(&self) -> Digests {
        config_digest::digests(&self.tree)
    }

    /// The first host key or configuration file that changed after a given time or is gone: sshd may still be using
    /// what it read before. What cannot be examined counts as changed.
    #[must_use]
    pub fn changed_since(&self, time: SystemTime) -> Option<PathBuf> {
        let keys = self.host_keys.iter().map(|(path, _)| path.clone());
        let files = self.tree.files.iter().map(|file| file.path.clone());
        first_changed(keys.chain(files).chain(self.places_of_what_is_gone()), time)
    }

    /// Where a file may be missing that sshd has read: host keys that a line names and that do not exist, and the
    /// directories that an `Include` lists.
    fn places_of_what_is_gone(&self) -> Vec<PathBuf> {
        let mut places = Vec::new();
        for (_, _, directive) in self.tree.directives() {
            for argument in directive.arguments {
                // sshd resolves relative paths against this directory.
                let path = Path::new("/etc/ssh").join(&argument.text);
                match directive.keyword.as_str() {
                    "hostkey" if !path.exists() => places.push(path),
                    "include" => places.extend(path.parent().filter(|listed| listed.is_dir()).map(Path::to_owned)),
                    _ => {}
                }
            }
        }
        places
    }

    /// The public keys of the host keys.
    #[must_use]
    pub fn public_keys(&self) -> Vec<PublicKey> {
        self.host_keys.iter().map(|(_, key)| key.clone()).collect()
    }
}

/// Whether sshd has to offer a plain key: it offers the key now or, without a listener, the key is on disk now.
pub(super) fn is_offered(key: &PublicKey, baseline: &Baseline) -> bool {
    let print = key.fingerprint(HashAlg::Sha256).to_string();
    match &baseline.offered {
        Some(offered) => offered.keys.iter().any(|one| one.fingerprint == print),
        None => baseline.host_keys.iter().any(|(_, one)| one.key_data() == key.key_data()),
    }
}

/// The public halves of the host keys of a configuration, with the staged files in place.
pub(super) fn public_keys(effective: &Effective, overlay: Overlay<'_>) -> Vec<PublicKey> {
    let key = |path: &String| match overlay.staged(Path::new(path)) {
        Some((_, contents)) => host_key::public_of(contents, Path::new(path)),
        None => host_key::public(Path::new(path)),
    };
    effective.values("hostkey").iter().filter_map(key).collect()
}

/// The first of these paths that changed after a given time or cannot be examined.
pub(super) fn first_changed(paths: impl IntoIterator<Item = PathBuf>, time: SystemTime) -> Option<PathBuf> {
    let is_older = |path: &PathBuf| {
        let changed = fs::metadata(path).ok().and_then(|found| {
            let (seconds, nanoseconds) = (found.ctime(), found.ctime_nsec());
            let since = Duration::new(seconds.try_into().ok()?, nanoseconds.try_into().ok()?);
            UNIX_EPOCH.checked_add(since)
        });
        changed.is_some_and(|changed| changed < time)
    };
    paths.into_iter().find(|path| !is_older(path))
}
