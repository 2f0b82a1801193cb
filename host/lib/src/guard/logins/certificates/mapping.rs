//! Which principals log in as which users: the files that `AuthorizedPrincipalsFile` names, as they are and would be.

use super::{Candidate, MayChange};
use crate::{
    error::{Error, Result},
    guard::baseline::Baseline,
    machine::{
        files::Root,
        sshd::{Effective, tree::Overlay},
    },
    text::neutral,
};
use sshd_config::principals::{DIRECTORY, directory_of};
use std::{
    fs,
    path::{Path, PathBuf},
};

const KEYWORD: &str = "authorizedprincipalsfile";

/// What says which principals let a user in, where a file does.
pub(super) fn file(own: &Effective) -> Option<&String> {
    own.values(KEYWORD).first().filter(|file| *file != "none")
}

/// Whether a file says which principals let the user in.
pub(super) fn is_mapped(own: &Effective) -> bool {
    file(own).is_some()
}

/// Whether a file is one of Warded's own, to which nothing but what the operator named can be written.
pub(in crate::guard) fn is_own_file(path: &Path) -> bool {
    path.parent().and_then(Path::file_name).is_some_and(|name| name == DIRECTORY)
}

/// The directory of ours that a configuration names the files in.
fn own_directory(effective: &Effective) -> Option<PathBuf> {
    let directory = PathBuf::from(directory_of(file(effective)?)?);
    directory.file_name().is_some_and(|name| name == DIRECTORY).then_some(directory)
}

impl Candidate {
    /// Whether it would be another set of principals that logs in as some user.
    pub(super) fn changes_principals(&self, baseline: &Baseline) -> Result<bool> {
        let after = &self.view()?.effective;
        let is_staged = self.staged.keys().any(|path| is_own_file(path));
        Ok(is_staged || file(after) != file(&baseline.view.effective))
    }

    /// Whether users may lose what a certificate opened: the operator named the principals that are left, or took them
    /// out.
    pub(in crate::guard::logins) fn is_mapped_by_operator(
        &self,
        baseline: &Baseline,
        may_change: MayChange<'_>,
    ) -> Result<bool> {
        let is_own = |effective| own_directory(effective).is_some();
        Ok(may_change.has(KEYWORD) && (is_own(&self.view()?.effective) || is_own(&baseline.view.effective)))
    }

    /// The logins of whom a file is staged.
    pub(super) fn mapped_logins(&self) -> Vec<String> {
        let staged = self.staged.iter().filter(|(path, contents)| contents.is_some() && is_own_file(path));
        staged.filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned())).collect()
    }

    /// A procedure may name no other files than Warded's: in others, and later, there may be any principal.
    pub(super) fn refuse_foreign_principals(&self, baseline: &Baseline, may_change: MayChange<'_>) -> Result<()> {
        let MayChange::Only(_) = may_change else { return Ok(()) };
        let after = &self.view()?.effective;
        let Some(named) = file(after) else { return Ok(()) };
        match own_directory(after) {
            Some(directory) if self.changes_principals(baseline)? => self.refuse_changeable_principals(&directory),
            None if file(&baseline.view.effective) != Some(named) => {
                Err(Error::refused(format!("sshd would take principals from {}", neutral(named)))
                    .cause(
                        "whoever writes to such a file decides who can log in; a procedure may name only Warded's own",
                    )
                    .next("if that is what you want, run it again with --accept-risk=admit-logins"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Such a file may be there already, and a run that writes it keeps its owner.
    fn refuse_changeable_principals(&self, directory: &Path) -> Result<()> {
        let root = Root::ambient().map_err(|error| Error::failed("cannot open the root directory").cause(error))?;
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
