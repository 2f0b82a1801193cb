//! Who is logged in, found by processes: newer releases have no utmp(5).

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _};

/// The name of sshd's process for one connection; `sshd-session` since OpenSSH 9.8.
const CONNECTION: [&str; 2] = ["sshd", "sshd-session"];
/// Parts of the titles of sshd processes that serve no user, or none yet (sshd.c).
const NOBODY: [&str; 3] = ["[listener]", "[net]", "[preauth]"];
/// The login uid of a process without a login (proc_pid_loginuid(5)).
const UNSET: u32 = u32::MAX;

/// The numbers of users with a connection to sshd, or a process on a terminal.
pub(super) fn ids() -> BTreeSet<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    ids.filter_map(|entry| {
        let (path, owner) = (entry.path(), entry.metadata().ok()?.uid());
        let read = |name: &str| fs::read(path.join(name)).map(|text| String::from_utf8_lossy(&text).into_owned()).ok();
        let login = read("loginuid").and_then(|text| text.trim().parse().ok());
        user_of(&read("stat")?, || read("cmdline"), owner, login.filter(|login| *login != UNSET))
    })
    .collect()
}

/// The user whose login a process belongs to.
fn user_of(stat: &str, title: impl Fn() -> Option<String>, owner: u32, login: Option<u32>) -> Option<u32> {
    let (_, rest) = stat.split_once('(')?;
    // A name may contain parentheses.
    let (name, rest) = rest.rsplit_once(") ")?;
    if CONNECTION.contains(&name) {
        let title = title()?;
        return (!NOBODY.iter().any(|word| title.contains(word))).then_some(owner);
    }
    // Field 7 of proc_pid_stat(5): the terminal; 0: none. `rest` begins with field 3.
    let terminal: i64 = rest.split(' ').nth(4)?.parse().ok()?;
    (terminal != 0).then_some(login.unwrap_or(owner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_terminals_are_logins() {
        for (stat, title, owner, login, expected) in [
            ("7 (sshd) S 1 7 7 0 -1", "sshd: ann@notty", 1000, None, Some(1000)),
            ("7 (sshd-session) S 1 7 7 0 -1", "sshd-session: ann@pts/1", 1000, Some(1000), Some(1000)),
            ("7 (sshd) S 1 7 7 0 -1", "sshd: ann [net]", 106, None, None),
            ("7 (sshd) S 1 7 7 0 -1", "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", 0, None, None),
            ("8 (bash) S 7 8 8 34817 8", "bash", 1000, Some(1000), Some(1000)),
            ("8 (bash) S 7 8 8 34817 8", "bash", 0, Some(1000), Some(1000)),
            ("8 (a) b) S 7 8 8 1025 8", "x", 1001, None, Some(1001)),
            ("9 (cron) S 1 9 9 0 -1", "cron", 0, Some(1000), None),
            ("9", "", 0, None, None),
        ] {
            assert_eq!(user_of(stat, || Some(title.to_owned()), owner, login), expected, "{stat} {title}");
        }
    }
}
