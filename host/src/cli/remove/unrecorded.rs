//! Lines of Warded's in sshd's configuration that no record covers. The records may be lost: the machine was restored from
//! a backup, or an upgrade replaced their directory.

use super::{
    Output,
    own::{REMOVE, has_remove},
};
use crate::{components, context::Context};
use std::{
    fs,
    path::{Path, PathBuf},
};
use warded_lib::{
    config::is_root,
    error::Result,
    guard::Authorship,
    machine::sshd::{
        self,
        tree::{Overlay, StagedFiles, Tree},
    },
    transaction,
};

/// Says which files of sshd's configuration have such lines, and how to remove them. Returns these files, without those
/// that are about to be undone.
pub(super) fn tell(context: &Context, output: Output, is_undone: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    // The records of the runs for the system's sshd are root's.
    if !is_root() && context.places.sshd_config.as_str() == sshd::default_config() {
        return Ok(Vec::new());
    }
    let nothing = StagedFiles::new();
    let Ok(tree) = Tree::read(context.places.sshd_config.as_path(), Overlay(&nothing)) else { return Ok(Vec::new()) };
    let authorship = Authorship::of(transaction::written(&context.state)?);
    let mut found = Vec::new();
    for file in tree.files {
        let real = fs::canonicalize(&file.path).unwrap_or_else(|_| file.path.clone());
        if !is_undone(&real) && authorship.misses(&real, &file.contents) {
            output
                .line(format!("{} has lines of Warded's, and no record of a run covers them.", file.path.display()))?;
            found.push(file.path);
        }
    }
    if found.is_empty() {
        return Ok(found);
    }
    let policies = context.policies().unwrap_or_default();
    let is_here = components::choose(&policies, REMOVE, None, context).is_ok_and(has_remove);
    output.line(if is_here {
        format!("To remove them: warded apply {REMOVE} --accept-risk=unrecorded-lines")
    } else {
        format!(
            "If the policy that wrote them has a procedure {REMOVE}: warded policy add, then warded apply {REMOVE} \
             --accept-risk=unrecorded-lines. Else take them out by hand, and reload sshd."
        )
    })?;
    Ok(found)
}
