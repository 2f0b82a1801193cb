//! What the running sshd may have read is not always what is on disk.

use super::{WatchedSshd, Work};
use std::{
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};
use warded_lib::{
    error::Result,
    guard::{former_key::keeps_certificates, unread},
    machine::sshd::{Listener, listener::started_at},
    text::neutral,
};

impl WatchedSshd {
    /// What the proofs do not reach: other programs on its ports, and what a reload puts into effect besides the run.
    pub(super) fn unasked(&self, work: &Work) -> Result<Vec<String>> {
        let beside = self.sshd.unknown_beside(&self.baseline.view.effective)?;
        let is_told = work.reloads.iter().any(|reload| self.is_told_by(reload));
        let unread = unread(&self.sshd, &self.baseline.tree).filter(|_| is_told);
        Ok(beside.iter().map(ToString::to_string).chain(unread).collect())
    }

    /// Refuses changes to an sshd that cannot be asked: nobody could tell whether it still offers its keys. A change of
    /// certificates alone is allowed, even in an unattended renewal: the candidate was proved to serve them, and if they
    /// expired, clients that know only the CA would be refused. That holds only if sshd has no other keys in memory than
    /// those on disk. In the middle of an upgrade of sshd, the next run is soon enough.
    pub(super) fn refuse_unseen(&self, work: &Work, changed: Option<&Path>) -> Result<()> {
        let Some(unseen) = self.baseline.unseen.as_ref().filter(|_| !work.terms.not_seen_live) else { return Ok(()) };
        let is_upgraded = self.sshd.listener.as_ref().is_some_and(Listener::is_upgraded);
        let is_told = work.reloads.iter().any(|reload| self.is_told_by(reload));
        let since_read = self.changed_since_it_was_read().filter(|_| is_told);
        if changed.is_none() && work.replaced().is_empty() && !is_upgraded && since_read.is_none() {
            return Ok(());
        }
        let mut refused = unseen.clone();
        if let Some(path) = since_read {
            refused = refused.seen(format!(
                "{} has changed since sshd was last known to have read it, or is gone: sshd may offer a former key, \
                 and would stop doing so after a reload",
                neutral(&path.to_string_lossy())
            ));
        }
        Err(refused.next("to go on without it, until something changes again: --accept-risk=not-seen-live"))
    }

    /// A file of which sshd may hold another version than the one on disk. Since OpenSSH 9.8 it keeps what it read at
    /// its start, or at the last reload that was seen to work.
    fn changed_since_it_was_read(&self) -> Option<PathBuf> {
        let listener = self.sshd.listener.as_ref().filter(|_| keeps_certificates(&self.sshd))?;
        let read = self.read_at.into_iter().chain(started_at(listener.pid)).max().unwrap_or(UNIX_EPOCH);
        let gone = self.read_keys.iter().find(|key| !key.exists()).cloned();
        gone.or_else(|| self.baseline.changed_since(read))
    }
}
