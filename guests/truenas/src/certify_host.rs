//! `certify-host`: a certificate for every host key that sshd uses, and a `HostCertificate` line for each; and
//! `renew-host`.
//!
//! It never writes a `HostKey` line: with one such line sshd no longer uses the appliance's own keys.

use crate::appliance::{Appliance, place};
use crate::stored;
use warded_guest::certificate::certificate_path;
use warded_guest::host_certificates::{self, Certified, KEYWORD, is_same_path};
use warded_guest::keys::{self, KeyPair};
use warded_guest::principal::host_principals;
use warded_guest::sshd_config::values;
use warded_guest::{Error, Settings, actions, log, services};

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let principals = host_principals(settings.all("principal"))?;
    let appliance = Appliance::read()?;
    let foreign = appliance.foreign()?;
    let keys = keys_of(&foreign)?;
    if keys.is_empty() {
        return Err(Error::new(
            "no-host-key",
            "Lines of the auxiliary parameters already name a certificate for each host key that sshd uses: there is \
             nothing to certify.",
        )
        .next("take the HostKey and HostCertificate lines out of the auxiliary parameters, then run this again"));
    }
    let place = place()?;
    let Certified { paths, mut changed } = host_certificates::certify(&keys, &principals, |key| path_of(&place, key))?;
    let lines = host_certificates::lines(&paths, &[], &values(foreign.as_bytes(), KEYWORD))?;
    changed |= appliance.set(KEYWORD, &lines)?;
    if !actions::change("renewal-job-create", &[])? && stored::is_disabled(&actions::query("renewal-job", &[])?) {
        log::warn(
            "The cron job `Warded: renew SSH host certificates` is disabled, so nothing renews the certificates \
             automatically. Warded leaves the job disabled: enable it in the web interface.",
        );
    }
    if changed { services::reload("ssh") } else { Ok(()) }
}

/// `renew-host`: changes neither the stored settings nor sshd's configuration.
pub(crate) fn renew(settings: &Settings) -> Result<(), Error> {
    let place = place()?;
    host_certificates::renew_host(settings, |key| path_of(&place, key))
}

/// The path of a key's certificate.
fn path_of(place: &str, key: &KeyPair) -> String {
    let path = key.path();
    format!("{place}/warded-{}-cert.pub", path.rsplit('/').next().unwrap_or(&path))
}

/// The host keys that sshd offers, without those for which a line of the administrator's names a certificate: the
/// administrator manages these.
fn keys_of(foreign: &str) -> Result<Vec<KeyPair>, Error> {
    let theirs = values(foreign.as_bytes(), "HostKey");
    if let Some(path) = theirs.first() {
        log::warn(&format!(
            "The auxiliary parameters have a line `HostKey {path}`. Because of such a line, sshd does not use the \
             host keys that TrueNAS made, so that clients that know one of these see a changed key. Warded leaves the \
             line there: take it out in the web interface, then run this again."
        ));
    }
    let keys = match (keys::host_keys(), theirs.first()) {
        // The host does not accept files in `~/.step` as host keys: that is the directory of the CA's client.
        (Err(error), Some(path)) if error.code == "untrusted-path" => {
            return Err(error.next(format!("take the line `HostKey {path}` out of the auxiliary parameters")));
        }
        (keys, _) => host_certificates::offered(keys?)?,
    };
    let certified = values(foreign.as_bytes(), KEYWORD);
    let is_theirs = |key: &KeyPair| certified.iter().any(|known| is_same_path(known, &certificate_path(key)));
    Ok(keys.into_iter().filter(|key| !is_theirs(key)).collect())
}
