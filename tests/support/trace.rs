//! What a program and its children did to files, according to an strace log.

use super::{Machine, Run};
use std::{collections::BTreeSet, fs};

/// Where a call has a path: the index of the argument with the directory, and of the one with the name.
type PathArguments = (Option<usize>, Option<usize>);

/// The calls that change files or run programs, each with the positions of its paths. A path is a directory's
/// descriptor (`None` for the working directory) and a name (`None` for the descriptor itself).
const CALLS: &[(&str, &[PathArguments])] = &[
    ("open", &[(None, Some(0))]),
    ("creat", &[(None, Some(0))]),
    ("openat", &[(Some(0), Some(1))]),
    ("openat2", &[(Some(0), Some(1))]),
    ("mkdir", &[(None, Some(0))]),
    ("mkdirat", &[(Some(0), Some(1))]),
    ("mknod", &[(None, Some(0))]),
    ("mknodat", &[(Some(0), Some(1))]),
    ("rmdir", &[(None, Some(0))]),
    ("unlink", &[(None, Some(0))]),
    ("unlinkat", &[(Some(0), Some(1))]),
    ("rename", &[(None, Some(0)), (None, Some(1))]),
    ("renameat", &[(Some(0), Some(1)), (Some(2), Some(3))]),
    ("renameat2", &[(Some(0), Some(1)), (Some(2), Some(3))]),
    ("link", &[(None, Some(0)), (None, Some(1))]),
    ("linkat", &[(Some(0), Some(1)), (Some(2), Some(3))]),
    ("symlink", &[(None, Some(1))]),
    ("symlinkat", &[(Some(1), Some(2))]),
    ("chmod", &[(None, Some(0))]),
    ("fchmod", &[(Some(0), None)]),
    ("fchmodat", &[(Some(0), Some(1))]),
    ("fchmodat2", &[(Some(0), Some(1))]),
    ("chown", &[(None, Some(0))]),
    ("lchown", &[(None, Some(0))]),
    ("fchown", &[(Some(0), None)]),
    ("fchownat", &[(Some(0), Some(1))]),
    ("truncate", &[(None, Some(0))]),
    ("ftruncate", &[(Some(0), None)]),
    ("fallocate", &[(Some(0), None)]),
    ("setxattr", &[(None, Some(0))]),
    ("lsetxattr", &[(None, Some(0))]),
    ("fsetxattr", &[(Some(0), None)]),
    ("removexattr", &[(None, Some(0))]),
    ("fremovexattr", &[(Some(0), None)]),
    ("utimensat", &[(Some(0), Some(1))]),
    ("mount", &[(None, Some(1))]),
    ("execve", &[(None, Some(0))]),
    ("execveat", &[(Some(0), Some(1))]),
];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effect {
    /// A file was opened for writing, created, removed or renamed, or got another mode or owner.
    Change(String),
    /// A program was run.
    Run(String),
}

impl Effect {
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Change(path) | Self::Run(path) => path,
        }
    }
}

/// Runs Warded on a machine under strace. Returns how it ended, and what it and its children did.
pub(crate) fn warded(machine: &Machine, arguments: &[&str]) -> (Run, BTreeSet<Effect>) {
    let file = machine.path("trace");
    // The question mark makes strace ignore calls that this architecture does not have.
    let calls: Vec<String> = CALLS.iter().map(|(name, _)| format!("?{name}")).collect();
    let mut command = machine.command("strace");
    machine.environment(&mut command);
    command.args([
        "-f",
        "-qq",
        "-z",
        "-y",
        "-s",
        "4096",
        "-e",
        "signal=none",
        "-e",
        &format!("trace={}", calls.join(",")),
    ]);
    let run = Run::of(command.arg("-o").arg(&file).arg(env!("CARGO_BIN_EXE_warded")).args(arguments));
    let trace = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    (run, trace.lines().flat_map(effects).collect())
}

fn effects(line: &str) -> Vec<Effect> {
    let call = line.trim_start_matches(|digit: char| digit.is_ascii_digit()).trim_start();
    let Some((name, rest)) = call.split_once('(') else { return Vec::new() };
    // The process was killed on entry to the call, so it was not made, and strace cannot tell which call it was.
    if name == "???" {
        return Vec::new();
    }
    let (_, paths) = CALLS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("not understood: {line}"));
    let arguments = arguments(rest);
    if name.starts_with("open") {
        let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"];
        if !writes
            .iter()
            .any(|flag| arguments.iter().any(|argument| !argument.starts_with('"') && argument.contains(flag)))
        {
            return Vec::new();
        }
    }
    let path = |(directory, file): &PathArguments| {
        let at = |index: usize| arguments.get(index).unwrap_or_else(|| panic!("not understood: {line}")).as_str();
        let base = directory.map_or("", |index| descriptor(at(index)));
        let file = file.map_or("", |index| at(index).trim_matches('"'));
        match (file, base) {
            ("" | "NULL", base) => base.to_owned(),
            (file, _) if file.starts_with('/') => file.to_owned(),
            (file, "") => format!("(working directory)/{file}"),
            (file, base) => format!("{}/{file}", base.trim_end_matches('/')),
        }
    };
    // Pipes and sockets have no path.
    let all = paths.iter().map(path).filter(|path| path.starts_with(['/', '(']));
    all.map(if name.starts_with("exec") { Effect::Run } else { Effect::Change }).collect()
}

/// The path that strace shows for a descriptor: `7</etc/ssh>`.
pub(crate) fn descriptor(text: &str) -> &str {
    text.split_once('<')
        .and_then(|(_, rest)| rest.strip_suffix('>').or_else(|| rest.strip_suffix(">(deleted)")))
        .unwrap_or("")
}

/// The arguments of a call: the parts between commas that are not in quotes or brackets.
pub(crate) fn arguments(text: &str) -> Vec<String> {
    let (mut all, mut current) = (Vec::new(), String::new());
    let (mut quoted, mut depth) = (false, 0_i32);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if quoted => {
                current.push(character);
                current.extend(characters.next());
                continue;
            }
            '"' => quoted = !quoted,
            '<' | '{' | '[' | '(' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => break,
            '>' | '}' | ']' | ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                all.push(current.trim().to_owned());
                current.clear();
                continue;
            }
            _ => {}
        }
        current.push(character);
    }
    all.push(current.trim().to_owned());
    all
}
