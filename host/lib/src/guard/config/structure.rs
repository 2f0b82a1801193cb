//! Compares a change of the configuration line by line, in the order in which sshd reads it. Every line that is not
//! ours keeps its place in the order and the conditions under which it holds, and our lines hold for everybody. Then
//! nothing that is not granted changes for any connection, and there is no need to ask about single connections.

mod match_all;

use self::match_all::OwnBlocks;
use super::{authorship::Authorship, keywords::MayChange};
use crate::{
    error::{Error, Result},
    machine::{
        files::Root,
        path::AbsolutePath,
        sshd::{
            self, ConfigReading,
            reading::Setting as ReadLine,
            tree::{ConfigFile, Line, Overlay, StagedFiles, Tree, identity},
        },
    },
    text::{
        diff::{self, Change},
        neutral,
    },
};
use sshd_config::line::Directive;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What a change may add to the configuration, in bytes. sshd 10.0 serves nobody if the whole configuration is larger
/// than 256 KiB, and `sshd -t` does not say so.
const ROOM: usize = 16 * 1024;
/// Keywords that are never granted: after a `Match`, the lines below it would hold for others than before, and an
/// `Include` brings in lines that nobody reviewed. A procedure may add or remove only a `Match all` ([`match_all`]).
const NEVER: [&str; 2] = ["match", "include"];
const REMOVES: &str = "removes";
/// What an operator can do about a line that a procedure may not write.
pub const ASK: &str = "make that change yourself if you want it; the policy's author decides what a procedure may \
                       change (sshd.keywords)";

/// The lines that would be added or removed.
#[derive(Debug, Default)]
pub struct Difference {
    /// Their keywords, in lower case.
    pub keywords: BTreeSet<String>,
    /// What is wrong with the first line that may not be added or removed.
    wrong: Option<LineRefusal>,
}

/// Why a line may not be added or removed: its place, and the rest of a sentence.
#[derive(Debug)]
enum LineRefusal {
    NotGranted {
        what: String,
        next: &'static str,
    },
    /// The line would be removed, and it is not Warded's.
    Foreign(String),
    /// The procedure would remove Warded's `Match all`, and a line that Warded did not write depends on it.
    Needed(String),
}

/// Compares two configurations line by line. Without an `authorship`, it does not matter who wrote the removed lines.
///
/// # Errors
/// Refused: sshd would not read one of the configurations to its end.
pub fn difference(
    before: &Tree,
    after: &Tree,
    granted: MayChange<'_>,
    authorship: Option<&Authorship>,
) -> Result<Difference> {
    let (old, new) = (before.lines()?, after.lines()?);
    let (old_blocks, new_blocks) = (OwnBlocks::of(before, &old), OwnBlocks::of(after, &new));
    let is_foreign = |line: &Line<'_>| {
        let Some(authorship) = authorship else { return false };
        let may_be_ours = granted.has(&line.directive.keyword) || line.directive.is_match_all() && old_blocks.has(line);
        if authorship.has_unrecorded() && may_be_ours {
            return false;
        }
        let file = before.find(line.file).and_then(|index| before.files.get(index));
        let real = fs::canonicalize(line.file).unwrap_or_else(|_| line.file.to_owned());
        file.is_none_or(|file| !authorship.lines(&real, &file.contents).contains(&line.number))
    };
    // Compares the bytes: releases before 8.7 split a line into other arguments than later ones.
    let changes = diff::changes(&words(&old, &old_blocks), &words(&new, &new_blocks));
    let kept: Vec<_> = diff::kept(&changes, old.len()).collect();
    // A line that was there would take effect behind a `Match all` that comes.
    let is_mixed = kept
        .iter()
        .filter_map(|(was, is)| old.get(*was).zip(new.get(*is)))
        .any(|(was, is)| new_blocks.has_at_end(is) && is_foreign(was));
    let is_theirs = |line: &Line<'_>| !old_blocks.has(line) || is_foreign(line);
    let removed = |at: usize, line: &Line<'_>| {
        let refused = if line.directive.is_match_all() && old_blocks.has(line) {
            match_all::harm((&old, &new), at, &kept, is_theirs).map(LineRefusal::Needed)
        } else {
            wrong(line, REMOVES, &new, granted)
        };
        refused.or_else(|| is_foreign(line).then(|| LineRefusal::Foreign(described(line, REMOVES))))
    };
    let added = |line: &Line<'_>| {
        let ends_blocks = line.directive.is_match_all() && new_blocks.has_at_end(line) && !is_mixed;
        (!ends_blocks).then(|| wrong(line, "has", &new, granted)).flatten()
    };
    let mut difference = Difference::default();
    for Change { before, after } in changes {
        let lines = old.get(before.clone()).into_iter().chain(new.get(after.clone())).flatten();
        difference.keywords.extend(lines.map(|line| line.directive.keyword.clone()));
        if difference.wrong.is_none() && matches!(granted, MayChange::Only(_)) {
            let mut gone = before.filter_map(|at| removed(at, old.get(at)?));
            difference.wrong = gone.next().or_else(|| new.get(after)?.iter().find_map(added));
        }
    }
    Ok(difference)
}

/// What is wrong with adding or removing this line.
fn wrong(line: &Line<'_>, verb: &str, after: &[Line<'_>], granted: MayChange<'_>) -> Option<LineRefusal> {
    let keyword = line.directive.keyword.as_str();
    let what = described(line, verb);
    if NEVER.contains(&keyword) || !granted.has(keyword) {
        return Some(LineRefusal::NotGranted { what: format!("{what}, which is not granted"), next: ASK });
    }
    if let Some(condition) = line.within.first() {
        let what = format!("{what}, which holds only below `{}`", neutral(condition));
        let next =
            "move that `Match` below the Include of this file, or to the end of the main file; then run this again";
        return Some(LineRefusal::NotGranted { what, next });
    }
    let by_name = |one: &&Line<'_>| {
        one.directive.is_conditional()
            && one.directive.arguments.iter().any(|argument| argument.text.to_lowercase().starts_with("host"))
    };
    if keyword == "usedns"
        && let Some(other) = after.iter().find(by_name)
    {
        let place = format!("{} line {}", other.file.display(), other.number);
        let what = format!("{what}, which decides for whom `{}` ({place}) holds", neutral(&other.directive.normal()));
        let next = "name addresses in that `Match`, or set UseDNS yourself, once you know whom it then holds for";
        return Some(LineRefusal::NotGranted { what, next });
    }
    None
}

/// What the comparison of two lines looks at: their bytes, their conditions, and whether they are Warded's `Match all`.
/// So it never takes Warded's `Match all` for one that an administrator wrote.
fn words<'a>(lines: &[Line<'a>], blocks: &OwnBlocks<'_>) -> Vec<(&'a [u8], Vec<String>, bool)> {
    let is_own = |line: &Line<'_>| line.directive.is_match_all() && blocks.has(line);
    lines.iter().map(|one| (one.text, one.within.clone(), is_own(one))).collect()
}

fn described(line: &Line<'_>, verb: &str) -> String {
    format!("{} line {} {verb} `{}`", line.file.display(), line.number, neutral(&line.directive.normal()))
}

impl Difference {
    /// # Errors
    /// Refused: a line is added or removed that is not granted or does not hold for everybody; or one is removed that
    /// is not Warded's.
    pub fn refuse(&self, granted: MayChange<'_>) -> Result<()> {
        let refused = match &self.wrong {
            None => return Ok(()),
            Some(LineRefusal::NotGranted { what, next }) => {
                Error::refused(what.clone()).cause(granted.described()).next(*next)
            }
            Some(LineRefusal::Foreign(what)) => Error::refused(format!("{what}, which Warded did not write"))
                .cause("the file, or Warded's block in it, was changed since: a procedure removes only its own lines")
                .next("move that line to another file of sshd's configuration, or take it out; then run this again")
                .next("if it is Warded's, and the records of its runs are lost: --accept-risk=unrecorded-lines"),
            Some(LineRefusal::Needed(what)) => Error::refused(what.clone())
                .cause("Warded did not write that line, and what it does depends on the `Match all` of Warded's block")
                .next(
                    "put a line `Match all` between Warded's block and that line (on an appliance: in its settings); \
                     then run this again",
                ),
        };
        Err(refused)
    }
}

/// The staged files that are part of a configuration with these `files`.
pub fn parts<'a, 'b>(staged: &'a StagedFiles, files: impl IntoIterator<Item = &'b ConfigFile>) -> BTreeSet<&'a Path> {
    let overlay = Overlay(staged);
    files.into_iter().filter_map(|file| overlay.staged(&file.path).map(|(key, _)| key)).collect()
}

/// Checks that the staged `parts` of a configuration are texts that sshd reads as Warded does, and that are not too
/// long.
///
/// # Errors
/// Refused: one of them is not.
pub fn refuse_bytes(staged: &StagedFiles, parts: &BTreeSet<&Path>, granted: MayChange<'_>) -> Result<()> {
    let MayChange::Only(_) = granted else { return Ok(()) };
    let mut added = 0;
    for path in parts {
        let new = staged.get(*path).and_then(Option::as_deref).unwrap_or_default();
        // sshd would stop reading the line there, and take the next one for the rest of it.
        if let Some(index) = new.split(|byte| *byte == b'\n').position(|line| line.contains(&0)) {
            return Err(Error::refused(format!("{} line {} has a NUL byte", path.display(), index + 1))
                .cause(granted.described())
                .next("this is a fault of the policy: tell its author"));
        }
        let old = fs::metadata(path).map_or(0, |metadata| usize::try_from(metadata.len()).unwrap_or(usize::MAX));
        added += new.len().saturating_sub(old);
    }
    if added > ROOM {
        return Err(Error::refused(format!("sshd's configuration would grow by {added} bytes"))
            .cause(format!("a procedure may add {ROOM} bytes; some releases of sshd serve nobody if it is long"))
            .next("this is a fault of the policy: tell its author"));
    }
    Ok(())
}

/// Checks that sshd reads no staged part of a configuration under a second name: by a hard link, or by a mount of the
/// file (which may not exist yet) or of its directory.
///
/// # Errors
/// Refused: it does.
pub fn refuse_second_names(parts: &BTreeSet<&Path>, tree: &Tree) -> Result<()> {
    let directory = |path: &Path| path.parent().and_then(identity);
    let real = |path: &Path| Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?));
    for path in parts {
        let own = identity(path);
        let is_beside = |other: &Path| {
            other.file_name() == path.file_name()
                && directory(other).is_some_and(|it| Some(it) == directory(path))
                && real(other).is_some_and(|real| real != **path)
        };
        let is_same = |other: &Path| {
            own.is_some() && identity(other) == own && fs::canonicalize(other).is_ok_and(|real| real != **path)
        };
        let Some(other) = tree.files.iter().map(|file| &file.path).find(|other| is_beside(other) || is_same(other))
        else {
            continue;
        };
        let cause = if is_beside(other) {
            "their directory has two names, by a mount: what is written there would be read twice"
        } else {
            "both names lead to one file, by a hard link or a mount: only one of them would be exchanged"
        };
        let message = format!("{} is read a second time, as {}", path.display(), other.display());
        return Err(Error::refused(message).cause(cause).next("let sshd read it under one name only"));
    }
    Ok(())
}

/// Checks that only root and the user who runs this can change the files that an `Include` names, and their
/// directories: otherwise lines could come and go between two looks.
///
/// # Errors
/// Refused: another user can change them.
pub fn refuse_foreign_files(root: &Root, staged: &StagedFiles, tree: &Tree) -> Result<()> {
    let overlay = Overlay(staged);
    for file in tree.files.iter().skip(1).filter(|file| overlay.staged(&file.path).is_none()) {
        let Err(error) = root.program(&file.path) else { continue };
        if is_masked(root, file) {
            continue;
        }
        let refused = Error::refused(format!("an Include reads {}, which others can change", file.path.display()))
            .cause(error.message);
        return Err(match error.next {
            Some(next) => refused.next(next),
            None => refused.next("give that file and its directories to root, or take the Include out"),
        });
    }
    Ok(())
}

/// Whether a file is masked: links that nobody else can change lead to `/dev/null`, which is always empty.
fn is_masked(root: &Root, file: &ConfigFile) -> bool {
    let place = AbsolutePath::try_from(file.path.as_path()).ok().and_then(|path| root.place(&path, usize::MAX).ok()?);
    place.is_some_and(|place| place.resolved() == Path::new("/dev/null"))
}

/// Which lines sshd reports to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchBlocks {
    /// Those outside of every block.
    Shut,
    /// All lines, from a copy in which each `Match` is `Match all`.
    Open,
}

/// Compares what sshd reports to read with what Warded reads: if they differ, Warded cannot judge the lines.
///
/// # Errors
/// Refused: they differ; with the first difference.
pub fn refuse_misread(tree: &Tree, reading: &ConfigReading, blocks: MatchBlocks) -> Result<()> {
    let refused = |what: String| {
        Error::refused("sshd reads its configuration differently from Warded")
            .cause(what)
            .next("write that part in a simpler way, and run this again")
    };
    if let Some(file) = tree.files.iter().find(|file| depends_on_process(&file.path))
        && std::env::current_dir().map_or(true, |own| own != Path::new(sshd::DIRECTORY))
    {
        return Err(refused(format!(
            "{}: which file that is depends on the directory that a process works in, and sshd's is {}",
            file.path.display(),
            sshd::DIRECTORY
        )));
    }
    let ours: BTreeSet<&Path> = tree.files.iter().map(|file| file.path.as_path()).collect();
    // sshd opens even a directory whose name matches a pattern, and finds no line in it.
    let theirs: BTreeSet<&Path> = reading.files.iter().map(PathBuf::as_path).filter(|path| !path.is_dir()).collect();
    if let Some(path) = theirs.difference(&ours).next() {
        return Err(refused(format!("sshd reads {}, which no Include seems to name", path.display())));
    }
    if let Some(path) = ours.difference(&theirs).next() {
        return Err(refused(format!("sshd does not read {}, which an Include seems to name", path.display())));
    }
    let lines = tree.lines()?;
    let mut settings = reading.settings.iter().peekable();
    // Whether the blocks that depend only on sshd's version hold: they do for every connection, or for none.
    let mut by_version: BTreeMap<&[String], bool> = BTreeMap::new();
    for line in lines.iter().filter(|line| !NEVER.contains(&line.directive.keyword.as_str())) {
        let is_it = |setting: &ReadLine| {
            line.file == setting.file && line.number == setting.line && line.directive.keyword == setting.keyword
        };
        if !line.within.is_empty() && blocks == MatchBlocks::Shut {
            let is_shown =
                || line.within.iter().all(|one| asks_for_version(one)) && settings.peek().is_some_and(|one| is_it(one));
            if !*by_version.entry(&line.within).or_insert_with(is_shown) {
                continue;
            }
        }
        match settings.next() {
            Some(setting) if is_it(setting) => {}
            Some(setting) => return Err(refused(misread(setting))),
            None => {
                return Err(refused(format!("{} line {}: sshd ignores it", line.file.display(), line.number)));
            }
        }
    }
    settings.next().map_or(Ok(()), |setting| Err(refused(misread(setting))))
}

/// Whether a path leads through the process that reads it, by its name or by a link: `/proc/self/cwd/x`.
fn depends_on_process(path: &Path) -> bool {
    let is_own = |path: &Path| ["/proc/self", "/proc/thread-self"].iter().any(|own| path.starts_with(own));
    is_own(path) || path.ancestors().any(|part| fs::read_link(part).is_ok_and(|target| is_own(&target)))
}

fn misread(setting: &ReadLine) -> String {
    let place = format!("{} line {}", setting.file.display(), setting.line);
    format!("{place}: sshd reads it as `{}`", neutral(&setting.keyword))
}

/// Whether a condition depends only on sshd's version (`Match Version`, since OpenSSH 10): it holds for all
/// connections or for none, and only sshd knows which.
fn asks_for_version(condition: &str) -> bool {
    let Some(Directive { arguments, .. }) = Directive::parse(condition.as_bytes()) else { return false };
    let mut words = arguments.iter().map(|argument| argument.text.to_ascii_lowercase());
    let mut asks = false;
    while let Some(word) = words.next() {
        // `Version=PATTERN`, or the pattern is the next word.
        let is_version = word.starts_with("version=") || word == "version" && words.next().is_some();
        if !is_version {
            return false;
        }
        asks = true;
    }
    asks
}

#[cfg(test)]
mod tests;
