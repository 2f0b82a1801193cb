//! Grants in plain words, for the person who decides whether to accept them.

use warded_lib::{
    machine::action,
    policy::{
        file::Policy,
        lines::{Key, Line},
    },
};

/// How carefully a person should look at a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// It decides who gets in or what this machine is, or covers files that are not the policy's own.
    Grave,
    /// Keys, certificates, services, and the contents of other people's files.
    Watched,
    Plain,
}

impl Weight {
    /// Root runs a policy's programs: one that may change something is grave, and one that only shows something is
    /// watched.
    pub(super) fn in_policy(line: &Line, policy: &Policy) -> Self {
        match kind(line, policy) {
            Some(action::Kind::Change) => Self::Grave,
            Some(action::Kind::Query) => Self::Watched,
            None => Self::of(line),
        }
    }

    fn of(line: &Line) -> Self {
        match line.key {
            Key::Rekey | Key::Keywords | Key::Action | Key::Restart => Self::Grave,
            Key::WriteFiles if !is_its_own(line) => Self::Grave,
            Key::ReadFiles if !is_its_own(line) => Self::Watched,
            Key::WriteFiles | Key::Keys | Key::Certificates | Key::Issue | Key::Renew | Key::Reload | Key::Schedule => {
                Self::Watched
            }
            Key::ReadFiles
            | Key::Facts
            | Key::Roots
            | Key::Effective
            | Key::ClientEffective
            | Key::Inform
            | Key::Warn => Self::Plain,
        }
    }

    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Grave => "!!",
            Self::Watched => " !",
            Self::Plain => "",
        }
    }
}

/// Whether a path is a single file in sshd's directory, which a policy may have for itself.
fn is_its_own(line: &Line) -> bool {
    line.value.starts_with("{sshd}/") && !line.value.contains('*')
}

/// What a grant allows a procedure to do.
pub(super) fn of(line: &Line, policy: &Policy) -> &'static str {
    let is_many = line.value.contains('*');
    match line.key {
        Key::Facts => "know this of the machine",
        Key::ReadFiles if is_many => "read every file of this form",
        Key::ReadFiles => "read this file",
        Key::WriteFiles if line.value.starts_with("{sshd-config}") => "change sshd's main configuration file",
        Key::WriteFiles if is_many => "make, change and remove every file of this form",
        Key::WriteFiles => "make, change and remove this file",
        Key::Keys if line.value == "sshd-host-keys" => "use the host keys that sshd uses, without seeing them",
        Key::Keys => "make and use these keys, without seeing them",
        Key::Certificates if line.value == "beside-key" => "write a certificate beside each of its keys",
        Key::Certificates => "write these certificates",
        Key::Roots => "read the CA's public keys",
        Key::Issue => "ask the CA for certificates for the names that you confirm",
        Key::Renew => "have the CA renew certificates",
        Key::Rekey => "replace keys: clients that know only an old one will warn",
        Key::Effective => "read sshd's effective configuration",
        Key::Keywords => "change this keyword of sshd",
        Key::ClientEffective => "read ssh's effective configuration",
        Key::Reload => "have this service read its files again",
        Key::Restart => "have this service stopped and started",
        Key::Action => match kind(line, policy) {
            Some(action::Kind::Query) => "ask by this program, as the user who runs the procedure",
            Some(action::Kind::Change) | None => "CHANGE SOMETHING by this program, as the user who runs the procedure",
        },
        Key::Schedule => "have `warded renew` run every hour",
        Key::Inform => "tell you something",
        Key::Warn => "warn you of something",
    }
}

fn kind(line: &Line, policy: &Policy) -> Option<action::Kind> {
    let named = policy.actions.iter().find(|(name, _)| line.key == Key::Action && name.as_str() == line.value);
    named.map(|(_, action)| action.kind)
}
