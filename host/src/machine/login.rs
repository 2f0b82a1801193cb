//! Since when the login that this process belongs to has been there: only one that was opened after
//! a change shows that new ones work.

use std::{fs, process};

/// How far up a process looks for the sshd that it descends from.
const GENERATIONS: usize = 64;
/// What sshd's process for one connection is called; its own name from OpenSSH 9.8 on.
const CONNECTION: [&str; 2] = ["sshd", "sshd-session"];

/// When the connection was opened in which this process was started, as [`now`] counts; none where
/// no sshd is among its ancestors: a console, a script, or what outlives logins, such as tmux(1).
/// Neither sudo nor an empty environment hides it.
#[must_use]
pub fn opened() -> Option<u64> {
    let stat = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    connection(process::id(), |pid| Process::read(&stat(pid)?))
}

/// Hundredths of a second since the machine's start: no setting of a clock moves that.
#[must_use]
pub fn now() -> Option<u64> {
    uptime(&fs::read_to_string("/proc/uptime").ok()?)
}

/// What is known of a process.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    name: String,
    parent: u32,
    started: u64,
}

impl Process {
    /// The text of `/proc/PID/stat`. The kernel tells the time of a start in hundredths of a second,
    /// too (`USER_HZ`).
    fn read(stat: &str) -> Option<Self> {
        let (_, rest) = stat.split_once('(')?;
        // A name may have parentheses in it.
        let (name, rest) = rest.rsplit_once(") ")?;
        let field = |number: usize| rest.split(' ').nth(number - 3);
        Some(Self { name: name.to_owned(), parent: field(4)?.parse().ok()?, started: field(22)?.parse().ok()? })
    }
}

/// The start of the nearest ancestor that is sshd's process for a connection.
fn connection(mut pid: u32, look: impl Fn(u32) -> Option<Process>) -> Option<u64> {
    for _ in 0..GENERATIONS {
        let process = look(pid)?;
        if CONNECTION.contains(&process.name.as_str()) {
            return Some(process.started);
        }
        pid = process.parent;
    }
    None
}

fn uptime(text: &str) -> Option<u64> {
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    let (seconds, hundredths): (u64, u64) = (seconds.parse().ok()?, hundredths.parse().ok()?);
    seconds.checked_mul(100)?.checked_add(hundredths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(name: &str, parent: u32, started: u64) -> Process {
        Process { name: name.to_owned(), parent, started }
    }

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let rest = "S 7 70 70 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 10 20";
        for name in ["sshd", "a) S 1 (b", "(sd-pam)", ""] {
            assert_eq!(Process::read(&format!("9 ({name}) {rest}\n")), Some(process(name, 7, 4711)), "{name}");
        }
        for text in ["", "9 (sshd", "9 (sshd) S 7"] {
            assert_eq!(Process::read(text), None, "{text}");
        }
        let (opened, now) = (Process::read(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap(), now().unwrap());
        assert!(opened.started <= now && now - opened.started < 360_000, "{opened:?} {now}");
    }

    #[test]
    fn the_nearest_connection_counts() {
        // Where each chain ends is the first process, whose parent is 0.
        let opened = |chain: &[&str]| {
            let look = |pid: u32| {
                let at = usize::try_from(pid).unwrap().checked_sub(1)?;
                Some(process(chain.get(at)?, if at + 1 == chain.len() { 0 } else { pid + 1 }, u64::from(pid)))
            };
            connection(1, look)
        };
        for (chain, expected) in [
            (&["warded", "sudo", "sudo", "bash", "sshd-session", "sshd-session", "sshd", "systemd"][..], Some(5)),
            (&["warded", "sh", "sshd", "sshd", "sshd"], Some(3)),
            (&["warded", "sh", "tmux: server", "systemd"], None),
            (&["warded", "bash", "login", "init"], None),
            (&["warded", "sh", "sshd-keygen"], None),
            (&["warded"], None),
        ] {
            assert_eq!(opened(chain), expected, "{chain:?}");
        }
        assert_eq!(connection(1, |_| Some(process("loop", 1, 1))), None);
    }

    #[test]
    fn the_time_since_the_start_is_read() {
        assert_eq!(uptime("12345.67 23456.78\n"), Some(1_234_567));
        assert_eq!(uptime("0.05 0.00\n"), Some(5));
        for text in ["", "12345", "x.67 1", "99999999999999999999.00"] {
            assert_eq!(uptime(text), None, "{text}");
        }
    }
}
