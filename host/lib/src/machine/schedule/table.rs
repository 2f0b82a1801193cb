//! The tables and scripts of cron daemons: where they are, to whom they belong, and which of them cron ignores.

use super::scheduler::Family;
use std::{
    fmt,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

/// The system's tables, whose lines name a user; and anacron's, whose lines run as root.
const SYSTEMS: [(&str, Kind); 2] = [("etc/crontab", Kind::System), ("etc/anacrontab", Kind::Anacron)];
/// The directory of the packages' tables.
const TABLES_OF_PACKAGES: &str = "etc/cron.d";
/// Directories with one table for each user: Debian's, openSUSE's (cronie), cronie's, BusyBox's.
const TABLES_OF_USERS: [&str; 4] = ["var/spool/cron/crontabs", "var/spool/cron/tabs", "var/spool/cron", "etc/crontabs"];
/// Directories of scripts: Debian's and cronie's, Alpine's.
const SCRIPTS: [&str; 9] = [
    "etc/cron.hourly",
    "etc/cron.daily",
    "etc/cron.weekly",
    "etc/cron.monthly",
    "etc/periodic/15min",
    "etc/periodic/hourly",
    "etc/periodic/daily",
    "etc/periodic/weekly",
    "etc/periodic/monthly",
];

/// The kind of a file, which decides as whom its lines run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Each line names its user.
    System,
    Anacron,
    /// A user's own table, named after the user.
    User,
    Script,
}

/// Why cron ignores a file, or its relevant line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    Name,
    /// A table that a user other than root owns or may write.
    Owner,
    /// A script that is not executable.
    NotExecutable,
    /// A script that does not name its interpreter.
    NoInterpreter,
    /// A user's own table that others may read.
    Mode,
    /// The line does not end with a newline.
    NoEnd,
    /// A line of a system table that has the command where the user belongs.
    NoUser,
    /// A line of a user's own table that has a user name before the command.
    User,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "cron passes over names with other characters than letters, digits, `_` and `-`",
            Self::Owner => "cron passes over a table that not only root may write",
            Self::NotExecutable => "cron passes over a script that is not executable",
            Self::NoInterpreter => "the script does not begin with `#!`, so it cannot be run",
            Self::Mode => "cron passes over a user's table with another mode than 0600",
            Self::NoEnd => "cron passes over a table whose last line has no line feed",
            Self::User => "its line names a user before the command, and cron takes that for the command",
            Self::NoUser => "its line names no user before the command, so cron passes over it",
        })
    }
}

impl SkipReason {
    /// How to mend it.
    #[must_use]
    pub fn next(self, file: &str) -> String {
        match self {
            Self::Name => format!("give {file} a name of letters, digits, `_` and `-`"),
            Self::Owner => format!("chown root:root {file} && chmod 644 {file}"),
            Self::NotExecutable => format!("chmod 755 {file}"),
            Self::NoInterpreter => format!("put `#!/bin/sh` in the first line of {file}"),
            Self::Mode => format!("chmod 600 {file}"),
            Self::NoEnd => format!("end the last line of {file} with a line feed"),
            Self::User => format!("take root out of that line of {file}"),
            Self::NoUser => format!("put root before the command in {file}"),
        }
    }
}

/// All tables and scripts, by their paths from the root of the file system, tables first. `names` lists a directory.
pub(super) fn all(mut names: impl FnMut(&str) -> Vec<String>) -> Vec<(String, Kind)> {
    let mut found: Vec<(String, Kind)> = SYSTEMS.iter().map(|(path, kind)| ((*path).to_owned(), *kind)).collect();
    let directories = TABLES_OF_USERS.iter().map(|directory| (*directory, Kind::User));
    let directories = directories.chain([(TABLES_OF_PACKAGES, Kind::System)]);
    for (directory, kind) in directories.chain(SCRIPTS.map(|directory| (directory, Kind::Script))) {
        // Skips the files that editors and packages leave behind.
        let is_kept = |name: &String| !name.starts_with('.') && !name.contains('~');
        let mut names: Vec<String> = names(directory).into_iter().filter(is_kept).collect();
        names.sort_by_key(|name| name != "root");
        found.extend(names.into_iter().map(|name| (format!("{directory}/{name}"), kind)));
    }
    found
}

impl Kind {
    /// The user as whom a line of a file runs; none if that is always root. `name`: the file's path.
    pub(super) fn user<'a>(self, name: &'a str, line: &'a str) -> Option<&'a str> {
        match self {
            // A line that ends before the user is not valid.
            Self::System => Some(after_times(line).unwrap_or_default()),
            Self::User => Path::new(name).file_name().and_then(|name| name.to_str()),
            Self::Anacron | Self::Script => None,
        }
    }
}

/// The first word of a line after the times.
fn after_times(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let is_named = words.clone().next()?.starts_with('@');
    words.nth(if is_named { 1 } else { 5 })
}

/// Whether a daemon of this family reads this file or starts it. A `crond` other than cronie is not told apart from
/// cronie; dcron, for one, reads the same directories as BusyBox's crond.
pub(super) fn is_read_by(name: &str, daemon: Family) -> bool {
    match daemon {
        Family::Debian => {
            let is_of_users = TABLES_OF_USERS.iter().any(|directory| name.starts_with(&format!("{directory}/")));
            let is_its = name.starts_with("var/spool/cron/crontabs/");
            (is_its || !is_of_users) && !name.starts_with("etc/periodic/")
        }
        // BusyBox's crond has only users' tables; root's table on Alpine starts the scripts.
        Family::Busybox => {
            name.starts_with("etc/crontabs/")
                || name.starts_with("etc/periodic/")
                || name.starts_with("var/spool/cron/crontabs/")
        }
        Family::Cronie => true,
    }
}

/// Whether a word may be a user name, as useradd(8) accepts it.
pub(super) fn is_user_name(word: &str) -> bool {
    let is_part = |one: char| one.is_ascii_alphanumeric() || matches!(one, '_' | '-' | '.' | '$');
    word.starts_with(|one: char| one.is_ascii_alphabetic() || one == '_') && word.chars().all(is_part)
}

/// Why a daemon ignores a file, or the relevant line of it.
pub(super) fn ignored(path: &Path, kind: Kind, daemon: Family, (text, line): (&str, &str)) -> Option<SkipReason> {
    let found = path.metadata().ok()?;
    let mode = found.permissions().mode();
    // Debian's cron(8) and run-parts(8), and BusyBox's run-parts.
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_named = path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(is_of_name));
    // Without a final newline Debian's cron ignores the whole table, cronie only the last line.
    let has_end = text.ends_with('\n') || daemon == Family::Cronie && text.lines().last() != Some(line);
    match kind {
        Kind::System | Kind::Script if !is_named && daemon != Family::Cronie => Some(SkipReason::Name),
        // Debian's cron logs "INSECURE MODE (mode 0600 expected)"; cronie accepts 0644.
        Kind::User if daemon == Family::Debian && mode & 0o7577 != 0o400 => Some(SkipReason::Mode),
        Kind::System if found.uid() != 0 || mode & 0o022 != 0 => Some(SkipReason::Owner),
        Kind::Script if mode & 0o111 == 0 => Some(SkipReason::NotExecutable),
        // cronie's run-parts is a shell script, and the shell runs a file without `#!` itself.
        Kind::Script if daemon != Family::Cronie && !text.starts_with("#!") => Some(SkipReason::NoInterpreter),
        Kind::User if after_times(line) == Some("root") => Some(SkipReason::User),
        Kind::System | Kind::User if !has_end && daemon != Family::Busybox => Some(SkipReason::NoEnd),
        Kind::System | Kind::User | Kind::Anacron | Kind::Script => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// According to cron(8) and run-parts(8); Debian's cron has a test of its own for it.
    #[test]
    fn a_name_is_of_letters_digits_underscores_and_hyphens() {
        let directory = tempfile::tempdir().unwrap();
        let line = "17 * * * * root warded renew\n";
        for (name, is_read) in [
            ("Warded_renew-2", true),
            ("warded.cron", false),
            ("warded+renew", false),
            ("warded:1", false),
            ("wärded", false),
        ] {
            let path = directory.path().join(name);
            std::fs::write(&path, line).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            let of = |daemon| ignored(&path, Kind::System, daemon, (line, line.trim_end()));
            let by_name = |why: Option<SkipReason>| why == Some(SkipReason::Name);
            assert_eq!(by_name(of(Family::Debian)), !is_read, "{name}");
            assert!(!by_name(of(Family::Cronie)), "{name}");
        }
    }
}
