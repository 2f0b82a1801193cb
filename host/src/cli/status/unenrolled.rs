//! Certificates that Warded made sshd present on a machine whose enrolment is gone: nothing renews them.

use crate::{cli::outlook::Problem, context::Context, enrolment::Enrolments};
use std::{ops::Range, os::unix::fs::MetadataExt as _, path::Path};
use warded_lib::{
    error::Result,
    machine::sshd::tree::{Overlay, StagedFiles, Tree},
    text::neutral,
    transaction::{self, Outcome},
};

/// The beginning of the comment above Warded's lines in a file of their own.
const COMMENT: &[u8] = b"# Managed by Warded";

/// What is wrong with an sshd that is not enrolled. It is no fault if somebody ended the enrolment with `unenrol`, or
/// if the policy leaves renewals to an appliance.
///
/// # Errors
/// Something of Warded's own cannot be read.
pub(super) fn look(context: &Context, tree: &Tree) -> Result<Option<Problem>> {
    let us = rustix::process::geteuid().as_raw();
    let is_ours = std::fs::metadata(context.places.sshd_config.as_path()).is_ok_and(|found| found.uid() == us);
    let Some((file, certificate)) = own_line(tree).filter(|_| is_ours) else { return Ok(None) };
    // A run enrols the machine only once it is kept.
    let is_open =
        transaction::unconfirmed(&context.state)?.is_some() || transaction::interrupted(&context.state)?.is_some();
    if is_open || Enrolments::are_recorded(&context.state)? {
        return Ok(None);
    }
    let history = transaction::history(&context.state)?;
    let mut certified = history.runs.iter().filter(|run| {
        let journal = &run.journal;
        let writes =
            |path: &str| journal.entries.iter().any(|entry| entry.path.as_str() == path && entry.after.is_some());
        run.outcome == Outcome::Kept && journal.run.undoes.is_none() && writes(&certificate)
    });
    if certified.clone().next().is_some() && !certified.any(|run| run.journal.run.enrols) {
        return Ok(None);
    }
    let seen = format!(
        "Warded's line in {} makes sshd present {}, but this machine is not enrolled: nothing renews it",
        neutral(&file.to_string_lossy()),
        neutral(&certificate)
    );
    let next =
        "warded apply certify-host --set principal=NAME enrols it; if its certificates are to end: warded unenrol";
    Ok(Some(Problem::with(seen, next)))
}

/// Whether [`look`] finds something wrong.
///
/// # Errors
/// As [`look`].
pub(in crate::cli) fn has_lost_enrolment(context: &Context) -> Result<bool> {
    let tree = Tree::read(context.places.sshd_config.as_path(), Overlay(&StagedFiles::new()));
    Ok(tree.map(|tree| look(context, &tree)).unwrap_or(Ok(None))?.is_some())
}

/// Warded's first line that names a certificate: the file with the line, and the certificate.
fn own_line(tree: &Tree) -> Option<(&Path, String)> {
    let lines = tree.lines().ok()?;
    let mut named = lines.iter().filter(|line| line.within.is_empty() && line.directive.keyword == "hostcertificate");
    named.find_map(|line| {
        let file = tree.files.iter().find(|file| file.path == line.file)?;
        let is_own = file.contents.starts_with(COMMENT) || is_in_block(&file.contents, line.number);
        Some((file.path.as_path(), line.directive.arguments.first()?.text.clone())).filter(|_| is_own)
    })
}

/// Whether a line, numbered from 1, is inside a block that Warded marked.
fn is_in_block(contents: &[u8], number: usize) -> bool {
    let blocks = sshd_config::block::all(contents).unwrap_or_default();
    let lines = |bytes: &[u8]| sshd_config::line::lines(bytes).count();
    blocks.iter().any(|(_, Range { start, end })| {
        let before = |at: usize| lines(contents.get(..at).unwrap_or_default());
        (before(*start) + 1..=before(*end)).contains(&number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn wardeds_lines_are_known() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let line = "HostCertificate /a-cert.pub\n";
        let include = format!("Include {}\n", at("50-warded.conf").display());
        for (case, main, drop_in, expected) in [
            (
                "a drop-in",
                include.clone(),
                format!("# Managed by Warded (policy unix).\n{line}"),
                Some("50-warded.conf"),
            ),
            ("a block", format!("Port 22\n# BEGIN warded\n# x\n{line}# END warded\n"), String::new(), Some("main")),
            ("an operator's line", format!("# BEGIN warded\n# END warded\n{line}"), String::new(), None),
            ("an operator's file", include.clone(), format!("# Ours\n{line}"), None),
            ("no certificate", include, "# Managed by Warded (policy unix).\nRevokedKeys /a\n".to_owned(), None),
        ] {
            fs::write(at("main"), main).unwrap();
            fs::write(at("50-warded.conf"), drop_in).unwrap();
            let tree = Tree::read(&at("main"), Overlay(&StagedFiles::new())).unwrap();
            let expected = expected.map(|name| (at(name), "/a-cert.pub".to_owned()));
            assert_eq!(own_line(&tree).map(|(file, certificate)| (file.to_owned(), certificate)), expected, "{case}");
        }
    }
}
