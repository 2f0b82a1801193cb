//! Decides whether a procedure's policy grants a need. Has no side effects, and denies by default.

use super::{
    file::{Action, Authority, CertificateGrant, KeyGrant, LogLevel, Procedure, ScheduledJob, WriteGrant},
    need::Need,
    pattern::{Pattern, Places},
};
use crate::{
    ca::{Kind, Principals},
    machine::{action, path::AbsolutePath},
    name::Name,
};
use std::collections::{BTreeMap, BTreeSet};

/// The facts, besides the policy, on which a decision depends.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// The paths for which `{sshd}`, `{sshd-config}` and `{home}` stand.
    pub places: Places,
    /// Directories and files that no grant covers: Warded's own, and a CA's.
    pub protected: Vec<AbsolutePath>,
    /// The lists of host name patterns for which the operator trusts the CA.
    pub trusted: Vec<String>,
    /// Which principals may log in as which users, according to the operator; empty: the operator has not set that.
    pub mapped: Vec<String>,
    /// The names that the operator has confirmed for this machine.
    pub confirmed: BTreeSet<String>,
    /// The private keys to which the procedure holds handles in this run, each with the number of literal segments in
    /// the grant's path. On the way to a certificate beside such a key, links are followed in these segments only.
    pub keys: BTreeMap<AbsolutePath, usize>,
    /// The policy's actions, each with its kind: a query, or a change.
    pub actions: BTreeMap<Name, action::Kind>,
}

/// The grant that covers a need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The grant, in the policy's words.
    pub grant: String,
    /// For paths: how many of the first segments the policy writes out, without a wildcard.
    pub literal: usize,
    /// For files: the characters that may not occur in the contents or in the name.
    pub forbid: String,
    /// For files: whether missing parent directories are created.
    pub parents: bool,
}

/// Why a need was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The reason, if it is more than a missing grant.
    pub reason: Option<String>,
    /// The line that would grant the need, if there can be one.
    pub grant: Option<String>,
}

impl Circumstances {
    /// Records a key to which the procedure was given a handle. If there are several grants for it, the one with the
    /// most literal segments counts.
    pub fn hold(&mut self, key: &AbsolutePath, literal: usize) {
        let known = self.keys.entry(key.clone()).or_insert(literal);
        *known = literal.max(*known);
    }

    /// Whether the path is in a place that no grant covers.
    #[must_use]
    pub fn is_protected(&self, path: &AbsolutePath) -> bool {
        self.protected.iter().any(|own| path.is_within(own))
    }
}

/// Decides whether the procedure may do what it needs.
///
/// # Errors
/// The need is denied.
pub fn authorize(procedure: &Procedure, circumstances: &Circumstances, need: &Need) -> Result<Permit, Denial> {
    let decision = Decision { procedure, circumstances };
    let permit = match need {
        Need::Fact(name) => procedure.facts.contains(name).then(|| plain(format!("facts {name}"))),
        Need::ReadFile(path) => match decision.read_file(path)? {
            None => decision.written_file(path)?,
            permit => permit,
        },
        Need::WriteFile(path) | Need::RemoveFile(path) => decision.written_file(path)?,
        Need::ListDirectory(path) => decision.directory(path)?,
        Need::HostKeys => procedure.keys.contains(&KeyGrant::SshdHostKeys).then(|| plain("keys sshd-host-keys")),
        Need::OpenKey(path) | Need::EnsureKey(path) => decision.key(path)?,
        Need::ReplaceKey(path) => decision.replaced_key(path)?,
        Need::ReadCertificate(path) => match decision.certificate(path)? {
            None => decision.read_file(path)?,
            permit => permit,
        },
        Need::WriteCertificate(path) => decision.certificate(path)?,
        Need::Roots(kind) => decision.authority(Action::Roots, *kind),
        Need::Issue(kind, principals) => decision.issue(*kind, principals)?,
        Need::Renew(kind, _) => decision.authority(Action::Renew, *kind),
        Need::Rekey(kind, _) => decision.authority(Action::Rekey, *kind),
        Need::Effective(_) => procedure.sshd.effective.then(|| plain("sshd.effective")),
        Need::ClientEffective(_) => procedure.ssh.effective.then(|| plain("ssh.effective")),
        Need::Service(operation, service) => procedure
            .services
            .iter()
            .any(|(name, operations)| name.as_str() == service && operations.contains(operation))
            .then(|| plain(format!("services.{service} {operation}"))),
        Need::Query(name) => decision.action(name, action::Kind::Query)?,
        Need::Change(name) => decision.action(name, action::Kind::Change)?,
        Need::Schedule(_) => procedure.schedule.contains(&ScheduledJob::Renew).then(|| plain("schedule renew")),
        Need::Inform => procedure.log.contains(&LogLevel::Info).then(|| plain("log info")),
        Need::Warn => procedure.log.contains(&LogLevel::Warn).then(|| plain("log warn")),
    };
    permit.ok_or_else(|| Denial { reason: None, grant: Some(need.grant()) })
}

fn plain(grant: impl Into<String>) -> Permit {
    at(grant, 0)
}

fn at(grant: impl Into<String>, literal: usize) -> Permit {
    Permit { grant: grant.into(), literal, forbid: String::new(), parents: false }
}

struct Decision<'a> {
    procedure: &'a Procedure,
    circumstances: &'a Circumstances,
}

impl Decision<'_> {
    fn read_file(&self, path: &AbsolutePath) -> Result<Option<Permit>, Denial> {
        self.unprotected(path)?;
        Ok(self.covered(path, "files.read", &self.procedure.files.read))
    }

    /// If several grants cover the file, the characters that any of them forbids are forbidden.
    fn written_file(&self, path: &AbsolutePath) -> Result<Option<Permit>, Denial> {
        self.unprotected(path)?;
        let covers = |grant: &&WriteGrant| grant.path.covers(path, &self.circumstances.places);
        let covering: Vec<(&WriteGrant, usize)> =
            self.procedure.files.write.iter().filter_map(|grant| Some((grant, covers(&grant)?))).collect();
        let Some((chosen, literal)) = covering.iter().max_by_key(|(_, literal)| *literal) else { return Ok(None) };
        Ok(Some(Permit {
            grant: format!("files.write {chosen}"),
            literal: *literal,
            forbid: covering.iter().map(|(grant, _)| grant.forbid.as_str()).collect(),
            parents: covering.iter().any(|(grant, _)| grant.parents),
        }))
    }

    /// The permit with the most literal segments, so that an additional grant with a wildcard does not restrict it.
    fn covered<'p>(
        &self,
        path: &AbsolutePath,
        list: &str,
        patterns: impl IntoIterator<Item = &'p Pattern>,
    ) -> Option<Permit> {
        patterns
            .into_iter()
            .filter_map(|pattern| {
                let literal = pattern.covers(path, &self.circumstances.places)?;
                Some(at(format!("{list} {pattern}"), literal))
            })
            .max_by_key(|permit| permit.literal)
    }

    fn directory(&self, path: &AbsolutePath) -> Result<Option<Permit>, Denial> {
        self.unprotected(path)?;
        let files = &self.procedure.files;
        let read = files.read.iter().map(|pattern| (pattern, format!("files.read {pattern}")));
        let written = files.write.iter().map(|grant| (&grant.path, format!("files.write {grant}")));
        Ok(read.chain(written).find_map(|(pattern, grant)| {
            let directory = pattern.directory(&self.circumstances.places)?;
            (directory == *path).then(|| at(grant, path.segments().count()))
        }))
    }

    fn key(&self, path: &AbsolutePath) -> Result<Option<Permit>, Denial> {
        self.unprotected(path)?;
        Ok(self.covered(
            path,
            "keys",
            self.procedure.keys.iter().filter_map(|grant| match grant {
                KeyGrant::At(pattern) => Some(pattern),
                KeyGrant::SshdHostKeys => None,
            }),
        ))
    }

    /// Needs two grants: one for the key, and one for changing the machine's identity.
    fn replaced_key(&self, path: &AbsolutePath) -> Result<Option<Permit>, Denial> {
        self.unprotected(path)?;
        let listed = self.procedure.keys.contains(&KeyGrant::SshdHostKeys);
        let key = match self.circumstances.keys.get(path).filter(|_| listed) {
            Some(literal) => Some(at("keys sshd-host-keys", *literal)),
            None => self.key(path)?,
        };
        let Some(key) = key else { return Ok(None) };
        let Some(authority) = self.authority(Action::Rekey, Kind::Host) else {
            let wanted = Authority { action: Action::Rekey, kind: Kind::Host };
            return Err(Denial { reason: None, grant: Some(format!("authority = [\"{wanted}\"]")) });
        };
        Ok(Some(at(format!("{}, {}", key.grant, authority.grant), key.literal)))
    }

    fn certificate(&self, path: &AbsolutePath) -> Result<Option<Permit>, Denial> {
        self.unprotected(path)?;
        let named = self.covered(
            path,
            "certificates",
            self.procedure.certificates.iter().filter_map(|grant| match grant {
                CertificateGrant::At(pattern) => Some(pattern),
                CertificateGrant::BesideKey => None,
            }),
        );
        Ok([named, self.beside_key(path)].into_iter().flatten().max_by_key(|permit| permit.literal))
    }

    /// A certificate beside a key is reached as the key was: links below a wildcard in the key's grant are not
    /// followed.
    fn beside_key(&self, path: &AbsolutePath) -> Option<Permit> {
        if !self.procedure.certificates.contains(&CertificateGrant::BesideKey) {
            return None;
        }
        let key: AbsolutePath = path.as_str().strip_suffix("-cert.pub")?.parse().ok()?;
        let literal = *self.circumstances.keys.get(&key)?;
        Some(at("certificates beside-key", literal))
    }

    fn authority(&self, action: Action, kind: Kind) -> Option<Permit> {
        let wanted = Authority { action, kind };
        self.procedure.authority.contains(&wanted).then(|| plain(format!("authority {wanted}")))
    }

    /// A grant for asking the CA does not let a procedure choose the names: the operator has to confirm those.
    fn issue(&self, kind: Kind, principals: &Principals) -> Result<Option<Permit>, Denial> {
        let Some(permit) = self.authority(Action::Issue, kind) else { return Ok(None) };
        match principals.iter().find(|principal| !self.circumstances.confirmed.contains(principal.as_str())) {
            None => Ok(Some(permit)),
            Some(principal) => Err(Denial {
                reason: Some(format!("{principal} is not a name that the operator confirmed for this machine")),
                grant: None,
            }),
        }
    }

    /// A query changes nothing, and so also runs in a plan: an action that may change something must never pass for a
    /// query.
    fn action(&self, name: &str, kind: action::Kind) -> Result<Option<Permit>, Denial> {
        let Some(granted) = self.procedure.actions.iter().find(|granted| granted.as_str() == name) else {
            return Ok(None);
        };
        match self.circumstances.actions.get(granted) {
            Some(known) if *known == kind => Ok(Some(plain(format!("actions {name}")))),
            Some(action::Kind::Query) => {
                Err(Denial { reason: Some(format!("{name} is a query, and no change")), grant: None })
            }
            Some(action::Kind::Change) => {
                Err(Denial { reason: Some(format!("{name} is a change, and no query")), grant: None })
            }
            None => Err(Denial { reason: Some(format!("the policy has no action {name}")), grant: None }),
        }
    }

    fn unprotected(&self, path: &AbsolutePath) -> Result<(), Denial> {
        match self.circumstances.protected.iter().find(|own| path.is_within(own)) {
            None => Ok(()),
            Some(own) => Err(Denial {
                reason: Some(format!("{own} is Warded's own or a CA's: no grant covers it")),
                grant: None,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
