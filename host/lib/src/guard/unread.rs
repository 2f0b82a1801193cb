//! Changes of sshd's configuration that sshd has not read yet. A reload puts them into effect, too, and whoever made them
//! may not have finished.

use super::baseline::first_changed;
use crate::{
    machine::sshd::{Sshd, tree::Tree},
    text::neutral,
};
use std::{fs, time::SystemTime};

/// What nothing shows if a file of the configuration has changed since sshd last read it, because the guard compares only
/// what is on disk. `None` if none has changed, and if Warded cannot tell when sshd read its files.
///
/// A file that was removed is not noticed.
#[must_use]
pub fn unread(sshd: &Sshd, tree: &Tree) -> Option<String> {
    let changed = first_changed(tree.files.iter().map(|file| file.path.clone()), read_at(sshd)?)?;
    Some(format!(
        "that everybody who can log in now still can: sshd has not read {} since it was changed, and the reload puts \
         that change into effect, too",
        neutral(&changed.to_string_lossy())
    ))
}

/// When sshd last read its configuration: it writes its PidFile at each start, and at each reload, which is a start of
/// the same process (sshd.c, `sighup_restart`).
fn read_at(sshd: &Sshd) -> Option<SystemTime> {
    let listener = sshd.listener.as_ref()?;
    let path = sshd.pid_file()?;
    let named: i32 = fs::read_to_string(&path).ok()?.trim().parse().ok()?;
    let written = fs::metadata(&path).ok()?.modified().ok()?;
    (named == listener.pid).then_some(written)
}
