//! `remove`: removes everything that the other procedures put there. The administrator's own text stays as it is.

use crate::appliance::{Appliance, place};
use warded_guest::trusted_keys::FILE_NAME;
use warded_guest::{Error, Settings, actions, files, log, services};

pub(crate) fn run(_settings: &Settings) -> Result<(), Error> {
    let mut changed = Appliance::read()?.clear()?;
    let place = place()?;
    let names = files::list(&place)?.unwrap_or_default();
    let certificates = names.iter().filter(|name| name.starts_with("warded-") && name.ends_with("-cert.pub"));
    for name in certificates.map(String::as_str).chain([FILE_NAME]) {
        changed |= files::remove(&format!("{place}/{name}"))?;
    }
    let had_job = actions::change("renewal-job-delete", &[])?;
    if !(changed || had_job) {
        log::info("Nothing of Warded's is in the settings of this machine.");
    }
    if changed { services::reload("ssh") } else { Ok(()) }
}
