//! `renew-host`: a new certificate for every host key whose certificate is due, or whose key was
//! replaced. Neither the stored settings nor sshd's configuration change.

use crate::appliance::place;
use crate::certify_host::path_of;
use warded_guest::principal::host_principals;
use warded_guest::{Error, Settings, host_certificates, services};

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let principals = match settings.all("principal").as_slice() {
        [] => Vec::new(),
        names => host_principals(names.iter().copied())?,
    };
    let place = place()?;
    if host_certificates::renew(&principals, |key| path_of(&place, key))? { services::reload("ssh") } else { Ok(()) }
}
