//! `certify-host`: a certificate for every host key that sshd offers, and a `HostCertificate` line for each.
//!
//! NethServer's own list of host keys stays as it is, and so does its list of algorithms: OpenSSH before 7.8 shows a
//! certificate of a key that the list has.

use crate::{backup, generated::Generated};
use warded_guest::certificate::certificate_path;
use warded_guest::host_certificates::{self, Certified};
use warded_guest::principal::host_principals;
use warded_guest::sshd_config::path_line;
use warded_guest::{Error, Settings, keys, log, schedule, services, sshd};

const KEYWORD: &str = "HostCertificate";

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let principals = host_principals(settings.all("principal"))?;
    let generated = Generated::find()?;
    let keys = host_certificates::offered(keys::host_keys()?)?;
    let Certified { paths, mut changed } = host_certificates::certify(&keys, &principals, certificate_path)?;
    let lines = lines(&paths, &generated.values(KEYWORD), &sshd::effective("hostcertificate", &[])?)?;
    changed |= generated.set(&[lines, generated.others(KEYWORD)].concat())?;
    changed |= backup::include(&paths)?;
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

/// Our lines: one for each certificate that nobody else's line names already. A line that is ours stays ours.
fn lines(certificates: &[String], own: &[String], effective: &[String]) -> Result<Vec<String>, Error> {
    certificates
        .iter()
        .filter(|path| own.contains(path) || !effective.contains(path))
        .map(|path| path_line(KEYWORD, path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_somebody_else_wrote_is_not_repeated() {
        let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        let cases: &[(&[&str], &[&str], &[&str])] = &[
            // Our lines, what sshd has, the lines we then want.
            (&[], &[], &["HostCertificate /a", "HostCertificate /b"]),
            (&[], &["/a"], &["HostCertificate /b"]),
            (&["/a", "/b"], &["/a", "/b"], &["HostCertificate /a", "HostCertificate /b"]),
            (&["/old"], &["/old"], &["HostCertificate /a", "HostCertificate /b"]),
            (&[], &["/a", "/b", "/c"], &[]),
        ];
        for (own, effective, expected) in cases {
            let lines = lines(&paths(&["/a", "/b"]), &paths(own), &paths(effective)).unwrap();
            assert_eq!(lines, *expected, "{own:?} {effective:?}");
        }
    }
}
