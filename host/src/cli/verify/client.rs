//! Whether this user's own ssh would look for the CA's certificate at all: for which names its lines of the CA hold.

use super::{super::output::Output, report::VerifyObject};
use ssh_key::PublicKey;
use warded_lib::{guard::known_hosts::KnownAuthority, machine::ssh::Host, probe::Place, text::neutral};

/// The port without which ssh looks a name up.
const PORT: u16 = 22;

/// What ssh has of the CA for a machine; none where there is no ssh, or none that can use its configuration.
pub(super) fn known(place: &Place, roots: &[PublicKey]) -> Option<KnownAuthority> {
    let port = Some(place.port).filter(|port| *port != PORT);
    KnownAuthority::look(roots, &Host { name: place.name.clone(), port })
        .ok()
        .flatten()
        .filter(|known| !known.lines.is_empty())
}

/// Names each machine for which the patterns do not hold: its certificate may be good, and ssh asks all the same.
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
