//! The changes of ssh's known_hosts files, for their guard.

use super::{Source, Work};
use warded_lib::{
    change_set::staged::StagedChange,
    guard::known_hosts::Change as KnownHosts,
    machine::{files::Snapshot, path::AbsolutePath},
    transaction::FileChange,
};

impl Work {
    /// Whether the work concerns sshd: it does unless it changes only ssh's known_hosts files. Work without any change
    /// concerns sshd, too: then sshd is to read what is on disk.
    #[must_use]
    pub fn concerns_sshd(&self) -> bool {
        let known_hosts: Vec<bool> = match &self.source {
            Source::Staged(changes) => changes.staged().iter().map(StagedChange::is_known_hosts).collect(),
            Source::Undo(changes) => changes.iter().map(FileChange::is_known_hosts).collect(),
        };
        known_hosts.is_empty() || known_hosts.contains(&false) || !self.reloads.is_empty() || !self.steps.is_empty()
    }

    /// The changes of ssh's known_hosts files.
    #[must_use]
    pub fn known_hosts(&self) -> Vec<KnownHosts> {
        let change = |path: &AbsolutePath, before: Option<&Snapshot>, after: Option<&[u8]>| KnownHosts {
            path: path.as_path().to_owned(),
            before: before.map(|before| before.contents.to_vec()).unwrap_or_default(),
            after: after.map(<[u8]>::to_vec).unwrap_or_default(),
            owner: before.map(|before| before.uid),
        };
        match &self.source {
            Source::Staged(changes) => changes
                .staged()
                .iter()
                .filter(|staged| staged.is_known_hosts())
                .map(|staged| change(&staged.path, staged.before.as_ref(), staged.after.bytes()))
                .collect(),
            Source::Undo(changes) => changes
                .iter()
                .filter(|one| one.is_known_hosts())
                .map(|one| {
                    let after = one.after.as_ref().map(|after| after.contents.as_slice());
                    change(&one.path, one.before.as_ref(), after)
                })
                .collect(),
        }
    }
}
