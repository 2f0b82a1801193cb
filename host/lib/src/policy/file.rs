//! The schema of the policy file, and its strict parser. `docs/POLICIES.md` describes the file.

mod authority;
mod check;
mod write;

pub use authority::{Action, Authority};
pub use write::WriteGrant;

use super::{
    condition::{Condition, Machine},
    pattern::Pattern,
    plain,
    setting::{Declaration, Type},
};
use crate::{
    digest::Digest,
    error::{Error, Result},
    machine::{
        action,
        schedule::Schedulers,
        service::{Service, ServiceOperation},
    },
    name::{Keyword, Name},
};
use serde::Deserialize;
use sshd_config::known_hosts::is_file_name;
use std::collections::BTreeMap;

/// The largest text that is parsed as a policy, in bytes: some twenty times the size of the largest policy that comes
/// with Warded. Parsing takes a hundred times the text's size in memory, and comparing two policies takes quadratic
/// time.
pub const MAX_BYTES: usize = 128 << 10;
/// Subcommands of `warded audit`, which therefore cannot be names of policies.
const RESERVED: [&str; 3] = ["export", "log", "verify"];

/// A policy. Without `component` it is a request: what a component asks for, embedded in the component. With
/// `component` it is a grant, to the component with that digest and no other.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// What the policy is called.
    pub name: Name,
    /// Its version, for people.
    #[serde(default)]
    pub version: String,
    /// What it is for, in a line.
    #[serde(default)]
    pub summary: String,
    /// The digest of the component to which the policy grants.
    pub component: Option<Digest>,
    /// At least one of these conditions has to hold; without any, the policy always applies.
    #[serde(default)]
    pub when: Vec<Condition>,
    /// None of these conditions may hold.
    #[serde(default)]
    pub unless: Vec<Condition>,
    /// Other policies that are not offered on the machines for which this one is.
    #[serde(default)]
    pub instead_of: Vec<Name>,
    /// The services that grants can name.
    #[serde(default, rename = "service")]
    pub services: BTreeMap<Name, Service>,
    /// The programs that grants can name.
    #[serde(default, rename = "action")]
    pub actions: BTreeMap<Name, action::Action>,
    /// How `warded renew` is scheduled, if a procedure may schedule it.
    pub schedule: Option<Schedulers>,
    /// The procedures, each with its grants.
    #[serde(rename = "procedure")]
    pub procedures: BTreeMap<Name, Procedure>,
}

/// A procedure and what it may do. What is not granted is denied.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Procedure {
    /// What it does, in a line.
    pub summary: String,
    /// The procedure that `warded renew` runs once this one has been applied.
    pub renewal: Option<Name>,
    /// The settings that the operator can give it.
    #[serde(default)]
    pub settings: BTreeMap<Name, Declaration>,
    /// The facts that it may query.
    #[serde(default)]
    pub facts: Vec<String>,
    /// The requests that it may make to the CA.
    #[serde(default)]
    pub authority: Vec<Authority>,
    /// The key pairs that it may use, but never see.
    #[serde(default)]
    pub keys: Vec<KeyGrant>,
    /// Where it may write and read certificates.
    #[serde(default)]
    pub certificates: Vec<CertificateGrant>,
    #[serde(default)]
    pub files: Files,
    /// sshd's configuration.
    #[serde(default)]
    pub sshd: Sshd,
    /// The SSH client's configuration.
    #[serde(default)]
    pub ssh: Ssh,
    /// The operations that it may request, for each service.
    #[serde(default)]
    pub services: BTreeMap<Name, Vec<ServiceOperation>>,
    /// The programs that it may have run, out of `[action.NAME]`.
    #[serde(default)]
    pub actions: Vec<Name>,
    /// The jobs that it may schedule.
    #[serde(default)]
    pub schedule: Vec<ScheduledJob>,
    /// How it may address the operator.
    #[serde(default)]
    pub log: Vec<LogLevel>,
}

/// Grants on files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The files that may be read.
    #[serde(default)]
    pub read: Vec<Pattern>,
    /// The files that may be read, written and removed.
    #[serde(default)]
    pub write: Vec<WriteGrant>,
}

/// Grants on sshd's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sshd {
    /// Whether it may ask sshd for its effective configuration.
    #[serde(default)]
    pub effective: bool,
    /// The keywords whose effective values a change may alter, for any user.
    #[serde(default)]
    pub keywords: Vec<Keyword>,
}

/// Grants on the SSH client's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ssh {
    /// Whether it may ask ssh for its effective configuration.
    #[serde(default)]
    pub effective: bool,
}

/// A grant to use key pairs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum KeyGrant {
    /// `sshd-host-keys`: the key pairs that sshd uses, and no others.
    SshdHostKeys,
    /// The private key's path.
    At(Pattern),
}

impl TryFrom<String> for KeyGrant {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text == "sshd-host-keys" { Ok(Self::SshdHostKeys) } else { text.parse().map(Self::At) }
    }
}

/// A grant of a place for certificates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CertificateGrant {
    /// `beside-key`: `KEY-cert.pub` beside every key to which the procedure was given a handle.
    BesideKey,
    /// The certificate's path.
    At(Pattern),
}

impl TryFrom<String> for CertificateGrant {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text == "beside-key" { Ok(Self::BesideKey) } else { text.parse().map(Self::At) }
    }
}

/// The jobs that can be scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduledJob {
    /// `warded renew`, and nothing else.
    Renew,
}

/// How a procedure may address the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// A message for information.
    Info,
    /// A message about a problem to look into.
    Warn,
}

impl Procedure {
    /// Whether it may change more than ssh's known_hosts files, so that it needs root.
    #[must_use]
    pub fn concerns_sshd(&self) -> bool {
        let other = |grant: &WriteGrant| !grant.path.last().is_some_and(is_file_name);
        self.files.write.iter().any(other)
            || !(self.keys.is_empty() && self.certificates.is_empty() && self.services.is_empty())
            || !(self.schedule.is_empty() && self.actions.is_empty())
    }

    /// Whether the operator can give it names for certificates.
    #[must_use]
    pub fn takes_names(&self) -> bool {
        self.settings.values().any(|declaration| declaration.kind == Type::Principal)
    }
}

impl Policy {
    /// Parses a policy file. `origin` names the file in errors, which contain line and column.
    ///
    /// # Errors
    /// A usage error: the text violates the schema, or contradicts itself.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let at = |offset: Option<usize>| match offset {
            Some(offset) => {
                let before = text.get(..offset).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                format!("{origin}:{line}:{column}")
            }
            None => origin.to_owned(),
        };
        if text.len() > MAX_BYTES {
            return Err(Error::usage(format!("{origin}: larger than a policy may be")).cause(format!(
                "it has {} KiB, and the limit is {} KiB",
                text.len() >> 10,
                MAX_BYTES >> 10
            )));
        }
        if let Some(hidden) = plain::hidden(text) {
            return Err(Error::usage(format!("{}: {hidden}", at(Some(hidden.offset))))
                .cause("a person who reads the policy would see other text than it has")
                .next("take it out, or do not accept this policy"));
        }
        let policy: Self = toml::from_str(text).map_err(|error| {
            let place = at(error.span().map(|span| span.start));
            Error::usage(format!("{place}: {}", crate::text::neutral(error.message())))
                .next("docs/POLICIES.md describes every key of a policy file")
        })?;
        policy.check().map_err(|(what, why)| {
            Error::usage(format!("{}: {why}", at(text.find(&what))))
                .next("docs/POLICIES.md describes every key of a policy file")
        })?;
        Ok(policy)
    }

    /// Whether the policy is meant for this machine.
    pub fn applies(&self, machine: &dyn Machine) -> bool {
        (self.when.is_empty() || self.when.iter().any(|condition| condition.holds(machine)))
            && !self.unless.iter().any(|condition| condition.holds(machine))
    }

    /// Why the policy is not meant for this machine; `None` if it is.
    pub fn unfit(&self, machine: &dyn Machine) -> Option<String> {
        if let Some(held) = self.unless.iter().find(|condition| condition.holds(machine)) {
            return Some(format!("not for this machine: {held}"));
        }
        let wanted = || self.when.iter().map(ToString::to_string).collect::<Vec<_>>().join(", or where ");
        (!self.applies(machine)).then(|| format!("not for this machine: only where {}", wanted()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::facts::Facts;

    const SMALL: &str = "name = 'x'\n[service.ssh]\nsystemd = ['ssh.service']\n[procedure.do-it]\nsummary = 's'\n";

    #[test]
    fn an_unfit_policy_says_why() {
        let machine = Facts::read("/nonexistent".as_ref());
        for (conditions, why) in [
            ("", None),
            ("when = [{ init = 'none' }]", None),
            (
                "when = [{ init = 'openrc', os = 'alpine' }, { path = '/nowhere' }]",
                Some(
                    "not for this machine: only where the init system is openrc and the operating system is alpine, \
                     or where /nowhere exists",
                ),
            ),
            ("unless = [{ path = '/etc' }]", Some("not for this machine: /etc exists")),
        ] {
            let policy = Policy::parse(&SMALL.replacen('\n', &format!("\n{conditions}\n"), 1), "p.toml").unwrap();
            assert_eq!(policy.unfit(&machine).as_deref(), why, "{conditions}");
            assert_eq!(policy.applies(&machine), why.is_none(), "{conditions}");
        }
    }

    /// Adds a query that runs on a copy of `/t/d`.
    fn copied(grants: &str) -> String {
        format!(
            "{grants}\n[action.expand]\nkind = 'query'\nargv = ['/x']\noutput = {{ file = 'o' }}\nscratch.d = ['/t/d']"
        )
    }

    #[test]
    fn what_a_query_runs_on_is_written_without_programs_only() {
        for grants in
            ["", "files.write = [{ path = '/t/d/x', forbid = '{' }, '/t/d/e/x', '/t/x']", "files.read = ['/t/d/*']"]
        {
            let policy = format!("{SMALL}{}\n", copied(grants));
            assert!(Policy::parse(&policy, "p.toml").is_ok(), "{grants}");
        }
    }

    #[test]
    fn errors_name_line_and_column() {
        for (more, place, what) in [
            ("services.ssh = ['reboot']", "p.toml:6:17", "unknown variant `reboot`"),
            ("services.cron = ['reload']", "p.toml:4:1", "names the service cron"),
            ("services.ssh = ['restart']", "p.toml:4:1", "procedure do-it may restart ssh, which is sshd"),
            ("actions = ['show']", "p.toml:4:1", "names the action show"),
            (
                "[action.show]\nkind = 'query'\nargv = ['tool']",
                "p.toml:6:1",
                "action show: its program is not an absolute",
            ),
            ("[action.show]\nkind = 'query'\nargv = [1]", "p.toml:8:8", "a text, or { json"),
            (&copied("files.write = ['/t/*/x']"), "p.toml:4:1", "that grant needs `forbid`"),
            (&copied("files.write = ['/t/d/x', { path = '/t/d/x', forbid = '{' }]"), "p.toml:4:1", "needs `forbid`"),
            (&copied("certificates = ['/t/d/*']"), "p.toml:4:1", "may put keys or certificates into /t/d"),
            (&copied("keys = ['/t/d/k']"), "p.toml:4:1", "may put keys or certificates into /t/d"),
            ("schedule = ['renew']", "p.toml:4:1", "there is no [schedule]"),
            ("schedule = ['reboot']", "p.toml:6:13", "unknown variant `reboot`"),
            ("[schedule]\nsystemd = 'ssh.timer'", "p.toml:7:12", "begins with warded-"),
            ("[schedule]", "p.toml:6:1", "names no scheduler"),
            ("[service.schedule]\ndirect = 'sshd'", "p.toml:6:1", "no name of a service"),
            ("renewal = 'other'", "p.toml:4:1", "no [procedure.other]"),
            ("file.read = []", "p.toml:6:1", "unknown field `file`"),
            ("authority = ['sign host']", "p.toml:6:13", "unknown request"),
            ("files.read = ['/etc/../x']", "p.toml:6:14", "`..`"),
            ("files.read = ['{nowhere}/x']", "p.toml:6:14", "unknown place"),
            ("sshd.keywords = ['Host Key']", "p.toml:6:17", "not a keyword"),
            ("settings.a = { type = 'choice', help = 'h' }", "p.toml:4:1", "`values`"),
            (
                "settings.a = { type = 'principal', default = 'a.example', help = 'h' }",
                "p.toml:4:1",
                "giving its value",
            ),
            ("settings.a = { type = 'domain', default = '*', help = 'h' }", "p.toml:4:1", "it can have no default"),
            ("settings.a = { type = 'principals', default = 'root=x', help = 'h' }", "p.toml:4:1", "no default"),
            ("settings.a = { type = 'integer', default = 'x', help = 'h' }", "p.toml:4:1", "not a whole number"),
            ("settings.a = { type = 'text', help = 'h' }", "p.toml:6:23", "unknown variant `text`"),
            ("[procedure.b]\nsummary = 's'\nlog = ['debug']", "p.toml:8:8", "unknown variant"),
            ("log = ['debug']", "p.toml:6:8", "unknown variant"),
            ("summary = 's'", "p.toml:6:1", "duplicate key"),
        ] {
            let error = Policy::parse(&format!("{SMALL}{more}\n"), "p.toml").unwrap_err();
            assert!(error.message().starts_with(&format!("{place}: ")), "{more}: {place}: {error}");
            assert!(error.message().contains(what), "{more}: {error}");
        }
    }

    #[test]
    fn a_policy_has_a_largest_size() {
        let padded = |to: usize| format!("{SMALL}#{}", "x".repeat(to - SMALL.len() - 1));
        Policy::parse(&padded(MAX_BYTES), "p.toml").unwrap();
        let error = Policy::parse(&padded(MAX_BYTES + 1), "p.toml").unwrap_err();
        assert_eq!(error.message(), "p.toml: larger than a policy may be");
    }

    #[test]
    fn some_names_are_taken() {
        for name in RESERVED {
            let error = Policy::parse(&SMALL.replacen("'x'", &format!("'{name}'"), 1), "p.toml").unwrap_err();
            assert!(error.message().starts_with("p.toml:1:9: "), "{error}");
        }
        let own = SMALL.replacen("'x'\n", "'x'\ninstead-of = ['x']\n", 1);
        assert!(Policy::parse(&own, "p.toml").unwrap_err().message().contains("instead of itself"));
    }

    #[test]
    fn nothing_is_granted_unless_written() {
        let policy = Policy::parse(SMALL, "p.toml").unwrap();
        let procedure = policy.procedures.values().next().unwrap();
        assert!(procedure.files.write.is_empty() && procedure.authority.is_empty() && procedure.log.is_empty());
        assert!(procedure.schedule.is_empty() && procedure.actions.is_empty());
        assert!(!procedure.sshd.effective && procedure.services.is_empty() && procedure.facts.is_empty());
    }
}
