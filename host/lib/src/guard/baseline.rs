//! What is so before a change: sshd's words, its configuration for everybody it distinguishes, and
//! the host keys that it really offers. Everything later is compared with this.

use super::{
    both,
    connections::{self, Connection},
    files,
    includes::{Overlay, Staged, Tree},
    offer::{Offered, Prober},
    on_two_threads,
    probe::Client,
    unchanged::{self, Digests},
};
use crate::{
    error::{Error, Result},
    machine::{
        keys::replaced::Replaced,
        sshd::{Effective, Sshd, Tested, host_key},
    },
};
use ssh_key::{HashAlg, PublicKey};
use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// The state of an sshd before a change.
#[derive(Debug)]
pub struct Baseline {
    /// What `sshd -t` says.
    pub tested: Tested,
    /// The configuration for nobody in particular.
    pub effective: Effective,
    /// The configuration for each connection that it distinguishes.
    pub connections: Vec<(Connection, Effective)>,
    /// The host keys on disk whose public half can be read.
    pub host_keys: Vec<(PathBuf, PublicKey)>,
    /// What is wrong already with the files that the configuration names.
    pub problems: Vec<String>,
    /// What the listener offers; none without a listener.
    pub offered: Option<Offered>,
    /// Who must get in: the one who runs this and the one who became root.
    pub users: Vec<String>,
    pub(super) client: Client,
    pub(super) tree: Tree,
}

impl Baseline {
    /// Looks at an sshd as it is.
    ///
    /// # Errors
    /// When its configuration is broken already, or its listener cannot be asked: then nobody could
    /// tell afterwards whether a change locked anybody out.
    pub fn take(sshd: &Sshd) -> Result<Self> {
        let client = Client::find()?;
        let users = connections::users();
        let user = users.last().cloned().unwrap_or_else(|| "root".to_owned());
        let _held = sshd.hold()?;
        let (offered, looked) = both(
            || Prober::new(&client, sshd, &user)?.map(|mut prober| prober.survey(false)).transpose(),
            || Looked::at(sshd, &users),
        )?;
        let Looked { tree, tested, effective, connections, host_keys, problems } = looked;
        Ok(Self { tested, effective, connections, host_keys, problems, offered, users, client, tree })
    }

    /// Who probes: the user who is most likely to log in for real.
    #[must_use]
    pub fn user(&self) -> &str {
        self.users.last().map_or("root", String::as_str)
    }

    /// Sees that no file of sshd's configuration has been changed since: by us or anybody. To be
    /// asked under the lock, right before the first exchange, since it is this configuration that
    /// the candidate was made from, and that a reload would switch on.
    ///
    /// # Errors
    /// Refused: a file was changed, added or removed meanwhile.
    pub fn still_holds(&self, sshd: &Sshd) -> Result<()> {
        match unchanged::difference(&self.files(), &unchanged::now(sshd.config.as_path())?) {
            None => Ok(()),
            Some(path) => Err(Error::refused(format!("{} was changed while this ran", path.display()))
                .cause("what was checked is no longer what sshd would read")
                .state("nothing was changed")
                .next("run this again when nobody else is editing sshd's configuration")),
        }
    }

    /// Puts keys in the place of others: in everything that is compared with this from here on,
    /// the new one is expected where the old one was. Who has to be recognised is still known.
    pub fn replace_keys(&mut self, replaced: &[Replaced]) {
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
        unchanged::digests(&self.tree)
    }

    /// The public keys of the host keys.
    #[must_use]
    pub fn public_keys(&self) -> Vec<PublicKey> {
        self.host_keys.iter().map(|(_, key)| key.clone()).collect()
    }
}

/// The part that asks sshd and the disk, not the listener.
struct Looked {
    tree: Tree,
    tested: Tested,
    effective: Effective,
    connections: Vec<(Connection, Effective)>,
    host_keys: Vec<(PathBuf, PublicKey)>,
    problems: Vec<String>,
}

impl Looked {
    fn at(sshd: &Sshd, users: &[String]) -> Result<Self> {
        let config = sshd.config.as_path();
        let nothing = Staged::new();
        let tree = Tree::read(config, Overlay(&nothing))?;
        let tested = sshd.test(config, &[]).map_err(|error| {
            let broken =
                Error::refused(format!("sshd's configuration {config} is broken already", config = sshd.config));
            let broken = error.notes().fold(broken, |broken, (_, text)| broken.cause(text));
            broken
                .state("nothing was changed")
                .next(format!("correct it until `{} -t` is silent", sshd.binary.display()))
        })?;
        let effective = sshd.effective(config, &[], &[])?;
        let wanted = connections::connections(&tree, users);
        let connections =
            on_two_threads(&wanted, |connection| Ok((connection.clone(), sshd.effective(config, connection, &[])?)))?;
        let keys = effective.host_keys.iter();
        let host_keys: Vec<_> = keys.filter_map(|path| Some((path.clone(), host_key::public(path)?))).collect();
        let public: Vec<_> = host_keys.iter().map(|(_, key)| key.clone()).collect();
        let problems = files::problems(&effective, Overlay(&nothing), &public, now());
        Ok(Self { tree, tested, effective, connections, host_keys, problems })
    }
}

/// The time in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// The public halves of a configuration's host keys, with the staged files in place.
pub(super) fn public_keys(effective: &Effective, overlay: Overlay<'_>) -> Vec<PublicKey> {
    let key = |path: &String| match overlay.staged(Path::new(path)) {
        Some((_, contents)) => host_key::public_of(contents, Path::new(path)),
        None => host_key::public(Path::new(path)),
    };
    effective.values("hostkey").iter().filter_map(key).collect()
}
