//! Finds the end of a log by reading backwards, so that a long log takes no longer than a short one.

use super::{
    backwards::Backwards,
    chain::{self, Head, Link},
    files,
};
use std::{fs::File, io, ops::ControlFlow, os::unix::fs::FileExt as _, path::Path};

/// Where a log ends.
#[derive(Debug)]
pub(super) struct End {
    /// The last complete record.
    pub(super) head: Head,
    /// The bytes after that record's newline, which a crash left.
    pub(super) unfinished: Vec<u8>,
    /// Whether that record closes its file (`rotated`).
    pub(super) is_closing: bool,
    /// The number of the closed file that has that record, if the current file has no record yet.
    pub(super) continues: Option<u64>,
}

/// Finds the end of the log whose current file is `length` bytes long.
pub(super) fn find(directory: &Path, file: &File, length: u64) -> io::Result<End> {
    let behind = |end: u64| {
        let mut bytes = vec![0; usize::try_from(length.saturating_sub(end)).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, end)?;
        io::Result::Ok(bytes)
    };
    let last = |link: &Link, end: u64| ControlFlow::Break((link.head, link.kind == "rotated", end));
    if let Some((head, is_closing, end)) = in_file(file, length, last)? {
        return Ok(End { head, unfinished: behind(end)?, is_closing, continues: None });
    }
    let unfinished = behind(0)?;
    for number in files::closed(directory)?.into_iter().rev() {
        let file = File::open(directory.join(files::closed_name(number)))?;
        if let Some((head, ..)) = in_file(&file, file.metadata()?.len(), last)? {
            return Ok(End { head, unfinished, is_closing: false, continues: Some(number) });
        }
    }
    Ok(End { head: Head::empty(), unfinished, is_closing: false, continues: None })
}

/// Whether the log has the record that the head `known` describes.
pub(super) fn holds(directory: &Path, file: &File, length: u64, known: Head) -> io::Result<bool> {
    if known.count == 0 {
        return Ok(known == Head::empty());
    }
    if let Some(found) = in_file(file, length, is_it(known))? {
        return Ok(found);
    }
    for number in files::closed(directory)?.into_iter().rev() {
        let file = File::open(directory.join(files::closed_name(number)))?;
        if let Some(found) = in_file(&file, file.metadata()?.len(), is_it(known))? {
            return Ok(found);
        }
    }
    Ok(false)
}

/// Whether the current file, which is `length` bytes long, has that record itself.
pub(super) fn is_in(file: &File, length: u64, known: Head) -> io::Result<bool> {
    Ok(in_file(file, length, is_it(known))?.unwrap_or(false))
}

/// A visitor that goes back to the record with the number of `known`, and says whether it has the same hash.
fn is_it(known: Head) -> impl FnMut(&Link, u64) -> ControlFlow<bool> {
    move |link, _| {
        if link.head.count > known.count { ControlFlow::Continue(()) } else { ControlFlow::Break(link.head == known) }
    }
}

/// Visits the complete records of a file from the last to the first, each with the offset of its line's end.
fn in_file<T>(file: &File, length: u64, mut visit: impl FnMut(&Link, u64) -> ControlFlow<T>) -> io::Result<Option<T>> {
    let mut lines = Backwards::new(file, length);
    while let Some(line) = lines.line()? {
        let link = line.bytes.filter(|_| line.is_ended).and_then(|bytes| chain::link(&bytes));
        if let Some(link) = link
            && let ControlFlow::Break(found) = visit(&link, line.end)
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
