//! Reads the lines of a file from the last to the first, with bounded memory.

use std::{fs::File, io, os::unix::fs::FileExt as _};

/// How many bytes are read at once.
const CHUNK: u64 = 64 * 1024;
/// Far longer than any record. Of a longer line only its position is reported.
const MAX_LINE: usize = 1024 * 1024;

/// The state of the reader.
#[derive(Debug)]
pub(super) struct Backwards<'f> {
    file: &'f File,
    /// The offset at which `held` begins.
    at: u64,
    /// The offset at which the next line ends.
    end: u64,
    /// Bytes of the next lines, read already.
    held: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The line without its newline; `None` if it is too long for a record.
    pub(super) bytes: Option<Vec<u8>>,
    /// The offset at which it begins.
    pub(super) begin: u64,
    /// The offset at which the line after it begins.
    pub(super) end: u64,
    /// Whether the line ends with a newline: the last one may lack it.
    pub(super) is_ended: bool,
}

impl<'f> Backwards<'f> {
    /// Starts at the end of a file that is `length` bytes long.
    pub(super) fn new(file: &'f File, length: u64) -> Self {
        Self { file, at: length, end: length, held: Vec::new() }
    }

    /// The line before the one that was returned last.
    pub(super) fn line(&mut self) -> io::Result<Option<Line>> {
        if self.end == 0 {
            return Ok(None);
        }
        if self.held.is_empty() {
            self.more()?;
        }
        let is_ended = self.held.last() == Some(&b'\n');
        if is_ended {
            self.held.pop();
        }
        let mut is_short = true;
        loop {
            let begin = match self.held.iter().rposition(|byte| *byte == b'\n') {
                Some(newline) => newline + 1,
                None if self.at == 0 => 0,
                None => {
                    if self.held.len() > MAX_LINE {
                        (self.held, is_short) = (Vec::new(), false);
                    }
                    self.more()?;
                    continue;
                }
            };
            let bytes = self.held.split_off(begin);
            let begin = self.at + u64::try_from(begin).map_err(io::Error::other)?;
            let line = Line { bytes: is_short.then_some(bytes), begin, end: self.end, is_ended };
            self.end = begin;
            return Ok(Some(line));
        }
    }

    fn more(&mut self) -> io::Result<()> {
        let before = self.at.saturating_sub(CHUNK);
        let mut bytes = vec![0; usize::try_from(self.at - before).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, before)?;
        bytes.append(&mut self.held);
        (self.held, self.at) = (bytes, before);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a text in the order in which they are read.
    fn lines(text: &[u8]) -> Vec<Line> {
        let scratch = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(scratch.path(), text).unwrap();
        let file = File::open(scratch.path()).unwrap();
        let mut backwards = Backwards::new(&file, u64::try_from(text.len()).unwrap());
        let mut lines: Vec<Line> = std::iter::from_fn(|| backwards.line().unwrap()).collect();
        lines.reverse();
        lines
    }

    fn line(bytes: Option<&str>, begin: u64, end: u64, is_ended: bool) -> Line {
        Line { bytes: bytes.map(|text| text.as_bytes().to_vec()), begin, end, is_ended }
    }

    #[test]
    fn lines_are_those_that_are_read_forwards() {
        let chunk = usize::try_from(CHUNK).unwrap();
        let long = |length| "x".repeat(length);
        for text in [
            String::new(),
            "a".to_owned(),
            "\n".to_owned(),
            "\n\n".to_owned(),
            "a\nbb\n\nccc".to_owned(),
            format!("a\n{}\nb\n", long(chunk)),
            format!("{}\n{}", long(chunk - 1), long(chunk - 1)),
            format!("{}\n{}\n", long(chunk - 1), long(chunk - 1)),
            format!("\n{}\n", long(chunk - 2)),
            format!("{}\n", long(3 * chunk)),
            "some words\n".repeat(20_000),
        ] {
            let mut at = 0;
            let expected: Vec<_> = text
                .split_inclusive('\n')
                .map(|text| {
                    let begin = at;
                    at += u64::try_from(text.len()).unwrap();
                    line(Some(text.trim_end_matches('\n')), begin, at, text.ends_with('\n'))
                })
                .collect();
            assert_eq!(lines(text.as_bytes()), expected, "{} bytes", text.len());
        }
    }

    #[test]
    fn of_a_line_that_is_too_long_only_its_place_is_told() {
        let long = 3 * MAX_LINE;
        let found = lines(format!("a\n{}\nb\n", "x".repeat(long)).as_bytes());
        let end = u64::try_from(long).unwrap() + 3;
        assert_eq!(found[0], line(Some("a"), 0, 2, true));
        assert_eq!(found[1], line(None, 2, end, true));
        assert_eq!(found[2], line(Some("b"), end, end + 2, true));
    }
}
