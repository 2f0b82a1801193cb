//! `certify-host`: a certificate for every host key that sshd offers, and a `HostCertificate` line for each.
//!
//! NethServer's own list of host keys stays as it is, and so does its list of algorithms: OpenSSH before 7.8 offers a
//! certificate if the list has its key's algorithm.

use crate::{backup, generated::Generated};
use warded_guest::certificate::certificate_path;
use warded_guest::host_certificates::{self, Certified, KEYWORD};
use warded_guest::principal::host_principals;
use warded_guest::{Error, Settings, keys, services, sshd};

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let principals = host_principals(settings.all("principal"))?;
    let generated = Generated::find()?;
    let keys = host_certificates::offered(keys::host_keys()?)?;
    let Certified { paths, mut changed } = host_certificates::certify(&keys, &principals, certificate_path)?;
    let lines = host_certificates::lines(&paths, &generated.values(KEYWORD), &sshd::effective(KEYWORD, &[])?)?;
    changed |= generated.set(&[lines, generated.others(KEYWORD)].concat())?;
    changed |= backup::include(&paths)?;
    if changed {
        services::reload("ssh")?;
    }
    host_certificates::schedule_renewals()
}
