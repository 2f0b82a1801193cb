//! What earlier runs wrote, by their records.

use super::{
    change::Order,
    journal::{Entry, Journal, State},
    run_directory::Run,
    series::Series,
};
use crate::{
    error::Result,
    machine::{
        action::{StateChange, StateValue, Step, Yield},
        private::StateDir,
    },
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The contents of a file before a run and after it; none: there was no file.
pub type BeforeAfter = [Option<Vec<u8>>; 2];

/// The files other than keys and certificates that runs changed and kept, the oldest run first: the path of each
/// without links, and its contents. What an undo put back is left out, since anybody may have written it. Of a run that
/// was rolled back, only those texts are there from which an appliance may still make sshd's configuration.
///
/// # Errors
/// When the state directory cannot be read.
pub fn written(state: &StateDir) -> Result<Vec<(PathBuf, BeforeAfter)>> {
    let Series { undoable, spent, .. } = Series::look(state)?;
    let is_no_undo = |run: &Run| run.journal().run.undoes.is_none();
    let mut runs: Vec<Run> = undoable.into_iter().chain(spent).filter(is_no_undo).collect();
    runs.sort_by_key(|run| run.journal().run.run);
    let mut written = Vec::new();
    for run in &runs {
        if run.journal().state != State::Kept {
            written.extend(belated(run.journal()));
            continue;
        }
        for (index, entry) in run.journal().entries.iter().enumerate() {
            if !matches!(entry.order, Order::WriteOther | Order::RemoveOther) {
                continue;
            }
            // Without its copy a text is unknown: `damaged.rs` reports copies that cannot be read.
            let (Ok(old), Ok(left)) = (run.old(index), run.left(index)) else { continue };
            let is_known = old.is_some() == entry.before.is_some() && left.is_some() == entry.after.is_some();
            if is_known {
                written.push((real(entry), [old, left].map(|copy| copy.map(|copy| copy.to_vec()))));
            }
        }
    }
    Ok(written)
}

/// The texts that the programs of a run set, and from which an appliance makes sshd's main configuration file. A
/// service that such a program asked may do its work after the run was rolled back.
fn belated(journal: &Journal) -> Vec<(PathBuf, BeforeAfter)> {
    let Some(config) = journal.sshd.as_ref().map(|sshd| sshd.config.as_path()) else { return Vec::new() };
    let config = fs::canonicalize(config).unwrap_or_else(|_| config.to_owned());
    let texts = |step: &Step| {
        let StateChange { before, after, .. } = step.seen.as_ref()?;
        let texts = [before, after].map(|state| match state {
            StateValue::Value(value) => value.as_str().map(with_line_end),
            StateValue::Absent | StateValue::Present => None,
        });
        (step.change.action.yields == Some(Yield::SshdConfig) && texts.iter().all(Option::is_some)).then_some(texts)
    };
    journal.steps.iter().filter_map(texts).map(|texts| (config.clone(), texts)).collect()
}

/// The text with the line end that it has in a file where lines follow.
fn with_line_end(text: &str) -> Vec<u8> {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    [text, end].concat().into_bytes()
}

/// The path of the file, without links.
pub(super) fn real(entry: &Entry) -> PathBuf {
    Path::new(&entry.at.directory).join(&entry.name)
}
