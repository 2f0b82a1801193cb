//! Listeners on the addresses of sshd's configuration that are not known to be that sshd: another program, an sshd that
//! reads another file, or one that a reload would end.

use super::{
    Effective, Sshd,
    arguments::CommandLineKind,
    listener::{self, UnknownConfiguration},
    sockets,
    tree::identity,
};
use crate::{error::Result, text::neutral};
use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// A listener that is not known to be this sshd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownListener {
    /// The address on which it listens.
    pub address: SocketAddr,
    /// Why it is not known.
    pub why: UnknownReason,
}

/// Why a listener is not known to be this sshd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownReason {
    /// No process that we can see holds its socket.
    Unseen,
    /// Its program is not called sshd.
    OtherProgram {
        /// Its process.
        pid: i32,
        /// The process's name.
        name: String,
        /// Its program, if we can see that.
        program: Option<PathBuf>,
    },
    /// It is an sshd that reads another configuration file.
    OtherConfiguration {
        /// Its process.
        pid: i32,
        file: PathBuf,
    },
    /// It is an sshd whose configuration is not known.
    Untold {
        /// Its process.
        pid: i32,
        /// Why its configuration is not known.
        why: UnknownConfiguration,
    },
}

impl fmt::Display for UnknownListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match &self.why {
            UnknownReason::Unseen => {
                write!(f, "something listens on {address}, and no process that can be seen has its socket")
            }
            UnknownReason::OtherProgram { pid, name, .. } => {
                write!(f, "process {pid} ({}) listens on {address}, and is not known to be sshd", neutral(name))
            }
            UnknownReason::OtherConfiguration { pid, file } => {
                write!(
                    f,
                    "the sshd that listens on {address} (process {pid}) reads {}",
                    neutral(&file.display().to_string())
                )
            }
            UnknownReason::Untold { pid, why } => write!(f, "the sshd that listens on {address} (process {pid}) {why}"),
        }
    }
}

impl UnknownListener {
    /// What the operator can do about it.
    #[must_use]
    pub fn next(&self) -> String {
        match &self.why {
            UnknownReason::Unseen => {
                "run this as root, in the same container as the process that listens (`ss -tlnp`)".to_owned()
            }
            UnknownReason::OtherProgram { pid, program, .. } => {
                let program =
                    program.as_ref().map_or_else(|| "FILE".to_owned(), |path| neutral(&path.display().to_string()));
                format!("if process {pid} is an sshd, name its program: --sshd {program}")
            }
            UnknownReason::OtherConfiguration { file, .. } => {
                format!("name the file that it reads: --sshd-config {}", neutral(&file.display().to_string()))
            }
            UnknownReason::Untold { why: UnknownConfiguration::Lost(_) | UnknownConfiguration::Unseen, .. } => {
                "start that sshd with `-f` and an absolute path".to_owned()
            }
            UnknownReason::Untold { why: UnknownConfiguration::CutOff, .. } => {
                "start that sshd as a service, or with some environment: env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin"
                    .to_owned()
            }
        }
    }
}

impl Sshd {
    /// The first unknown listener on the addresses of the configuration, if this sshd has no known listener: then
    /// nobody knows what clients are served by. None if nothing listens there, or if systemd does, which starts sshd.
    ///
    /// # Errors
    /// The configuration cannot be read, or the processes cannot be listed.
    pub fn unknown_listener(&self) -> Result<Option<UnknownListener>> {
        if self.listener.is_some() {
            return Ok(None);
        }
        let effective = self.for_nobody()?;
        Ok(self.unknown_holders(&effective, &BTreeSet::new())?.into_iter().next())
    }

    /// The listeners on addresses of the configuration other than the known listener. Clients who connect there reach
    /// another program. Empty if the sockets of the known listener cannot be seen.
    ///
    /// # Errors
    /// The processes cannot be listed.
    pub fn unknown_beside(&self, effective: &Effective) -> Result<Vec<UnknownListener>> {
        let Some(sockets) = self.listener.as_ref().and_then(|listener| listener.sockets.as_ref()) else {
            return Ok(Vec::new());
        };
        let own = sockets.iter().map(|socket| socket.inode).collect();
        let mut found = self.unknown_holders(effective, &own)?;
        // Another process with the same configuration file is no stranger: the scan for listeners finds it.
        found.retain(
            |unknown| !matches!(&unknown.why, UnknownReason::OtherConfiguration { file, .. } if self.reads(file)),
        );
        Ok(found)
    }

    fn reads(&self, file: &Path) -> bool {
        identity(file).is_some_and(|one| Some(one) == identity(self.config.as_path()))
    }

    /// The listeners on the addresses of the configuration, without the sockets with these inode numbers.
    fn unknown_holders(&self, effective: &Effective, known: &BTreeSet<u64>) -> Result<Vec<UnknownListener>> {
        let configured: Vec<SocketAddr> = effective.addresses().collect();
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let mut taken = sockets::listening(own);
        taken.retain(|(address, inode)| !known.contains(inode) && configured.iter().any(|one| overlap(*one, *address)));
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        taken.sort_unstable();
        let processes = listener::processes().map_err(listener::unseen)?;
        let unknown = |(address, inode): (SocketAddr, u64)| {
            let holder =
                processes.iter().find(|(pid, _)| sockets::inodes(*pid).is_some_and(|inodes| inodes.contains(&inode)));
            // Socket activation: systemd starts sshd when a client connects.
            if holder.is_some_and(|(pid, name)| *pid == 1 && name == "systemd") {
                return None;
            }
            let why = holder.map_or(UnknownReason::Unseen, |(pid, name)| why(*pid, name.clone(), self));
            Some(UnknownListener { address, why })
        };
        Ok(taken.into_iter().filter_map(unknown).collect())
    }

    /// Whether a listener's sockets match the addresses of the configuration. A listener whose command line is cut off
    /// may use another file, which may be gone by now.
    pub(super) fn is_where_configured(&self, listener: &listener::Listener) -> bool {
        let Some(sockets) = listener.sockets.as_ref().filter(|sockets| !sockets.is_empty()) else { return true };
        let started = Self { arguments: listener.arguments.clone(), ..self.clone() };
        let Ok(effective) = started.effective(self.config.as_path(), &[]) else { return true };
        let is_configured = |socket: &sockets::Socket| effective.addresses().any(|one| overlap(one, socket.address));
        sockets.iter().any(is_configured)
    }
}

/// Why the process that holds the socket was not recognized as the listener.
fn why(pid: i32, name: String, sshd: &Sshd) -> UnknownReason {
    let named: Option<&Path> = sshd.named.as_deref();
    if listener::is_trusted(pid) && listener::is_sshd(pid, &name, named) {
        match listener::shown(pid, sshd.config.as_path()) {
            CommandLineKind::CutOff => return UnknownReason::Untold { pid, why: UnknownConfiguration::CutOff },
            CommandLineKind::Listener(line) => {
                return match listener::configuration(pid, line.config.as_deref()).told() {
                    Ok(file) => UnknownReason::OtherConfiguration { pid, file },
                    Err(why) => UnknownReason::Untold { pid, why },
                };
            }
            CommandLineKind::Other => {}
        }
    }
    UnknownReason::OtherProgram { pid, name, program: std::fs::read_link(listener::proc(pid, "exe")).ok() }
}

/// Whether two sockets could not both listen: same port, and same address or one of them bound to all addresses.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && (a == b || a.is_unspecified() || b.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_if_one_connection_could_reach_both() {
        for (one, other, expected) in [
            ("0.0.0.0:22", "127.0.0.1:22", true),
            ("127.0.0.1:22", "127.0.0.1:22", true),
            ("[::]:22", "127.0.0.1:22", true),
            ("[::ffff:127.0.0.1]:22", "127.0.0.1:22", true),
            ("127.0.0.1:22", "127.0.0.1:2222", false),
            ("127.0.0.1:22", "127.0.0.2:22", false),
            ("[::1]:22", "127.0.0.1:22", false),
        ] {
            assert_eq!(overlap(one.parse().unwrap(), other.parse().unwrap()), expected, "{one} {other}");
        }
    }
}
