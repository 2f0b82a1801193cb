//! `certify-host`: a certificate for every host key that sshd uses, and a `HostCertificate` line
//! for each.
//!
//! It certifies every key, and never writes a `HostKey` line: with one such line sshd no longer uses the default host
//! keys; and if only some keys have a certificate, clients that pinned another key stop with "REMOTE HOST
//! IDENTIFICATION HAS CHANGED".

use warded_guest::certificate::certificate_path;
use warded_guest::host_certificates::{self, Certified, KEYWORD};
use warded_guest::keys::{self, KeyPair};
use warded_guest::principal::host_principals;
use warded_guest::sshd_config::OwnLines;
use warded_guest::{Error, Settings, machine, services, sshd};

/// The comment above Warded's lines.
pub(crate) const COMMENT: &str = "# Managed by Warded (policy unix, certify-host). `warded undo` takes it out.";

/// The directory in which sshd looks for host keys that no `HostKey` line names.
const DEFAULT_DIRECTORY: &str = "/etc/ssh";

/// The default host keys, by file name and algorithm.
const DEFAULT_KEYS: [(&str, &str); 3] = [
    ("ssh_host_rsa_key", "ssh-rsa"),
    ("ssh_host_ecdsa_key", "ecdsa-sha2-nistp256"),
    ("ssh_host_ed25519_key", "ssh-ed25519"),
];

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let principals = host_principals(settings.all("principal"))?;
    let keys = host_certificates::offered(host_keys()?)?;
    let Certified { paths, mut changed } = host_certificates::certify(&keys, &principals, certificate_path)?;
    let own = OwnLines::find()?;
    let lines = host_certificates::lines(&paths, &own.values(KEYWORD), &sshd::effective(KEYWORD, &[])?)?;
    // Earlier versions wrote the line of `revoke-users` here. `revoke-users` moves it when it is applied next.
    let lines = [lines, own.others(KEYWORD)].concat();
    changed |= own.set(own.comment().as_deref().unwrap_or(COMMENT), &lines)?;
    if changed {
        services::reload("ssh")?;
    }
    host_certificates::schedule_renewals()
}

/// The host keys that sshd uses; if it has none, the default ones, which the host then makes.
fn host_keys() -> Result<Vec<KeyPair>, Error> {
    let keys = keys::host_keys()?;
    if !keys.is_empty() {
        return Ok(keys);
    }
    let directory = machine::fact("sshd.directory").unwrap_or_default();
    if directory != DEFAULT_DIRECTORY {
        return Err(Error::new(
            "no-host-key",
            format!("sshd has no host key, and does not look for any in {directory} by itself."),
        )
        .about("path", &*directory)
        .next(format!("make one: ssh-keygen -t ed25519 -N '' -f {directory}/ssh_host_ed25519_key"))
        .next(format!("name it in sshd's configuration: HostKey {directory}/ssh_host_ed25519_key")));
    }
    DEFAULT_KEYS.iter().map(|(name, algorithm)| keys::ensure(&format!("{directory}/{name}"), algorithm)).collect()
}
