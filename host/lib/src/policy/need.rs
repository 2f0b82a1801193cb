//! A need: what an operation is, as plain data that policy, plan and audit read.

use crate::{
    ca::{Kind, Principals},
    machine::{path::AbsolutePath, service::ServiceOperation},
};
use std::fmt;

/// What one call of a guest needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// A fact about the machine.
    Fact(String),
    ReadFile(AbsolutePath),
    /// To list what it may read in a directory.
    ListDirectory(AbsolutePath),
    WriteFile(AbsolutePath),
    RemoveFile(AbsolutePath),
    /// The key pairs that sshd uses.
    HostKeys,
    /// A key pair at a path.
    OpenKey(AbsolutePath),
    /// A key pair at a path, made if it is not there.
    EnsureKey(AbsolutePath),
    /// A new key pair in place of the one at a path.
    ReplaceKey(AbsolutePath),
    /// The CA's public keys.
    Roots(Kind),
    ReadCertificate(AbsolutePath),
    /// A certificate.
    Issue(Kind, Principals),
    /// A successor to a certificate.
    Renew(Kind, Principals),
    /// A successor to a certificate, for another key.
    Rekey(Kind, Principals),
    WriteCertificate(AbsolutePath),
    /// A keyword of sshd's effective configuration.
    Effective(String),
    /// A keyword of ssh's effective configuration.
    ClientEffective(String),
    /// The reload of a service, or its restart.
    Service(ServiceOperation, String),
    /// To ask by a program.
    Query(String),
    /// To change something by a program.
    Change(String),
    /// That `warded renew` runs by the clock, or does not.
    Schedule(bool),
    /// To tell the operator something.
    Inform,
    /// To warn the operator.
    Warn,
}

impl Need {
    /// The WIT function that asks for it, as `interface.function`.
    #[must_use]
    pub fn capability(&self) -> &'static str {
        match self {
            Self::Fact(_) => "machine.fact",
            Self::ReadFile(_) => "files.read",
            Self::ListDirectory(_) => "files.list",
            Self::WriteFile(_) => "files.write",
            Self::RemoveFile(_) => "files.remove",
            Self::HostKeys => "keys.host-keys",
            Self::OpenKey(_) => "keys.open",
            Self::EnsureKey(_) => "keys.ensure",
            Self::ReplaceKey(_) => "keys.replace",
            Self::Roots(_) => "authority.roots",
            Self::ReadCertificate(_) => "authority.read",
            Self::Issue(..) => "authority.issue",
            Self::Renew(..) => "authority.renew",
            Self::Rekey(..) => "authority.rekey",
            Self::WriteCertificate(_) => "authority.write",
            Self::Effective(_) => "sshd.effective",
            Self::ClientEffective(_) => "ssh.effective",
            Self::Service(ServiceOperation::Reload, _) => "services.reload",
            Self::Service(ServiceOperation::Restart, _) => "services.restart",
            Self::Query(_) => "actions.query",
            Self::Change(_) => "actions.change",
            Self::Schedule(true) => "schedule.renewals",
            Self::Schedule(false) => "schedule.none",
            Self::Inform => "log.info",
            Self::Warn => "log.warn",
        }
    }

    /// The line that would have to be in the procedure's table for this to be granted.
    #[must_use]
    pub fn grant(&self) -> String {
        match self {
            Self::Fact(name) => format!("facts = [\"{name}\"]"),
            Self::ReadFile(path) => format!("files.read = [\"{path}\"]"),
            Self::ListDirectory(path) => format!("files.read = [\"{path}/*\"]"),
            Self::WriteFile(path) | Self::RemoveFile(path) => format!("files.write = [\"{path}\"]"),
            Self::HostKeys => "keys = [\"sshd-host-keys\"]".to_owned(),
            Self::OpenKey(path) | Self::EnsureKey(path) | Self::ReplaceKey(path) => format!("keys = [\"{path}\"]"),
            Self::Roots(kind) => format!("authority = [\"roots {kind}\"]"),
            Self::ReadCertificate(path) | Self::WriteCertificate(path) => format!("certificates = [\"{path}\"]"),
            Self::Issue(kind, _) => format!("authority = [\"issue {kind}\"]"),
            Self::Renew(kind, _) => format!("authority = [\"renew {kind}\"]"),
            Self::Rekey(kind, _) => format!("authority = [\"rekey {kind}\"]"),
            Self::Effective(_) => "sshd.effective = true".to_owned(),
            Self::ClientEffective(_) => "ssh.effective = true".to_owned(),
            Self::Service(operation, service) => format!("services.{service} = [\"{operation}\"]"),
            Self::Query(action) | Self::Change(action) => format!("actions = [\"{action}\"]"),
            Self::Schedule(_) => "schedule = [\"renew\"]".to_owned(),
            Self::Inform => "log = [\"info\"]".to_owned(),
            Self::Warn => "log = [\"warn\"]".to_owned(),
        }
    }
}

/// What it is about, without the capability's name: a path, names, a keyword. May hold a guest's
/// text: neutralise it before it is shown.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fact(text)
            | Self::Effective(text)
            | Self::ClientEffective(text)
            | Self::Service(_, text)
            | Self::Query(text)
            | Self::Change(text) => f.write_str(text),
            Self::ReadFile(path)
            | Self::ListDirectory(path)
            | Self::WriteFile(path)
            | Self::RemoveFile(path)
            | Self::OpenKey(path)
            | Self::EnsureKey(path)
            | Self::ReplaceKey(path)
            | Self::ReadCertificate(path)
            | Self::WriteCertificate(path) => fmt::Display::fmt(path, f),
            Self::HostKeys => f.write_str("the host keys that sshd uses"),
            Self::Roots(kind) => write!(f, "{kind} CA keys"),
            Self::Issue(kind, principals) | Self::Renew(kind, principals) | Self::Rekey(kind, principals) => {
                write!(f, "{kind} certificate for {principals}")
            }
            Self::Schedule(true) => f.write_str("renewals"),
            Self::Schedule(false) => f.write_str("no renewals"),
            Self::Inform | Self::Warn => f.write_str("a message"),
        }
    }
}
