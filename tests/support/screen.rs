//! What a person sees of commands, without what differs from run to run: directory names, numbers, times, keys.

use super::{Machine, Run};
use std::{fmt::Write as _, fs};
use warded_lib::machine::users::operator;

/// The screens of one machine, one after the other.
pub(crate) struct Screens {
    directory: String,
    all: String,
}

impl Screens {
    pub(crate) fn of(machine: &Machine) -> Self {
        let directory = machine.path("").display().to_string();
        Self { directory: directory.trim_end_matches('/').to_owned(), all: String::new() }
    }

    /// The screens of a machine whose files have their default places.
    pub(crate) fn by_default() -> Self {
        Self { directory: "/nowhere".to_owned(), all: String::new() }
    }

    /// Runs a command line of Warded and keeps what is visible: stdout, stderr, and the exit code.
    pub(crate) fn show(&mut self, machine: &Machine, line: &str) {
        let words = line.replace("DIR", &self.directory);
        let mut run = Run::of(machine.warded_command([]).args(words.split(' ')));
        if line == "history" || line.starts_with("audit log") {
            // Its columns are as wide as the longest time in them.
            run.stdout = run.stdout.lines().map(|line| columns(line) + "\n").collect();
        }
        self.keep(line, &run);
    }

    /// Keeps what a run showed.
    pub(crate) fn keep(&mut self, line: &str, run: &Run) {
        let code = run.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        writeln!(self.all, "$ warded {line}\n{}{}[{code}]\n", run.stdout, run.stderr).unwrap();
    }

    /// All of them.
    pub(crate) fn seen(self) -> String {
        let scratch = "/tmp/warded-test-dddddd";
        let mut text =
            self.all.replace(&self.directory, scratch).replace(env!("CARGO_BIN_EXE_warded"), "/usr/bin/warded");
        let (host, who) = (host_name(), operator());
        for (of_this_machine, in_its_place) in [
            (os(), "OS"),
            (format!("\n{host} · "), "\nHOST · "),
            (format!("this machine is called {host},"), "this machine is called HOST,"),
            (format!(" by {who},"), " by root,"),
            (format!("  {who}  "), "  root  "),
        ] {
            text = text.replace(&of_this_machine, in_its_place);
        }
        // A time of today is shown without a date.
        text.lines().map(neutral_line).collect::<Vec<_>>().join("\n").replace("0000-00-00 ", "")
    }
}

fn columns(line: &str) -> String {
    line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect::<Vec<_>>().join("  ")
}

fn os() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap();
    name.trim_matches('"').to_owned()
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim_end().to_owned()
}

/// A line without what differs: times and durations, long numbers, keys, fingerprints. Lengths are kept, so that lines
/// break in the same places.
fn neutral_line(line: &str) -> String {
    let mut seen = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let before = seen.chars().next_back();
        let taken = if before.is_some_and(|before| before.is_ascii_alphanumeric()) { 0 } else { word(rest, &mut seen) };
        if taken == 0 {
            seen.push(first);
        }
        rest = &rest[taken.max(first.len_utf8())..];
    }
    seen.trim_end().to_owned()
}

/// Appends the placeholder for a word that differs, and returns how much of the text it replaces; 0 if the word stays.
fn word(rest: &str, seen: &mut String) -> usize {
    let end = |is_part: fn(char) -> bool| rest.find(|one| !is_part(one)).unwrap_or(rest.len());
    let is_base64: fn(char) -> bool = |one| one.is_ascii_alphanumeric() || matches!(one, '+' | '/' | '=');
    let base64 = end(is_base64);
    if rest.starts_with("AAAA") && base64 > 40 {
        seen.push_str("AAAA…");
        return base64;
    }
    if base64 == 43 && seen.ends_with("SHA256:") {
        seen.push_str(&"x".repeat(43));
        return base64;
    }
    let hex = end(|one| one.is_ascii_hexdigit());
    if hex >= 16 {
        // Serial numbers have different lengths.
        let is_serial = rest[..hex].bytes().all(|byte| byte.is_ascii_digit());
        seen.push_str(&"f".repeat(if is_serial { 20 } else { hex }));
        return hex;
    }
    let digits = end(|one| one.is_ascii_digit());
    let after = &rest[digits..];
    let is_time = |text: &str| text.starts_with([':', '-']) && text[1..].starts_with(|one: char| one.is_ascii_digit());
    let unit = [" s", " min", " h", " days", " day", " ms"].into_iter().find_map(|unit| {
        let rest = after.strip_prefix(unit)?;
        (!rest.starts_with(|one: char| one.is_ascii_alphabetic())).then_some(digits + unit.len())
    });
    if let Some(taken) = unit.filter(|_| digits > 0) {
        // A time that is left is replaced by its unit, unless it is zero. A time that has passed depends on how busy
        // this machine is.
        let is_to_come = rest[taken..].starts_with(" left") || seen.ends_with("in ");
        if is_to_come && rest[..digits].bytes().any(|digit| digit != b'0') {
            seen.push('N');
            seen.push_str(&rest[digits..taken]);
        } else {
            seen.push_str("0 s");
        }
        return taken;
    }
    let within_time = seen.ends_with([':', '-']) && seen.trim_end_matches([':', '-']).ends_with('0');
    if digits == 0 || !(digits >= 4 || is_time(after) || within_time) {
        return 0;
    }
    seen.push_str(&"0".repeat(digits));
    digits
}
