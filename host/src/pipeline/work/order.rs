//! In which order the files of a run change.

use warded_lib::{
    change_set::{
        ChangeSet,
        staged::{After, StagedChange},
    },
    guard::krl,
    machine::schedule,
    transaction::Order,
};

/// A file that belongs to a key is written with the key, and a file that a configuration may name is written before the
/// configuration: if sshd cannot read a list of revoked keys, it refuses every key.
pub(super) fn order_of(file: &StagedChange, contents: &[u8], changes: &ChangeSet) -> Order {
    let key = file.path.as_str().strip_suffix(".pub");
    let is_made = |one: &StagedChange| key == Some(one.path.as_str()) && matches!(one.after, After::PrivateKey { .. });
    let others = || changes.staged().iter().filter(|one| one.path != file.path);
    let names = |one: &StagedChange| matches!(&one.after, After::Bytes { contents, .. } if is_named(file, contents));
    if changes.staged().iter().any(is_made) {
        Order::WriteKey
    } else if krl::is_list(contents) || others().any(names) {
        Order::WriteCertificate
    } else {
        Order::WriteOther
    }
}

/// A file that a configuration may name is removed after the configuration has changed.
pub(super) fn order_of_removal(file: &StagedChange, changes: &ChangeSet) -> Order {
    let holds =
        |one: &StagedChange, what: &dyn Fn(&[u8]) -> bool| one.before.as_ref().is_some_and(|old| what(&old.contents));
    let is_used = holds(file, &|contents| krl::is_list(contents))
        || changes.staged().iter().any(|one| one.path != file.path && holds(one, &|contents| is_named(file, contents)));
    if file.before.as_ref().is_some_and(|old| schedule::recovers(&old.contents)) {
        return Order::RemoveRecovery;
    }
    if is_used || file.path.as_str().ends_with("-cert.pub") { Order::RemoveCertificate } else { Order::RemoveOther }
}

/// Whether another file of the run names this one. Then this one is written before that file and removed after it.
fn is_named(file: &StagedChange, by: &[u8]) -> bool {
    let path = file.path.as_str().as_bytes();
    by.windows(path.len()).any(|part| part == path)
}
