//! The listener after the reload: whether it serves what it should, seen as a client sees it. A
//! connection that did not complete says nothing and is made again until the deadline.

use super::{
    baseline::Baseline,
    connections,
    known_hosts::{self, Knows},
    offer::{Offered, OfferedKey, Prober},
    probe::Client,
    transcript::Transcript,
};
use crate::{
    error::{Error, Result},
    machine::sshd::{Listener, Sshd},
    text,
};
use ssh_key::{Certificate, HashAlg, PublicKey};
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a reload may take to show.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a reload may take to begin; SIGHUP itself takes 3 to 40 ms.
const SETTLE: Duration = Duration::from_millis(600);

/// What the listener was seen to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Whether there is a listener at all; without one nothing could be seen, nor lost.
    pub live: bool,
    /// Serial numbers of the certificates that it serves.
    pub certificates: Vec<u64>,
    /// Types of the plain host keys that it still offers.
    pub keys: Vec<String>,
}

/// Verifies the listener of `sshd`, which was found before the change, against the baseline and the
/// certificates that it should serve now. Takes up to 5 seconds, if something is wrong.
///
/// # Errors
/// When it does not serve all of that in time: with what was seen last.
pub fn verify(sshd: &Sshd, baseline: &Baseline, expect: &[Certificate]) -> Result<Verified> {
    verify_within(sshd, baseline, expect, PATIENCE)
}

/// The same with another limit of time.
///
/// # Errors
/// As [`verify`].
pub fn verify_within(sshd: &Sshd, baseline: &Baseline, expect: &[Certificate], patience: Duration) -> Result<Verified> {
    if sshd.listener.is_none() {
        return Ok(Verified::default());
    }
    let deadline = Instant::now() + patience;
    let mut verified = Verified { live: true, ..Verified::default() };
    let keys = baseline.offered.iter().flat_map(|offered| &offered.keys).map(Expected::Key);
    let mut pending: Vec<_> = expect.iter().map(Expected::Certificate).chain(keys).collect();
    await_reload_within(sshd, SETTLE.min(patience));
    let mut pause = Duration::from_millis(20);
    loop {
        let Some(fault) = round(sshd, baseline, &mut pending, &mut verified)? else { return Ok(verified) };
        if Instant::now() + pause >= deadline {
            return Err(fault);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// What a listening sshd offers right now, certificates too; none without a listener.
///
/// # Errors
/// When it does not answer, or there is no `ssh` client.
pub fn served(sshd: &Sshd) -> Result<Option<Offered>> {
    let client = Client::find()?;
    let users = connections::users();
    let user = users.last().map_or("root", String::as_str);
    Prober::new(&client, sshd, user)?.map(|mut prober| prober.survey(true)).transpose()
}

/// Waits until the listener has started anew: it has new sockets then, or is a new process where systemd holds
/// the sockets. Before that it answers as it did before the change, and to ask would prove nothing. When
/// nothing was reloaded, this only passes the time.
pub fn await_reload(sshd: &Sshd) {
    await_reload_within(sshd, SETTLE);
}

fn await_reload_within(sshd: &Sshd, limit: Duration) {
    let inodes =
        |listener: &Listener| -> Vec<u64> { listener.sockets.iter().flatten().map(|socket| socket.inode).collect() };
    let is_new = |before: &Listener, after: &Listener| {
        let (old, new) = (inodes(before), inodes(after));
        !new.is_empty() && (before.pid != after.pid || new.iter().all(|inode| !old.contains(inode)))
    };
    let started = Instant::now();
    while started.elapsed() < limit {
        let now = sshd.listener_now().ok().flatten();
        if sshd.listener.as_ref().zip(now.as_ref()).is_some_and(|(before, after)| is_new(before, after)) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Something that has to be seen.
#[derive(Clone, Copy)]
enum Expected<'a> {
    Certificate(&'a Certificate),
    Key(&'a OfferedKey),
}

/// Looks once for all that is pending; what is seen is pending no more. Gives the first fault.
fn round<'a>(
    sshd: &Sshd,
    baseline: &Baseline,
    pending: &mut Vec<Expected<'a>>,
    verified: &mut Verified,
) -> Result<Option<Error>> {
    let mut now = sshd.clone();
    now.listener = sshd.listener_now()?;
    if let Some(fault) = lost_sockets(sshd, &now) {
        return Ok(Some(fault));
    }
    let mut prober = match Prober::new(&baseline.client, &now, baseline.user()) {
        Ok(Some(prober)) => prober,
        Ok(None) => return Ok(Some(Error::failed("sshd does not listen any more"))),
        Err(fault) => return Ok(Some(fault)),
    };
    let mut first = None;
    let mut left = Vec::new();
    for expected in pending.drain(..) {
        // Once something is amiss, the rest of this round would tell nothing new.
        let fault = match first {
            Some(_) => None,
            None => look(&mut prober, baseline, expected)?,
        };
        match (expected, first.is_some() || fault.is_some()) {
            (_, true) => left.push(expected),
            (Expected::Certificate(certificate), false) => verified.certificates.push(certificate.serial()),
            (Expected::Key(key), false) => verified.keys.push(key.key_type.clone()),
        }
        first = first.or(fault);
    }
    *pending = left;
    Ok(first)
}

/// The addresses that sshd listened on before must be there still, where we can see them.
fn lost_sockets(before: &Sshd, now: &Sshd) -> Option<Error> {
    let Some(listener) = &now.listener else { return Some(Error::failed("sshd does not listen any more")) };
    let (before, now) = (before.listener.as_ref()?.sockets.as_ref()?, listener.sockets.as_ref()?);
    let lost = before.iter().find(|socket| !now.iter().any(|one| one.address == socket.address))?;
    Some(Error::failed(format!("sshd does not listen on {} any more", lost.address)))
}

/// Looks for one thing: what is wrong with it, if something is.
fn look(prober: &mut Prober<'_>, baseline: &Baseline, expected: Expected<'_>) -> Result<Option<Error>> {
    let version = baseline.client.version;
    match expected {
        Expected::Certificate(certificate) => {
            let key_type = certificate.algorithm();
            let key_type = known_hosts::type_of(key_type.as_str()).map_or("", |(name, _)| name);
            let signer = [PublicKey::new(certificate.signature_key().clone(), "")];
            let name = certificate.valid_principals().first().map_or("", String::as_str);
            let algorithms = known_hosts::algorithms(key_type, true, version);
            let seen = prober.ask(Knows::Authorities(&signer), algorithms, name)?;
            let serial = seen.certificate.as_ref().map(|one| one.serial);
            let good = serial == Some(certificate.serial()) && seen.by_certificate && seen.is_past_host_key();
            Ok((!good).then(|| certificate_fault(prober, key_type, certificate.serial(), &seen)))
        }
        Expected::Key(key) => {
            let public = baseline.public_keys();
            let known: Vec<_> = public
                .into_iter()
                .filter(|one| one.fingerprint(HashAlg::Sha256).to_string() == key.fingerprint)
                .collect();
            let algorithms = known_hosts::algorithms(&key.key_type, false, version);
            // A key whose public half is not on disk is known by its fingerprint alone.
            let (knows, blind) = if known.is_empty() { (Knows::Nothing, true) } else { (Knows::Keys(&known), false) };
            let seen = prober.ask(knows, algorithms, "probe")?;
            let same = seen.key.as_ref().is_some_and(|(_, print)| *print == key.fingerprint);
            let good = same && (blind || seen.is_past_host_key());
            Ok((!good).then(|| {
                Error::failed(format!(
                    "sshd at {} does not offer its {} host key as before",
                    prober.target(),
                    key.key_type
                ))
                .cause(seen.said())
                .seen(seen.key.map_or_else(|| "no key".to_owned(), |(_, print)| print))
            }))
        }
    }
}

fn certificate_fault(prober: &Prober<'_>, key_type: &str, serial: u64, seen: &Transcript) -> Error {
    let error =
        Error::failed(format!("sshd at {} does not serve the new certificate of its {key_type} key", prober.target()));
    match &seen.certificate {
        Some(other) if other.serial != serial => {
            error.cause("it has not read it yet").seen(format!("serial {} instead of {serial}", other.serial))
        }
        Some(_) => error.cause(seen.said()),
        None if seen.offer.is_empty() => error.cause(seen.said()),
        None => error.cause(seen.said()).seen(format!("offered: {}", text::neutral(&seen.offer.join(",")))),
    }
}
