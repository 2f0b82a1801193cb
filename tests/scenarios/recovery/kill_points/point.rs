//! The points at which a run can be killed: its system calls, found in a trace. A point does not depend on time: it is
//! the n-th call of its name that touches a certain file, and strace(1) counts only those. Calls without a file, or
//! with a random file name, are counted by name alone. For these the trace of the killed run shows whether it was the
//! right one.

use super::*;
use crate::support::trace::{arguments, descriptor};
use std::collections::BTreeSet;

/// The calls that write, sync, exchange, remove or start something, or make that durable.
pub(in crate::scenarios) const CALLS: &str = "openat,write,fsync,fdatasync,symlink,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,\
    mkdirat,fchmod,chmod,fchown,chown,fchmodat,fchownat,fsetxattr,fremovexattr,ftruncate,kill,clone,clone3,vfork";

/// Stands for the process id in a path: the shell that becomes the traced program writes its own.
const PID: &str = "$$";

/// The path of a call without a file.
const NONE: &str = "-";

/// A system call of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::scenarios) struct Point {
    pub(in crate::scenarios) call: String,
    /// The file, or what stands for it if there is none.
    pub(in crate::scenarios) path: String,
    /// The number of this call among those of its name on its file.
    pub(in crate::scenarios) nth: usize,
}

/// A call and its position in a trace.
#[derive(Clone, Debug)]
pub(in crate::scenarios) struct TracedPoint {
    pub(in crate::scenarios) point: Point,
    /// The number of this call among those of its name.
    pub(in crate::scenarios) number: usize,
    /// Whether it changes something that belongs neither to a probe nor to a copy for one.
    pub(in crate::scenarios) counts: bool,
    /// Whether the run announces a stage to its watchdog by it, which then must exist.
    pub(in crate::scenarios) tells: bool,
    /// Whether the run hands over to its watchdog by it, which waits for a confirmation from then on.
    pub(in crate::scenarios) awaits: bool,
    /// The full path of the file.
    pub(in crate::scenarios) whole: String,
    /// The new name, if the call renames a file.
    pub(in crate::scenarios) to: Option<String>,
}

impl Point {
    /// Whether strace can match the call by its file.
    pub(in crate::scenarios) fn has_path(&self) -> bool {
        self.path != NONE && !self.path.contains('*')
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} of {}", self.call, self.nth, self.path)
    }
}

/// The calls in a trace (with `-y`), in order. `is_own` tells whether a file belongs to the machine; others belong to a
/// probe.
pub(in crate::scenarios) fn read(trace: &str, is_own: impl Fn(&str) -> bool) -> Vec<TracedPoint> {
    let mut by_name: BTreeMap<String, usize> = BTreeMap::new();
    let mut touched: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let Some((name, rest)) = line.split_once('(').filter(|(name, _)| is_name(name)) else { continue };
        let words = arguments(rest);
        let number = by_name.entry(name.to_owned()).or_default();
        *number += 1;
        // For rename(2), strace matches only the old path.
        let looked_at = if name == "rename" { 1 } else { words.len() };
        let files: BTreeSet<String> = words.iter().take(looked_at).filter_map(|word| file(word)).collect();
        for path in &files {
            *touched.entry((name.to_owned(), path.clone())).or_default() += 1;
        }
        let path = meant(name, &words);
        let nth = match &path {
            Some(path) => touched[&(name.to_owned(), path.clone())],
            None => *touched.entry((name.to_owned(), String::new())).and_modify(|count| *count += 1).or_insert(1),
        };
        let is_thread = name.starts_with("clone") && rest.contains("CLONE_THREAD");
        let makes = name != "openat" || rest.contains("O_CREAT");
        // A relative name is one in the directory of the first argument.
        let base = words.first().map_or("", |word| descriptor(word));
        let whole = match &path {
            Some(path) if !path.starts_with('/') => format!("{base}/{path}"),
            path => path.clone().unwrap_or_default(),
        };
        let is_own = path.is_none() || is_own(&whole);
        let says = |line: &str| name == "write" && rest.contains(&format!("\"{line}\\n\""));
        // Output to the terminal changes no state.
        let is_output = name == "write" && (rest.starts_with("1<") || rest.starts_with("2<"));
        let point = Point { call: name.to_owned(), path: path.unwrap_or_else(|| NONE.to_owned()), nth };
        let counts = makes && is_own && !is_thread && !is_output;
        let to = words.get(1).filter(|_| name == "rename").and_then(|word| file(word));
        calls.push(TracedPoint {
            point,
            number: *number,
            counts,
            tells: says("stage"),
            awaits: says("await"),
            whole,
            to,
        });
    }
    calls
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The file that an argument names, or to which its descriptor refers.
fn file(word: &str) -> Option<String> {
    let literal = word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let found = literal.unwrap_or_else(|| descriptor(word));
    (!found.is_empty()).then(|| without_chance(found))
}

/// The argument that identifies a call best.
fn meant(name: &str, words: &[String]) -> Option<String> {
    let at = |index: usize| words.get(index).and_then(|word| file(word));
    let path = match name {
        "symlink" | "renameat" | "renameat2" | "openat" | "unlinkat" | "mkdirat" | "fchmodat" | "fchownat" => at(1),
        "kill" | "clone" | "clone3" | "vfork" => None,
        _ => at(0),
    };
    path.filter(|path| !path.starts_with("pipe:") && !path.starts_with("socket:"))
}

/// A path without the parts that differ in each run: process ids, and random names from tempfile.
fn without_chance(path: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.split('/') {
        let of_process = |prefix| Some((prefix, part.strip_prefix(prefix)?.split_once('-')?.1));
        parts.push(match of_process(".new-").or_else(|| of_process(".warded-new-")) {
            Some((prefix, count)) => format!("{prefix}{PID}-{count}"),
            None if part.starts_with(".warded-new-") => ".warded-new-*".to_owned(),
            None => part.to_owned(),
        });
    }
    parts.join("/")
}
