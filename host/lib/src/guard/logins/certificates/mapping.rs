//! Which principals log in as which users: the files that `AuthorizedPrincipalsFile` names, as they are and would be.

use super::{Candidate, MayChange};
use crate::{
    error::{Error, Result},
    guard::{baseline::Baseline, candidate::PRINCIPALS as KEYWORD},
    machine::{
        files::Root,
        path::AbsolutePath,
        sshd::{
            Effective,
            tree::{Overlay, Tree},
        },
    },
    text::{neutral, shell_word},
};
use sshd_config::principals::{DIRECTORY, Mapping, directory_of};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The file that says which principals let a user in, if there is one.
pub(super) fn file(own: &Effective) -> Option<&String> {
    own.values(KEYWORD).first().filter(|file| *file != "none")
}

/// Whether a file says which principals let the user in.
pub(super) fn is_mapped(own: &Effective) -> bool {
    file(own).is_some()
}

/// Whether a file is one of Warded's own, to which only what the operator named can be written.
pub(in crate::guard) fn is_own_file(path: &Path) -> bool {
    path.parent().and_then(Path::file_name).is_some_and(|name| name == DIRECTORY)
}

/// The values of the lines that name such files, in any order, including those in a `Match`.
fn lines(tree: &Tree) -> Vec<String> {
    let lines = tree.directives().filter(|(_, _, directive)| directive.keyword == KEYWORD);
    let mut values: Vec<String> =
        lines.flat_map(|(_, _, directive)| directive.arguments).map(|argument| argument.text).collect();
    values.sort();
    values
}

impl Candidate {
    /// Sets which principals the operator lets log in as which users; none: the operator did not say.
    #[must_use]
    pub fn mapping(mut self, mapping: Option<Mapping>) -> Self {
        self.mapping = mapping;
        self
    }

    /// Whether other principals than now would log in as some user.
    pub(super) fn changes_principals(&self, baseline: &Baseline) -> Result<bool> {
        Ok(self.staged.keys().any(|path| is_own_file(path)) || self.changes_lines(baseline)?)
    }

    fn changes_lines(&self, baseline: &Baseline) -> Result<bool> {
        let (before, after) = (&baseline.view.effective, &self.view()?.effective);
        Ok(file(before) != file(after) || lines(&baseline.tree) != lines(&self.tree))
    }

    /// Warded's own directory, if the configuration names the files in it: beside the main file or, where that is the
    /// vendor's, in `/etc/ssh`. Another directory of that name may belong to any user.
    fn own_directory(&self, effective: &Effective) -> Option<PathBuf> {
        let directory = Path::new(directory_of(file(effective)?)?);
        let beside = self.original.config.as_path().parent();
        let is_own = beside.into_iter().chain([Path::new("/etc/ssh")]).any(|one| one.join(DIRECTORY) == directory);
        is_own.then(|| directory.to_owned())
    }

    /// Whether users may lose what a certificate opened: the operator named the principals that are left, or removed
    /// them.
    pub(in crate::guard::logins) fn is_mapped_by_operator(&self, baseline: &Baseline) -> Result<bool> {
        let is_own = |effective| self.own_directory(effective).is_some();
        Ok(self.mapping.is_some() && (is_own(&self.view()?.effective) || is_own(&baseline.view.effective)))
    }

    /// The users for whom a file is staged.
    pub(super) fn mapped_logins(&self) -> Vec<String> {
        let staged = self.staged.iter().filter(|(path, contents)| contents.is_some() && is_own_file(path));
        staged.filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned())).collect()
    }

    /// Refuses lines that name files of principals other than Warded's, which hold only what the operator gave: other
    /// files could hold any principal, now or later. Without a file, a principal logs in as the user of that name. So
    /// the line that names Warded's files comes and goes only if the operator says so.
    ///
    /// # Errors
    /// Refused: sshd would take principals from other files than the operator asked for.
    pub(in crate::guard::logins) fn refuse_unasked_principals(
        &self,
        baseline: &Baseline,
        may_change: MayChange<'_>,
    ) -> Result<()> {
        if matches!(may_change, MayChange::Any) || !self.changes_principals(baseline)? {
            return Ok(());
        }
        let own = self.own_directory(&self.view()?.effective);
        if !self.risks.admit && self.changes_lines(baseline)? {
            self.refuse_unasked_lines(baseline, own.as_deref())?;
        }
        own.map_or(Ok(()), |directory| self.refuse_changeable_principals(&directory))
    }

    fn refuse_unasked_lines(&self, baseline: &Baseline, own: Option<&Path>) -> Result<()> {
        let (before, after) = (file(&baseline.view.effective), file(&self.view()?.effective));
        let known = lines(&baseline.tree);
        let is_own = |value: &str| directory_of(value).map(Path::new).is_some_and(|directory| Some(directory) == own);
        let come = lines(&self.tree).into_iter().filter(|value| !known.contains(value) && value != "none");
        let counts = after.filter(|_| after != before).cloned();
        let foreign = counts.into_iter().chain(come).find(|value| !is_own(value));
        let what = match (foreign.as_ref().or(after), before) {
            (Some(named), _) => format!("sshd would take principals from {}", neutral(named)),
            (None, Some(named)) => format!("sshd would no longer take principals from {}", neutral(named)),
            (None, None) => "a line that names files of principals would come or go".to_owned(),
        };
        let why = match &self.mapping {
            _ if foreign.is_some() => {
                "whoever writes to such a file decides who can log in; a procedure may name only Warded's own"
            }
            None => "the operator named no principals, so AuthorizedPrincipalsFile stays as it is",
            Some(mapping) if mapping.is_empty() && own.is_some() => "the operator said that there is to be no mapping",
            Some(mapping) if !mapping.is_empty() && own.is_none() => {
                "the operator named principals, which only Warded's own files hold"
            }
            Some(_) => return Ok(()),
        };
        Err(Error::refused(what)
            .cause(why)
            .next("if that is what you want, run it again with --accept-risk=admit-logins"))
    }

    /// sshd reads these files as the user who logs in. With StrictModes it accepts none that the group can write, nor
    /// one below a directory that the group can write (`safe_path` in OpenSSH's misc.c; only Debian's accepts a
    /// private group).
    fn refuse_unread_principals(&self, directory: &Path) -> Result<()> {
        let is_strict = self.view()?.effective.values("strictmodes").first().is_none_or(|strict| strict != "no");
        let refused = |path: &Path, why: &str, command: &str| {
            let path = path.display();
            Err(Error::refused(format!("sshd would take no principals from {}", directory.display()))
                .cause(format!("{path} {why}"))
                .next(format!("{command} {}", shell_word(&path.to_string()))))
        };
        // sshd reads root's file as root.
        let are_others_mapped = self.mapping.iter().flat_map(Mapping::logins).any(|(login, _)| login != "root");
        for path in directory.ancestors() {
            let Ok(found) = fs::metadata(path) else { continue };
            if found.mode() & 0o001 == 0 && are_others_mapped {
                return refused(path, "lets no user of the machine through to its files", "chmod o+x");
            }
            if is_strict && found.mode() & 0o022 != 0 {
                return refused(path, "can be written by its group or by others", "chmod go-w");
            }
        }
        Ok(())
    }

    /// Refuses files and directories that others can change: a file may already be there, and a run that writes it
    /// keeps its owner.
    fn refuse_changeable_principals(&self, directory: &Path) -> Result<()> {
        let root = Root::ambient().map_err(|error| Error::failed("cannot open the root directory").cause(error))?;
        // If the directory does not exist yet, the directories above it count.
        let inside = AbsolutePath::try_from(directory.join("any").as_path());
        let inside = inside.map_err(|why| Error::refused(format!("{} is no path", directory.display())).cause(why))?;
        if let Err(error) = root.place(&inside, usize::MAX) {
            return Err(Error::refused(format!("{} is for principals, and others can change it", directory.display()))
                .cause(error.message)
                .next(
                    error.next.unwrap_or_else(|| "give that directory, and those that it is in, to root".to_owned()),
                ));
        }
        self.refuse_unread_principals(directory)?;
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if matches!(Overlay(&self.staged).staged(&path), Some((_, None))) {
                continue;
            }
            if let Err(error) = root.program(&path) {
                return Err(Error::refused(format!("{} names principals, and others can change it", path.display()))
                    .cause(error.message)
                    .next(format!("give that file and its directories to root: chown root {}", path.display())));
            }
        }
        Ok(())
    }
}
