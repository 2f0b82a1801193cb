//! When Warded's `Match all` may come or go. It ends every block, and for each connection sshd reads the lines behind it
//! again: they win over lines for everybody before it.

use super::{described, diff};
use crate::{
    guard::config::authorship,
    machine::sshd::{
        effective::canonical,
        tree::{Line, Tree},
    },
    text::neutral,
};
use std::{collections::BTreeSet, path::Path};

/// The lines of Warded's blocks in the main file.
pub(super) struct OwnBlocks<'a> {
    main: &'a Path,
    /// Their numbers.
    marked: BTreeSet<usize>,
    /// The number of the first line of the blocks at the end; none: the last line is in no block.
    first_of_end: Option<usize>,
}

impl<'a> OwnBlocks<'a> {
    pub(super) fn of(tree: &'a Tree, lines: &[Line<'_>]) -> Self {
        let Some(main) = tree.files.first() else {
            return Self { main: Path::new(""), marked: BTreeSet::new(), first_of_end: None };
        };
        let marked = authorship::marked(&main.contents);
        let is_own = |line: &&Line<'_>| line.file == main.path && marked.contains(&line.number);
        let first_of_end = lines.iter().rev().take_while(is_own).last().map(|line| line.number);
        Self { main: &main.path, marked, first_of_end }
    }

    pub(super) fn has(&self, line: &Line<'_>) -> bool {
        line.file == self.main && self.marked.contains(&line.number)
    }

    /// Whether only Warded's lines follow. A `Match all` may come only here: an appliance writes its own `Match` blocks
    /// before our lines.
    pub(super) fn has_at_end(&self, line: &Line<'_>) -> bool {
        line.file == self.main && self.first_of_end.is_some_and(|first| line.number >= first)
    }
}

/// How the removal of Warded's `Match all`, at this index of the old lines, would change the effect of a later line that
/// Warded did not write; none: it changes no such line. `same` are the lines of which neither the bytes nor the
/// conditions change.
pub(super) fn harm<'a>(
    (old, new): (&[Line<'a>], &[Line<'a>]),
    at: usize,
    same: &[(usize, usize)],
    is_theirs: impl Fn(&Line<'a>) -> bool,
) -> Option<String> {
    let (before, rest) = old.split_at_checked(at)?;
    let (own, behind) = rest.split_first()?;
    // The next `Match` of the file ends what this one opens.
    let is_end = |line: &Line<'_>| line.file == own.file && line.directive.keyword == "match";
    let behind = at + 1..at + 1 + behind.iter().position(is_end).unwrap_or(behind.len());
    let is_affected = |was: usize, line: &Line<'a>| behind.contains(&was) && line.within.is_empty() && is_theirs(line);
    let told = |line: &Line<'_>, what: String| {
        let other = neutral(&line.directive.normal());
        format!("{}, and `{other}` (line {}) would {what}", described(own, super::REMOVES), line.number)
    };

    let texts = |lines: &[Line<'a>]| lines.iter().map(|line| line.text).collect::<Vec<_>>();
    let falls = |(was, is): (usize, usize)| {
        let (line, condition) = (old.get(was)?, new.get(is)?.within.first()?);
        is_affected(was, line).then(|| told(line, format!("fall into `{}`", neutral(condition))))
    };
    let loses = |&(was, _): &(usize, usize)| {
        let line = old.get(was).filter(|line| is_affected(was, line))?;
        let keyword = canonical(&line.directive.keyword);
        let is_first = |one: &&Line<'_>| one.within.is_empty() && canonical(&one.directive.keyword) == keyword;
        let first = before.iter().find(is_first)?;
        let place = format!("{} line {}", first.file.display(), first.number);
        Some(told(line, format!("no longer win over `{}` ({place})", neutral(&first.directive.normal()))))
    };
    let changes = diff::changes(&texts(old), &texts(new));
    diff::kept(&changes, old.len()).find_map(falls).or_else(|| same.iter().find_map(loses))
}
