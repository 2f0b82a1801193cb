//! `certify-host`: a certificate for every host key that sshd offers, and a `HostCertificate` line for each.
//!
//! OPNsense and pfSense name their host keys in `HostKey` lines, which stay as they are.

use crate::place::Place;
use warded_guest::certificate::certificate_path;
use warded_guest::host_certificates::{self, Certified, KEYWORD};
use warded_guest::principal::host_principals;
use warded_guest::{Error, Settings, keys, services, sshd};

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let principals = host_principals(settings.all("principal"))?;
    let place = Place::find()?;
    let keys = host_certificates::offered(keys::host_keys()?)?;
    let Certified { paths, mut changed } = host_certificates::certify(&keys, &principals, certificate_path)?;
    let lines = host_certificates::lines(&paths, &place.values(KEYWORD), &sshd::effective(KEYWORD, &[])?)?;
    changed |= place.set(&[lines, place.others(KEYWORD)].concat())?;
    if changed {
        services::reload("ssh")?;
    }
    host_certificates::schedule_renewals()
}
