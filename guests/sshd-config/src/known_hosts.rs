//! known_hosts as ssh reads it (OpenSSH's hostfile.c), and Warded's own lines among the others. A file is bytes:
//! what ssh does not understand stays as it is.

mod entry;
mod looked_up;
mod pattern;

pub use entry::{Entry, Marker, lines};
pub use pattern::{Patterns, Wanted, Wide, matches, overlap};
use std::collections::BTreeSet;

/// The names of ssh's known_hosts files: in a file of such a name, nothing but Warded's lines may change.
const FILE_NAMES: [&str; 4] = ["known_hosts", "known_hosts2", "ssh_known_hosts", "ssh_known_hosts2"];

/// Whether a file of this name is one of ssh's known_hosts.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    FILE_NAMES.contains(&name)
}

/// Which CA to trust for which names.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// Pattern lists, one line each.
    pub patterns: &'a [String],
    /// The CA's keys: type and Base64.
    pub keys: &'a [String],
    /// The CA's name, which is in the comment of Warded's lines.
    pub authority: &'a str,
}

/// Why Warded's lines would have no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// ssh does not read files in this encoding.
    Encoding(&'static str),
    /// The line with this number revokes one of the CA's keys for names that Warded's lines cover.
    Revoked(usize),
    /// The line with this number trusts one of the CA's keys, but excludes this pattern, while Warded's lines cover
    /// names that match it.
    Excluded(usize, String),
}

impl Trust<'_> {
    /// The conflict of a file that ssh reads with Warded's lines, if there is one.
    #[must_use]
    pub fn conflict(&self, file: &[u8]) -> Option<Conflict> {
        if let Some(name) = foreign_encoding(file) {
            return Some(Conflict::Encoding(name));
        }
        lines(file).enumerate().find_map(|(index, line)| {
            let entry = Entry::parse(line).filter(|entry| self.keys.iter().any(|key| entry.has_key(key)))?;
            match entry.marker {
                Marker::None => None,
                Marker::Revoked => {
                    let is_for_ours = self.patterns.iter().any(|list| overlap(entry.hosts, list.as_bytes()));
                    is_for_ours.then_some(Conflict::Revoked(index + 1))
                }
                Marker::Authority => {
                    let lets_in = |list: &String, excluded: &str| {
                        overlap(list.as_bytes(), excluded.as_bytes()) && !excludes(list, excluded)
                    };
                    let is_let_in = |excluded: &String| self.patterns.iter().any(|list| lets_in(list, excluded));
                    let excluded = excluded(entry.hosts).find(is_let_in)?;
                    Some(Conflict::Excluded(index + 1, excluded))
                }
            }
        })
    }

    /// The file with a line for each pattern list and key, and without Warded's lines for keys that the CA has dropped.
    /// A line that is already there, whoever wrote it, is not repeated.
    #[must_use]
    pub fn added_to(&self, file: &[u8]) -> Vec<u8> {
        let mut result: Vec<u8> = lines(file).filter(|line| !self.is_stale(line)).flatten().copied().collect();
        let last_ended = lines(file).filter(|line| line.ends_with(b"\n")).last();
        let end: &[u8] = if last_ended.is_some_and(|line| line.ends_with(b"\r\n")) { b"\r\n" } else { b"\n" };
        for line in self.lines().filter(|line| !lines(file).any(|there| is_same(there, line))) {
            if result.ends_with(b"\r") {
                result.push(b'\n');
            } else if !result.is_empty() && !result.ends_with(b"\n") {
                result.extend_from_slice(end);
            }
            result.extend_from_slice(line.as_bytes());
            result.extend_from_slice(end);
        }
        result
    }

    /// Warded's lines, without line endings. A list that is given twice has its lines once.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let Self { patterns, keys, authority } = *self;
        let mut seen = BTreeSet::new();
        let patterns = patterns.iter().filter(move |list| seen.insert(list.to_ascii_lowercase()));
        patterns.flat_map(move |list| {
            keys.iter().map(move |key| format!("@cert-authority {list} {key} warded trust-host-ca {authority}"))
        })
    }

    /// Refuses a change of anything but Warded's lines: every other line has to stay, byte for byte and in its place;
    /// each new line has to be one of [`Trust::lines`]; and a removed line has to be Warded's, for a key that the CA
    /// has dropped.
    ///
    /// # Errors
    /// The line that would change without being Warded's.
    pub fn refuse_others(&self, before: &[u8], after: &[u8]) -> Result<(), String> {
        let is_ours = |line: &[u8]| self.lines().any(|ours| without_end(line) == ours.as_bytes());
        let there: Vec<&[u8]> = lines(before).collect();
        let mut kept = there.iter().filter(|line| !self.is_stale(line)).peekable();
        for (index, line) in lines(after).enumerate() {
            match kept.peek() {
                // A last line without a line ending gets one before Warded's lines follow.
                Some(next) if **next == line || (!next.ends_with(b"\n") && is_end(line.strip_prefix(**next))) => {
                    kept.next();
                }
                _ if is_ours(line) => {}
                _ if self.is_stale(line) && there.contains(&line) => {}
                _ => {
                    return Err(format!("line {} is neither in the present file nor one of Warded's lines", index + 1));
                }
            }
        }
        match kept.next() {
            None => Ok(()),
            Some(line) => {
                let number = there.iter().position(|one| one == line).map_or(0, |index| index + 1);
                Err(format!(
                    "line {number} would be removed, but is not one of Warded's lines for a key that the CA \
                             has dropped"
                ))
            }
        }
    }

    /// Whether a line is Warded's, for a key that the CA has dropped.
    fn is_stale(&self, line: &[u8]) -> bool {
        let Some(entry) = Entry::parse(line) else { return false };
        entry.authority() == Some(self.authority.as_bytes()) && !self.keys.iter().any(|key| entry.has_key(key))
    }
}

/// The file as it would be if a run had not added Warded's lines to it; later changes stay. `left` is the file as the
/// run left it. A line of Warded's that the run removed comes back at the end.
#[must_use]
pub fn undone(before: &[u8], left: &[u8], now: &[u8]) -> Vec<u8> {
    let ours = |file| lines(file).filter(|line| Entry::parse(line).is_some_and(|entry| entry.authority().is_some()));
    let has = |file, line: &[u8]| lines(file).any(|one| without_end(one) == without_end(line));
    let mut added: Vec<&[u8]> = ours(left).filter(|line| !has(before, line)).map(without_end).collect();
    let mut result = Vec::new();
    for line in lines(now) {
        match added.iter().position(|one| *one == without_end(line)) {
            Some(index) => drop(added.swap_remove(index)),
            None => result.extend_from_slice(line),
        }
    }
    for line in ours(before).filter(|line| !has(left, line) && !has(now, line)) {
        if !result.is_empty() && !result.ends_with(b"\n") {
            result.push(b'\n');
        }
        result.extend_from_slice(line);
    }
    result
}

/// The name of the file's encoding, if ssh finds no lines in it. NUL bytes alone make no such encoding: ssh reads a
/// line up to its first NUL.
fn foreign_encoding(file: &[u8]) -> Option<&'static str> {
    if file.starts_with(b"\xff\xfe") {
        Some("UTF-16, little-endian")
    } else if file.starts_with(b"\xfe\xff") {
        Some("UTF-16, big-endian")
    } else if is_wide(file) && lines(file).all(|line| Entry::parse(line).is_none()) {
        Some("UTF-16 without a byte order mark")
    } else {
        None
    }
}

/// Whether in a quarter of the byte pairs exactly one byte is NUL: ASCII text has this in all pairs in UTF-16, and in
/// half of them in UTF-32.
fn is_wide(file: &[u8]) -> bool {
    let pairs = file.chunks_exact(2);
    let all = pairs.len();
    let half = pairs.filter(|pair| matches!(pair, [0, other] | [other, 0] if *other != 0)).count();
    half > 0 && half * 4 >= all
}

/// Whether both lines mean the same to ssh, whatever their comments.
fn is_same(left: &[u8], right: &str) -> bool {
    let (Some(left), Some(right)) = (Entry::parse(left), Entry::parse(right.as_bytes())) else { return false };
    left.marker == right.marker && left.hosts.eq_ignore_ascii_case(right.hosts) && left.key() == right.key()
}

fn is_end(rest: Option<&[u8]>) -> bool {
    matches!(rest, Some(b"\n" | b"\r\n"))
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn excluded(hosts: &[u8]) -> impl Iterator<Item = String> {
    let lists = hosts.split(|byte| *byte == b',').filter_map(|one| one.strip_prefix(b"!"));
    lists.map(|one| String::from_utf8_lossy(one).into_owned())
}

/// Whether a list excludes every name that a pattern matches, as far as their texts show it. A `*` in the list matches
/// whatever the pattern has there; a `?` may not.
fn excludes(list: &str, pattern: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    list.to_ascii_lowercase()
        .split(',')
        .filter_map(|one| one.strip_prefix('!'))
        .any(|one| one == pattern || (!one.contains('?') && matches(one.as_bytes(), &pattern)))
}

#[cfg(test)]
mod tests;
