//! Which lines of sshd's configuration are Warded's: those that the records of its runs say it wrote. What else
//! stands in a file of Warded's name, or between its marks, is somebody else's.

use crate::digest::Digest;
use sshd_config::{block, line};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
};

/// The texts of Warded's.
#[derive(Clone, Debug, Default)]
pub struct Authorship(BTreeMap<PathBuf, Texts>);

#[derive(Clone, Debug, Default)]
struct Texts {
    /// Files that hold nothing else.
    whole: BTreeSet<Digest>,
    /// Marked blocks.
    blocks: BTreeSet<Digest>,
}

impl Authorship {
    /// From the files that earlier runs wrote, the oldest first: each path without links, and the contents before and
    /// after. A text is Warded's where there was none before, or one of Warded's: a run keeps the lines that it finds.
    /// A block is Warded's only where every line outside it stays: else a run could draw the marks around a line that
    /// was there.
    #[must_use]
    pub fn of(written: impl IntoIterator<Item = (PathBuf, [Option<Vec<u8>>; 2])>) -> Self {
        let mut authorship = Self::default();
        for (path, [before, after]) in written {
            let Some(after) = after else { continue };
            let texts = authorship.0.entry(path).or_default();
            let is_whole = before.as_ref().is_none_or(|before| texts.whole.contains(&Digest::of(before)));
            if is_whole {
                texts.whole.insert(Digest::of(&after));
            }
            let is_known =
                before.as_deref().and_then(block_of).is_none_or(|block| texts.blocks.contains(&block.digest));
            let may_be_ours =
                is_whole || (is_known && has_same_lines_outside(before.as_deref().unwrap_or_default(), &after));
            if let Some(block) = block_of(&after).filter(|_| may_be_ours) {
                texts.blocks.insert(block.digest);
            }
        }
        authorship
    }

    /// The numbers, from 1, of a file's lines that are Warded's.
    #[must_use]
    pub fn lines(&self, path: &Path, contents: &[u8]) -> Range<usize> {
        let Some(texts) = self.0.get(path) else { return 0..0 };
        if texts.whole.contains(&Digest::of(contents)) {
            return 1..line::lines(contents).count() + 1;
        }
        block_of(contents).filter(|block| texts.blocks.contains(&block.digest)).map_or(0..0, |block| block.lines)
    }

    /// Whether a file, or the block in it, was edited since Warded wrote it.
    #[must_use]
    pub fn is_edited(&self, path: &Path, contents: &[u8]) -> bool {
        let has_text = self.0.get(path).is_some_and(|texts| match block_of(contents) {
            Some(_) => true,
            None => !texts.whole.is_empty(),
        });
        has_text && self.lines(path, contents).is_empty()
    }
}

/// Whether two texts differ in their blocks alone; false where the marks of one are no pair.
fn has_same_lines_outside(before: &[u8], after: &[u8]) -> bool {
    matches!((block::outside(before), block::outside(after)), (Ok(before), Ok(after)) if before == after)
}

struct Block {
    digest: Digest,
    lines: Range<usize>,
}

/// The marked block in a file; none also where the marks are no pair.
fn block_of(contents: &[u8]) -> Option<Block> {
    let bytes = block::find(contents).ok().flatten()?;
    let text = contents.get(bytes.clone())?;
    let before = line::lines(contents.get(..bytes.start)?).count();
    Some(Block { digest: Digest::of(text), lines: before + 1..before + 1 + line::lines(text).count() })
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
            assert_eq!(authorship.lines(Path::new(FILE), contents.as_bytes()), lines, "{case}");
            assert_eq!(authorship.is_edited(Path::new(FILE), contents.as_bytes()), is_edited, "{case}");
            assert_eq!(authorship.lines(Path::new("/else"), contents.as_bytes()), 0..0, "{case}");
        }
    }
}
