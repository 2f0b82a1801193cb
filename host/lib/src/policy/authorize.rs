//! The decision: does a procedure's policy grant a need? Pure, and deny by default.

use super::{
    file::{Action, Authority, CertificateGrant, KeyGrant, LogLevel, Procedure, Scheduled, ServiceOperation},
    need::Need,
    pattern::{Pattern, Places},
};
use crate::{
    ca::{Kind, Principals},
    machine::path::AbsolutePath,
};
use std::collections::{BTreeMap, BTreeSet};

/// What the decision depends on besides the policy.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// What `{sshd}` and `{home}` stand for.
    pub places: Places,
    /// Directories and files that no grant covers: Warded's own, a CA's.
    pub protected: Vec<AbsolutePath>,
    /// The lists of host name patterns for which the operator trusts the CA.
    pub trusted: Vec<String>,
    /// The names that the operator confirmed for this machine.
    pub confirmed: BTreeSet<String>,
    /// Private keys the procedure was given handles to, in this run, each with how many segments of its
    /// path were written out: what lies beside it may be reached by these only.
    pub keys: BTreeMap<AbsolutePath, usize>,
}

/// The grant that answered a need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The grant, as the policy has it.
    pub grant: String,
    /// For paths: how many segments the policy wrote out.
    pub literal: usize,
}

/// Why a need was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What was wrong, where it is more than a missing grant.
    pub reason: Option<String>,
    /// The line that would grant it, where any could.
    pub grant: Option<String>,
}

impl Circumstances {
    /// Notes a key that the procedure was given a handle to; of several ways to it, the one that was
    /// written out furthest.
    pub fn hold(&mut self, key: &AbsolutePath, literal: usize) {
        let known = self.keys.entry(key.clone()).or_insert(literal);
        *known = literal.max(*known);
    }

    /// Whether something lies within what no grant covers.
    #[must_use]
    pub fn is_protected(&self, path: &AbsolutePath) -> bool {
        self.protected.iter().any(|own| path.is_within(own))
    }
}

/// Decides.
///
/// # Errors
/// The denial.
pub fn authorize(procedure: &Procedure, circumstances: &Circumstances, need: &Need) -> Result<Permit, Denial> {
    let decision = Decision { procedure, circumstances };
    let permit = match need {
        Need::Fact(name) => procedure.facts.contains(name).then(|| plain(format!("facts {name}"))),
        Need::ReadFile(path) => {
            decision.file(path, [("files.read", &procedure.files.read), ("files.write", &procedure.files.write)])?
        }
        Need::WriteFile(path) | Need::RemoveFile(path) => {
            decision.file(path, [("files.write", &procedure.files.write)])?
        }
        Need::ListDirectory(path) => decision.directory(path)?,
        Need::HostKeys => procedure.keys.contains(&KeyGrant::SshdHostKeys).then(|| plain("keys sshd-host-keys")),
        Need::OpenKey(path) | Need::EnsureKey(path) => decision.key(path)?,
        Need::ReplaceKey(path) => decision.replaced_key(path)?,
        Need::ReadCertificate(path) => match decision.certificate(path)? {
            None => decision.file(path, [("files.read", &procedure.files.read)])?,
            permit => permit,
        },
        Need::WriteCertificate(path) => decision.certificate(path)?,
        Need::Roots(kind) => decision.authority(Action::Roots, *kind),
        Need::Issue(kind, principals) => decision.issue(*kind, principals)?,
        Need::Renew(kind, _) => decision.authority(Action::Renew, *kind),
        Need::Rekey(kind, _) => decision.authority(Action::Rekey, *kind),
        Need::Effective(_) => procedure.sshd.effective.then(|| plain("sshd.effective")),
        Need::ClientEffective(_) => procedure.ssh.effective.then(|| plain("ssh.effective")),
        Need::Reload(service) => procedure
            .services
            .iter()
            .any(|(name, operations)| name.as_str() == service && operations.contains(&ServiceOperation::Reload))
            .then(|| plain(format!("services.{service} reload"))),
        Need::Schedule(_) => procedure.schedule.contains(&Scheduled::Renew).then(|| plain("schedule renew")),
        Need::Inform => procedure.log.contains(&LogLevel::Info).then(|| plain("log info")),
        Need::Warn => procedure.log.contains(&LogLevel::Warn).then(|| plain("log warn")),
    };
    permit.ok_or_else(|| Denial { reason: None, grant: Some(need.grant()) })
}

fn plain(grant: impl Into<String>) -> Permit {
    Permit { grant: grant.into(), literal: 0 }
}

struct Decision<'a> {
    procedure: &'a Procedure,
    circumstances: &'a Circumstances,
}

impl Decision<'_> {
    fn file<const N: usize>(
        &self,
        path: &AbsolutePath,
        lists: [(&str, &Vec<Pattern>); N],
    ) -> Result<Option<Permit>, Denial> {
        self.unprotected(path)?;
        Ok(lists.into_iter().find_map(|(name, patterns)| self.covered(path, name, patterns)))
    }

    /// The permit with the longest part written out, so that a wildcard beside it narrows nothing.
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
                Some(Permit { grant: format!("{list} {pattern}"), literal })
            })
            .max_by_key(|permit| permit.literal)
    }

    fn directory(&self, path: &AbsolutePath) -> Result<Option<Permit>, Denial> {
        self.unprotected(path)?;
        let files = &self.procedure.files;
        Ok(files.read.iter().chain(&files.write).find_map(|pattern| {
            let directory = pattern.directory(&self.circumstances.places)?;
            (directory == *path)
                .then(|| Permit { grant: format!("files.read {pattern}"), literal: path.segments().count() })
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

    /// Two grants: one for the key, one for what becomes of the machine's identity.
    fn replaced_key(&self, path: &AbsolutePath) -> Result<Option<Permit>, Denial> {
        self.unprotected(path)?;
        let listed = self.procedure.keys.contains(&KeyGrant::SshdHostKeys);
        let key = match self.circumstances.keys.get(path).filter(|_| listed) {
            Some(literal) => Some(Permit { grant: "keys sshd-host-keys".to_owned(), literal: *literal }),
            None => self.key(path)?,
        };
        let Some(key) = key else { return Ok(None) };
        let Some(authority) = self.authority(Action::Rekey, Kind::Host) else {
            let wanted = Authority { action: Action::Rekey, kind: Kind::Host };
            return Err(Denial { reason: None, grant: Some(format!("authority = [\"{wanted}\"]")) });
        };
        Ok(Some(Permit { grant: format!("{}, {}", key.grant, authority.grant), literal: key.literal }))
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

    /// What lies beside a key is reached as the key was: no link below a wildcard of its grant is followed.
    fn beside_key(&self, path: &AbsolutePath) -> Option<Permit> {
        if !self.procedure.certificates.contains(&CertificateGrant::BesideKey) {
            return None;
        }
        let key: AbsolutePath = path.as_str().strip_suffix("-cert.pub")?.parse().ok()?;
        let literal = *self.circumstances.keys.get(&key)?;
        Some(Permit { grant: "certificates beside-key".to_owned(), literal })
    }

    fn authority(&self, action: Action, kind: Kind) -> Option<Permit> {
        let wanted = Authority { action, kind };
        self.procedure.authority.contains(&wanted).then(|| plain(format!("authority {wanted}")))
    }

    /// A grant to ask the CA is never a grant to choose the names: those the operator confirms.
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
mod tests {
    use super::*;

    const KEY: &str = "/srv/keys/a/key";
    const CERTIFICATE: &str = "/srv/keys/a/key-cert.pub";
    const BESIDE: &str = "certificates = ['beside-key']";

    /// A key that was opened below a wildcard does not make the rest of its path the operator's words.
    #[test]
    fn what_belongs_to_a_key_is_reached_as_the_key_was() {
        let certificate = |path: &str| Need::WriteCertificate(path.parse().unwrap());
        let replace = || Need::ReplaceKey(KEY.parse().unwrap());
        let rekeys = |keys: &str| format!("authority = ['rekey host']\nkeys = [{keys}]");
        for (grants, opened, need, expected) in [
            // As sshd named it, or as it is written out in the policy.
            (BESIDE.to_owned(), &[4][..], certificate(CERTIFICATE), Some(4)),
            (BESIDE.to_owned(), &[2], certificate(CERTIFICATE), Some(2)),
            // By both ways, in either order.
            (BESIDE.to_owned(), &[2, 4], certificate(CERTIFICATE), Some(4)),
            (BESIDE.to_owned(), &[4, 2], certificate(CERTIFICATE), Some(4)),
            (BESIDE.to_owned(), &[], certificate(CERTIFICATE), None),
            (BESIDE.to_owned(), &[4], certificate("/srv/keys/a/key"), None),
            (BESIDE.to_owned(), &[4], certificate("/srv/keys/b/key-cert.pub"), None),
            // A grant beside it narrows nothing, and widens what it says.
            (format!("certificates = ['beside-key', '{CERTIFICATE}']"), &[2], certificate(CERTIFICATE), Some(4)),
            ("certificates = ['beside-key', '/srv/*/a/*']".to_owned(), &[2], certificate(CERTIFICATE), Some(2)),
            (rekeys("'sshd-host-keys'"), &[4], replace(), Some(4)),
            (rekeys("'sshd-host-keys', '/srv/keys/*/key'"), &[2], replace(), Some(2)),
            (rekeys("'/srv/keys/*/key'"), &[2], replace(), Some(2)),
            (rekeys(&format!("'{KEY}'")), &[4], replace(), Some(4)),
            (rekeys("'sshd-host-keys'"), &[], replace(), None),
        ] {
            let mut circumstances = Circumstances {
                places: Places { sshd_config: "/etc/ssh/sshd_config".parse().unwrap(), home: None },
                protected: Vec::new(),
                trusted: Vec::new(),
                confirmed: BTreeSet::new(),
                keys: BTreeMap::new(),
            };
            opened.iter().for_each(|literal| circumstances.hold(&KEY.parse().unwrap(), *literal));
            let procedure: Procedure = toml::from_str(&format!("summary = 's'\n{grants}")).unwrap();
            let permit = authorize(&procedure, &circumstances, &need);
            assert_eq!(permit.ok().map(|permit| permit.literal), expected, "{grants} {opened:?} {need:?}");
        }
    }

    /// Nothing is open, and Warded's own directory is protected.
    fn nothing_held() -> Circumstances {
        Circumstances {
            places: Places { sshd_config: "/etc/ssh/sshd_config".parse().unwrap(), home: None },
            protected: vec!["/var/lib/warded".parse().unwrap()],
            trusted: Vec::new(),
            confirmed: ["web1".to_owned()].into(),
            keys: BTreeMap::new(),
        }
    }

    fn procedure(grants: &str) -> Procedure {
        toml::from_str(&format!("summary = 's'\n{grants}")).unwrap()
    }

    fn named(names: &[&str]) -> Principals {
        Principals::parse(Kind::Host, names).unwrap()
    }

    /// Each need is granted by its own line, and by that of no other need.
    #[test]
    fn every_need_has_a_grant_of_its_own() {
        let path = || KEY.parse::<AbsolutePath>().unwrap();
        let read: &[&str] = &["files.read = ['/srv/keys/a/*']"];
        let write: &[&str] = &["files.write = ['/srv/keys/a/*']"];
        let certificates: &[&str] = &["certificates = ['/srv/keys/a/*']"];
        let key: &[&str] = &["keys = ['/srv/keys/a/*']"];
        let both = [read, write].concat();
        let read_or_certificate = [read, certificates].concat();
        let cases: Vec<(Need, &[&str])> = vec![
            (Need::Fact("hostname".into()), &["facts = ['hostname']"]),
            (Need::ReadFile(path()), &both),
            (Need::ListDirectory("/srv/keys/a".parse().unwrap()), &both),
            (Need::WriteFile(path()), write),
            (Need::RemoveFile(path()), write),
            (Need::HostKeys, &["keys = ['sshd-host-keys']"]),
            (Need::OpenKey(path()), key),
            (Need::EnsureKey(path()), key),
            (Need::ReadCertificate(path()), &read_or_certificate),
            (Need::WriteCertificate(path()), certificates),
            (Need::Roots(Kind::Host), &["authority = ['roots host']"]),
            (Need::Roots(Kind::User), &["authority = ['roots user']"]),
            (Need::Issue(Kind::Host, named(&["web1"])), &["authority = ['issue host']"]),
            (Need::Renew(Kind::Host, named(&["web1"])), &["authority = ['renew host']"]),
            (Need::Rekey(Kind::Host, named(&["web1"])), &["authority = ['rekey host']"]),
            (Need::Effective("port".into()), &["sshd.effective = true"]),
            (Need::ClientEffective("user".into()), &["ssh.effective = true"]),
            (Need::Reload("ssh".into()), &["services.ssh = ['reload']"]),
            (Need::Schedule(true), &["schedule = ['renew']"]),
            (Need::Schedule(false), &["schedule = ['renew']"]),
            (Need::Inform, &["log = ['info']"]),
            (Need::Warn, &["log = ['warn']"]),
        ];
        let lines: BTreeSet<&str> = cases.iter().flat_map(|(_, lines)| lines.iter().copied()).collect();
        let others = ["facts = ['os']", "services.sshd = ['reload']", "files.read = ['/srv/keys/*']"];
        for (need, own) in &cases {
            for line in lines.iter().copied().chain(others) {
                let granted = authorize(&procedure(line), &nothing_held(), need).is_ok();
                assert_eq!(granted, own.contains(&line), "{line}: {need:?}");
            }
            let denial = authorize(&procedure(""), &nothing_held(), need).unwrap_err();
            // The line that a denial names grants what was denied.
            let hint = denial.grant.unwrap();
            assert!(authorize(&procedure(&hint), &nothing_held(), need).is_ok(), "{hint}: {need:?}");
        }
    }

    #[test]
    fn a_key_is_replaced_by_two_grants() {
        let need = Need::ReplaceKey(KEY.parse().unwrap());
        let (key, rekey) = (format!("keys = ['{KEY}']"), "authority = ['rekey host']".to_owned());
        let denied = |grants: &str| authorize(&procedure(grants), &nothing_held(), &need).unwrap_err().grant.unwrap();
        assert_eq!(denied(&rekey), key.replace('\'', "\""));
        assert_eq!(denied(&key), rekey.replace('\'', "\""));
        assert!(authorize(&procedure(&format!("{key}\n{rekey}")), &nothing_held(), &need).is_ok());
    }

    #[test]
    fn a_certificate_is_for_names_that_the_operator_confirmed() {
        let grants = procedure("authority = ['issue host']");
        for (names, denied) in [(&["web1"][..], None), (&["web1", "web2"], Some("web2")), (&["web10"], Some("web10"))] {
            let decided = authorize(&grants, &nothing_held(), &Need::Issue(Kind::Host, named(names)));
            let reason = decided.err().and_then(|denial| denial.reason);
            assert_eq!(reason.as_deref().and_then(|reason| reason.split(' ').next()), denied, "{names:?}");
        }
    }

    #[test]
    fn no_grant_covers_what_is_protected() {
        let grants = "files.read = ['/var/lib/*/x', '/var/lib/*']\nfiles.write = ['/var/lib/*/x']\n\
                      keys = ['/var/lib/*/x', 'sshd-host-keys']\ncertificates = ['/var/lib/*/x']\n\
                      authority = ['rekey host']";
        let needs: [fn(AbsolutePath) -> Need; 8] = [
            Need::ReadFile,
            Need::WriteFile,
            Need::RemoveFile,
            Need::OpenKey,
            Need::EnsureKey,
            Need::ReplaceKey,
            Need::ReadCertificate,
            Need::WriteCertificate,
        ];
        for (path, protected) in [("/var/lib/warded/x", true), ("/var/lib/warden/x", false)] {
            let path: AbsolutePath = path.parse().unwrap();
            assert_eq!(nothing_held().is_protected(&path), protected);
            for need in needs.map(|need| need(path.clone())) {
                let decided = authorize(&procedure(grants), &nothing_held(), &need);
                assert_eq!(decided.is_err_and(|denial| denial.reason.is_some()), protected, "{need:?}");
            }
        }
        let list = Need::ListDirectory("/var/lib/warded".parse().unwrap());
        assert!(authorize(&procedure("files.read = ['/var/lib/warded/*']"), &nothing_held(), &list).is_err());
    }
}
