//! The process that accepts sshd's connections. It is found in /proc by its command line, not by a pid file, which may
//! be stale or shared with another sshd.

use super::{arguments::CommandLineKind, default_config, sockets, tree::identity};
use crate::{
    error::{Error, Result},
    machine::control_group,
    text::neutral,
};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// An sshd that is running and accepts connections.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its process id, to which SIGHUP is sent for a reload.
    pub pid: i32,
    /// Its systemd unit (`ssh.service`), if it belongs to a system service; then the unit can be reloaded instead.
    pub unit: Option<String>,
    /// Its program.
    pub binary: Option<PathBuf>,
    /// The path by which it was started, if no program is there any more. On a reload it would re-execute that path.
    pub gone: Option<PathBuf>,
    /// The arguments that shape its configuration.
    pub arguments: Vec<String>,
    /// Whether the end of its command line was lost, and was inferred from the files that exist.
    pub is_completed: bool,
    /// The sockets on which it listens now; none if we may not see them.
    pub sockets: Option<Vec<sockets::Socket>>,
}

impl Listener {
    /// An identity that changes when sshd restarts or reloads, since a reload opens its sockets anew. None if that
    /// cannot be seen: the sockets belong to another user, or process 1 holds them.
    #[must_use]
    pub fn reading(&self) -> Option<String> {
        let sockets = self.sockets.as_ref().filter(|all| !all.is_empty() && all.iter().all(|one| !one.inherited))?;
        let inodes: Vec<String> = sockets.iter().map(|socket| socket.inode.to_string()).collect();
        Some(format!("{}:{}", self.pid, inodes.join(",")))
    }

    /// The same process with its present sockets.
    #[must_use]
    pub fn seen_now(&self) -> Self {
        Self { sockets: sockets::of(self.pid), ..self.clone() }
    }

    /// Whether a reload would start another program: an upgrade is under way.
    #[must_use]
    pub fn is_upgraded(&self) -> bool {
        self.binary.as_deref().is_some_and(|program| is_replaced(self.pid, program))
    }

    /// Whether process 1 has its sockets and hands them to each sshd that it starts (systemd.socket(5)). On a reload
    /// sshd would try to open them anew, fail, and exit.
    #[must_use]
    pub fn is_activated(&self) -> bool {
        self.sockets.iter().flatten().any(|socket| socket.inherited)
    }
}

/// Whether a process runs another program than the one at a path, because an upgrade has replaced it.
fn is_replaced(pid: i32, program: &Path) -> bool {
    identity(&proc(pid, "exe")).zip(identity(program)).is_some_and(|(running, installed)| running != installed)
}

/// Whether an sshd of root's or ours runs on this machine, for whatever purpose. Also true if that cannot be found out.
#[must_use]
pub fn is_running() -> bool {
    let runs = |(pid, name): &(i32, String)| {
        is_trusted(*pid) && is_named_sshd(*pid, name) && state(*pid) != Some('Z') && is_ours_to_see(*pid)
    };
    processes().map_or(true, |all| all.iter().any(runs))
}

/// The listeners owned by root or us that run with this configuration file, the oldest first. A process counts as sshd
/// if its program is called so or is `named`, whatever link it was started by.
///
/// # Errors
/// When the processes cannot be listed; then there may still be an sshd.
pub(super) fn scan(config: &Path, named: Option<&Path>) -> Result<Vec<Listener>> {
    let wanted = fs::canonicalize(config).unwrap_or_else(|_| config.to_owned());
    let all = processes().map_err(unseen)?;
    let is_candidate =
        |(pid, name): &(i32, String)| is_trusted(*pid) && is_sshd(*pid, name, named) && is_ours_to_see(*pid);
    let mut pids: Vec<i32> = all.into_iter().filter(is_candidate).map(|(pid, _)| pid).collect();
    pids.sort_unstable();
    // Checked again afterwards: in between the pid may have passed to another program.
    Ok(pids.into_iter().filter_map(|pid| listener(pid, &wanted).filter(|_| is_trusted(pid))).collect())
}

/// When a process started, in clock ticks since the kernel's boot (proc_pid_stat(5), field 22). Together with the pid
/// this identifies a process. None if there is no such process.
#[must_use]
pub fn started(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(proc(pid, "stat")).ok()?;
    status.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// The same as wall clock time, to the second (proc_stat(5), `btime`). None if that would lie in the future.
#[must_use]
pub fn started_at(pid: i32) -> Option<SystemTime> {
    /// Clock ticks in a second, as Linux shows them to programs on every architecture that Warded is built for.
    const TICKS: u64 = 100;
    let status = fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = status.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let started = UNIX_EPOCH.checked_add(Duration::from_secs(boot.checked_add(started(pid)? / TICKS)?))?;
    // In a container the two values may count from different starts.
    (started <= SystemTime::now()).then_some(started)
}

/// The other listening sshds owned by root or us.
#[derive(Debug, Default)]
pub struct OtherSshds {
    /// Their main configuration files, each once, with the arguments that shape the configuration.
    pub configured: Vec<(PathBuf, Vec<String>)>,
    /// The pids of those whose configuration is not known, and why.
    pub unknown: Vec<(i32, UnknownConfiguration)>,
}

/// The listening sshds owned by root or us, except the one of this configuration file.
///
/// # Errors
/// When the processes cannot be listed.
pub fn others(config: &Path) -> Result<OtherSshds> {
    let own = fs::canonicalize(config).unwrap_or_else(|_| config.to_owned());
    let mut others = OtherSshds::default();
    for (pid, name) in processes().map_err(unseen)? {
        if !is_trusted(pid) || !is_named_sshd(pid, &name) || !is_ours_to_see(pid) {
            continue;
        }
        let (used, arguments) = match shown(pid, config) {
            CommandLineKind::Other => continue,
            CommandLineKind::CutOff => (Err(UnknownConfiguration::CutOff), Vec::new()),
            CommandLineKind::Listener(line) => (configuration(pid, line.config.as_deref()).told(), line.arguments),
        };
        // Checked again afterwards: in between the pid may have passed to another program.
        if !is_trusted(pid) {
            continue;
        }
        match used {
            Ok(used) if used == own || others.configured.iter().any(|(known, _)| *known == used) => {}
            Ok(used) => others.configured.push((used, arguments)),
            Err(why) => others.unknown.push((pid, why)),
        }
    }
    Ok(others)
}

/// The services in which programs called sshd run.
///
/// # Errors
/// When the processes cannot be listed.
pub fn units() -> Result<Vec<String>> {
    let sshds = processes().map_err(unseen)?.into_iter().filter(|(pid, name)| is_named_sshd(*pid, name));
    Ok(sshds.filter_map(|(pid, _)| control_group::service_of(pid)).collect())
}

fn listener(pid: i32, wanted: &Path) -> Option<Listener> {
    let CommandLineKind::Listener(line) = shown(pid, wanted) else { return None };
    let Configuration::File(used) = configuration(pid, line.config.as_deref()) else { return None };
    if used != wanted {
        return None;
    }
    let running = fs::read_link(proc(pid, "exe")).ok().filter(|path| path.is_file());
    let named = line.binary.clone().filter(|path| path.is_file());
    Some(Listener {
        pid,
        // A user's own service manager is not sshd's service.
        unit: control_group::service_of(pid).filter(|unit| !unit.starts_with("user@")),
        // After an upgrade the running file is gone; a reload then starts the new file of the same name.
        binary: running.or(named),
        gone: line.binary.filter(|path| is_gone(pid, path)),
        arguments: line.arguments,
        is_completed: line.is_completed,
        sockets: sockets::of(pid),
    })
}

/// Whether no file exists at a path, neither in the process's root directory nor in ours.
fn is_gone(pid: i32, path: &Path) -> bool {
    let seen = proc(pid, "root").join(path.strip_prefix("/").unwrap_or(path));
    matches!(seen.try_exists(), Ok(false)) && matches!(path.try_exists(), Ok(false))
}

/// The kind of a process's command line; `config` is a file that it may name.
pub(super) fn shown(pid: i32, config: &Path) -> CommandLineKind {
    let Ok(raw) = fs::read(proc(pid, "cmdline")) else { return CommandLineKind::Other };
    let program = fs::read_link(proc(pid, "exe")).unwrap_or_default();
    let files = beside(config);
    let paths: Vec<&Path> = [program.as_path()].into_iter().chain(files.iter().map(PathBuf::as_path)).collect();
    CommandLineKind::of(&raw, &paths)
}

/// A file and the files beside it: each may be the one that a cut-off command line names. Empty if the directory cannot
/// be listed: then the file may not be the only candidate.
fn beside(file: &Path) -> Vec<PathBuf> {
    let Some(Ok(entries)) = file.parent().map(fs::read_dir) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).chain([file.to_owned()]).collect()
}

/// Which configuration file a process was started with.
pub(super) enum Configuration {
    File(PathBuf),
    /// A relative path that leads nowhere from the process's present directory. sshd has changed to `/` since it read
    /// the file.
    Lost(PathBuf),
    /// A relative path, and we may not see the process's present directory.
    Unseen,
}

impl Configuration {
    /// The file, or why it is not known.
    pub(super) fn told(self) -> Result<PathBuf, UnknownConfiguration> {
        match self {
            Self::File(file) => Ok(file),
            Self::Lost(named) => Err(UnknownConfiguration::Lost(named)),
            Self::Unseen => Err(UnknownConfiguration::Unseen),
        }
    }
}

/// Why the configuration of an sshd is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownConfiguration {
    /// It was started with this relative path, which leads nowhere from its present directory.
    Lost(PathBuf),
    /// It was started with a relative path, and we may not see its present directory.
    Unseen,
    /// Its command line is cut off.
    CutOff,
}

/// Completes a sentence about that sshd.
impl fmt::Display for UnknownConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(named) => write!(
                f,
                "was started with `-f {}`, a relative path: which file that is cannot be told, and a reload would end it",
                neutral(&named.display().to_string())
            ),
            Self::Unseen => f.write_str("was started with a relative path, and where it runs cannot be seen"),
            Self::CutOff => {
                f.write_str("shows a command line that is cut off, as after `env -i`: its options cannot all be told")
            }
        }
    }
}

pub(super) fn configuration(pid: i32, named: Option<&Path>) -> Configuration {
    let named = named.unwrap_or(Path::new(default_config()));
    if named.is_absolute() {
        return Configuration::File(fs::canonicalize(named).unwrap_or_else(|_| named.to_owned()));
    }
    let Ok(directory) = fs::read_link(proc(pid, "cwd")) else { return Configuration::Unseen };
    match fs::canonicalize(directory.join(named)) {
        Ok(file) => Configuration::File(file),
        Err(_) => Configuration::Lost(named.to_owned()),
    }
}

/// Whether a process is an sshd: its program is called so, or is `named`.
pub(super) fn is_sshd(pid: i32, name: &str, named: Option<&Path>) -> bool {
    let is_named = || named.and_then(identity).is_some_and(|named| identity(&proc(pid, "exe")) == Some(named));
    is_named_sshd(pid, name) || is_named()
}

/// Whether a process's program is called sshd, sshd.pam or the like. The name of the executable file counts, not the
/// link that it was started by: a user who may run a program as root may do so through a link called sshd. If we may
/// not see the file, the process's own name decides.
fn is_named_sshd(pid: i32, name: &str) -> bool {
    match fs::read_link(proc(pid, "exe")) {
        Ok(path) => path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sshd")),
        Err(_) => name.starts_with("sshd"),
    }
}

/// Whether all user ids of a process are root's or ours. Any user can give a process of their own the name and the
/// command line of an sshd.
pub(super) fn is_trusted(pid: i32) -> bool {
    let own = rustix::process::geteuid().as_raw();
    fs::read_to_string(proc(pid, "status")).is_ok_and(|status| belongs_to(&status, own))
}

/// Whether the four user ids (real, effective, saved, of the file system) in the text of
/// `/proc/PID/status` are each root's or this one.
fn belongs_to(status: &str, own: u32) -> bool {
    let Some(line) = status.lines().find_map(|line| line.strip_prefix("Uid:")) else { return false };
    let ids: Vec<Option<u32>> = line.split_whitespace().map(|id| id.parse().ok()).collect();
    ids.len() == 4 && ids.iter().all(|id| id.is_some_and(|id| id == 0 || id == own))
}

/// Whether a process shares our view of processes, network and files. An sshd in a container or a chroot does not, and
/// does not serve this machine.
pub(super) fn is_ours_to_see(pid: i32) -> bool {
    ["ns/pid", "ns/net", "root"].into_iter().all(|view| {
        let own = fs::read_link(format!("/proc/self/{view}"));
        match (fs::read_link(proc(pid, view)), own) {
            (Ok(theirs), Ok(own)) => theirs == own,
            // We may not look (an ordinary user and root's sshd): the command line decides.
            _ => true,
        }
    })
}

/// All processes that can be seen, each with its name.
pub(super) fn processes() -> io::Result<Vec<(i32, String)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match fs::read_to_string(proc(pid, "comm")) {
            Ok(name) => all.push((pid, name.trim_end().to_owned())),
            // Out of descriptors or memory: the name stays unknown, so the list would be incomplete.
            Err(error) if is_short(&error) => return Err(error),
            // The process has ended, is hidden from us, or has a name that is not UTF-8.
            Err(_) => {}
        }
    }
    Ok(all)
}

pub(super) fn unseen(error: io::Error) -> Error {
    Error::failed("cannot look for sshd among the processes").cause(error)
}

/// Whether an error means that the system is short of a resource at the moment.
fn is_short(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO))
}

fn state(pid: i32) -> Option<char> {
    fs::read_to_string(proc(pid, "stat")).ok()?.rsplit_once(") ")?.1.chars().next()
}

pub(super) fn proc(pid: i32, entry: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{entry}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_trusted_if_all_its_users_are() {
        let status = |ids: &str| format!("Name:\tsshd\nUmask:\t0022\nPid:\t7\nUid:\t{ids}\nGid:\t0\t0\t0\t0\n");
        for (ids, own, expected) in [
            ("0\t0\t0\t0", 0, true),
            ("0\t0\t0\t0", 1000, true),
            ("1000\t1000\t1000\t1000", 1000, true),
            ("1000\t0\t0\t0", 1000, true),
            ("65534\t65534\t65534\t65534", 0, false),
            ("65534\t0\t0\t0", 0, false),
            ("0\t65534\t0\t65534", 0, false),
            ("1000\t1000\t1000\t1000", 1001, false),
            ("0\t0\t0", 0, false),
            ("x\t0\t0\t0", 0, false),
            ("", 0, false),
        ] {
            assert_eq!(belongs_to(&status(ids), own), expected, "{ids} for {own}");
        }
        assert!(!belongs_to("Name:\tsshd\n", 0));
        assert!(is_trusted(i32::try_from(std::process::id()).unwrap()));
    }
}
