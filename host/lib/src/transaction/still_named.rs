//! Files that a run added and that a configuration may name. A roll back removes them last, after the reload of sshd,
//! if no configuration names them.

use super::{
    change::{Order, RollbackReport, UntouchedFile},
    journal::Entry,
    restore::{Outcome, PlaceState, look, restore},
    run_directory::Run,
};
use crate::{
    error::Error,
    machine::files::{Place, Root},
    machine::interruption,
};
use std::{collections::BTreeMap, path::PathBuf};

/// The files that sshd may still read after a roll back and its reloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StillNamed {
    /// sshd may still use the configuration of the run, or its configuration cannot be read.
    Unknown,
    /// What these files of its configuration name.
    Named(Vec<(PathBuf, Vec<u8>)>),
}

/// The state after the programs of a run were undone and the services were reloaded.
#[derive(Debug)]
pub struct Settlement {
    /// What sshd uses now.
    pub named: StillNamed,
    /// Why the roll back is unfinished, if it is.
    pub open: Option<Error>,
}

impl From<StillNamed> for Settlement {
    fn from(named: StillNamed) -> Self {
        Self { named, open: None }
    }
}

impl StillNamed {
    /// There is no sshd, or it has never read what is rolled back.
    #[must_use]
    pub fn nothing() -> Self {
        Self::Named(Vec::new())
    }

    /// What either of two sshds uses.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Named(mut files), Self::Named(others)) => {
                files.extend(others);
                Self::Named(files)
            }
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
        }
    }

    /// Why a file of this name has to stay, if it does.
    fn keeps(&self, name: &str) -> Option<String> {
        let Self::Named(files) = self else {
            return Some(
                "sshd was not reloaded, or its configuration cannot be read: it may still read this file".to_owned(),
            );
        };
        let is_comment = |line: &[u8]| line.trim_ascii_start().starts_with(b"#");
        let has_name = |line: &[u8]| line.windows(name.len()).any(|part| part == name.as_bytes());
        let mut naming = files
            .iter()
            .filter(|(_, text)| text.split(|byte| *byte == b'\n').any(|line| !is_comment(line) && has_name(line)));
        naming.next().map(|(path, _)| format!("{} may name it", path.display()))
    }
}

/// Whether the run added the file and a configuration may name it: a key, a certificate, a list.
pub(super) fn after_reload(entry: &Entry) -> bool {
    entry.before.is_none() && matches!(entry.order, Order::WriteKey | Order::WriteCertificate)
}

/// Removes the files that the run added and no configuration names any more. (sshd refuses every public key while a
/// list of revoked keys that it uses is missing.) A file that stays does no harm, so the run counts as ended.
pub(super) fn remove_added(
    root: &Root,
    run: &Run,
    brought_in: &[(usize, &Entry)],
    still_named: &StillNamed,
    done: &mut RollbackReport,
) {
    let mut directories = BTreeMap::new();
    for (index, entry) in brought_in {
        let is_absent = |(target, _): (Place, Place)| matches!(look(&target, entry), Ok(PlaceState::Nothing));
        let outcome = if entry.places(root).is_ok_and(|places| places.is_some_and(is_absent)) {
            Ok(Outcome::AsBefore)
        } else if let Some(why) = still_named.keeps(&entry.name) {
            Ok(Outcome::LeftAlone(why))
        } else {
            restore(root, run, *index, entry, &mut directories)
        };
        let left = match outcome {
            Ok(Outcome::AsBefore) => None,
            Ok(Outcome::Restored) => {
                done.restored.push(entry.path.clone());
                None
            }
            Ok(Outcome::LeftAlone(why)) => Some(why),
            Err(error) => Some(error.message().to_owned()),
        };
        done.left_alone.extend(left.map(|why| UntouchedFile { path: entry.path.clone(), why }));
        interruption::point("taken out");
    }
    // Nothing depends on the removal of a file that nobody names being on disk.
    drop(directories.into_values().try_for_each(|place: Place| place.sync_directory()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sshd_may_read_stays() {
        let named = |text: &str| StillNamed::Named(vec![("/etc/ssh/sshd_config".into(), text.as_bytes().to_vec())]);
        for (still_named, stays) in [
            (StillNamed::Unknown, true),
            (StillNamed::nothing(), false),
            (named("Port 22\n"), false),
            (named("# RevokedKeys /etc/ssh/list.krl\n"), false),
            (named("Port 22\n  revokedkeys \"/etc/ssh/list.krl\"\n"), true),
            (named("Match user a\n\tRevokedKeys=list.krl"), true),
        ] {
            assert_eq!(still_named.keeps("list.krl").is_some(), stays, "{still_named:?}");
        }
    }
}
