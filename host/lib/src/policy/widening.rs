//! Whether a policy lets a procedure do more than another one did.

use super::file::{CertificateGrant, KeyGrant, LogLevel, Policy, ServiceOperation};
use crate::{
    machine::service::{Direct, Service},
    name::{Name, UnitName},
};
use std::collections::BTreeSet;

/// The grants of a procedure that go beyond those that were accepted, each as a policy would say it.
#[must_use]
pub fn beyond(accepted: &Policy, now: &Policy, procedure: &Name) -> Vec<String> {
    grants(now, procedure).difference(&grants(accepted, procedure)).cloned().collect()
}

/// Every grant of a procedure, one text each.
fn grants(policy: &Policy, procedure: &Name) -> BTreeSet<String> {
    let Some(granted) = policy.procedures.get(procedure) else { return BTreeSet::new() };
    let mut all = BTreeSet::new();
    all.extend(granted.facts.iter().map(|fact| format!("facts {fact}")));
    all.extend(granted.authority.iter().map(|request| format!("authority {request}")));
    all.extend(granted.keys.iter().map(|key| match key {
        KeyGrant::SshdHostKeys => "keys sshd-host-keys".to_owned(),
        KeyGrant::At(pattern) => format!("keys {pattern}"),
    }));
    all.extend(granted.certificates.iter().map(|certificate| match certificate {
        CertificateGrant::BesideKey => "certificates beside-key".to_owned(),
        CertificateGrant::At(pattern) => format!("certificates {pattern}"),
    }));
    all.extend(granted.files.read.iter().map(|pattern| format!("files.read {pattern}")));
    all.extend(granted.files.write.iter().map(|pattern| format!("files.write {pattern}")));
    all.extend(granted.sshd.effective.then(|| "sshd.effective".to_owned()));
    all.extend(granted.sshd.keywords.iter().map(|keyword| format!("sshd.keywords {}", keyword.as_str())));
    all.extend(granted.log.iter().map(|level| match level {
        LogLevel::Info => "log info".to_owned(),
        LogLevel::Warn => "log warn".to_owned(),
    }));
    for (name, operations) in &granted.services {
        let ways = policy.services.get(name).map(ways).unwrap_or_default();
        for ServiceOperation::Reload in operations {
            all.extend(ways.iter().map(|way| format!("services.{name} reload: {way}")));
        }
    }
    all
}

/// How a service is reached: under its name a policy can have anything reloaded.
fn ways(service: &Service) -> Vec<String> {
    let units = service.systemd.iter().map(UnitName::as_str).map(str::to_owned);
    let direct = service.direct.map(|Direct::Sshd| "SIGHUP to sshd".to_owned());
    units.chain(direct).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "[service.ssh]\nsystemd = ['ssh.service']\n";
    const RENEW: &str = "[procedure.renew-host]\nsummary = 's'\nauthority = ['renew host']\nfiles.read = ['/a']\n\
                         services.ssh = ['reload']\n";

    fn policy(service: &str, renew: &str) -> Policy {
        Policy::parse(&format!("name = 'x'\n{service}{renew}"), "p.toml").unwrap()
    }

    #[test]
    fn only_what_was_not_accepted_is_beyond() {
        let accepted = policy(SERVICE, RENEW);
        let another = format!("{RENEW}[procedure.other]\nsummary = 's'\nfiles.write = ['/b']\n");
        for (service, renew, beyond_it) in [
            (SERVICE, RENEW.to_owned(), &[][..]),
            (SERVICE, RENEW.replace("files.read = ['/a']\n", ""), &[]),
            (SERVICE, another, &[]),
            (SERVICE, RENEW.replace("'/a'", "'/a', '/b'"), &["files.read /b"]),
            (SERVICE, RENEW.replace("files.read", "files.write"), &["files.write /a"]),
            (SERVICE, RENEW.replace("'renew host'", "'issue host', 'renew host'"), &["authority issue host"]),
            (SERVICE, format!("{RENEW}sshd.keywords = ['Port']\n"), &["sshd.keywords port"]),
            (SERVICE, format!("{RENEW}sshd.effective = true\n"), &["sshd.effective"]),
            (SERVICE, format!("{RENEW}keys = ['sshd-host-keys']\n"), &["keys sshd-host-keys"]),
            (SERVICE, format!("{RENEW}certificates = ['beside-key']\n"), &["certificates beside-key"]),
            (SERVICE, format!("{RENEW}facts = ['hostname']\n"), &["facts hostname"]),
            (SERVICE, format!("{RENEW}log = ['warn']\n"), &["log warn"]),
            (
                "[service.ssh]\nsystemd = ['ssh.service', 'other.service']\n",
                RENEW.to_owned(),
                &["services.ssh reload: other.service"],
            ),
        ] {
            let found = beyond(&accepted, &policy(service, &renew), &"renew-host".parse().unwrap());
            assert_eq!(found, beyond_it, "{service}{renew}");
        }
    }
}
