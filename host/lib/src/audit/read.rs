//! Reads the records back, to show them.

use super::{
    backwards::Backwards,
    chain,
    files::{Files, Section},
    record::Record,
};
use crate::error::{Error, Result};
use std::{
    io::{self, BufRead as _, BufReader, Read as _},
    path::Path,
};

/// A line of the log that is not a record: a crash left it unfinished, or another program wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {bytes} unfinished bytes, not a record")]
pub struct UnreadableLine {
    /// The line's number, from 1, counted through all files of the log.
    pub line: u64,
    /// The line's length in bytes.
    pub bytes: usize,
}

/// The records in order, to show them: every line whose own hash is right. Whether they form a chain is for
/// [`super::verify`] to say.
///
/// # Errors
/// There is a log that cannot be opened. A line that is not a record is an item.
pub fn read(directory: &Path) -> Result<Records> {
    newest(directory, |_| false)
}

/// The newest records in order, beginning with the one for which `is_first` returns true. `is_first` is called from the
/// last line backwards, with `None` for a line that is not a record. So a long log takes no longer than the part that
/// is wanted.
///
/// # Errors
/// There is a log that cannot be opened or read.
pub fn newest(directory: &Path, mut is_first: impl FnMut(Option<&Record>) -> bool) -> Result<Records> {
    let failed = |error: io::Error| {
        Error::failed(format!("could not read the audit log in {}", directory.display())).cause(error)
    };
    let files = Files::open(directory).map_err(failed)?;
    let start = place(&files, &mut is_first).map_err(failed)?;
    Ok(Records::new(files, start))
}

/// The number of a file, and the offset in it at which a line begins.
type Place = (u64, u64);

/// The place of the first wanted record; the beginning of the log if `is_first` never returns true.
fn place(files: &Files, is_first: &mut impl FnMut(Option<&Record>) -> bool) -> io::Result<Place> {
    for number in files.numbers().rev() {
        let Some((file, length)) = files.file(number)? else { continue };
        let mut lines = Backwards::new(&file, length);
        while let Some(line) = lines.line()? {
            let record = line.bytes.as_deref().and_then(record);
            if is_first(record.as_ref()) {
                return Ok((number, line.begin));
            }
        }
    }
    Ok((0, 0))
}

/// Parses a line. It may come from another program, so control characters in its texts are made visible.
fn record(line: &[u8]) -> Option<Record> {
    let record = chain::link(line).and_then(|_| serde_json::from_slice::<Record>(line).ok())?;
    Some(Record { event: record.event.neutralised(), ..record })
}

/// The records from a place in the log to its end. A line that is not a record is an item.
#[derive(Debug)]
pub struct Records {
    files: Files,
    start: Place,
    numbers: Vec<u64>,
    lines: Option<BufReader<Section>>,
    /// How many lines this iterator has read.
    count: u64,
    /// How many lines precede the place; counted when it is first needed.
    before: Option<u64>,
}

impl Records {
    fn new(files: Files, start: Place) -> Self {
        let numbers = files.numbers().rev().filter(|number| *number >= start.0).collect();
        Self { files, start, numbers, lines: None, count: 0, before: None }
    }

    /// The next line without its newline. A read error ends the iteration; `verify` reports such errors.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(lines) = &mut self.lines {
                let mut line = Vec::new();
                if lines.read_until(b'\n', &mut line)? > 0 {
                    line.pop_if(|last| *last == b'\n');
                    return Ok(Some(line));
                }
            }
            let Some(number) = self.numbers.pop() else { return Ok(None) };
            let at = if number == self.start.0 { self.start.1 } else { 0 };
            let file = self.files.file(number)?;
            self.lines = file.map(|(file, end)| BufReader::new(Section { file, at, end }));
        }
    }

    /// Counts the lines before the place at which this iterator started.
    fn before(&self) -> io::Result<u64> {
        let mut count = 0;
        for number in self.files.numbers().take_while(|number| *number <= self.start.0) {
            let Some((file, length)) = self.files.file(number)? else { continue };
            let end = if number == self.start.0 { self.start.1 } else { length };
            let mut section = Section { file, at: 0, end };
            let mut chunk = [0; 16 * 1024];
            loop {
                match section.read(&mut chunk)? {
                    0 => break,
                    read => count += chunk.iter().take(read).filter(|byte| **byte == b'\n').count(),
                }
            }
        }
        u64::try_from(count).map_err(io::Error::other)
    }
}

impl Iterator for Records {
    type Item = Result<Record, UnreadableLine>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.line().ok()??;
        self.count += 1;
        if let Some(record) = record(&line) {
            return Some(Ok(record));
        }
        let before = match self.before {
            Some(before) => before,
            None => *self.before.insert(self.before().ok()?),
        };
        Some(Err(UnreadableLine { line: before.saturating_add(self.count), bytes: line.len() }))
    }
}
