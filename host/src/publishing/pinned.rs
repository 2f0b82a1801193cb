//! `policies.lock` beside the directory of policies, and its entries for added policies.

use crate::{
    components::{self, accepted},
    sandbox::granting::{BoundPolicy, Origin},
};
use std::path::{Path, PathBuf};
use warded_artifact::lock::{self, Entry, Lock};
use warded_artifact::read;
use warded_lib::{
    error::{Error, Result},
    machine::{
        durable, files,
        private::{StateDir, StateLock},
        waiting,
    },
    name::Name,
    text::neutral_path,
};

/// The lock in the state directory that a process holds while it changes the policies.
const CHANGING: &str = "policies-changing";

/// The path of the lock file.
#[must_use]
pub fn file(policies: &Path) -> PathBuf {
    policies.parent().unwrap_or(Path::new("/")).join("policies.lock")
}

/// Reads a lock file; empty if there is no file.
///
/// # Errors
/// It is not a lock file, or others could have written it.
pub fn load(file: &Path) -> Result<Lock> {
    let unreadable =
        |why: &dyn std::fmt::Display| Error::failed(format!("cannot read {}", neutral_path(file))).cause(why);
    let bytes = files::read_ours(file, lock::MAX_BYTES, unreadable)?;
    bytes.map_or_else(
        || Ok(Lock::default()),
        |bytes| Lock::parse(&bytes).map_err(|error| error.seen(neutral_path(file))),
    )
}

/// The lock file entry that describes a policy on this machine; `None` if the policy was not added by `warded policy`.
///
/// # Errors
/// Its files cannot be read.
pub fn entry(granting: &BoundPolicy) -> Result<Option<Entry>> {
    let Origin::File(file) = &granting.origin else { return Ok(None) };
    let Some(provenance) = accepted::provenance(file, &granting.digest) else { return Ok(None) };
    let name = &granting.policy.name;
    let request = read::request(&granting.component, &format!("the component of policy {name}"))?;
    let text = components::text(granting)?;
    let is_whole = text == accepted::for_component(&request, &granting.component);
    Ok(Some(Entry {
        version: granting.policy.version.clone(),
        component: granting.digest,
        publisher: provenance.publisher.map(|publisher| publisher.name),
        source: provenance.source.unwrap_or_else(|| format!("{name}.wasm")),
        artifact: provenance.artifact,
        grants: (!is_whole).then_some(text),
    }))
}

/// Whether the policy, if it is signed, still has its signature here.
///
/// # Errors
/// Its files cannot be read.
pub fn is_whole(granting: &BoundPolicy) -> Result<bool> {
    let Origin::File(file) = &granting.origin else { return Ok(true) };
    let is_signed = accepted::provenance(file, &granting.digest).is_some_and(|one| one.publisher.is_some());
    Ok(!is_signed || accepted::signed(file, &granting.digest)?.is_some())
}

/// A change of this machine's policies. No other process can change them meanwhile, so no entry is lost.
pub struct Change<'a> {
    policies: &'a Path,
    /// Read before a policy is changed, so that an unreadable lock file stops the change.
    before: Lock,
    _nobody_else_changes_them: StateLock,
}

impl<'a> Change<'a> {
    /// Waits until no other process changes the policies.
    ///
    /// # Errors
    /// Another process has been changing them for some time; or as [`load`].
    pub fn begin(state: &StateDir, policies: &'a Path) -> Result<Self> {
        let held = waiting::lock(&state.sub(CHANGING)?)?.ok_or_else(|| {
            Error::refused("another command is changing the policies of this machine")
                .unchanged()
                .next("wait until it has ended, then run this again")
        })?;
        Ok(Self { policies, before: load(&file(policies))?, _nobody_else_changes_them: held })
    }

    /// Writes the entry of a policy, or removes it if the policy is gone. Returns whether the file changed.
    ///
    /// # Errors
    /// It cannot be written; the policy itself is changed.
    pub fn record(self, name: &Name) -> Result<bool> {
        let Self { policies, before, .. } = self;
        let Some(text) = to_record(policies, before, name)? else { return Ok(false) };
        let file = file(policies);
        durable::replace(&file, text.as_bytes(), 0o644).map_err(|error| {
            Error::failed(format!("cannot write {}", neutral_path(&file)))
                .cause(error)
                .state(format!("the change to policy {name} itself was made"))
        })?;
        Ok(true)
    }
}

/// Whether [`Change::record`] would write anything.
///
/// # Errors
/// As [`load`].
pub fn would_record(policies: &Path, name: &Name) -> Result<bool> {
    to_record(policies, load(&file(policies))?, name).map(|text| text.is_some())
}

/// The new text of the lock file, with what this machine has of a policy; `None` if nothing changes.
fn to_record(policies: &Path, mut before: Lock, name: &Name) -> Result<Option<String>> {
    // Another policy's file may be broken: it does not matter here.
    let is_there = policies.join(format!("{name}.toml")).exists();
    let there = is_there.then(|| components::find(policies, name)).transpose()?;
    match there.as_ref().map(entry).transpose()?.flatten() {
        Some(entry) => before.set(name, entry),
        None => before.remove(name),
    }
    let text = before.to_text()?;
    let is_written = files::read_ours(&file(policies), lock::MAX_BYTES, |why| Error::failed(why.to_string()))
        .is_ok_and(|there| there.as_deref() == Some(text.as_bytes()));
    Ok((!is_written).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{thread, time::Duration};

    #[test]
    fn one_process_at_a_time_changes_the_policies() {
        let scratch = tempfile::tempdir().unwrap();
        let state = StateDir::open(&scratch.path().join("state")).unwrap();
        let policies = scratch.path().join("policies");
        let change = Change::begin(&state, &policies).unwrap();
        let waiting = thread::spawn({
            let (state, policies) = (state.clone(), policies.clone());
            move || Change::begin(&state, &policies).map(drop)
        });
        thread::sleep(Duration::from_millis(100));
        assert!(!waiting.is_finished());
        drop(change);
        waiting.join().unwrap().unwrap();
    }
}
