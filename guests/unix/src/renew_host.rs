//! `renew-host`: a new certificate for every host key whose certificate is due, or whose key was
//! replaced. One key's odd certificate never keeps the others from being renewed.

use crate::host_key::{Present, Renewal, renewal};
use warded_guest::authority::{self, Certificate, Kind};
use warded_guest::certificate::{Offer, certificate_path, offer};
use warded_guest::keys::{self, KeyPair};
use warded_guest::principal::host_principals;
use warded_guest::{Error, Settings, log, services, sshd};

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    let principals = match settings.all("principal").as_slice() {
        [] => Vec::new(),
        names => host_principals(names.iter().copied())?,
    };
    let algorithms = sshd::effective("hostkeyalgorithms", &[])?;
    let mut changed = false;
    for key in keys::host_keys()? {
        match offer(&algorithms, &key.algorithm()) {
            Offer::Certified => match renew(&key, &principals) {
                Err(error) if !ABOUT_THE_CA.contains(&error.code.as_str()) => {
                    log::warn(&format!("The certificate of {} stays as it is: {}. {NEXT}", key.path(), error.message));
                }
                renewed => changed |= renewed?,
            },
            // A certificate that sshd does not serve is refused, and with it all others.
            Offer::Hidden(lacking) => log::warn(&format!(
                "{} is left out: HostKeyAlgorithms would hide its certificate. Add {} to it.",
                key.path(),
                lacking.join(",")
            )),
            Offer::Nothing => {
                log::info(&format!("{} is left out: HostKeyAlgorithms keeps sshd from offering it.", key.path()));
            }
        }
    }
    if changed { services::reload("ssh") } else { Ok(()) }
}

/// Stages a certificate for one key where it needs one. True: the machine will differ.
fn renew(key: &KeyPair, principals: &[String]) -> Result<bool, Error> {
    let path = certificate_path(key);
    let current = match authority::read(&path) {
        Err(error) if error.code == "not-a-certificate" => {
            log::warn(&format!("{path} is left as it is, for it is no certificate. {NEXT}"));
            return Ok(false);
        }
        read => read?,
    };
    let present = current.as_ref().map(Present::from);
    match (renewal(present.as_ref(), &key.public_key(), !principals.is_empty()), current) {
        (Renewal::Renew, Some(current)) => renew_current(key, &path, &current, principals),
        (Renewal::Issue, _) => {
            log::info(&format!("{} has no certificate of its own, and gets one.", key.path()));
            authority::write(&path, &authority::issue(key, Kind::Host, principals)?)
        }
        (Renewal::Keep | Renewal::Renew, _) => Ok(false),
        (Renewal::Uncertified, _) => {
            log::info(&format!("{} has no certificate. {NEXT}", key.path()));
            Ok(false)
        }
        (Renewal::Replaced, _) => {
            log::warn(&format!("{path} does not fit its key: {} was replaced. {NEXT}", key.path()));
            Ok(false)
        }
        (Renewal::Odd(why), _) => {
            log::warn(&format!("{path} is not renewed: {why}. {NEXT}"));
            Ok(false)
        }
    }
}

/// What a person does about a key that a renewal leaves alone.
const NEXT: &str = "To certify it: `warded apply certify-host`.";

fn renew_current(key: &KeyPair, path: &str, current: &Certificate, principals: &[String]) -> Result<bool, Error> {
    match authority::renew(key, current) {
        Ok(certificate) => authority::write(path, &certificate),
        Err(error) if error.code == "expired" && !principals.is_empty() => {
            log::info(&format!("{path} has expired: a new one is asked for."));
            authority::write(path, &authority::issue(key, Kind::Host, principals)?)
        }
        Err(error) => Err(error),
    }
}

/// What speaks against every renewal. Anything else is about one key, and does not keep the others from theirs.
const ABOUT_THE_CA: [&str; 2] = ["unreachable", "refused"];
