//! `certify-host`: a certificate for every host key that sshd uses, and a `HostCertificate` line
//! for each.
//!
//! Every key, and never a `HostKey` line: one such line takes the default host keys away, and a
//! certificate for only some keys sends clients that have pinned another one into "REMOTE HOST
//! IDENTIFICATION HAS CHANGED".

use warded_guest::certificate::certificate_path;
use warded_guest::host_certificates::{self, Certified};
use warded_guest::keys::{self, KeyPair};
use warded_guest::principal::host_principals;
use warded_guest::sshd_config::{self, OwnLines};
use warded_guest::{Error, Settings, log, machine, schedule, services, sshd};

/// The comment above our lines.
const COMMENT: &str = "# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.";

/// Where sshd looks for host keys that no `HostKey` line names.
const DEFAULT_DIRECTORY: &str = "/etc/ssh";

/// The default host keys, by file name and algorithm.
const DEFAULT_KEYS: [(&str, &str); 3] = [
    ("ssh_host_rsa_key", "ssh-rsa"),
    ("ssh_host_ecdsa_key", "ecdsa-sha2-nistp256"),
    ("ssh_host_ed25519_key", "ssh-ed25519"),
];

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let principals = host_principals(settings.all("principal"))?;
    let keys = host_certificates::offered(host_keys()?)?;
    let Certified { paths, mut changed } = host_certificates::certify(&keys, &principals, certificate_path)?;
    let own = OwnLines::find()?;
    let lines = lines(&paths, &own.values("HostCertificate"), &sshd::effective("hostcertificate", &[])?)?;
    let lines = [lines, own.others("HostCertificate")].concat();
    changed |= own.set(own.comment().as_deref().unwrap_or(COMMENT), &lines)?;
    if changed {
        services::reload("ssh")?;
    }
    schedule_renewals()
}

/// Certificates end: something has to renew them. Where nothing can, the machine is certified all the same.
fn schedule_renewals() -> Result<(), Error> {
    match schedule::renewals() {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.code.as_str(), "no-scheduler" | "foreign") => {
            log::warn(&error.message);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The host keys that sshd uses; where it has none, the default ones, which are made.
fn host_keys() -> Result<Vec<KeyPair>, Error> {
    let keys = keys::host_keys()?;
    if !keys.is_empty() {
        return Ok(keys);
    }
    let directory = machine::fact("sshd.directory").unwrap_or_default();
    if directory != DEFAULT_DIRECTORY {
        return Err(Error::new(
            "no-host-key",
            format!("sshd has no host key, and does not look for any in {directory} by itself."),
        )
        .about("path", &*directory)
        .next(format!("make one: ssh-keygen -t ed25519 -N '' -f {directory}/ssh_host_ed25519_key"))
        .next(format!("name it in sshd's configuration: HostKey {directory}/ssh_host_ed25519_key")));
    }
    DEFAULT_KEYS.iter().map(|(name, algorithm)| keys::ensure(&format!("{directory}/{name}"), algorithm)).collect()
}

/// Our lines: one for each certificate that nobody else's line names already. `own` are the paths
/// in our lines now, `effective` all those that sshd has. A line that is ours stays ours.
fn lines(certificates: &[String], own: &[String], effective: &[String]) -> Result<Vec<String>, Error> {
    certificates
        .iter()
        .filter(|path| own.contains(path) || !effective.iter().any(|known| is_same_path(known, path)))
        .map(|path| sshd_config::path_line("HostCertificate", path))
        .collect()
}

/// Whether both name one file, however they spell it: `/etc/ssh//key` is `/etc/ssh/key`.
fn is_same_path(left: &str, right: &str) -> bool {
    let is_segment = |segment: &&str| !matches!(*segment, "" | ".");
    left.split('/').filter(is_segment).eq(right.split('/').filter(is_segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn a_line_that_somebody_else_wrote_is_not_repeated() {
        let cases: &[(&[&str], &[&str], &[&str])] = &[
            // Our lines, what sshd has, the lines we then want.
            (&[], &[], &["HostCertificate /a", "HostCertificate /b"]),
            (&[], &["/a"], &["HostCertificate /b"]),
            (&["/a", "/b"], &["/a", "/b"], &["HostCertificate /a", "HostCertificate /b"]),
            (&["/b"], &["/a", "/b"], &["HostCertificate /b"]),
            (&["/old"], &["/old"], &["HostCertificate /a", "HostCertificate /b"]),
            (&[], &["/a", "/b", "/c"], &[]),
            (&[], &["//a", "/./b/"], &[]),
        ];
        for (own, effective, expected) in cases {
            let lines = lines(&paths(&["/a", "/b"]), &paths(own), &paths(effective)).unwrap();
            assert_eq!(lines, *expected, "{own:?} {effective:?}");
        }
    }
}
