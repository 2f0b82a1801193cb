//! `rekey-host`: a new key of the same type in place of every host key that this CA certified, and
//! a successor to its certificate.
//!
//! A key that this CA did not certify stays as it is: clients that know it would have nothing else by which to
//! recognize the machine. The RSA key of a machine with Proxmox VE stays, too: the machines of its cluster know each
//! other by that key alone.

use warded_guest::authority::{self, Kind};
use warded_guest::certificate::{Offer, certificate_path, offer};
use warded_guest::host_key::{Present, rekeyable};
use warded_guest::keys::{self, KeyPair};
use warded_guest::{Error, Settings, files, log, services, sshd};

/// The directory of the cluster's files of Proxmox VE; it exists even while the cluster's service is not running.
const PROXMOX: &str = "/etc/pve";
/// The key that the cluster's `ssh` pins (`PVE/SSHInfo.pm` and `PVE/Cluster/Setup.pm` of pve-cluster).
const PINNED_BY_PROXMOX: &str = "/etc/ssh/ssh_host_rsa_key";

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let only = settings.all("key");
    let is_proxmox = files::list(PROXMOX)?.is_some();
    if is_proxmox && only.contains(&PINNED_BY_PROXMOX) {
        return Err(Error::new("not-rekeyed", pinned())
            .about("key", PINNED_BY_PROXMOX)
            .next("name only other keys, or none: without --set key=FILE, Warded replaces all keys but this one"));
    }
    let roots = authority::roots(Kind::Host)?;
    let algorithms = sshd::effective("hostkeyalgorithms", &[])?;
    let mut replaced = Vec::new();
    for key in keys::host_keys()? {
        if is_proxmox && key.path() == PINNED_BY_PROXMOX {
            log::warn(&pinned());
            continue;
        }
        // The host refuses the whole run if one certificate would not be served.
        if offer(&algorithms, &key.algorithm()) != Offer::Certified {
            log::warn(&format!(
                "{} is not replaced: HostKeyAlgorithms keeps sshd from offering its certificate.",
                key.path()
            ));
        } else if (only.is_empty() || only.contains(&key.path().as_str())) && rekey(&key, &roots)? {
            replaced.push(key.path());
        }
    }
    if let Some(path) = only.iter().find(|path| !replaced.iter().any(|one| one == *path)) {
        return Err(Error::new("not-rekeyed", format!("{path} is not a host key that can be replaced."))
            .about("key", *path)
            .next("warded status shows the host keys, and which of them have a certificate"));
    }
    if replaced.is_empty() {
        return Err(Error::new(
            "not-rekeyed",
            "No host key has a certificate of this CA, so there is none to replace.",
        )
        .next("warded apply certify-host"));
    }
    services::reload("ssh")
}

/// Why that key stays on Proxmox VE.
fn pinned() -> String {
    format!(
        "{PINNED_BY_PROXMOX} is not replaced: it is the only host key by which the other machines of a Proxmox VE cluster \
         ({PROXMOX}) know this one, and migrations would fail."
    )
}

/// Stages a new key and its certificate. Returns false if the old key stays.
fn rekey(key: &KeyPair, roots: &[String]) -> Result<bool, Error> {
    let path = certificate_path(key);
    let current = match authority::read(&path) {
        Err(error) if error.code == "not-a-certificate" => None,
        read => read?,
    };
    let kept = |why: &str| {
        log::warn(&format!("{} is not replaced: {why}.", key.path()));
        Ok(false)
    };
    let Some(current) = current else { return kept("it has no certificate") };
    if let Err(why) = rekeyable(&Present::from(&current), &key.public_key(), roots) {
        return kept(why);
    }
    let new = match keys::replace(&key.path()) {
        // A key of a kind that the host cannot make does not keep the others from being replaced.
        Err(error) if NOT_MADE.contains(&error.code.as_str()) => return kept(&error.message),
        new => new?,
    };
    authority::write(&path, &authority::rekey(&new, &current)?)
}

/// The error codes that concern only this key, so that the others are replaced.
const NOT_MADE: [&str; 2] = ["not-a-key", "algorithm"];
