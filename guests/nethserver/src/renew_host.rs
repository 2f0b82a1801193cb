//! `renew-host`: a new certificate for every host key whose certificate is due, or whose key was
//! replaced.

use warded_guest::certificate::certificate_path;
use warded_guest::principal::host_principals;
use warded_guest::{Error, Settings, host_certificates, services};

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let principals = match settings.all("principal").as_slice() {
        [] => Vec::new(),
        names => host_principals(names.iter().copied())?,
    };
    if host_certificates::renew(&principals, certificate_path)? { services::reload("ssh") } else { Ok(()) }
}
