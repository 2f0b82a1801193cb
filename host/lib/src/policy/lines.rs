//! The grants of a procedure as lines, in the words with which records of the audit log name them.

use super::file::{Action, CertificateGrant, KeyGrant, LogLevel, Procedure, ScheduledJob, WriteGrant};
use crate::machine::service::ServiceOperation;
use serde::Serialize;
use std::fmt;

/// The kind of grant that a line contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// `facts`
    Facts,
    /// `files.read`
    ReadFiles,
    /// `files.write`
    WriteFiles,
    /// `keys`
    Keys,
    /// `certificates`
    Certificates,
    /// `authority = ["roots …"]`
    Roots,
    /// `authority = ["issue …"]`
    Issue,
    /// `authority = ["renew …"]`
    Renew,
    /// `authority = ["rekey …"]`
    Rekey,
    /// `sshd.effective`
    Effective,
    /// `sshd.keywords`: no function needs it, but it limits what written files may say.
    Keywords,
    /// `ssh.effective`
    ClientEffective,
    /// `services.NAME = ["reload"]`
    Reload,
    /// `services.NAME = ["restart"]`
    Restart,
    /// `actions = ["NAME"]`
    Action,
    /// `schedule = ["renew"]`
    Schedule,
    /// `log = ["info"]`
    Inform,
    /// `log = ["warn"]`
    Warn,
}

/// One grant: `files.write {sshd}/sshd_config.d/50-warded.conf`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub key: Key,
    /// The value in the policy file; empty if the key alone says everything.
    pub value: String,
}

impl Line {
    /// The paths that it grants; `None` if it is not about paths.
    #[must_use]
    pub fn paths(&self) -> Option<WriteGrant> {
        let is_of_paths = matches!(self.key, Key::ReadFiles | Key::WriteFiles | Key::Keys | Key::Certificates);
        self.value.parse().ok().filter(|_| is_of_paths)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value } = self;
        match key {
            Key::Facts => write!(f, "facts {value}"),
            Key::ReadFiles => write!(f, "files.read {value}"),
            Key::WriteFiles => write!(f, "files.write {value}"),
            Key::Keys => write!(f, "keys {value}"),
            Key::Certificates => write!(f, "certificates {value}"),
            Key::Roots | Key::Issue | Key::Renew | Key::Rekey => write!(f, "authority {value}"),
            Key::Effective => f.write_str("sshd.effective"),
            Key::Keywords => write!(f, "sshd.keywords {value}"),
            Key::ClientEffective => f.write_str("ssh.effective"),
            Key::Reload => write!(f, "services.{value} reload"),
            Key::Restart => write!(f, "services.{value} restart"),
            Key::Action => write!(f, "actions {value}"),
            Key::Schedule => write!(f, "schedule {value}"),
            Key::Inform => f.write_str("log info"),
            Key::Warn => f.write_str("log warn"),
        }
    }
}

/// All grants of a procedure, in the order of the keys in the policy file.
#[must_use]
pub fn of(procedure: &Procedure) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |key: Key, value: String| lines.push(Line { key, value });
    procedure.facts.iter().for_each(|fact| add(Key::Facts, fact.clone()));
    for authority in &procedure.authority {
        let key = match authority.action {
            Action::Roots => Key::Roots,
            Action::Issue => Key::Issue,
            Action::Renew => Key::Renew,
            Action::Rekey => Key::Rekey,
        };
        add(key, authority.to_string());
    }
    for key in &procedure.keys {
        add(
            Key::Keys,
            match key {
                KeyGrant::SshdHostKeys => "sshd-host-keys".to_owned(),
                KeyGrant::At(pattern) => pattern.to_string(),
            },
        );
    }
    for certificate in &procedure.certificates {
        add(
            Key::Certificates,
            match certificate {
                CertificateGrant::BesideKey => "beside-key".to_owned(),
                CertificateGrant::At(pattern) => pattern.to_string(),
            },
        );
    }
    procedure.files.read.iter().for_each(|pattern| add(Key::ReadFiles, pattern.to_string()));
    procedure.files.write.iter().for_each(|grant| add(Key::WriteFiles, grant.to_string()));
    if procedure.sshd.effective {
        add(Key::Effective, String::new());
    }
    procedure.sshd.keywords.iter().for_each(|keyword| add(Key::Keywords, keyword.as_str().to_owned()));
    if procedure.ssh.effective {
        add(Key::ClientEffective, String::new());
    }
    for (service, operations) in &procedure.services {
        for operation in operations {
            match operation {
                ServiceOperation::Reload => add(Key::Reload, service.to_string()),
                ServiceOperation::Restart => add(Key::Restart, service.to_string()),
            }
        }
    }
    procedure.actions.iter().for_each(|action| add(Key::Action, action.to_string()));
    for scheduled in &procedure.schedule {
        match scheduled {
            ScheduledJob::Renew => add(Key::Schedule, "renew".to_owned()),
        }
    }
    for level in &procedure.log {
        match level {
            LogLevel::Info => add(Key::Inform, String::new()),
            LogLevel::Warn => add(Key::Warn, String::new()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ca::{Kind, Principals},
        policy::{
            authorize::{Circumstances, authorize},
            file::Policy,
            need::Need,
            pattern::Places,
        },
    };
    use std::collections::{BTreeMap, BTreeSet};

    const POLICY: &str = "
name = 'x'
[service.ssh]
systemd = ['ssh.service']
[service.app]
systemd = ['app.service']
[action.show]
kind = 'query'
argv = ['/bin/show']
output = { text = true }
[action.set]
kind = 'change'
argv = ['/bin/set']
irreversible = true
[schedule]
cron.d = 'warded-renew'
[procedure.all]
summary = 's'
facts = ['sshd.config']
authority = ['roots host', 'issue user', 'renew host', 'rekey host']
keys = ['sshd-host-keys', '/k/a']
certificates = ['beside-key', '/c/*']
files.read = ['/r/*']
files.write = ['{sshd}/w', { path = '{sshd}/t', forbid = '{', parents = true }]
sshd = { effective = true, keywords = ['HostCertificate'] }
ssh.effective = true
services = { ssh = ['reload'], app = ['restart'] }
actions = ['show', 'set']
schedule = ['renew']
log = ['info', 'warn']
";

    #[test]
    fn the_log_names_a_grant_as_it_is_listed() {
        let policy = Policy::parse(POLICY, "p.toml").unwrap();
        let procedure = policy.procedures.values().next().unwrap();
        let lines: Vec<String> = of(procedure).iter().map(ToString::to_string).collect();
        let circumstances = Circumstances {
            places: Places { sshd_config: "/etc/ssh/sshd_config".parse().unwrap(), home: None },
            protected: Vec::new(),
            trusted: Vec::new(),
            mapped: Vec::new(),
            confirmed: BTreeSet::from(["a".to_owned()]),
            keys: BTreeMap::from([("/k/a".parse().unwrap(), 2)]),
            actions: policy.actions.iter().map(|(name, action)| (name.clone(), action.kind)).collect(),
        };
        let path = |text: &str| text.parse().unwrap();
        let names = || Principals::parse(Kind::Host, ["a"]).unwrap();
        let mut seen = BTreeSet::new();
        for need in [
            Need::Fact("sshd.config".to_owned()),
            Need::Roots(Kind::Host),
            Need::Issue(Kind::User, names()),
            Need::Renew(Kind::Host, names()),
            Need::Rekey(Kind::Host, names()),
            Need::HostKeys,
            Need::OpenKey(path("/k/a")),
            Need::WriteCertificate(path("/k/a-cert.pub")),
            Need::WriteCertificate(path("/c/x")),
            Need::ReadFile(path("/r/x")),
            Need::ListDirectory(path("/r")),
            Need::WriteFile(path("/etc/ssh/w")),
            Need::WriteFile(path("/etc/ssh/t")),
            Need::Effective("port".to_owned()),
            Need::ClientEffective("port".to_owned()),
            Need::Service(ServiceOperation::Reload, "ssh".to_owned()),
            Need::Service(ServiceOperation::Restart, "app".to_owned()),
            Need::Query("show".to_owned()),
            Need::Change("set".to_owned()),
            Need::Schedule(true),
            Need::Schedule(false),
            Need::Inform,
            Need::Warn,
        ] {
            let grant = authorize(procedure, &circumstances, &need).unwrap().grant;
            assert!(lines.contains(&grant), "{grant:?} is not in {lines:#?}");
            seen.insert(grant);
        }
        // `sshd.keywords` is the only grant that no function needs.
        let unseen: Vec<&String> = lines.iter().filter(|line| !seen.contains(*line)).collect();
        assert_eq!(unseen, ["sshd.keywords hostcertificate"]);
    }
}
