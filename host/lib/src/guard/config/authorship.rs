//! Which lines of sshd's configuration are Warded's: those that its runs wrote, according to their records. Any other
//! line is not, even in a file of Warded's name or between its marks, unless the operator accepts that it counts as
//! Warded's: the records may be lost.

use crate::digest::Digest;
use sshd_config::{
    block::{self, Marks},
    line,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
};

/// What a file that holds nothing else begins with.
const MANAGED: &[u8] = b"# Managed by Warded";

/// The texts that Warded wrote, by file.
#[derive(Clone, Debug, Default)]
pub struct Authorship {
    texts: BTreeMap<PathBuf, Texts>,
    /// Whether the operator accepts that lines which no record covers count as Warded's.
    with_unrecorded: bool,
}

#[derive(Clone, Debug, Default)]
struct Texts {
    /// Files that hold nothing else.
    whole: BTreeSet<Digest>,
    /// Marked blocks.
    blocks: BTreeSet<Digest>,
}

impl Authorship {
    /// Collects the texts from the files that earlier runs wrote, the oldest first: each path without links, with the
    /// contents before and after. A text is Warded's if there was none before, or if the one before was Warded's: a
    /// run keeps the lines that it finds. A block is Warded's only if every line outside it stays: otherwise a run
    /// could draw the marks around a line that was already there.
    #[must_use]
    pub fn of(written: impl IntoIterator<Item = (PathBuf, [Option<Vec<u8>>; 2])>) -> Self {
        let mut authorship = Self::default();
        for (path, [before, after]) in written {
            let Some(after) = after else { continue };
            let texts = authorship.texts.entry(path).or_default();
            let is_whole = before.as_ref().is_none_or(|before| texts.whole.contains(&Digest::of(before)));
            if is_whole {
                texts.whole.insert(Digest::of(&after));
            }
            let old = before.as_deref().map(blocks_of).unwrap_or_default();
            let is_same_outside = has_same_lines_outside(before.as_deref().unwrap_or_default(), &after);
            for block in blocks_of(&after) {
                let before = old.iter().find(|one| one.marks == block.marks);
                let is_known = before.is_none_or(|before| texts.blocks.contains(&before.digest));
                if is_whole || (is_known && is_same_outside) {
                    texts.blocks.insert(block.digest);
                }
            }
        }
        authorship
    }

    /// Sets whether the operator accepts that lines which no record covers count as Warded's.
    #[must_use]
    pub fn with_unrecorded(self, with_unrecorded: bool) -> Self {
        Self { with_unrecorded, ..self }
    }

    /// Whether lines that no record covers count as Warded's. This says nothing of where they may be, and which keywords
    /// they may have.
    pub(super) fn has_unrecorded(&self) -> bool {
        self.with_unrecorded
    }

    /// The numbers, from 1, of the lines of a file that are Warded's by the records.
    #[must_use]
    pub fn lines(&self, path: &Path, contents: &[u8]) -> BTreeSet<usize> {
        let Some(texts) = self.texts.get(path) else { return BTreeSet::new() };
        if texts.whole.contains(&Digest::of(contents)) {
            return (1..line::lines(contents).count() + 1).collect();
        }
        let known = blocks_of(contents).into_iter().filter(|block| texts.blocks.contains(&block.digest));
        known.flat_map(|block| block.lines).collect()
    }

    /// Whether a file has lines in a place of Warded's, between its marks or below its comment, that no record covers.
    #[must_use]
    pub fn misses(&self, path: &Path, contents: &[u8]) -> bool {
        let (known, marked) = (self.lines(path, contents), marked(contents));
        let is_whole = contents.starts_with(MANAGED);
        line::directives(contents).any(|(number, _)| (is_whole || marked.contains(&number)) && !known.contains(&number))
    }

    /// Whether a file, or the block in it, was edited since Warded wrote it.
    #[must_use]
    pub fn is_edited(&self, path: &Path, contents: &[u8]) -> bool {
        let Some(texts) = self.texts.get(path) else { return false };
        let blocks = blocks_of(contents);
        if blocks.is_empty() {
            return !texts.whole.is_empty() && self.lines(path, contents).is_empty();
        }
        blocks.iter().any(|block| !texts.blocks.contains(&block.digest))
    }
}

/// Whether two texts differ only in their blocks; false where the marks of one of them do not pair up.
fn has_same_lines_outside(before: &[u8], after: &[u8]) -> bool {
    matches!((block::outside(before), block::outside(after)), (Ok(before), Ok(after)) if before == after)
}

/// The numbers, from 1, of the lines of a text that are in a marked block.
#[must_use]
pub(super) fn marked(contents: &[u8]) -> BTreeSet<usize> {
    blocks_of(contents).into_iter().flat_map(|block| block.lines).collect()
}

struct Block {
    marks: Marks,
    digest: Digest,
    lines: Range<usize>,
}

/// The marked blocks in a file; none where its marks do not pair up.
fn blocks_of(contents: &[u8]) -> Vec<Block> {
    let block = |(marks, bytes): (Marks, Range<usize>)| {
        let text = contents.get(bytes.clone())?;
        let first = line::lines(contents.get(..bytes.start)?).count() + 1;
        Some(Block { marks, digest: Digest::of(text), lines: first..first + line::lines(text).count() })
    };
    block::all(contents).unwrap_or_default().into_iter().filter_map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "/d/50-warded.conf";
    const BLOCK: &str = "# BEGIN warded\nHostCertificate /a\n# END warded\n";

    fn after(runs: &[(Option<&str>, Option<&str>)]) -> Authorship {
        let bytes = |text: &Option<&str>| text.map(|text| text.as_bytes().to_vec());
        Authorship::of(runs.iter().map(|(before, after)| (FILE.into(), [bytes(before), bytes(after)])))
    }

    #[test]
    fn a_line_is_ours_if_a_run_wrote_it() {
        let main = |block: &str| format!("Port 22\n{block}UsePAM yes\n");
        let (plain, with_block) = (main(""), main(BLOCK));
        let edited = BLOCK.replace("/a", "/theirs");
        let made = (Some(plain.as_str()), Some(with_block.as_str()));
        let drawn = "# BEGIN warded\nPort 22\n# END warded\nUsePAM yes\n".to_owned();
        let grown = format!("Port 22\n{}", BLOCK.replace("# END", "UsePAM yes\n# END"));
        let broken = format!("# END warded\n{plain}");
        let two = main(&format!("{BLOCK}# BEGIN warded x\nRevokedKeys /a\n# END warded x\n"));
        for (case, runs, contents, lines, is_edited) in [
            ("nothing is known", &[][..], "A\nB\n", 0..0, false),
            ("a file that a run made", &[(None, Some("A\nB\n"))], "A\nB\n", 1..3, false),
            ("edited since", &[(None, Some("A\nB\n"))], "A\nB\nC\n", 0..0, true),
            ("changed by a run", &[(None, Some("A\n")), (Some("A\n"), Some("B\n"))], "B\n", 1..2, false),
            ("as an earlier run left it", &[(None, Some("A\n")), (Some("A\n"), Some("B\n"))], "A\n", 1..2, false),
            (
                "changed by a run after an edit",
                &[(None, Some("A\n")), (Some("C\n"), Some("C\nB\n"))],
                "C\nB\n",
                0..0,
                true,
            ),
            ("a file that was there", &[(Some("A\n"), Some("A\nB\n"))], "A\nB\n", 0..0, false),
            ("made again", &[(None, Some("A\n")), (Some("A\n"), None), (None, Some("B\n"))], "B\n", 1..2, false),
            ("a block", &[(Some(plain.as_str()), Some(with_block.as_str()))], &with_block, 2..5, false),
            ("a block in a file that was edited", &[made], BLOCK, 1..4, false),
            ("an edited block", &[made], &main(&edited), 0..0, true),
            ("a changed block", &[made, (Some(&with_block), Some(&main(&edited)))], &main(&edited), 2..5, false),
            ("a block of nobody's", &[(Some(with_block.as_str()), Some(&edited))], &edited, 0..0, true),
            ("a second block", &[(Some(with_block.as_str()), Some(two.as_str()))], &two, 5..8, true),
            ("two blocks", &[(Some(&plain), Some(&with_block)), (Some(&with_block), Some(&two))], &two, 2..8, false),
            ("the block is gone", &[made], &plain, 0..0, false),
            ("marks around a line that was there", &[(Some(&plain), Some(&drawn))], &drawn, 0..0, true),
            (
                "marks around lines in a drop-in",
                &[(None, Some("B\n")), (Some(&plain), Some(&drawn))],
                &drawn,
                0..0,
                true,
            ),
            ("marks moved over another line", &[made, (Some(&with_block), Some(&grown))], &grown, 0..0, true),
            ("marks that were no pair", &[(Some(&broken), Some(&with_block))], &with_block, 0..0, true),
            ("a block in a file that a run made", &[(None, Some(&with_block))], &format!("C\n{BLOCK}"), 2..5, false),
        ] {
            let authorship = after(runs);
            assert_eq!(authorship.lines(Path::new(FILE), contents.as_bytes()), lines.collect(), "{case}");
            assert_eq!(authorship.is_edited(Path::new(FILE), contents.as_bytes()), is_edited, "{case}");
            assert_eq!(authorship.lines(Path::new("/else"), contents.as_bytes()), BTreeSet::new(), "{case}");
        }
    }

    #[test]
    fn lines_in_a_place_of_wardeds_are_missed() {
        let managed = "# Managed by Warded (policy unix).\nHostCertificate /a\n";
        let comment = "# BEGIN warded\n# theirs\n# END warded\n";
        for (contents, expected) in [
            ("Port 22\n", false),
            (BLOCK, true),
            (managed, true),
            (comment, false),
            (&format!("Port 22\n{comment}"), false),
            (&format!("Port 22\n{managed}"), false),
            (&format!("{comment}{}", BLOCK.replace("warded", "warded x")), true),
        ] {
            let misses = |known: &[_]| after(known).misses(Path::new(FILE), contents.as_bytes());
            assert_eq!(misses(&[]), expected, "{contents}");
            assert!(!misses(&[(None, Some(contents))]), "{contents}");
        }
    }

    #[test]
    fn the_lines_of_blocks_are_numbered_from_one() {
        for (text, lines) in [
            ("Port 22\n".to_owned(), vec![]),
            (BLOCK.to_owned(), vec![1, 2, 3]),
            (format!("Port 22\n{BLOCK}UsePAM yes\n{}", BLOCK.replace("warded", "warded x")), vec![2, 3, 4, 6, 7, 8]),
            (format!("# END warded\n{BLOCK}"), vec![]),
        ] {
            assert_eq!(marked(text.as_bytes()), lines.into_iter().collect(), "{text}");
        }
    }
}
