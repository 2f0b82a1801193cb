//! Whether a candidate may be put in place, as far as sshd itself and its files can tell: before
//! the CA is asked, and before any handshake.

use super::{
    Candidate,
    baseline::{self, Baseline},
    both, connections, files,
    includes::{self, ConfigFile, Overlay, Staged, Tree},
    keywords::{self, MayChange},
    on_two_threads, revocation,
};
use crate::{
    error::{Error, Result},
    machine::sshd::{Effective, Sshd, Tested},
};
use ssh_key::HashAlg;
use std::{collections::BTreeSet, net::SocketAddr, path::Path};

impl Candidate {
    /// Checks the candidate against what is so now: sshd accepts it without a new word; only
    /// `granted` keywords differ, in its lines and for every connection; every host key and address
    /// that is live stays; no file that it names is newly wrong.
    ///
    /// # Errors
    /// With the first of these that does not hold.
    pub fn check(&self, baseline: &Baseline, granted: MayChange<'_>) -> Result<()> {
        let files = self.tree.files.iter().chain(&baseline.tree.files);
        // A file that goes is in the tree as it was, one that comes in the tree as it would be.
        refuse_lines(&self.staged, files, granted)?;
        self.check_named()?;
        let sshd = &self.original;
        let _held = sshd.hold()?;
        let (tested, effective) = both(|| self.test(), || self.effective(&[]))?;
        check_words(&baseline.tested, &tested)?;
        let mut lists = revocation_lists(&self.tree, &effective);
        // What a line names that goes, sshd reads until it is told.
        lists.extend(revocation_lists(&baseline.tree, &baseline.effective));
        revocation::refuse_lists(&self.staged, &lists, granted)?;
        self.check_effects(baseline, &effective, granted)?;
        self.check_host_keys(baseline, &effective)?;
        check_addresses(sshd, &effective)?;
        self.check_files(baseline, &effective)
    }

    /// What sshd reads while it is tested has an end: neither waits it, nor does it fill the memory.
    fn check_named(&self) -> Result<()> {
        let overlay = Overlay(&self.staged);
        for (_, _, directive) in self.tree.directives() {
            if !["hostcertificate", "hostkey", "trustedusercakeys", "revokedkeys"].contains(&directive.keyword.as_str())
            {
                continue;
            }
            for argument in &directive.arguments {
                // sshd takes a relative path against its working directory, which may be either.
                for base in [std::env::current_dir().unwrap_or_default(), "/".into()] {
                    let path = base.join(&argument.text);
                    match overlay.read(&path) {
                        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                            return Err(includes::endless(&path, &directive.keyword, &error));
                        }
                        Ok(_) | Err(_) => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn check_effects(&self, baseline: &Baseline, all: &Effective, granted: MayChange<'_>) -> Result<()> {
        refuse_effects(&baseline.effective, all, "everybody", granted)?;
        let sshd = &self.original;
        let mut wanted: Vec<_> = baseline.connections.iter().map(|(connection, _)| connection.clone()).collect();
        let new = connections::connections(&self.tree, &baseline.users);
        wanted.extend(new.into_iter().filter(|one| !baseline.connections.iter().any(|(known, _)| known == one)));
        on_two_threads(&wanted, |connection| {
            let known =
                baseline.connections.iter().find(|(one, _)| one == connection).map(|(_, effective)| effective.clone());
            let before = known.map_or_else(|| sshd.effective(sshd.config.as_path(), connection, &[]), Ok)?;
            let whom: Vec<_> = connection.iter().map(|(field, value)| format!("{field} {value}")).collect();
            refuse_effects(&before, &self.effective(connection)?, &whom.join(", "), granted)
        })
        .map(|_| ())
    }

    fn check_host_keys(&self, baseline: &Baseline, effective: &Effective) -> Result<()> {
        let keys = baseline::public_keys(effective, Overlay(&self.staged));
        let has = |print: &str| keys.iter().any(|key| key.fingerprint(HashAlg::Sha256).to_string() == print);
        for key in baseline.offered.iter().flat_map(|offered| &offered.keys) {
            if !keys.is_empty() && !has(&key.fingerprint) {
                return Err(Error::refused(format!("sshd would no longer offer its {} host key", key.key_type))
                    .cause("every client that knows it would warn of a changed identity, and refuse")
                    .seen(format!("offered now: {}", key.fingerprint))
                    .state("nothing was changed")
                    .next("look for a changed HostKey line, or key file, that sshd was not told of"));
            }
        }
        Ok(())
    }

    fn check_files(&self, baseline: &Baseline, effective: &Effective) -> Result<()> {
        let overlay = Overlay(&self.staged);
        let keys = baseline::public_keys(effective, overlay);
        let mut known = baseline.problems.clone();
        let mut new = files::problems(effective, overlay, &keys, baseline::now());
        new.retain(|problem| {
            known.iter().position(|one| one == problem).map(|index| known.swap_remove(index)).is_none()
        });
        match new.first() {
            None => Ok(()),
            Some(problem) => Err(Error::refused(problem.clone())
                .cause("sshd itself says nothing about it")
                .state("nothing was changed")),
        }
    }
}

/// What `RevokedKeys` lines name, those within a `Match` too, and sshd's arguments.
fn revocation_lists(tree: &Tree, effective: &Effective) -> Vec<String> {
    let lines = tree.directives().filter(|(_, _, directive)| directive.keyword == "revokedkeys");
    let named = lines.flat_map(|(_, _, directive)| directive.arguments).map(|argument| argument.text);
    named.chain(effective.values("revokedkeys").iter().cloned()).collect()
}

/// Sees that in the staged ones among a configuration's `files` no line is new, or gone, that is
/// not granted. Gives those files.
pub(super) fn refuse_lines<'a, 'b>(
    staged: &'a Staged,
    files: impl IntoIterator<Item = &'b ConfigFile>,
    granted: MayChange<'_>,
) -> Result<Vec<&'a Path>> {
    let overlay = Overlay(staged);
    let parts: BTreeSet<&Path> =
        files.into_iter().filter_map(|file| overlay.staged(&file.path).map(|(key, _)| key)).collect();
    let mut found = Vec::new();
    for (path, contents) in staged.iter().filter(|(path, _)| parts.contains(path.as_path())) {
        let old = std::fs::read(path).unwrap_or_default();
        if let Some(first) = keywords::not_granted(&old, contents.as_deref().unwrap_or_default(), granted).first() {
            let place = format!("{} line {}", path.display(), first.line);
            return Err(Error::refused(format!("{place} {}, which is not granted", first.what))
                .cause(grants(granted))
                .state("nothing was changed"));
        }
        found.push(path.as_path());
    }
    Ok(found)
}

fn check_words(before: &Tested, after: &Tested) -> Result<()> {
    if after.without_keys && !before.without_keys {
        return Err(Error::refused("sshd would not start: it would have no host key that it can use")
            .state("nothing was changed"));
    }
    let mut known = before.words.clone();
    let mut new = after.words.clone();
    new.retain(|line| known.iter().position(|one| one == line).map(|index| known.swap_remove(index)).is_none());
    if new.is_empty() {
        return Ok(());
    }
    Err(Error::refused("sshd would accept the configuration, but complain")
        .cause(new.join("\n"))
        .state("nothing was changed"))
}

fn refuse_effects(before: &Effective, after: &Effective, whom: &str, granted: MayChange<'_>) -> Result<()> {
    let found = keywords::effects(before, after, granted);
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("sshd's configuration would change beyond what is granted (for {whom})"))
        .cause(grants(granted))
        .seen(found.join("\n"))
        .state("nothing was changed"))
}

fn grants(granted: MayChange<'_>) -> String {
    match granted {
        MayChange::Any => "any sshd keyword may change".to_owned(),
        MayChange::Only([]) => "no sshd keyword is granted".to_owned(),
        MayChange::Only(keywords) => format!("granted: {}", keywords.join(", ")),
    }
}

/// Every address that is live must be in the candidate: our reload would switch on what somebody
/// else has left unfinished. Those that systemd holds are not sshd's to give up.
fn check_addresses(sshd: &Sshd, effective: &Effective) -> Result<()> {
    let sockets = sshd.listener.iter().filter_map(|listener| listener.sockets.as_ref()).flatten();
    for socket in sockets.filter(|socket| !socket.inherited) {
        let covers = |address: SocketAddr| {
            let any = address.ip().is_unspecified() && address.is_ipv4() == socket.address.is_ipv4();
            address.port() == socket.address.port() && (any || address.ip() == socket.address.ip())
        };
        if !effective.addresses().any(covers) {
            let configured: Vec<_> = effective.addresses().map(|address| address.to_string()).collect();
            return Err(Error::refused(format!("a reload would close {}, where sshd listens now", socket.address))
                .cause("the configuration was changed and sshd has not read it yet")
                .seen(format!("configured: {}", configured.join(", ")))
                .state("nothing was changed")
                .next("finish or take back that change, reload sshd, and try again"));
        }
    }
    Ok(())
}
