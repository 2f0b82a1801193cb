//! `remove`: removes Warded's lines, and the files that they name.

use crate::place::{KEYS_OF_OPNSENSE, Place, directory};
use warded_guest::host_certificates;
use warded_guest::trusted_keys::FILE_NAME;
use warded_guest::{Error, Settings, files, log, schedule, services, user_ca};

pub(crate) fn run(_settings: &Settings) -> Result<(), Error> {
    let place = Place::find()?;
    let directory = directory()?;
    let list = format!("{directory}/{FILE_NAME}");
    let mut named = place.values(host_certificates::KEYWORD);
    named.extend(place.values(user_ca::KEYWORD).into_iter().filter(|path| *path == list));
    let mut changed = place.set(&[])?;
    for path in &named {
        if [directory.as_str(), KEYS_OF_OPNSENSE].into_iter().any(|directory| is_in(directory, path)) {
            changed |= files::remove(path)?;
        } else {
            log::warn(&format!("{path} stays: it is neither in {directory} nor in {KEYS_OF_OPNSENSE}."));
        }
    }
    if changed {
        services::reload("ssh")?;
    }
    match schedule::none() {
        // Where nothing can be scheduled, nothing is scheduled.
        Err(error) if error.code != "no-scheduler" => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn is_in(directory: &str, path: &str) -> bool {
    path.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/')).is_some_and(|name| !name.contains('/'))
}
