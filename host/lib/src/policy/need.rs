//! A need describes an operation as plain data, which policy, plan and audit use.

use crate::{
    ca::{Kind, Principals},
    machine::{path::AbsolutePath, service::ServiceOperation},
};
use std::fmt;

/// The permission that one call of a guest requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// A fact about the machine.
    Fact(String),
    ReadFile(AbsolutePath),
    /// To list those files in a directory that the procedure may read.
    ListDirectory(AbsolutePath),
    WriteFile(AbsolutePath),
    RemoveFile(AbsolutePath),
    /// To get handles to the key pairs that sshd uses.
    HostKeys,
    /// To get a handle to the key pair at a path.
    OpenKey(AbsolutePath),
    /// To get a handle to the key pair at a path, which is created if it does not exist.
    EnsureKey(AbsolutePath),
    /// To replace the key pair at a path by a new one.
    ReplaceKey(AbsolutePath),
    /// To get the CA's public keys.
    Roots(Kind),
    ReadCertificate(AbsolutePath),
    /// To request a certificate.
    Issue(Kind, Principals),
    /// To request a successor of a certificate.
    Renew(Kind, Principals),
    /// To request a successor of a certificate, for another key.
    Rekey(Kind, Principals),
    WriteCertificate(AbsolutePath),
    /// To read a keyword of sshd's effective configuration.
    Effective(String),
    /// To read a keyword of ssh's effective configuration.
    ClientEffective(String),
    /// To reload or restart a service.
    Service(ServiceOperation, String),
    /// To run a program that only answers a question.
    Query(String),
    /// To run a program that changes something.
    Change(String),
    /// To schedule `warded renew` (`true`), or to stop scheduling it.
    Schedule(bool),
    /// To tell the operator something.
    Inform,
    /// To warn the operator.
    Warn,
}

impl Need {
    /// The WIT function that requires it, as `interface.function`.
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

    /// The line that would grant it, if it were in the procedure's table.
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

/// The subject of the operation, without the capability's name: a path, names, a keyword. May contain a guest's text:
/// neutralise it before showing it.
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
