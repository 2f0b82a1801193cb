//! Warded's marked blocks in sshd's main file: one for each procedure that has lines there. The block of `certify-host`
//! has no name; earlier versions of `revoke-users` wrote their line into it, too.
//!
//! A block stands before the first `Match`, where every keyword applies to all connections. A block that opens with
//! `Match all` could stand anywhere, but it would also affect the lines after it, which are not Warded's. Only whole
//! lines are inserted or removed, so removing the block restores every byte.

use crate::line::{self, Directive};
use std::ops::Range;

/// The line that opens the block without a name; the opening line of a named block begins with it.
pub const BEGIN: &str = "# BEGIN warded";
/// The line that closes it.
pub const END: &str = "# END warded";

/// The marks in the text are not pairs in order, so what lies between them is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenBlock;

/// The lines that open and close one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    begin: String,
    end: String,
}

impl Default for Marks {
    /// The marks of the block without a name.
    fn default() -> Self {
        Self { begin: BEGIN.to_owned(), end: END.to_owned() }
    }
}

impl Marks {
    /// The marks of a procedure's own block.
    #[must_use]
    pub fn of(procedure: &str) -> Self {
        Self { begin: format!("{BEGIN} {procedure}"), end: format!("{END} {procedure}") }
    }

    /// The line that opens the block.
    #[must_use]
    pub fn begin(&self) -> &str {
        &self.begin
    }

    /// The line that closes it.
    #[must_use]
    pub fn end(&self) -> &str {
        &self.end
    }

    /// Whether the line opens or closes a block of any procedure.
    #[must_use]
    pub fn is_mark(line: &[u8]) -> bool {
        let line = line.trim_ascii();
        Self::opened_by(line).or_else(|| Self::closed_by(line)).is_some()
    }

    /// The marks of the block that a line opens, of any procedure.
    fn opened_by(line: &[u8]) -> Option<Self> {
        Self::named(line, BEGIN)
    }

    /// The marks of the block that a line closes.
    fn closed_by(line: &[u8]) -> Option<Self> {
        Self::named(line, END)
    }

    fn named(line: &[u8], mark: &str) -> Option<Self> {
        let rest = line.strip_prefix(mark.as_bytes())?;
        if rest.is_empty() {
            return Some(Self::default());
        }
        let name = std::str::from_utf8(rest.strip_prefix(b" ")?).ok()?;
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (!name.is_empty() && name.bytes().all(is_name)).then(|| Self::of(name))
    }

    /// Where the block is, its marks included; none if there is no block.
    ///
    /// # Errors
    /// As [`all`]: if another block's mark is between the marks, the lines there may not be Warded's.
    pub fn find(&self, text: &[u8]) -> Result<Option<Range<usize>>, BrokenBlock> {
        Ok(all(text)?.into_iter().find_map(|(marks, range)| (marks == *self).then_some(range)))
    }

    /// The text with a block of these lines: in place of the present block, else before the first `Match`. If a `Match`
    /// now precedes the block, it is moved.
    ///
    /// # Errors
    /// As [`all`].
    pub fn set(&self, text: &[u8], lines: &[&str]) -> Result<Vec<u8>, BrokenBlock> {
        let first_match = first_match(text);
        match self.find(text)? {
            Some(range) if first_match.is_none_or(|first| range.start < first) => {
                let terminated = text.get(range.clone()).is_some_and(|block| block.ends_with(b"\n"));
                let mut block = self.render(text, lines);
                if !terminated {
                    block.truncate(block.trim_ascii_end().len());
                }
                Ok(splice(text, range, &block))
            }
            Some(_) => self.set(&self.remove(text)?, lines),
            None => {
                let at = first_match.unwrap_or_else(|| end_of_lines(text));
                Ok(splice(text, at..at, &self.render(text, lines)))
            }
        }
    }

    /// The text without the block.
    ///
    /// # Errors
    /// As [`all`].
    pub fn remove(&self, text: &[u8]) -> Result<Vec<u8>, BrokenBlock> {
        Ok(match self.find(text)? {
            Some(range) => splice(text, range, b""),
            None => text.to_vec(),
        })
    }

    /// The block, with the line endings of the text's first line.
    fn render(&self, text: &[u8], lines: &[&str]) -> Vec<u8> {
        let first = line::lines(text).next().unwrap_or_default();
        let ending = if first.ends_with(b"\r\n") { "\r\n" } else { "\n" };
        let mut block = Vec::new();
        for line in [self.begin.as_str()].into_iter().chain(lines.iter().copied()).chain([self.end.as_str()]) {
            block.extend_from_slice(line.as_bytes());
            block.extend_from_slice(ending.as_bytes());
        }
        block
    }
}

/// Every block of Warded's in a text: its marks, and where it is.
///
/// # Errors
/// Marks are not pairs, or one block lies in another.
pub fn all(text: &[u8]) -> Result<Vec<(Marks, Range<usize>)>, BrokenBlock> {
    let mut found: Vec<(Marks, Range<usize>)> = Vec::new();
    let mut open: Option<(Marks, usize)> = None;
    for range in line_ranges(text) {
        let line = text.get(range.clone()).unwrap_or_default().trim_ascii();
        if let Some(marks) = Marks::opened_by(line) {
            if open.is_some() || found.iter().any(|(known, _)| *known == marks) {
                return Err(BrokenBlock);
            }
            open = Some((marks, range.start));
        } else if let Some(marks) = Marks::closed_by(line) {
            let (opened, start) = open.take().filter(|(opened, _)| *opened == marks).ok_or(BrokenBlock)?;
            found.push((opened, start..range.end));
        }
    }
    if open.is_some() { Err(BrokenBlock) } else { Ok(found) }
}

/// The lines outside every block.
///
/// # Errors
/// As [`all`].
pub fn outside(text: &[u8]) -> Result<Vec<&[u8]>, BrokenBlock> {
    let blocks = all(text)?;
    let is_outside = |range: &Range<usize>| !blocks.iter().any(|(_, block)| block.contains(&range.start));
    Ok(line_ranges(text).filter(is_outside).filter_map(|range| text.get(range)).collect())
}

/// Where the first `Match` line begins.
fn first_match(text: &[u8]) -> Option<usize> {
    line_ranges(text)
        .find(|range| {
            text.get(range.clone()).and_then(Directive::parse).is_some_and(|directive| directive.keyword == "match")
        })
        .map(|range| range.start)
}

/// The end of the last line that has a line ending. The block goes before a last line without one, not after it: to end
/// that line would be a change outside the block, and the next line that somebody appends would damage a block without
/// a line ending.
fn end_of_lines(text: &[u8]) -> usize {
    text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1)
}

fn splice(text: &[u8], range: Range<usize>, between: &[u8]) -> Vec<u8> {
    let before = text.get(..range.start).unwrap_or_default();
    let after = text.get(range.end..).unwrap_or_default();
    [before, between, after].concat()
}

fn line_ranges(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    line::lines(text).scan(0, |offset, line| {
        let start = *offset;
        *offset += line.len();
        Some(start..*offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &[u8]) -> Result<Option<Range<usize>>, BrokenBlock> {
        Marks::default().find(text)
    }

    fn set(text: &[u8], lines: &[&str]) -> Result<Vec<u8>, BrokenBlock> {
        Marks::default().set(text, lines)
    }

    fn remove(text: &[u8]) -> Result<Vec<u8>, BrokenBlock> {
        Marks::default().remove(text)
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn check(before: &str, after: &str) {
        let made = set(before.as_bytes(), &["X 1"]).unwrap();
        assert_eq!(text(&made), after);
        assert_eq!(text(&set(&made, &["X 1"]).unwrap()), after, "a second time");
        assert_eq!(text(&remove(&made).unwrap()), before, "taken out");
        let other = set(&made, &["Y 1", "Y 2"]).unwrap();
        assert_eq!(text(&remove(&other).unwrap()), before, "changed and taken out");
    }

    #[test]
    fn a_block_is_put_where_it_holds_for_everybody_and_comes_out_byte_for_byte() {
        const B: &str = "# BEGIN warded\nX 1\n# END warded\n";
        check("", B);
        check("Port 22\n", &format!("Port 22\n{B}"));
        check("Port 22\n\n", &format!("Port 22\n\n{B}"));
        check("Port 22", &format!("{B}Port 22"));
        check("Port 22\nUsePAM yes", &format!("Port 22\n{B}UsePAM yes"));
        check("Port 22\nMatch User a\n X\n", &format!("Port 22\n{B}Match User a\n X\n"));
        check("Match User a\n X\n", &format!("{B}Match User a\n X\n"));
        check("a\n\tmatch=all\nMatch all\n", &format!("a\n{B}\tmatch=all\nMatch all\n"));
        check("a\n\"Match\" all", &format!("a\n{B}\"Match\" all"));
        check("a\n\"\"Match all", &format!("a\n{B}\"\"Match all"));
        check("#Match all\n", &format!("#Match all\n{B}"));
        check("\u{feff}Port 22\n", &format!("\u{feff}Port 22\n{B}"));
        check("a\r\nb\r\n", "a\r\nb\r\n# BEGIN warded\r\nX 1\r\n# END warded\r\n");
        check("a\r\nb", "a\r\n# BEGIN warded\r\nX 1\r\n# END warded\r\nb");
        check("\n", &format!("\n{B}"));
    }

    #[test]
    fn bytes_that_are_not_text_are_kept() {
        let before = b"# caf\xe9\nPort 22\nMatch all\n\xff\n";
        let made = set(before, &["X"]).unwrap();
        assert_eq!(made, b"# caf\xe9\nPort 22\n# BEGIN warded\nX\n# END warded\nMatch all\n\xff\n");
        assert_eq!(remove(&made).unwrap(), before);
    }

    #[test]
    fn a_block_stays_where_it_is_unless_a_match_now_precedes_it() {
        let cases = [
            ("a\n# BEGIN warded\nOld\n# END warded\nb\n", "a\n# BEGIN warded\nX 1\n# END warded\nb\n"),
            ("a\n# BEGIN warded \r\nOld\n  # END warded\t\nb\n", "a\n# BEGIN warded\nX 1\n# END warded\nb\n"),
            ("a\n# BEGIN warded\nX 1\n# END warded", "a\n# BEGIN warded\nX 1\n# END warded"),
            ("# BEGIN warded\nOld\n# END warded\nb\nMatch all\n", "# BEGIN warded\nX 1\n# END warded\nb\nMatch all\n"),
            (
                "Match all\nb\n# BEGIN warded\nOld\n# END warded\nc\n",
                "# BEGIN warded\nX 1\n# END warded\nMatch all\nb\nc\n",
            ),
        ];
        for (before, after) in cases {
            assert_eq!(text(&set(before.as_bytes(), &["X 1"]).unwrap()), after, "{before:?}");
            assert_eq!(text(&set(after.as_bytes(), &["X 1"]).unwrap()), after, "again {before:?}");
        }
    }

    #[test]
    fn marks_that_are_not_a_pair_are_refused() {
        for text in [
            "# BEGIN warded\nX\n",
            "X\n# END warded\n",
            "# END warded\n# BEGIN warded\n",
            "# BEGIN warded\n# BEGIN warded\n# END warded\n",
            "# BEGIN warded\n# END warded\n# END warded\n",
            "# BEGIN warded\n# END warded\n# BEGIN warded\n# END warded\n",
            "# BEGIN warded\nX\n# END warded x\n# END warded\n",
            "# BEGIN warded\n# BEGIN warded x\n# END warded x\n# END warded\n",
        ] {
            assert_eq!(find(text.as_bytes()), Err(BrokenBlock), "{text:?}");
            assert_eq!(set(text.as_bytes(), &["X"]), Err(BrokenBlock), "{text:?}");
            assert_eq!(remove(text.as_bytes()), Err(BrokenBlock), "{text:?}");
            assert_eq!(outside(text.as_bytes()), Err(BrokenBlock), "{text:?}");
        }
    }

    #[test]
    fn what_is_outside_of_the_block_is_seen() {
        let same = |a: &str, b: &str| outside(a.as_bytes()).unwrap() == outside(b.as_bytes()).unwrap();
        assert!(same("a\nb\n", "a\n# BEGIN warded\nx\n# END warded\nb\n"));
        assert!(same("a\r\n# BEGIN warded\r\nx\r\n# END warded\r\n", "a\r\n"));
        assert!(same("", "# BEGIN warded\n# END warded"));
        for other in ["a\nc\n", "a\nb", "a\n# BEGIN warded\n# END warded\n", "a\nb\n\n"] {
            assert!(!same("a\nb\n", other), "{other:?}");
        }
    }

    #[test]
    fn blocks_of_two_procedures_stand_side_by_side() {
        let (shared, own) = (Marks::default(), Marks::of("trust-user-ca"));
        let before = b"Port 22\nMatch all\n";
        let first = shared.set(before, &["X 1"]).unwrap();
        let both = own.set(&first, &["Y 1"]).unwrap();
        let block = "# BEGIN warded trust-user-ca\nY 1\n# END warded trust-user-ca\n";
        assert_eq!((shared.begin(), shared.end()), ("# BEGIN warded", "# END warded"));
        assert_eq!((own.begin(), own.end()), ("# BEGIN warded trust-user-ca", "# END warded trust-user-ca"));
        assert_eq!(text(&both), format!("Port 22\n# BEGIN warded\nX 1\n# END warded\n{block}Match all\n"));
        assert_eq!(own.remove(&both).unwrap(), first);
        assert_eq!(text(&shared.remove(&both).unwrap()), format!("Port 22\n{block}Match all\n"));
        assert_eq!(own.remove(&shared.remove(&both).unwrap()).unwrap(), before);
        assert_eq!(outside(&both).unwrap(), outside(before).unwrap());
        let found = all(&both).unwrap();
        assert_eq!(found.iter().map(|(marks, _)| marks.begin()).collect::<Vec<_>>(), [shared.begin(), own.begin()]);
        for broken in [
            "# BEGIN warded\n# BEGIN warded x\n# END warded x\n# END warded\n",
            "# BEGIN warded x\n# END warded\n",
            "# BEGIN warded x\n# END warded x\n# BEGIN warded x\n# END warded x\n",
            "# END warded x\n",
        ] {
            assert_eq!(all(broken.as_bytes()), Err(BrokenBlock), "{broken:?}");
        }
        // A comment that begins like a mark is none.
        assert_eq!(all(b"# BEGIN warded block\x20one\n# BEGIN wardedx\n").unwrap(), []);
    }
}
