//! Differences between two texts or lists.

use super::neutral_lines;
use imara_diff::{Algorithm, Diff, InternedInput, Interner};
use std::{fmt::Write as _, hash::Hash, ops::Range};

/// A stretch that differs: the items that are removed, and those that replace them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub before: Range<usize>,
    pub after: Range<usize>,
}

/// The smallest set of changes that turns one list into the other, in order. All other items are the same on both
/// sides.
#[must_use]
pub fn changes<T: Eq + Hash>(before: &[T], after: &[T]) -> Vec<Change> {
    compare(Algorithm::MyersMinimal, before.iter(), after.iter())
}

/// The indices, before and after, of the items that are the same on both sides, for a list that had `length` items
/// before.
pub fn kept(changes: &[Change], length: usize) -> impl Iterator<Item = (usize, usize)> {
    let starts = [(0, 0)].into_iter().chain(changes.iter().map(|change| (change.before.end, change.after.end)));
    let ends = changes.iter().map(|change| change.before.start).chain([length]);
    starts.zip(ends).flat_map(|((before, after), end)| (before..end).zip(after..))
}

fn compare<T: Eq + Hash>(
    algorithm: Algorithm,
    before: impl Iterator<Item = T>,
    after: impl Iterator<Item = T>,
) -> Vec<Change> {
    let mut input = InternedInput { before: Vec::new(), after: Vec::new(), interner: Interner::new(0) };
    input.update_before(before);
    input.update_after(after);
    let mut diff = Diff::compute(algorithm, &input);
    diff.postprocess_no_heuristic(&input);
    let index = |index: u32| usize::try_from(index).unwrap_or(usize::MAX);
    let range = |range: &Range<u32>| index(range.start)..index(range.end);
    diff.hunks().map(|hunk| Change { before: range(&hunk.before), after: range(&hunk.after) }).collect()
}

/// Neighbouring changes that are shown together, with the lines around them.
struct Group<'a> {
    before: Range<usize>,
    after: Range<usize>,
    /// Each line with its mark: `-`, `+` or a blank.
    lines: Vec<(char, &'a str)>,
}

fn groups<'a>(before: &'a str, after: &'a str, context: usize) -> Vec<Group<'a>> {
    let (old, new): (Vec<&str>, Vec<&str>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let mut groups: Vec<Group<'a>> = Vec::new();
    let take = |group: &mut Group<'a>, mark, lines: &[&'a str], range: Range<usize>| {
        group.lines.extend(lines.get(range).unwrap_or_default().iter().map(|line| (mark, *line)));
    };
    // Not `MyersMinimal`: finding the smallest set of changes could take long.
    for change in compare(Algorithm::Myers, old.iter(), new.iter()) {
        match groups.last_mut() {
            Some(last) if change.before.start - last.before.end <= 2 * context => {
                take(last, ' ', &old, last.before.end..change.before.start);
                (last.before.end, last.after.end) = (change.before.end, change.after.end);
            }
            _ => {
                let shared = context.min(change.before.start);
                let begins = change.before.start - shared;
                let (before, after) = (begins..change.before.end, change.after.start - shared..change.after.end);
                groups.push(Group { before, after, lines: Vec::new() });
                if let Some(group) = groups.last_mut() {
                    take(group, ' ', &old, begins..change.before.start);
                }
            }
        }
        if let Some(group) = groups.last_mut() {
            take(group, '-', &old, change.before);
            take(group, '+', &new, change.after);
        }
    }
    for group in &mut groups {
        let shared = context.min(old.len() - group.before.end);
        let follows = group.before.end..group.before.end + shared;
        take(group, ' ', &old, follows);
        group.before.end += shared;
        group.after.end += shared;
    }
    groups
}

/// The changed lines, each with `-`, `+` or a blank before it, and up to `context` lines around them. A line `…`
/// separates the stretches.
#[must_use]
pub fn lines(before: &str, after: &str, context: usize) -> Vec<String> {
    let shown = |group: Group<'_>| {
        let line = |(mark, line)| format!("{mark}{}", neutral_lines(line));
        group.lines.into_iter().map(line).collect::<Vec<_>>()
    };
    groups(before, after, context).into_iter().map(shown).collect::<Vec<_>>().join(&["…".to_owned()][..])
}

/// The output of `diff -u` (the "unified format" of GNU diff), with these names in its header.
#[must_use]
pub fn unified(before: &str, after: &str, names: [&str; 2]) -> String {
    let [old, new] = names;
    let mut out = format!("--- {old}\n+++ {new}\n");
    // For one line the header has no length; for an empty stretch it has the number of the line before.
    let place = |range: &Range<usize>| match range.len() {
        0 => format!("{},0", range.start),
        1 => (range.start + 1).to_string(),
        length => format!("{},{length}", range.start + 1),
    };
    for group in groups(before, after, 3) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "@@ -{} +{} @@", place(&group.before), place(&group.after));
        for (mark, line) in group.lines {
            let end = if line.ends_with('\n') { "" } else { "\n\\ No newline at end of file\n" };
            let _ = write!(out, "{mark}{line}{end}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_items_change() {
        let change = |before, after| Change { before, after };
        let cases: [(&[u8], &[u8], Vec<Change>); 5] = [
            (b"abc", b"abc", vec![]),
            (b"", b"ab", vec![change(0..0, 0..2)]),
            (b"abcd", b"axcd", vec![change(1..2, 1..2)]),
            (
                b"abcabba",
                b"cbabac",
                vec![change(0..2, 0..0), change(3..3, 1..2), change(5..6, 4..4), change(7..7, 5..6)],
            ),
            (b"aab", b"ab", vec![change(1..2, 1..1)]),
        ];
        for (before, after, expected) in cases {
            let got = changes(before, after);
            let sizes = |changes: &[Change]| changes.iter().map(|c| c.before.len() + c.after.len()).sum::<usize>();
            assert_eq!(sizes(&got), sizes(&expected), "{got:?}");
            let kept: Vec<_> = kept(&got, before.len()).collect();
            assert_eq!(kept.len() + got.iter().map(|change| change.before.len()).sum::<usize>(), before.len());
            assert!(kept.iter().all(|(was, is)| before[*was] == after[*is]), "{kept:?}");
        }
    }

    #[test]
    fn stretches_that_are_far_apart_are_shown_apart() {
        assert_eq!(lines("", "a\nb\n", 2), ["+a", "+b"]);
        assert_eq!(lines("a\nb\nc\nd\ne\nf\n", "a\nb\nc\nX\ne\nf\n", 2), [" b", " c", "-d", "+X", " e", " f"]);
        assert_eq!(
            lines("a\n1\n2\n3\n4\nb\n", "A\n1\n2\n3\n4\nB\n", 2),
            ["-a", "+A", " 1", " 2", " 3", " 4", "-b", "+B"]
        );
        let apart = ["-a", "+A", " 1", " 2", "…", " 4", " 5", "-b", "+B"];
        assert_eq!(lines("a\n1\n2\n3\n4\n5\nb\n", "A\n1\n2\n3\n4\n5\nB\n", 2), apart);
        assert_eq!(lines("same\n", "same\n", 2), Vec::<String>::new());
        assert_eq!(lines("", "\x1b[2J\n", 2), ["+\\u{1b}[2J"]);
    }

    #[test]
    fn the_unified_format_is_that_of_diff() {
        let names = ["old", "new"];
        assert_eq!(unified("a\n", "b\n", names), "--- old\n+++ new\n@@ -1 +1 @@\n-a\n+b\n");
        assert_eq!(unified("", "b\n", names), "--- old\n+++ new\n@@ -0,0 +1 @@\n+b\n");
        assert_eq!(
            unified("1\n2\n3\n4\n5\n", "1\n2\n3\n4\n6", names),
            "--- old\n+++ new\n@@ -2,4 +2,4 @@\n 2\n 3\n 4\n-5\n+6\n\\ No newline at end of file\n"
        );
    }
}
