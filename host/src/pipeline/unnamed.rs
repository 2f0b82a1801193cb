//! Certificates of this machine's host keys that no line of sshd's configuration names, because somebody took the line
//! out, or an update wrote the file anew.

use crate::broker::session::{Level, Session};
use ssh_key::PublicKey;
use std::{fs, path::PathBuf};
use warded_lib::{
    ca::{Certificate, Kind, certificate, now, verify},
    guard::client::known_hosts,
    machine::{files::Place, sshd::host_key::Standing},
    text::neutral_path,
};

/// Tells the operator of the good certificates that the renewal read and that no line names. Only the procedure that
/// enrolled the machine may write that line. A certificate that is being renewed is left out: the guard refuses that, and
/// says the same.
pub fn tell(session: &mut Session) {
    let [named, algorithms] =
        ["hostcertificate", "hostkeyalgorithms"].map(|keyword| session.values(&[], keyword).unwrap_or_default());
    let named: Vec<PathBuf> = named.iter().map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.into())).collect();
    let keys = keys(session);
    let is_unnamed = |(path, certificate): &(PathBuf, Certificate)| {
        let of_key = keys.iter().find(|key| key.key_data() == certificate.key().key_data());
        let is_good = |key| verify::problem(certificate, Kind::Host, std::slice::from_ref(key), now()).is_none();
        let is_shown = |key: &PublicKey| known_hosts::lacking(&algorithms, key.algorithm().as_str()).is_none();
        of_key.is_some_and(|key| is_good(key) && is_shown(key)) && !named.contains(path)
    };
    let is_renewed = |certificate: &Certificate| {
        session.changes.requests().any(|(_, request)| request.public.key_data() == certificate.key().key_data())
    };
    let found = session.changes.reads().filter_map(|(place, _)| certificate_in(place));
    let unnamed = found.filter(is_unnamed).filter(|(_, certificate)| !is_renewed(certificate));
    let unnamed: Vec<String> = unnamed.map(|(path, _)| neutral_path(&path)).collect();
    if unnamed.is_empty() {
        return;
    }
    let them = if unnamed.len() == 1 { "it" } else { "them" };
    let text = format!(
        "no HostCertificate line of sshd's configuration names {}: sshd does not present {them} after its next reload or \
         start. To put back what is missing: warded apply certify-host",
        unnamed.join(", ")
    );
    session.tell(Level::Warn, text);
}

/// The host keys that sshd loads.
fn keys(session: &mut Session) -> Vec<PublicKey> {
    let keys = session.host_keys().unwrap_or_default();
    let loaded = keys.iter().filter(|key| !matches!(key.standing, Standing::Ignored(_)));
    loaded.filter_map(|key| key.public.as_ref()?.key()).collect()
}

fn certificate_in(place: &Place) -> Option<(PathBuf, Certificate)> {
    let contents = place.snapshot().ok()??.contents;
    Some((place.resolved().as_path().to_owned(), certificate::parse(&contents).ok()?))
}
