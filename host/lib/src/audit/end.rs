//! The end of a log file, read backwards, so that a long log costs no more than a short one.

use super::chain::{self, Head, Link};
use std::{fs::File, io, ops::ControlFlow, os::unix::fs::FileExt as _};

/// More than most records take.
const FIRST_SPAN: u64 = 16 * 1024;

/// Where a log ends.
#[derive(Debug)]
pub(super) struct End {
    /// The last whole record.
    pub(super) head: Head,
    /// What stands behind its newline: a crash's leavings.
    pub(super) unfinished: Vec<u8>,
}

/// Finds the end of a log of that length in bytes.
pub(super) fn find(file: &File, length: u64) -> io::Result<End> {
    let found = backwards(file, length, |link, behind| {
        ControlFlow::Break(End { head: link.head, unfinished: behind.to_vec() })
    })?;
    match found {
        Some(end) => Ok(end),
        None => {
            let mut unfinished = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            file.read_exact_at(&mut unfinished, 0)?;
            Ok(End { head: Head::empty(), unfinished })
        }
    }
}

/// Whether the log has the record that a head knows.
pub(super) fn holds(file: &File, length: u64, known: Head) -> io::Result<bool> {
    if known.count == 0 {
        return Ok(known == Head::empty());
    }
    let found = backwards(file, length, |link, _| {
        if link.head.count > known.count { ControlFlow::Continue(()) } else { ControlFlow::Break(link.head == known) }
    })?;
    Ok(found.unwrap_or(false))
}

/// Visits the whole records from the last to the first, each with the bytes behind its line.
fn backwards<T>(
    file: &File,
    length: u64,
    mut visit: impl FnMut(&Link, &[u8]) -> ControlFlow<T>,
) -> io::Result<Option<T>> {
    let mut span = FIRST_SPAN;
    // Where the line begins that was visited last: a longer span does not visit it again.
    let mut visited = length;
    loop {
        let start = length.saturating_sub(span);
        let mut bytes = vec![0; usize::try_from(length - start).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, start)?;
        let mut end = usize::try_from(visited - start).map_err(io::Error::other)?;
        while let Some(newline) = bytes.get(..end).and_then(|part| part.iter().rposition(|byte| *byte == b'\n')) {
            let before = bytes.get(..newline).unwrap_or_default();
            let begin = match before.iter().rposition(|byte| *byte == b'\n') {
                Some(at) => at + 1,
                None if start == 0 => 0,
                // It may begin before this span.
                None => break,
            };
            if let Some(link) = before.get(begin..).and_then(chain::link)
                && let ControlFlow::Break(found) = visit(&link, bytes.get(newline + 1..).unwrap_or_default())
            {
                return Ok(Some(found));
            }
            end = begin;
            visited = start + u64::try_from(begin).map_err(io::Error::other)?;
        }
        if start == 0 {
            return Ok(None);
        }
        span = span.saturating_mul(4);
    }
}
