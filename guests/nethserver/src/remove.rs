//! `remove`: removes Warded's lines from the fragment and from sshd's configuration, and the files that they name.

use crate::{backup, generated::Generated, trust_user_ca};
use warded_guest::{Error, Settings, files, log, machine, schedule, services};

pub(crate) fn run(_settings: &Settings) -> Result<(), Error> {
    let generated = Generated::find()?;
    let directory = machine::fact("sshd.directory").unwrap_or_default();
    let list = trust_user_ca::list()?;
    let mut named = generated.values("HostCertificate");
    named.extend(generated.values("TrustedUserCAKeys").into_iter().filter(|path| *path == list));
    let mut changed = generated.set(&[])?;
    changed |= backup::exclude(&named)?;
    for path in &named {
        if is_beside(&directory, path) {
            changed |= files::remove(path)?;
        } else {
            log::warn(&format!("{path} stays: it is not in {directory}."));
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

fn is_beside(directory: &str, path: &str) -> bool {
    path.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/')).is_some_and(|name| !name.contains('/'))
}
