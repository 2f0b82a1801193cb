//! The files that a configuration names and about which sshd does not complain when they are wrong: certificates, CA
//! keys, revoked keys. `sshd -t` has exit status 0 for every fault found here.

use super::krl;
use crate::{
    ca,
    machine::sshd::{Effective, tree::Overlay},
    text,
};
use ssh_key::{Certificate, HashAlg, PublicKey, certificate::CertType};
use std::path::Path;

/// What is wrong with a file's contents, as the rest of a sentence.
type Check = fn(&std::io::Result<Vec<u8>>) -> Result<(), String>;

/// What is wrong with the files that a configuration names, at a time in seconds since 1970; sorted.
/// `host_keys` are the public keys that sshd has.
#[must_use]
pub fn problems(effective: &Effective, overlay: Overlay<'_>, host_keys: &[PublicKey], now: u64) -> Vec<String> {
    let mut found: Vec<_> = effective
        .values("hostcertificate")
        .iter()
        .filter_map(|path| {
            told("host certificate", path, host_certificate(&overlay.read(Path::new(path)), host_keys, now))
        })
        .collect();
    let lists: [(&str, &str, Check); 2] =
        [("trustedusercakeys", "list of user CA keys", authorities), ("revokedkeys", "list of revoked keys", revoked)];
    for (keyword, what, check) in lists {
        let named = effective.values(keyword).iter().filter(|value| *value != "none");
        found.extend(named.filter_map(|path| told(what, path, check(&overlay.read(Path::new(path))))));
    }
    found.sort();
    found
}

/// Those of the problems that are only the age of a host certificate.
#[must_use]
pub fn expired(effective: &Effective, overlay: Overlay<'_>, host_keys: &[PublicKey], now: u64) -> Vec<String> {
    let problem = |path: &String| {
        let contents = overlay.read(Path::new(path));
        let certificate = Certificate::from_openssh(read(&contents).ok()?.trim()).ok()?;
        if now < certificate.valid_before() {
            return None;
        }
        check_certificate(&certificate, host_keys, certificate.valid_before().checked_sub(1)?).ok()?;
        told("host certificate", path, host_certificate(&contents, host_keys, now))
    };
    effective.values("hostcertificate").iter().filter_map(problem).collect()
}

fn told(what: &str, path: &str, result: Result<(), String>) -> Option<String> {
    result.err().map(|problem| text::neutral(&format!("the {what} {path} {problem}")))
}

fn host_certificate(contents: &std::io::Result<Vec<u8>>, host_keys: &[PublicKey], now: u64) -> Result<(), String> {
    let text = read(contents)?;
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    if let Ok(certificate) = ca::certificate::parse(text.as_bytes()) {
        checkable(&certificate)?;
    }
    let certificate =
        Certificate::from_openssh(text.trim()).map_err(|error| format!("is not a certificate ({error})"))?;
    check_certificate(&certificate, host_keys, now)
}

/// The certificate in the form that [`check_certificate`] takes. ssh-key supports neither certificates with a SHA-1
/// signature nor certificates without an end.
pub(in crate::guard) fn checkable(certificate: &ca::Certificate) -> Result<Certificate, String> {
    // Clients refuse these since OpenSSH 8.2.
    if matches!(certificate.signature_algorithm(), "ssh-rsa" | "ssh-dss") {
        return Err("is signed with a disallowed algorithm (SHA-1): the CA should sign with rsa-sha2-512".to_owned());
    }
    if certificate.valid_before() == u64::MAX {
        return Err("never expires, and so it is not checked any further".to_owned());
    }
    Certificate::try_from(certificate).map_err(|error| format!("cannot be checked ({error})"))
}

pub(in crate::guard) fn check_certificate(
    certificate: &Certificate,
    host_keys: &[PublicKey],
    now: u64,
) -> Result<(), String> {
    let wrong = |problem: &str| Err(problem.to_owned());
    if certificate.cert_type() != CertType::Host {
        return wrong("is a user certificate: no client takes it for a host");
    }
    if !host_keys.is_empty() && !host_keys.iter().any(|key| key.key_data() == certificate.public_key()) {
        return wrong("is for a key that is none of sshd's host keys");
    }
    if certificate.valid_principals().is_empty() {
        return wrong("names no principal: older clients would take it for every host, newer ones for none");
    }
    if now >= certificate.valid_before() {
        return Err(format!("expired at {}", date(certificate.valid_before())));
    }
    if now < certificate.valid_after() {
        return Err(format!("is not valid before {}: is this machine's clock right?", date(certificate.valid_after())));
    }
    if certificate.critical_options().iter().next().is_some() {
        return wrong("has critical options: no client accepts those in a host certificate");
    }
    let signer = certificate.signature_key().fingerprint(HashAlg::Sha256);
    certificate
        .validate_at(now, [&signer])
        .map_err(|_| "does not verify: its signature is not its CA's, or the file is damaged".to_owned())
}

/// A point in time, for a message. A relative time would make the same problem look like another one a minute later.
fn date(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    timestamp.map_or_else(|| seconds.to_string(), |timestamp| timestamp.strftime("%F %H:%M UTC").to_string())
}

/// If one line does not parse, sshd accepts none of the keys.
fn authorities(contents: &std::io::Result<Vec<u8>>) -> Result<(), String> {
    for (index, line) in read(contents)?.lines().enumerate() {
        // sshd treats a tab, or several blanks, as one blank.
        let line = line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        if !line.is_empty() && !line.starts_with('#') && PublicKey::from_openssh(&line).is_err() {
            return Err(format!("has no key in line {}: sshd would then accept no user certificate", index + 1));
        }
    }
    Ok(())
}

/// If sshd cannot read the file, it refuses every public key login, plain keys included. An empty file is fine.
fn revoked(contents: &std::io::Result<Vec<u8>>) -> Result<(), String> {
    let lock_out = "sshd would then refuse every public key";
    let bytes = contents.as_ref().map_err(|error| format!("cannot be read ({error}): {lock_out}"))?;
    if krl::is_list(bytes) {
        return krl::read(bytes).map(|_| ()).map_err(|why| format!("{why}: {lock_out}"));
    }
    authorities(&Ok(bytes.clone())).map_err(|_| format!("is neither a revocation list nor a list of keys: {lock_out}"))
}

fn read(contents: &std::io::Result<Vec<u8>>) -> Result<String, String> {
    let bytes = contents.as_ref().map_err(|error| format!("cannot be read ({error})"))?;
    String::from_utf8(bytes.clone()).map_err(|_| "is not text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{
        keys::testing::{TYPES, Workshop},
        sshd::host_key,
    };
    use ssh_key::{PrivateKey, certificate::Builder, rand_core::OsRng};

    const NOW: u64 = 1_800_000_000;

    struct KeyFiles {
        ca: PrivateKey,
        host: PrivateKey,
    }

    impl KeyFiles {
        fn new() -> Self {
            Self { ca: host_key::throw_away().unwrap().0, host: host_key::throw_away().unwrap().0 }
        }
        fn certificate(&self, kind: CertType, option: Option<&str>) -> Vec<u8> {
            let window = (NOW - 60, NOW + 3600);
            let key = self.host.public_key();
            let mut builder = Builder::new_with_random_nonce(&mut OsRng, key, window.0, window.1).unwrap();
            builder.cert_type(kind).unwrap().valid_principal("a.example").unwrap();
            if let Some(option) = option {
                builder.critical_option(option, "").unwrap();
            }
            builder.sign(&self.ca).unwrap().to_openssh().unwrap().into_bytes()
        }
        fn problem(&self, contents: &[u8], now: u64) -> String {
            let result = host_certificate(&Ok(contents.to_vec()), &[self.host.public_key().clone()], now);
            result.err().unwrap_or_default()
        }
    }

    #[test]
    fn what_sshd_is_silent_about_is_found() {
        let made = KeyFiles::new();
        let good = made.certificate(CertType::Host, None);
        assert_eq!(made.problem(&good, NOW), "");
        assert!(made.problem(&good, NOW + 7200).starts_with("expired at 2027-01-15 09:00 UTC"));
        assert!(made.problem(&good, NOW - 61).starts_with("is not valid before 2027-01-15 07:59 UTC"));
        // The first second counts, the one after the last does not.
        assert_eq!((made.problem(&good, NOW - 60), made.problem(&good, NOW + 3599)), (String::new(), String::new()));
        assert!(made.problem(&good, NOW + 3600).starts_with("expired at 2027-01-15 09:00 UTC"));
        // If sshd's host keys are not known, the check says nothing about them.
        assert_eq!(host_certificate(&Ok(good.clone()), &[], NOW), Ok(()));
        assert!(KeyFiles::new().problem(&good, NOW).contains("none of sshd's host keys"));
        let user = made.certificate(CertType::User, None);
        assert!(made.problem(&user, NOW).starts_with("is a user certificate"));
        let bound = made.certificate(CertType::Host, Some("x"));
        assert!(made.problem(&bound, NOW).starts_with("has critical options"));
        let mut builder =
            Builder::new_with_random_nonce(&mut OsRng, made.host.public_key(), NOW - 60, NOW + 60).unwrap();
        builder.cert_type(CertType::Host).unwrap().all_principals_valid().unwrap();
        let any = builder.sign(&made.ca).unwrap().to_openssh().unwrap();
        assert!(made.problem(any.as_bytes(), NOW).starts_with("names no principal"));
        for (contents, start) in
            [(&b""[..], "is empty"), (b"\xff\xfe", "is not text"), (b"garbage", "is not a certificate")]
        {
            assert!(made.problem(contents, NOW).starts_with(start), "{contents:?}");
        }
        let key = made.host.public_key().to_openssh().unwrap();
        assert!(made.problem(key.as_bytes(), NOW).starts_with("is not a certificate"));
        let mut damaged = Certificate::from_openssh(std::str::from_utf8(&good).unwrap()).unwrap().to_bytes().unwrap();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        let damaged = Certificate::from_bytes(&damaged).unwrap().to_openssh().unwrap();
        assert!(made.problem(damaged.as_bytes(), NOW).starts_with("does not verify"));
    }

    #[test]
    fn a_signature_with_sha_1_and_a_life_without_an_end_are_named() {
        const LIFE: &str = "20200101:20370101";
        let workshop = Workshop::new();
        workshop.key("ca", TYPES[4]);
        let host = workshop.key("host", TYPES[0]);
        for (kind, life, start) in [
            ("ssh-rsa", LIFE, "is signed with a disallowed algorithm (SHA-1)"),
            ("ssh-rsa", "always:forever", "is signed with a disallowed algorithm (SHA-1)"),
            ("rsa-sha2-512", "always:forever", "never expires"),
            ("rsa-sha2-256", LIFE, ""),
            ("rsa-sha2-512", LIFE, ""),
        ] {
            let sign = ["-q", "-s", "ca", "-t", kind, "-h", "-I", "x", "-n", "a.example", "-V", life];
            workshop.keygen(&[&sign[..], &["host.pub"]].concat());
            let made = std::fs::read(workshop.path("host-cert.pub")).unwrap();
            let problem = host_certificate(&Ok(made), std::slice::from_ref(&host), NOW).err().unwrap_or_default();
            assert!(problem.starts_with(start) && problem.is_empty() == start.is_empty(), "{kind}: {problem}");
        }
    }

    #[test]
    fn a_time_without_a_date_is_told_in_seconds() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn lists_of_keys_are_read() {
        let key = KeyFiles::new().ca.public_key().to_openssh().unwrap();
        let missing = || Err(std::io::ErrorKind::NotFound.into());
        let krl = [&b"SSHKRL\n\0\x00\x00\x00\x01"[..], &[0; 32]].concat();
        let garbage = [&krl[..], b"\x01\x00\x00\x00\x07garbage"].concat();
        for (contents, trusted, revocation) in [
            (format!("# CA\n\n{key}\n").into_bytes(), true, true),
            (format!(" {}  \n", key.replace(' ', "\t  ")).into_bytes(), true, true),
            (Vec::new(), true, true),
            (format!("garbage\n{key}\n").into_bytes(), false, false),
            (krl[..8].to_vec(), false, false),
            (krl, false, true),
            (garbage, false, false),
        ] {
            let shown = String::from_utf8_lossy(&contents).into_owned();
            assert_eq!(authorities(&Ok(contents.clone())).is_ok(), trusted, "{shown}");
            assert_eq!(revoked(&Ok(contents)).is_ok(), revocation, "{shown}");
        }
        assert!(authorities(&missing()).is_err() && revoked(&missing()).is_err());
        let place = authorities(&Ok(format!("{key}\n# CA\ngarbage\n").into_bytes())).unwrap_err();
        assert!(place.starts_with("has no key in line 3:"), "{place}");
    }

    #[test]
    fn what_has_only_expired_is_told_from_what_was_never_good() {
        let made = KeyFiles::new();
        let (good, bound) = (made.certificate(CertType::Host, None), made.certificate(CertType::Host, Some("x")));
        let effective = Effective::parse("hostcertificate /good\nhostcertificate /bound\nhostcertificate /gone\n");
        let staged = [("/good".into(), Some(good)), ("/bound".into(), Some(bound)), ("/gone".into(), None)].into();
        let keys = [made.host.public_key().clone()];
        let found = |now| expired(&effective, Overlay(&staged), &keys, now);
        for now in [NOW - 61, NOW - 60, NOW, NOW + 3599] {
            assert_eq!(found(now), [""; 0], "{now}");
        }
        assert_eq!(found(NOW + 3600).len(), 1);
        let late = found(NOW + 7200);
        assert_eq!(late, ["the host certificate /good expired at 2027-01-15 09:00 UTC"]);
        assert!(problems(&effective, Overlay(&staged), &keys, NOW + 7200).contains(&late[0]));
    }

    #[test]
    fn only_named_files_count() {
        let effective =
            Effective::parse("trustedusercakeys none\nrevokedkeys /no/such/list\nhostcertificate /no/such-cert.pub\n");
        let found = problems(&effective, Overlay(&crate::machine::sshd::tree::StagedFiles::new()), &[], NOW);
        assert_eq!(found.len(), 2);
        assert!(found[1].starts_with("the list of revoked keys /no/such/list cannot be read"), "{found:?}");
    }
}
