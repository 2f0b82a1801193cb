//! Certificates for the host keys that sshd uses, wherever a platform keeps them.

use crate::authority::{self, Certificate, Kind};
use crate::certificate::{Offer, offer};
use crate::host_key::{Present, Renewal, is_good, renewal};
use crate::keys::{self, KeyPair};
use crate::principal::host_principals;
use crate::sshd_config::path_line;
use crate::{Error, Settings, log, schedule, services, sshd};

/// The keyword of a line that makes sshd present a certificate.
pub const KEYWORD: &str = "HostCertificate";

/// The error codes that stop every renewal. Any other error concerns one key, and the others are renewed all the same.
const ABOUT_THE_CA: [&str; 2] = ["unreachable", "refused"];
/// Directories that are empty after each reboot.
const TEMPORARY: [&str; 3] = ["/run/", "/var/run/", "/dev/shm/"];
/// The next step for a key that a renewal leaves alone.
const NEXT: &str = "To certify it: `warded apply certify-host`.";

/// The result of certifying host keys.
#[derive(Debug, Default)]
pub struct Certified {
    /// The certificates, one for each key.
    pub paths: Vec<String>,
    /// Whether any of them is new.
    pub changed: bool,
}

/// Stages a certificate for each of these keys that has no good one. `whereabouts` gives the path of a key's
/// certificate.
///
/// # Errors
/// Those of `authority`.
pub fn certify(
    keys: &[KeyPair],
    principals: &[String],
    whereabouts: impl Fn(&KeyPair) -> String,
) -> Result<Certified, Error> {
    let roots = authority::roots(Kind::Host)?;
    let mut certified = Certified::default();
    for key in keys {
        let path = whereabouts(key);
        if !has_good_certificate(key, &path, principals, &roots)? {
            certified.changed |= authority::write(&path, &authority::issue(key, Kind::Host, principals)?)?;
        }
        certified.paths.push(path);
    }
    Ok(certified)
}

/// Keeps only the keys that sshd offers to clients.
///
/// # Errors
/// `no-host-key` if sshd offers none of them, and `unsafe` if one that it offers does not survive a reboot.
pub fn offered(keys: Vec<KeyPair>) -> Result<Vec<KeyPair>, Error> {
    let algorithms = sshd::effective("hostkeyalgorithms", &[])?;
    let mut offered = Vec::new();
    for key in keys {
        match offer(&algorithms, &key.algorithm()) {
            // The host refuses a certificate that sshd would hide, and names all algorithms that the list lacks.
            Offer::Certified | Offer::Hidden(_) => offered.push(key),
            Offer::Nothing => {
                log::info(&format!("{} is left out: HostKeyAlgorithms keeps sshd from offering it.", key.path()));
            }
        }
    }
    if offered.is_empty() {
        return Err(Error::new("no-host-key", "HostKeyAlgorithms keeps sshd from offering any of its host keys.")
            .about("HostKeyAlgorithms", algorithms.join(" "))
            .next(
                "add the algorithms of the host keys to HostKeyAlgorithms, or take that line out (sshd -T shows the \
                   effective value)",
            ));
    }
    all_last(&offered)?;
    Ok(offered)
}

/// Refuses host keys that do not survive a reboot, as their certificates would not. The tool that makes such keys makes
/// and certifies new ones after the reboot.
fn all_last(keys: &[KeyPair]) -> Result<(), Error> {
    let paths: Vec<String> = keys.iter().map(KeyPair::path).filter(|path| is_temporary(path)).collect();
    if paths.is_empty() {
        return Ok(());
    }
    let message = "sshd's host keys are in a directory that is empty after each reboot, and their certificates would \
                   be in it, too.";
    let error = paths.iter().fold(Error::new("unsafe", message), |error, path| error.about("path", path));
    Err(error
        .next("if another tool makes and certifies these keys, remove it, and its HostKey and HostCertificate lines from sshd's configuration")
        .next("else have sshd use host keys that survive a reboot, such as HostKey /etc/ssh/ssh_host_ed25519_key"))
}

/// Whether a file at this path is lost at the next reboot.
fn is_temporary(path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').filter(is_segment).collect();
    let path = format!("/{}", segments.join("/"));
    TEMPORARY.iter().any(|directory| path.starts_with(directory))
}

/// Whether this part of a path counts: `/etc/ssh//./key` is `/etc/ssh/key`.
fn is_segment(segment: &&str) -> bool {
    !matches!(*segment, "" | ".")
}

/// Warded's lines: one for each certificate that no other line names already. `own` are the paths in Warded's present
/// lines, `known` those in all lines. A line of Warded's stays one.
///
/// # Errors
/// `invalid-path`.
pub fn lines(certificates: &[String], own: &[String], known: &[String]) -> Result<Vec<String>, Error> {
    certificates
        .iter()
        .filter(|path| own.contains(path) || !known.iter().any(|known| is_same_path(known, path)))
        .map(|path| path_line(KEYWORD, path))
        .collect()
}

/// Whether both name one file, however they spell it: `/etc/ssh//key` is `/etc/ssh/key`.
#[must_use]
pub fn is_same_path(left: &str, right: &str) -> bool {
    left.split('/').filter(is_segment).eq(right.split('/').filter(is_segment))
}

/// Schedules `warded renew`, because certificates expire. If there is no scheduler, the machine is certified all the
/// same.
///
/// # Errors
/// Those of `schedule`.
pub fn schedule_renewals() -> Result<(), Error> {
    match schedule::renewals() {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.code.as_str(), "no-scheduler" | "foreign") => {
            log::warn(&error.message);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The procedure `renew-host`: calls [`renew`] with the names in the setting `principal`, and reloads sshd if needed.
///
/// # Errors
/// `invalid-principal`, and those of [`renew`] and of `services`.
pub fn renew_host(settings: &Settings, whereabouts: impl Fn(&KeyPair) -> String) -> Result<(), Error> {
    let principals = match settings.all("principal").as_slice() {
        [] => Vec::new(),
        names => host_principals(names.iter().copied())?,
    };
    if renew(&principals, whereabouts)? { services::reload("ssh") } else { Ok(()) }
}

/// Stages a new certificate for every host key whose certificate is due, or whose key was replaced since; the latter
/// needs names. A certificate that cannot be renewed never keeps the others from being renewed. Returns whether the
/// machine will differ.
///
/// # Errors
/// Those of `authority` that stop every renewal.
pub fn renew(principals: &[String], whereabouts: impl Fn(&KeyPair) -> String) -> Result<bool, Error> {
    let algorithms = sshd::effective("hostkeyalgorithms", &[])?;
    let mut changed = false;
    for key in keys::host_keys()? {
        match offer(&algorithms, &key.algorithm()) {
            Offer::Certified => match renew_one(&key, &whereabouts(&key), principals) {
                Err(error) if !ABOUT_THE_CA.contains(&error.code.as_str()) => {
                    log::warn(&format!(
                        "The certificate of {} stays as it is: {}. {}",
                        key.path(),
                        error.message,
                        next(&error)
                    ));
                }
                renewed => changed |= renewed?,
            },
            // The host refuses the whole run if one certificate would not be served.
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
    Ok(changed)
}

/// The next steps for an error: its own, if it has any.
fn next(error: &Error) -> String {
    let own = error.details.iter().filter(|detail| detail.name == "next").map(|detail| detail.value.as_str());
    let own = own.collect::<Vec<_>>().join("; or ");
    if own.is_empty() { NEXT.to_owned() } else { format!("Next: {own}.") }
}

fn has_good_certificate(key: &KeyPair, path: &str, principals: &[String], roots: &[String]) -> Result<bool, Error> {
    match authority::read(path) {
        Ok(None) => Ok(false),
        Ok(Some(certificate)) => Ok(is_good(&Present::from(&certificate), &key.public_key(), principals, roots)),
        Err(error) if error.code == "not-a-certificate" => {
            log::warn(&format!("{path} is not a certificate: Warded replaces it with one."));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Stages a certificate for one key where it needs one. Returns whether the machine will differ.
fn renew_one(key: &KeyPair, path: &str, principals: &[String]) -> Result<bool, Error> {
    let current = match authority::read(path) {
        Err(error) if error.code == "not-a-certificate" => {
            log::warn(&format!("{path} is left as it is, because it is not a certificate. {NEXT}"));
            return Ok(false);
        }
        read => read?,
    };
    let present = current.as_ref().map(Present::from);
    match (renewal(present.as_ref(), &key.public_key(), !principals.is_empty()), current) {
        (Renewal::Renew, Some(current)) => renew_current(key, path, &current, principals),
        (Renewal::Issue, _) => {
            log::info(&format!("{} has no certificate of its own, and gets one.", key.path()));
            authority::write(path, &authority::issue(key, Kind::Host, principals)?)
        }
        (Renewal::Keep | Renewal::Renew, _) => Ok(false),
        (Renewal::Uncertified, _) => {
            log::info(&format!("{} has no certificate. {NEXT}", key.path()));
            Ok(false)
        }
        (Renewal::Replaced, _) => {
            log::warn(&format!("{path} does not match its key: {} was replaced. {NEXT}", key.path()));
            Ok(false)
        }
        (Renewal::Odd(why), _) => {
            log::warn(&format!("{path} is not renewed: {why}. {NEXT}"));
            Ok(false)
        }
    }
}

fn renew_current(key: &KeyPair, path: &str, current: &Certificate, principals: &[String]) -> Result<bool, Error> {
    match authority::renew(key, current) {
        Ok(certificate) => authority::write(path, &certificate),
        Err(error) if error.code == "expired" && !principals.is_empty() => {
            log::info(&format!("{path} has expired: Warded requests a new certificate."));
            authority::write(path, &authority::issue(key, Kind::Host, principals)?)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_somebody_else_wrote_is_not_repeated() {
        let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        let cases: &[(&[&str], &[&str], &[&str])] = &[
            // Our lines, what sshd has, the lines we then want.
            (&[], &[], &["HostCertificate /a", "HostCertificate /b"]),
            (&[], &["/a"], &["HostCertificate /b"]),
            (&["/a", "/b"], &["/a", "/b"], &["HostCertificate /a", "HostCertificate /b"]),
            (&["/b"], &["/a", "/b"], &["HostCertificate /b"]),
            (&["/old"], &["/old"], &["HostCertificate /a", "HostCertificate /b"]),
            (&[], &["/a", "/b", "/c"], &[]),
            (&[], &["//a", "/./b/"], &[]),
        ];
        for (own, known, expected) in cases {
            let lines = lines(&paths(&["/a", "/b"]), &paths(own), &paths(known)).unwrap();
            assert_eq!(lines, *expected, "{own:?} {known:?}");
        }
    }

    #[test]
    fn a_directory_that_a_start_empties_is_known_however_it_is_spelled() {
        for path in ["/run/a/key", "/var/run/key", "//var/./run//key", "/dev/shm/key"] {
            assert!(is_temporary(path), "{path}");
        }
        for path in ["/etc/ssh/key", "/runs/key", "/srv/run/key", "/var/lib/key"] {
            assert!(!is_temporary(path), "{path}");
        }
    }

    #[test]
    fn an_error_that_says_what_to_do_is_not_told_otherwise() {
        assert_eq!(next(&Error::new("expired", "It has expired.")), NEXT);
        let own =
            Error::new("not-a-file", "It has another name.").about("path", "/a").next("cp -p /a /b").next("rm /c");
        assert_eq!(next(&own), "Next: cp -p /a /b; or rm /c.");
    }

    #[test]
    fn one_file_has_many_spellings() {
        for (left, right, expected) in [
            ("/etc/ssh/a", "/etc/ssh/a", true),
            ("/etc//ssh/./a", "/etc/ssh/a/", true),
            ("/etc/ssh/a", "/etc/ssh/b", false),
            ("/etc/ssh/../a", "/etc/a", false),
        ] {
            assert_eq!(is_same_path(left, right), expected, "{left} {right}");
        }
    }
}
