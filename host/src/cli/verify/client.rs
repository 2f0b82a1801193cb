//! What this user's own ssh files say of a machine: whether ssh would look for the CA's certificate at all, and whether
//! a key is revoked, in which case even a good certificate is of no use.

use super::{super::output::Output, report::VerifyObject};
use ssh_key::PublicKey;
use warded_lib::{
    guard::known_hosts::{KnownAuthority, revocation},
    machine::ssh::Host,
    probe::{Finding, Place, Presentation},
    text::neutral,
};

/// The port that ssh leaves out when it looks a name up.
const PORT: u16 = 22;

/// What ssh knows of the CA for a machine; `None` if there is no ssh, or none that can use its configuration.
pub(super) fn known(place: &Place, roots: &[PublicKey]) -> Option<KnownAuthority> {
    KnownAuthority::look(roots, &host(place)).ok().flatten().filter(|known| !known.lines.is_empty())
}

/// Marks a good result as wrong if this user's ssh considers the key revoked. If there is no ssh, or none that can use
/// its configuration, nothing changes.
pub(super) fn revoked(place: &Place, presented: &mut [Presentation]) {
    for one in presented.iter_mut().filter(|one| matches!(one.finding, Finding::Good | Finding::EndsSoon)) {
        let why = one.certificate.as_ref().and_then(|found| revocation(found, &host(place)).ok().flatten());
        one.finding = why.map_or_else(|| one.finding.clone(), Finding::Wrong);
    }
}

/// The host as ssh looks it up.
pub(super) fn host(place: &Place) -> Host {
    Host { name: place.name.clone(), port: Some(place.port()).filter(|port| *port != PORT) }
}

/// Names each machine for which the patterns do not match: its certificate may be good, but ssh asks all the same.
pub(super) fn tell(output: Output, object: &VerifyObject) {
    for known in object.known().filter(|known| !known.matches) {
        let lines = known.lines.iter().map(|line| {
            format!("{} line {}: {}", neutral(&line.file.to_string_lossy()), line.number, neutral(&line.patterns))
        });
        let lines: Vec<String> = lines.collect();
        output.note(format!(
            "note: your ssh does not look for this CA's certificate of {}: no pattern holds for that name ({})",
            neutral(&known.name),
            lines.join("; ")
        ));
        output
            .note("  next: use a name for which a pattern holds, or: warded apply trust-host-ca --set domain=PATTERN");
    }
}
