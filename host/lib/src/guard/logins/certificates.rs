//! Logins by user certificate, where sshd would trust keys of a CA that it does not trust now, or accept other
//! principals. This module checks whose keys these are and which ways in are left if the CA is lost, and asks sshd
//! itself whom it would let in.

mod login_trial;
mod mapping;
mod obstacle;

pub(in crate::guard) use mapping::is_own_file;

use super::{
    Candidate, MayChange, Risks,
    methods::{User, ways},
};
use crate::{
    error::{Error, Result},
    guard::baseline::Baseline,
    machine::{
        files::Root,
        sshd::{
            Effective,
            tree::{Overlay, StagedFiles, Tree},
        },
        users,
    },
    text::neutral,
};
use obstacle::refuse_algorithms;
use ssh_key::{HashAlg, PublicKey, public::KeyData};
use sshd_config::trusted_keys::{self, FILE_NAME};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The keywords that open a way in by certificate; any other way in works without the CA.
const OF_CERTIFICATES: [&str; 2] = ["TrustedUserCAKeys", "AuthorizedPrincipalsCommand"];
/// The keywords that open a way in by something that the user knows.
const OF_PASSWORDS: [&str; 2] = ["PasswordAuthentication", "KbdInteractiveAuthentication"];

/// How sshd would treat certificates of a CA that it does not trust yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Users whom a certificate lets in, each with the principal that does so if it is not the user's name.
    pub taken: Vec<String>,
    /// Users whom no certificate lets in, each with the reason.
    pub refused: Vec<String>,
    /// The user for whom a login by certificate was carried out.
    pub logged_in: Option<String>,
    /// What was not asked or not proved, and why.
    pub not_proved: Vec<String>,
    /// Whether a certificate whose principal is the name of one of root's accounts lets root in.
    pub admits_root: bool,
}

/// Whether a file is Warded's own list of the CA's keys, to which nothing but the CA's keys can be written.
pub(super) fn is_own(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == FILE_NAME)
}

impl Candidate {
    /// Checks the CA keys that sshd would newly trust; if there are none, only changed principals. The new keys have
    /// to be among `roots`, which the operator's CA gave to this run.
    ///
    /// # Errors
    /// Refused: the keys are another CA's; without the CA nobody could log in; sshd would let nobody in by such a
    /// certificate; or it would let root in, and the operator has not accepted that.
    pub fn admits_certificates(
        &self,
        baseline: &Baseline,
        may_change: MayChange<'_>,
        roots: &[PublicKey],
    ) -> Result<Certificates> {
        let effective = &self.view()?.effective;
        let (nothing, staged) = (StagedFiles::new(), Overlay(&self.staged));
        let known = keys(&files(&baseline.view.effective, &baseline.tree), Overlay(&nothing));
        let named = files(effective, &self.tree);
        let all = keys(&named, staged);
        let new: Vec<PublicKey> = all.into_iter().filter(|key| !has(&known, key.key_data())).collect();
        // An undo brings back keys that were trusted before, and there may be a reason why they have been dropped
        // since.
        if matches!(may_change, MayChange::Any) {
            return if new.is_empty() || self.risks.admit {
                Ok(Certificates::default())
            } else {
                Err(refuse_again(&new))
            };
        }
        let before = files(&baseline.view.effective, &baseline.tree);
        let mut added = named.clone();
        added.retain(|path| !before.contains(path));
        if !self.risks.admit {
            self.refuse_changeable(&added)?;
            self.refuse_empty(&added)?;
        }
        if new.is_empty() {
            return self.remaps(baseline);
        }
        if let Some(foreign) = new.iter().find(|key| !has(roots, key.key_data())) {
            return if self.risks.admit { Ok(Certificates::default()) } else { Err(refuse_foreign(foreign)) };
        }
        self.refuse_changeable(&named)?;
        self.refuse_damaged(&named)?;
        self.refuse_ineffective(&new)?;
        self.refuse_without_another_way(baseline)?;
        for key in &new {
            refuse_algorithms(effective, key)?;
        }
        let found = self.ask_for_certificates(baseline, &new)?;
        judge(found, self.risks)
    }

    /// Finds out whom the keys that sshd trusts already would let in by other principals than today. It tries all of
    /// these keys, whichever the procedure asked for.
    fn remaps(&self, baseline: &Baseline) -> Result<Certificates> {
        if !self.changes_principals(baseline)? {
            return Ok(Certificates::default());
        }
        let trusted = keys(&files(&self.view()?.effective, &self.tree), Overlay(&self.staged));
        if trusted.is_empty() {
            return Ok(Certificates::default());
        }
        judge(self.ask_for_certificates(baseline, &trusted)?, self.risks)
    }

    /// Refuses files that others can write: sshd does not check that, and whoever can write one can log in as any
    /// user.
    fn refuse_changeable(&self, named: &[PathBuf]) -> Result<()> {
        let root = Root::ambient().map_err(|error| Error::failed("cannot open the root directory").cause(error))?;
        for path in named {
            if let (Ok(true), Err(error)) = (path.try_exists(), root.program(path)) {
                return Err(Error::refused(format!(
                    "{} has keys of user CAs, and others can change it",
                    path.display()
                ))
                .cause(error.message)
                .next("give that file and its directories to root, or take its line out"));
            }
        }
        Ok(())
    }

    /// Refuses a list without a key, which does not tell who will be let in by it later.
    fn refuse_empty(&self, named: &[PathBuf]) -> Result<()> {
        let is_empty = |path: &&PathBuf| keys(std::slice::from_ref(*path), Overlay(&self.staged)).is_empty();
        let Some(path) = named.iter().find(is_empty) else { return Ok(()) };
        Err(Error::refused(format!("sshd would take the keys of user CAs from {}, which has none", path.display()))
            .cause("a user who can write to that file later decides who can log in")
            .next("if that is what you want, run it again with --accept-risk=admit-logins"))
    }

    /// Refuses a file with a line that is not a key, because sshd accepts none of its other keys either.
    fn refuse_damaged(&self, named: &[PathBuf]) -> Result<()> {
        for path in named {
            let contents = match Overlay(&self.staged).read(path) {
                Ok(contents) => contents,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(Error::refused(format!("{} cannot be read", path.display())).cause(error));
                }
            };
            if let Err(fault) = trusted_keys::read(&contents)
                && !fault.kind.is_harmless()
            {
                return Err(Error::refused(format!("the list of user CA keys {} {fault}", path.display()))
                    .cause("sshd would silently accept no certificate that is signed by any key in it")
                    .next("correct that file, then run this again"));
            }
        }
        Ok(())
    }

    /// Refuses a change without effect: sshd takes the first file that a line names, and ignores later lines.
    fn refuse_ineffective(&self, new: &[PublicKey]) -> Result<()> {
        let values = self.view()?.effective.values("trustedusercakeys").to_vec();
        let counts = keys(&paths(values.iter().cloned()), Overlay(&self.staged));
        if new.iter().all(|key| has(&counts, key.key_data())) {
            return Ok(());
        }
        Err(Error::refused("sshd would not take the CA's keys from where they are written")
            .cause(format!("another line comes first: TrustedUserCAKeys {}", neutral(&values.join(" ")))))
    }

    /// Refuses if an administrator could not get in without the CA, which may be lost.
    fn refuse_without_another_way(&self, baseline: &Baseline) -> Result<()> {
        let effective = &self.view()?.effective;
        let accounts = users::all();
        let all: Vec<User> = accounts.iter().cloned().map(User::from).collect();
        let others = !users::other_sources().is_empty();
        let passwords = users::with_password();
        let knows_password = |user: &User| {
            let known = passwords.as_ref().is_none_or(|known| known.contains(&user.name));
            known || (others && !accounts.iter().any(|account| account.name == user.name))
        };
        let has_another = |user: &User| {
            ways(user, effective, Overlay(&self.staged)).all.values().any(|way| {
                !OF_CERTIFICATES.contains(&way.keyword)
                    && (!OF_PASSWORDS.contains(&way.keyword) || knows_password(user))
            })
        };
        let kept = baseline.users.iter().map(|name| User::named(name, &all));
        let with_shell = accounts.iter().filter(|account| account.has_shell()).cloned().map(User::from);
        if self.risks.lose || kept.chain(with_shell).any(|user| has_another(&user)) {
            return Ok(());
        }
        Err(Error::refused("if the CA were lost, nobody could log in")
            .cause("no user has a key that sshd takes, or a password where it takes passwords")
            .next(another_way(effective))
            .next("if you want to depend on the CA alone, run it again with --accept-risk=lose-ssh"))
    }
}

/// How an administrator gets in without the CA. A key is of no use where sshd accepts none.
fn another_way(effective: &Effective) -> String {
    let says = |(keyword, value): &(&str, &str)| effective.values(&keyword.to_ascii_lowercase()) == [*value];
    let closed: Vec<String> = [("PubkeyAuthentication", "no"), ("AuthorizedKeysFile", "none")]
        .iter()
        .filter(|line| says(line))
        .map(|(keyword, value)| format!("`{keyword} {value}`"))
        .collect();
    let key = "give an administrator a key (authorized_keys) for that case";
    if closed.is_empty() {
        key.to_owned()
    } else {
        format!("remove {} from sshd's configuration, so that it takes keys; then {key}", closed.join(" and "))
    }
}

fn judge(found: Certificates, risks: Risks) -> Result<Certificates> {
    if found.taken.is_empty() && !found.refused.is_empty() && found.not_proved.is_empty() {
        return Err(
            Error::refused("sshd would let nobody in by a certificate of this CA").seen(found.refused.join("\n"))
        );
    }
    if found.admits_root && !risks.root {
        return Err(Error::refused("a certificate with the principal root would log in as root")
            .cause("the CA may give a person such a certificate, for example for a mail address that begins with root@")
            .next("keep root out (PermitRootLogin no), or say which principals are root's (AuthorizedPrincipalsFile)")
            .next("if that is what you want, run it again with --accept-risk=root-by-certificate"));
    }
    Ok(found)
}

fn refuse_again(keys: &[PublicKey]) -> Error {
    let shown: Vec<String> =
        keys.iter().map(|key| format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))).collect();
    Error::refused("sshd would trust user CA keys again that it does not trust now")
        .seen(shown.join("\n"))
        .cause("the CA has dropped them: a person with such a key could log in as any user")
        .next("if that is what you want, run it again with --accept-risk=admit-logins")
}

fn refuse_foreign(key: &PublicKey) -> Error {
    let shown = format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256));
    Error::refused("sshd would trust a user CA that this run did not get from the configured CA")
        .cause(format!("a person with that key could log in as any user: {shown}"))
        .next("if that is what you want, run it again with --accept-risk=admit-logins")
}

/// The files of CA keys that a configuration names, including those in a `Match`.
fn files(effective: &Effective, tree: &Tree) -> Vec<PathBuf> {
    let lines = tree.directives().filter(|(_, _, directive)| directive.keyword == "trustedusercakeys");
    let named = lines.flat_map(|(_, _, directive)| directive.arguments).map(|argument| argument.text);
    paths(named.chain(effective.values("trustedusercakeys").iter().cloned()))
}

fn paths(values: impl Iterator<Item = String>) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for path in values.filter(|path| !path.eq_ignore_ascii_case("none")).map(PathBuf::from) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

/// Every key in the files, whatever else is in them: what sshd does not read today, it may read once a line is
/// corrected.
fn keys(files: &[PathBuf], overlay: Overlay<'_>) -> Vec<PublicKey> {
    let mut all: Vec<PublicKey> = Vec::new();
    for path in files {
        let bytes = overlay.read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        for key in text.lines().filter_map(|line| PublicKey::from_openssh(line.trim()).ok()) {
            if !has(&all, key.key_data()) {
                all.push(key);
            }
        }
    }
    all
}

fn has(keys: &[PublicKey], key: &KeyData) -> bool {
    keys.iter().any(|one| one.key_data() == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_no_way_in_where_sshd_takes_none() {
        for (lines, expected) in [
            ("", "give an administrator a key"),
            ("pubkeyauthentication yes\nauthorizedkeysfile .ssh/authorized_keys\n", "give an administrator a key"),
            ("pubkeyauthentication no\n", "remove `PubkeyAuthentication no` from sshd's configuration"),
            ("authorizedkeysfile none\n", "remove `AuthorizedKeysFile none` from sshd's configuration"),
        ] {
            let told = another_way(&Effective::parse(lines));
            assert!(told.starts_with(expected), "{lines}: {told}");
        }
    }
}
