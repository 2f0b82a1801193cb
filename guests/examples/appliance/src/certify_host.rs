//! `certify-host`: a certificate for every host key that sshd offers, and a `HostCertificate` line for each.

use warded_guest::certificate::certificate_path;
use warded_guest::host_certificates::{self, Certified, KEYWORD};
use warded_guest::principal::host_principals;
use warded_guest::sshd_config::OwnLines;
use warded_guest::{Error, Settings, keys, services, sshd};

const COMMENT: &str = "# Managed by Warded (policy cabinet). `warded undo` takes it out.";

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let principals = host_principals(settings.all("principal"))?;
    let keys = host_certificates::offered(keys::host_keys()?)?;
    let Certified { paths, mut changed } = host_certificates::certify(&keys, &principals, certificate_path)?;
    let own = OwnLines::find()?;
    let lines = host_certificates::lines(&paths, &own.values(KEYWORD), &sshd::effective(KEYWORD, &[])?)?;
    changed |= own.set(COMMENT, &[lines, own.others(KEYWORD)].concat())?;
    if changed {
        services::reload("ssh")?;
    }
    Ok(())
}
