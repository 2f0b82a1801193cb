//! The handshakes of this process and the `ssh` program, asked the same question: where they differ.

use warded_lib::guard::client::transcript::{End, Transcript};

/// In what both differ; none: they show the same.
pub(crate) fn difference(ours: &Transcript, theirs: &Transcript) -> Option<String> {
    // Neither logs in here: what comes after the host key is no part of the question.
    let verdict = |seen: &Transcript| if seen.is_past_host_key() { End::LoggedIn } else { seen.end };
    let shows = |seen: &Transcript| {
        let key = seen.key.clone().filter(|_| seen.certificate.is_none());
        // The program says first that it knows the CA, and then why it takes the certificate all the same not.
        let by_certificate = seen.by_certificate && seen.is_past_host_key();
        (verdict(seen), by_certificate, key, seen.certificate.clone(), seen.offer.clone())
    };
    let (ours, theirs) = (shows(ours), shows(theirs));
    (ours != theirs).then(|| format!("in this process {ours:?}, by the program {theirs:?}"))
}
