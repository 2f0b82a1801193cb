//! When the login that this process belongs to was opened. Only a login opened after a change shows that new logins
//! work.

use rustix::time::{ClockId, clock_gettime};
use std::{fs, process};

/// How many ancestors are searched for the sshd that this process descends from.
const GENERATIONS: usize = 64;
/// The name of sshd's process for one connection; `sshd-session` since OpenSSH 9.8.
const CONNECTION: [&str; 2] = ["sshd", "sshd-session"];
/// How the title of a login's privileged process ends: `sshd: web [priv]` (sshd.c, `privsep_preauth`).
const MONITOR: &[u8] = b"[priv]";

/// When the connection was opened in which this process was started, in the units of [`now`]. None if no sshd is among
/// its ancestors: on a console, in a script, or in something that outlives logins, such as tmux(1). Neither sudo nor an
/// empty environment hides the connection.
#[must_use]
pub fn opened() -> Option<u64> {
    let look = |pid: u32| {
        let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        Process::read(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?, &title)
    };
    let opened = connection(process::id(), look)?;
    // If a process seems to have started in the future, these times cannot be compared.
    (opened <= now()?).then_some(opened)
}

/// Hundredths of a second since the machine's boot, as the kernel counts the start times of processes; setting the
/// clock does not change it. `/proc/uptime` is not used, since a container may have its own.
#[must_use]
pub fn now() -> Option<u64> {
    let now = clock_gettime(ClockId::Boottime);
    let (seconds, hundredths) = (u64::try_from(now.tv_sec).ok()?, u64::try_from(now.tv_nsec).ok()? / 10_000_000);
    seconds.checked_mul(100)?.checked_add(hundredths)
}

/// A process, as `/proc` shows it.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    name: String,
    parent: u32,
    started: u64,
    /// Whether it is the privileged one of the two sshd processes that a login of an ordinary user has.
    is_monitor: bool,
}

impl Process {
    /// Reads the texts of `/proc/PID/stat` and `/proc/PID/cmdline`; sshd writes its title into the latter. The kernel
    /// gives start times in hundredths of a second, too (`USER_HZ`).
    fn read(stat: &str, title: &[u8]) -> Option<Self> {
        let (_, rest) = stat.split_once('(')?;
        // A name may have parentheses in it.
        let (name, rest) = rest.rsplit_once(") ")?;
        let field = |number: usize| rest.split(' ').nth(number - 3);
        let (parent, started) = (field(4)?.parse().ok()?, field(22)?.parse().ok()?);
        let is_monitor = title.split(|byte| matches!(byte, 0 | b' ')).any(|word| word == MONITOR);
        Some(Self { name: name.to_owned(), parent, started, is_monitor })
    }
}

/// The start of the nearest ancestor that is sshd's process for a connection. Of the two processes of a login this is
/// the one that exists since the connection was accepted. The other starts only after authentication, which may be much
/// later.
fn connection(mut pid: u32, look: impl Fn(u32) -> Option<Process>) -> Option<u64> {
    for _ in 0..GENERATIONS {
        let process = look(pid)?;
        if CONNECTION.contains(&process.name.as_str()) {
            let monitor =
                look(process.parent).filter(|parent| parent.is_monitor && CONNECTION.contains(&parent.name.as_str()));
            return Some(monitor.unwrap_or(process).started);
        }
        pid = process.parent;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(name: &str, parent: u32, started: u64) -> Process {
        let is_monitor = name.ends_with(" [priv]");
        Process { name: name.trim_end_matches(" [priv]").to_owned(), parent, started, is_monitor }
    }

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let rest = "S 7 70 70 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 10 20";
        for name in ["sshd", "a) S 1 (b", "(sd-pam)", ""] {
            assert_eq!(Process::read(&format!("9 ({name}) {rest}\n"), b""), Some(process(name, 7, 4711)), "{name}");
        }
        for (title, is_monitor) in
            [(&b"sshd: web [priv]\0\0"[..], true), (b"sshd-session: [priv]", true), (b"sshd: web@pts/0\0", false)]
        {
            assert_eq!(Process::read(&format!("9 (sshd) {rest}\n"), title).unwrap().is_monitor, is_monitor);
        }
        for text in ["", "9 (sshd", "9 (sshd) S 7"] {
            assert_eq!(Process::read(text, b""), None, "{text}");
        }
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let (opened, now) = (Process::read(&stat, b"").unwrap(), now().unwrap());
        assert!(opened.started <= now && now - opened.started < 360_000, "{opened:?} {now}");
    }

    #[test]
    fn the_nearest_connection_counts() {
        // The last process of each chain is the first process of the machine, whose parent is 0.
        let opened = |chain: &[&str]| {
            let look = |pid: u32| {
                let at = usize::try_from(pid).unwrap().checked_sub(1)?;
                Some(process(chain.get(at)?, if at + 1 == chain.len() { 0 } else { pid + 1 }, u64::from(pid)))
            };
            connection(1, look)
        };
        for (chain, expected) in [
            // An ordinary user, with a monitor that existed before the login; and root, without one.
            (
                &["warded", "sudo", "sudo", "bash", "sshd-session", "sshd-session [priv]", "sshd", "systemd"][..],
                Some(6),
            ),
            (&["warded", "sh", "sshd", "sshd [priv]", "sshd"], Some(4)),
            (&["warded", "sh", "sshd", "sshd"], Some(3)),
            (&["warded", "sh", "sshd", "sshd [priv]", "systemd"], Some(4)),
            (&["warded", "sh", "sshd", "mine [priv]", "systemd"], Some(3)),
            (&["warded", "sh", "tmux: server", "systemd"], None),
            (&["warded", "bash", "login", "init"], None),
            (&["warded", "sh", "sshd-keygen"], None),
            (&["warded"], None),
        ] {
            assert_eq!(opened(chain), expected, "{chain:?}");
        }
        assert_eq!(connection(1, |_| Some(process("loop", 1, 1))), None);
    }
}
