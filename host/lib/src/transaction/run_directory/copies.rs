//! The copies of old and new files, in one archive. Runs of earlier versions have a file for each copy, `old/N` and
//! `new/N`.

use super::Run;
use crate::{
    error::{Error, Result},
    machine::{keys::holds_private_key, private::StateDir},
    text::shell_word,
    transaction::{archive::Archive, temporary::PreparedChange},
};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// The archive's name in the directory of the run.
pub(in crate::transaction) const COPIES: &str = "copies.tar";
/// The names in it, each followed by a number: files as they were before, and as the run left them.
const OLD: &str = "old";
const NEW: &str = "new";
/// Everything that may hold copies.
pub(super) const ALL: [&str; 3] = [COPIES, OLD, NEW];

/// Copies to add to another run's, under a number that no journal names yet.
#[derive(Debug)]
pub(in crate::transaction) struct Copies {
    pub(in crate::transaction) number: usize,
    pub(in crate::transaction) old: Option<Zeroizing<Vec<u8>>>,
    pub(in crate::transaction) left: Option<Zeroizing<Vec<u8>>>,
}

fn name(kind: &str, number: usize) -> String {
    format!("{kind}/{number}")
}

impl Run {
    /// A file as it was before, from its copy.
    pub(in crate::transaction) fn old(&self, index: usize) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.old_copy(self.copies(index))
    }

    /// The copy with that number.
    pub(in crate::transaction) fn old_copy(&self, number: usize) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.copy(&name(OLD, number))
    }

    /// A file as the run left it, from its copy.
    pub(in crate::transaction) fn left(&self, index: usize) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.copy(&name(NEW, self.copies(index)))
    }

    /// A command that restores a file as it was before.
    pub(in crate::transaction) fn how_to_restore(&self, index: usize, path: &str) -> String {
        let copy = name(OLD, self.copies(index));
        let beside = self.path().join(&copy);
        let path = shell_word(path);
        if beside.exists() {
            return format!("cp {} {path}", shell_word(&beside.to_string_lossy()));
        }
        // Extracts to another place first: if the archive cannot be read, the file stays as it is. A new file gets
        // the mode that mktemp(1) uses, 0600, since it may be a private key.
        let archive = shell_word(&self.path().join(COPIES).to_string_lossy());
        format!("t=$(mktemp) && tar -xOf {archive} {copy} >\"$t\" && cp \"$t\" {path}; rm -f \"$t\"")
    }

    /// Stores copies beside those that the journal names, and drops the others. They are on disk before any journal
    /// names them.
    pub(in crate::transaction) fn store_copies(&mut self, copies: &[Copies]) -> Result<()> {
        let more = copies.iter().flat_map(|Copies { number, old, left }| {
            let one = |kind, copy: &Option<Zeroizing<Vec<u8>>>| copy.clone().map(|copy| (name(kind, *number), copy));
            [one(OLD, old), one(NEW, left)].into_iter().flatten()
        });
        let more: Vec<_> = more.collect();
        let named = self.named();
        self.rewrite(|name| named.contains(name), &more)?;
        self.directory.sync()
    }

    /// Removes the copies that the journal does not name, if a private key is among them. Otherwise they are dropped
    /// when the next copies are stored, which saves a wait for the disk.
    pub(in crate::transaction) fn remove_spare_copies(&mut self) -> Result<()> {
        let named = self.named();
        if self.archive()?.files().any(|(name, copy)| !named.contains(name) && holds_private_key(copy)) {
            self.rewrite(|name| named.contains(name), &[])?;
        }
        for kind in [OLD, NEW] {
            let Some(copies) = self.directory.find_sub(kind)? else { continue };
            let is_spare = |number: &&String| !named.contains(&format!("{kind}/{number}"));
            copies.names()?.iter().filter(is_spare).try_for_each(|number| copies.remove(number))?;
        }
        Ok(())
    }

    /// Removes the copies of new files that are private keys: undoing a kept run needs only the old ones, and the new
    /// key is in its place.
    pub(in crate::transaction) fn remove_new_keys(&self) -> Result<()> {
        self.directory.remove_unfinished()?;
        let archive = self.archive()?;
        let is_new_key = |name: &str, copy: &[u8]| name.starts_with(NEW) && holds_private_key(copy);
        if archive.files().any(|(name, copy)| is_new_key(name, copy)) {
            let others = archive.files().filter(|(name, copy)| !is_new_key(name, copy));
            let others = Archive::of(others.map(|(name, copy)| (name.to_owned(), copy)));
            self.directory.write(COPIES, others.bytes(), 0o600)?;
        }
        for index in 0..self.journal.entries.len() {
            let name = name(NEW, self.copies(index));
            if self.directory.read(&name)?.is_some_and(|left| holds_private_key(&left)) {
                self.directory.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Removes all copies, which may be private keys.
    pub(in crate::transaction) fn remove_copies(&self) -> Result<()> {
        self.directory.remove_unfinished()?;
        ALL.iter().try_for_each(|name| self.directory.remove(name))
    }

    /// Why the copies cannot be read, if they cannot.
    pub(in crate::transaction) fn copies_fault(&self) -> Option<Error> {
        self.archive().err()
    }

    /// Copies that cannot be read count as missing from here on.
    pub(in crate::transaction) fn forget_damaged_copies(&mut self) -> Result<()> {
        if self.directory.read(COPIES)?.is_some_and(|bytes| Archive::parse(bytes).is_err()) {
            self.archive = Archive::default().into();
        }
        Ok(())
    }

    /// Writes the copies, without syncing their name.
    pub(super) fn write_copies(&self, changes: &[PreparedChange]) -> Result<()> {
        let copies = changes.iter().enumerate().flat_map(|(index, change)| {
            let old = change.change.before.as_ref().map(|before| (name(OLD, index), before.contents.as_slice()));
            let new = change.change.after.as_ref().map(|after| (name(NEW, index), after.contents.as_slice()));
            [old, new].into_iter().flatten()
        });
        self.directory.write_one_of_many(COPIES, Archive::of(copies).bytes(), 0o600)
    }

    fn copies(&self, index: usize) -> usize {
        self.journal.entries.get(index).map_or(index, |entry| entry.copies(index))
    }

    fn named(&self) -> BTreeSet<String> {
        let numbers = 0..self.journal.entries.len();
        numbers.flat_map(|index| [OLD, NEW].map(|kind| name(kind, self.copies(index)))).collect()
    }

    /// Writes the archive anew, without syncing its name.
    fn rewrite(&mut self, keeps: impl Fn(&str) -> bool, more: &[(String, Zeroizing<Vec<u8>>)]) -> Result<()> {
        let archive = self.archive()?;
        let kept = archive.files().filter(|(name, _)| keeps(name)).map(|(name, copy)| (name.to_owned(), copy));
        let more = more.iter().map(|(name, copy)| (name.clone(), copy.as_slice()));
        let archive = Archive::of(kept.chain(more));
        self.directory.write_one_of_many(COPIES, archive.bytes(), 0o600)?;
        self.archive = archive.into();
        Ok(())
    }

    fn copy(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        match self.archive()?.get(name) {
            Some(copy) => Ok(Some(Zeroizing::new(copy.to_vec()))),
            None => self.directory.read(name),
        }
    }

    /// The archive, which is read only once; an empty one where there is no file.
    fn archive(&self) -> Result<&Archive> {
        if let Some(archive) = self.archive.get() {
            return Ok(archive);
        }
        let archive = read(&self.directory)?;
        Ok(self.archive.get_or_init(|| archive))
    }
}

fn read(directory: &StateDir) -> Result<Archive> {
    let Some(bytes) = directory.read(COPIES)? else { return Ok(Archive::default()) };
    Archive::parse(bytes).map_err(|why| {
        let archive = directory.path().join(COPIES);
        let remove = format!("rm {}", shell_word(&archive.to_string_lossy()));
        Error::failed(format!("the copies in {} cannot be read", archive.display()))
            .cause(why)
            .next(format!("restore that file from a backup; or give up undoing this run: {remove}"))
    })
}
