//! Checks whether a candidate may be put in place, as far as sshd itself and its files can tell. This comes before
//! the CA is asked and before any handshake.

use super::{
    baseline::{self, Baseline},
    candidate::Candidate,
    client::trust,
    config::{
        files,
        keywords::{self, MayChange},
        revocation,
        structure::{self, Difference, MatchBlocks},
    },
    survey::OfferedKey,
};
use crate::{
    error::{Error, Result},
    machine::{
        bounded,
        files::Root,
        sshd::{
            self, ConfigTest, Effective, Sshd, View,
            tree::{Overlay, Tree},
        },
    },
};
use ssh_key::HashAlg;
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// What sshd says about a certificate that it then ignores (OpenSSH: sshd.c).
const NO_KEY_FOR: &str = "No matching private key for certificate: ";
/// The keywords that name files about which sshd does not complain when they are wrong.
const NAMED_FILES: [&str; 3] = ["hostcertificate", "trustedusercakeys", "revokedkeys"];

impl Candidate {
    /// Checks the candidate against the present state. sshd accepts it without new messages. Only `granted` keywords
    /// differ, in lines that hold for everybody. Every live host key and address stays. No file that it names is
    /// newly wrong.
    ///
    /// # Errors
    /// The first of these that does not hold.
    pub fn check(&self, baseline: &Baseline, granted: MayChange<'_>) -> Result<()> {
        let parts = self.parts(baseline);
        structure::refuse_bytes(&self.staged, &parts, granted)?;
        [&self.tree, &baseline.tree].into_iter().try_for_each(|tree| structure::refuse_second_names(&parts, tree))?;
        self.difference(baseline, granted)?.refuse(granted)?;
        self.check_named()?;
        let view = self.view()?;
        if !parts.is_empty() {
            let root = Root::ambient().map_err(|error| Error::failed("cannot open the root directory").cause(error))?;
            structure::refuse_foreign_files(&root, &self.staged, &self.tree)?;
            structure::refuse_misread(&baseline.tree, &baseline.view.reading, MatchBlocks::Shut)?;
            structure::refuse_misread(&self.tree, &view.reading, MatchBlocks::Shut)?;
            if let Some(reading) = self.reading_with_blocks_open()? {
                structure::refuse_misread(&self.tree, &reading, MatchBlocks::Open)?;
            }
        }
        let View { effective, tested, .. } = view;
        self.check_words(&baseline.view.tested, tested)?;
        let mut lists = revocation_lists(&self.tree, effective);
        // sshd keeps reading such a file until it is reloaded, even though the line that names it is gone.
        lists.extend(revocation_lists(&baseline.tree, &baseline.view.effective));
        revocation::refuse_lists(&self.staged, &lists, granted)?;
        if !parts.is_empty() {
            self.check_effects(baseline, effective, granted)?;
        }
        self.check_host_keys(baseline, effective)?;
        keeps_addresses(&self.original, effective)?;
        self.check_files(baseline, effective)
    }

    /// The staged files that are part of the configuration. A removed one is found in the present tree, an added one
    /// in the future tree.
    fn parts(&self, baseline: &Baseline) -> BTreeSet<&Path> {
        structure::parts(&self.staged, self.tree.files.iter().chain(&baseline.tree.files))
    }

    /// The lines of the configuration that would be added or removed.
    pub(super) fn difference(&self, baseline: &Baseline, granted: MayChange<'_>) -> Result<Difference> {
        if self.parts(baseline).is_empty() {
            return Ok(Difference::default());
        }
        structure::difference(&baseline.tree, &self.tree, granted, Some(&self.authorship))
    }

    /// Refuses files that never end, because sshd reads them when it is tested: it must neither wait for ever nor
    /// fill the memory.
    fn check_named(&self) -> Result<()> {
        let overlay = Overlay(&self.staged);
        for (_, _, directive) in self.tree.directives() {
            if !["hostcertificate", "hostkey", "trustedusercakeys", "revokedkeys"].contains(&directive.keyword.as_str())
            {
                continue;
            }
            for argument in &directive.arguments {
                let path = Path::new(sshd::DIRECTORY).join(&argument.text);
                match overlay.read(&path) {
                    Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                        return Err(bounded::endless(&path, &directive.keyword, &error));
                    }
                    Ok(_) | Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Compares what sshd makes of the lines, as a second opinion: without a connection, and for the users who run
    /// this. However many users and blocks there are, this takes at most three questions.
    fn check_effects(&self, baseline: &Baseline, after: &Effective, granted: MayChange<'_>) -> Result<()> {
        // For this answer sshd was told to debug, which sets a level of its own, and only a line behind a `Match all` wins
        // over that.
        let before = self.resolved(&baseline.view.effective).without("loglevel");
        refuse_effects(&before, &after.clone().without("loglevel"), "everybody", granted)?;
        // Behind a `Match all`, too, a line may win over one for everybody, such as one of sshd's arguments.
        if !baseline.tree.directives().any(|(_, _, directive)| directive.keyword == "match") {
            return Ok(());
        }
        for user in &baseline.kept {
            let connection = login(user);
            let before = self.original.effective(self.original.config.as_path(), &connection)?;
            refuse_effects(&self.resolved(&before), &self.effective(&connection)?, &format!("user {user}"), granted)?;
        }
        Ok(())
    }

    /// Replaces each path that leads through a link to a staged file by the file's real name: the copy knows only
    /// that name.
    fn resolved(&self, effective: &Effective) -> Effective {
        let overlay = Overlay(&self.staged);
        effective.clone().renamed(|value| {
            let path = Path::new(value);
            let staged = path.is_absolute().then(|| overlay.staged(path)).flatten();
            staged.map_or_else(|| value.to_owned(), |(real, _)| real.display().to_string())
        })
    }

    fn check_words(&self, before: &ConfigTest, after: &ConfigTest) -> Result<()> {
        if after.without_keys && !before.without_keys {
            return Err(Error::refused("sshd would not start: it would have no host key that it can use")
                .next("restore a host key, or have `ssh-keygen -A` make new ones; then run this again"));
        }
        let mut known = before.words.clone();
        let mut new = after.words.clone();
        new.retain(|line| known.iter().position(|one| one == line).map(|index| known.swap_remove(index)).is_none());
        new.retain(|line| !(self.is_bystanders && line.starts_with(NO_KEY_FOR)));
        if new.is_empty() {
            return Ok(());
        }
        Err(Error::refused("sshd would accept the configuration, but complain")
            .cause(new.join("\n"))
            .next("correct what sshd complains about; if the procedure writes it, tell the policy's author"))
    }

    fn check_host_keys(&self, baseline: &Baseline, effective: &Effective) -> Result<()> {
        let keys = baseline::public_keys(effective, Overlay(&self.staged));
        let has = |print: &str| keys.iter().any(|key| key.fingerprint(HashAlg::Sha256).to_string() == print);
        let is_spared = |key: &OfferedKey| baseline.former.iter().any(|former| former.key == *key);
        for key in baseline.offered.iter().flat_map(|offered| &offered.keys).filter(|key| !is_spared(key)) {
            if !keys.is_empty() && !has(&key.fingerprint) {
                return Err(Error::refused(format!("sshd would no longer offer its {} host key", key.key_type))
                    .cause("every client that knows it would warn of a changed identity, and refuse")
                    .seen(format!("offered now: {}", key.fingerprint))
                    .next("look for a HostKey line or a key file that was changed without a reload of sshd"));
            }
        }
        Ok(())
    }

    fn check_files(&self, baseline: &Baseline, effective: &Effective) -> Result<()> {
        let overlay = Overlay(&self.staged);
        // Without keys to compare with, a certificate of any key passes.
        let keys = if self.is_bystanders { Vec::new() } else { baseline::public_keys(effective, overlay) };
        let mut known = baseline.problems.clone();
        let mut new = files::problems(effective, overlay, &keys, trust::now());
        new.retain(|problem| {
            known.iter().position(|one| one == problem).map(|index| known.swap_remove(index)).is_none()
        });
        if self.restores_expired && !new.is_empty() {
            let expired = files::expired(effective, overlay, &keys, trust::now());
            new.retain(|problem| !expired.contains(problem));
        }
        match new.first() {
            None => Ok(()),
            Some(problem) => {
                let named = NAMED_FILES.iter().flat_map(|keyword| baseline.view.effective.values(keyword));
                let named = named.map(|path| Path::new(path.as_str()));
                Err(Error::refused(problem.clone())
                    .cause("sshd accepts such a file silently: the fault shows only when somebody connects")
                    .next(remedy(problem, self.staged.keys().map(PathBuf::as_path), named)))
            }
        }
    }
}

impl Candidate {
    /// The addresses on which sshd would additionally listen, and those on which it would no longer listen, in words.
    /// They follow from `Port` and `AddressFamily`, whose lines do not show them.
    ///
    /// # Errors
    /// As [`Candidate::view`].
    pub fn moves(&self, baseline: &Baseline) -> Result<Vec<String>> {
        let addresses = |effective: &Effective| effective.addresses().collect::<BTreeSet<SocketAddr>>();
        let (before, after) = (addresses(&baseline.view.effective), addresses(&self.view()?.effective));
        let told = |what: &str, found: Vec<String>| (!found.is_empty()).then(|| format!("{what} {}", found.join(", ")));
        let named = |one: &BTreeSet<SocketAddr>, other: &BTreeSet<SocketAddr>| {
            one.difference(other).map(SocketAddr::to_string).collect::<Vec<_>>()
        };
        let come = told("sshd would also listen on", named(&after, &before));
        Ok(come.into_iter().chain(told("sshd would no longer listen on", named(&before, &after))).collect())
    }
}

/// The connection of a user who logs in from this machine, for `sshd -T -C`.
pub(super) fn login(user: &str) -> Vec<(String, String)> {
    let fields =
        [("user", user), ("host", "localhost"), ("addr", "127.0.0.1"), ("laddr", "127.0.0.1"), ("lport", "22")];
    fields.map(|(field, value)| (field.to_owned(), value.to_owned())).into()
}

/// The remedy for a problem with a file that sshd would newly use. `staged`: what this run writes; `named`: what sshd
/// uses now.
fn remedy<'a>(
    problem: &str,
    staged: impl IntoIterator<Item = &'a Path>,
    named: impl IntoIterator<Item = &'a Path>,
) -> &'static str {
    let is_about = |path: &Path| format!(" {problem} ").contains(&format!(" {} ", path.display()));
    if staged.into_iter().any(is_about) {
        "this run would write that file: tell the policy's author"
    } else if named.into_iter().any(is_about) {
        "correct that file, or remove its line from sshd's configuration; then run this again"
    } else {
        "correct that file, or remove the lines that name it; then run this again (--force replaces a certificate)"
    }
}

/// The files that `RevokedKeys` lines name, including lines within a `Match` and sshd's arguments.
fn revocation_lists(tree: &Tree, effective: &Effective) -> Vec<String> {
    let lines = tree.directives().filter(|(_, _, directive)| directive.keyword == "revokedkeys");
    let named = lines.flat_map(|(_, _, directive)| directive.arguments).map(|argument| argument.text);
    named.chain(effective.values("revokedkeys").iter().cloned()).collect()
}

fn refuse_effects(before: &Effective, after: &Effective, whom: &str, granted: MayChange<'_>) -> Result<()> {
    let found = keywords::effects(before, after, granted);
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("sshd's configuration would change beyond what is granted (for {whom})"))
        .cause(granted.described())
        .seen(found.join("\n"))
        .next(structure::ASK))
}

/// Checks that the configuration covers every address on which sshd listens now: otherwise our reload would put into
/// effect what somebody else has left unfinished. Sockets that systemd holds do not count, since sshd cannot close
/// them.
///
/// # Errors
/// Refused: the configuration does not cover an address on which sshd listens.
pub fn keeps_addresses(sshd: &Sshd, effective: &Effective) -> Result<()> {
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
                .next("finish or undo that change, reload sshd, and try again"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mends_a_file_depends_on_who_names_it() {
        let problem = "the host certificate /etc/ssh/a-cert.pub never expires, and so it is not checked any further";
        let path = Path::new("/etc/ssh/a-cert.pub");
        for (staged, named, expected) in [
            (vec![], vec![], "--force"),
            (vec![Path::new("/etc/ssh/a")], vec![Path::new("/etc/ssh/a-cert")], "--force"),
            (vec![], vec![path], "remove its line"),
            (vec![path], vec![path], "the policy's author"),
        ] {
            let told = remedy(problem, staged, named);
            assert!(told.contains(expected), "{expected}: {told}");
        }
        let blank = Path::new("/etc/ssh/a key-cert.pub");
        assert!(remedy(&problem.replace("a-cert.pub", "a key-cert.pub"), [], [blank]).contains("remove its line"));
    }
}
