//! Policy files: whatever they say, they are read or refused, and grant nothing that no grant covers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};
use warded_fuzz::{
    ca::Kind,
    is_harmless,
    machine::service::ServiceOperation,
    policy::{
        authorize::{Circumstances, authorize},
        file::Policy,
        need::Need,
        pattern::Places,
    },
};

/// What no grant covers here.
const OWN: [&str; 2] = ["/etc/warded", "/srv/ca"];

fn circumstances() -> &'static Circumstances {
    static MADE: OnceLock<Circumstances> = OnceLock::new();
    MADE.get_or_init(|| Circumstances {
        places: Places { sshd_config: "/etc/ssh/sshd_config".parse().unwrap(), home: "/root".parse().ok() },
        protected: OWN.iter().map(|path| path.parse().unwrap()).collect(),
        confirmed: BTreeSet::from(["web1.example.org".to_owned()]),
        trusted: vec!["*.example.org".to_owned()],
        mapped: vec!["ann=ops".to_owned()],
        keys: BTreeMap::from([("/etc/ssh/ssh_host_rsa_key".parse().unwrap(), 3)]),
        actions: BTreeMap::new(),
    })
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let policy = match Policy::parse(text, "p.toml") {
        Ok(policy) => policy,
        Err(error) => {
            is_harmless(&error.to_string());
            assert!(error.message().starts_with("p.toml"), "{error}");
            return;
        }
    };
    assert!(!policy.procedures.is_empty());
    for procedure in policy.procedures.values() {
        for own in OWN {
            for below in ["", "/host_ca", "/policies/x.toml"] {
                let path = || format!("{own}{below}").parse().unwrap();
                for need in [
                    Need::ReadFile(path()),
                    Need::WriteFile(path()),
                    Need::RemoveFile(path()),
                    Need::ListDirectory(path()),
                    Need::OpenKey(path()),
                    Need::EnsureKey(path()),
                    Need::ReadCertificate(path()),
                    Need::WriteCertificate(path()),
                ] {
                    assert!(authorize(procedure, circumstances(), &need).is_err(), "{need:?}");
                }
            }
        }
        for need in [
            Need::WriteFile("/etc/ssh/sshd_config".parse().unwrap()),
            Need::WriteCertificate("/etc/ssh/ssh_host_rsa_key-cert.pub".parse().unwrap()),
            Need::Roots(Kind::Host),
            Need::Service(ServiceOperation::Reload, "ssh".to_owned()),
            Need::Service(ServiceOperation::Restart, "ssh".to_owned()),
            Need::HostKeys,
        ] {
            match authorize(procedure, circumstances(), &need) {
                Ok(permit) => is_harmless(&permit.grant),
                Err(denial) => denial.reason.iter().chain(&denial.grant).for_each(|text| is_harmless(text)),
            }
        }
    }
});
