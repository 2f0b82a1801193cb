//! Checks, as a client, whether the listener serves what it should after the reload. A connection that did not
//! complete tells nothing, and is made again until the deadline.

use super::{
    baseline::Baseline,
    client::{
        Client, Question,
        known_hosts::{self, ClientKnowledge},
        transcript::Transcript,
    },
    survey::{ListenerOffer, OfferedKey, Prober},
};
use crate::{
    error::{Error, Result},
    machine::{
        sshd::{Listener, Sshd},
        users,
    },
    text,
};
use ssh_key::{Certificate, HashAlg, PublicKey};
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a reload may take to take effect.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a reload may take to begin; SIGHUP itself takes 3 to 40 ms.
const SETTLE: Duration = Duration::from_millis(600);
/// The pause between two checks whether the reload has begun.
const LOOK: Duration = Duration::from_millis(4);
/// One in this many checks goes through all processes, for another one in the place of the listener.
const LOOKS: u32 = 4;

/// The keys and certificates that the listener serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveReport {
    /// Whether there is a listener that can be asked. Without one, nothing was checked.
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
pub fn verify(sshd: &Sshd, baseline: &Baseline, expect: &[Certificate]) -> Result<LiveReport> {
    verify_within(sshd, baseline, expect, PATIENCE)
}

/// The same after a change that reloads nothing: it does not wait before the first check.
///
/// # Errors
/// As [`verify`].
pub fn verify_at_once(sshd: &Sshd, baseline: &Baseline, expect: &[Certificate]) -> Result<LiveReport> {
    look(sshd, baseline, expect, Instant::now() + PATIENCE)
}

/// The same with another time limit.
///
/// # Errors
/// As [`verify`].
pub fn verify_within(
    sshd: &Sshd,
    baseline: &Baseline,
    expect: &[Certificate],
    patience: Duration,
) -> Result<LiveReport> {
    let deadline = Instant::now() + patience;
    if sshd.listener.is_some() {
        await_reload_within(sshd, SETTLE.min(patience));
    }
    look(sshd, baseline, expect, deadline)
}

fn look(sshd: &Sshd, baseline: &Baseline, expect: &[Certificate], deadline: Instant) -> Result<LiveReport> {
    if sshd.listener.is_none() {
        return Ok(LiveReport::default());
    }
    let mut verified = LiveReport { live: true, ..LiveReport::default() };
    let public = baseline.public_keys();
    let keys = || baseline.offered.iter().flat_map(|offered| &offered.keys);
    // A signature by a certificate's key proves the plain key as well: if sshd has only one key of that type, it
    // offers that one.
    let is_single = |key: &OfferedKey| {
        let of_type = |one: &&PublicKey| known_hosts::type_of(one.algorithm().as_str()) == Some((&key.key_type, false));
        public.len() == baseline.view.effective.values("hostkey").len() && public.iter().filter(of_type).count() == 1
    };
    let stands_for = |certificate: &Certificate| {
        let print = certificate.public_key().fingerprint(HashAlg::Sha256).to_string();
        keys().find(|key| key.fingerprint == print && is_single(key))
    };
    let certificates: Vec<_> = expect.iter().map(|one| Expectation::certificate(one, stands_for(one))).collect();
    let is_covered = |key: &OfferedKey| expect.iter().any(|one| stands_for(one).is_some_and(|covered| covered == key));
    let alone: Vec<_> = keys().filter(|key| !is_covered(key)).map(|key| Expectation::key(key, &public)).collect();
    let mut pending: Vec<_> = certificates.into_iter().chain(alone).collect();
    if baseline.unseen.is_some() {
        return still_listens(sshd, deadline).map(|()| LiveReport::default());
    }
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

/// Checks that a listener which cannot be asked has reopened its sockets after a reload, where that can be seen.
/// Until then it may still fail to start again.
///
/// # Errors
/// It has not done so within the time that a reload may take.
pub fn has_reloaded(sshd: &Sshd) -> Result<()> {
    let reading = |listener: Option<&Listener>| listener.and_then(Listener::reading);
    let Some(before) = reading(sshd.listener.as_ref()) else { return Ok(()) };
    let deadline = Instant::now() + PATIENCE;
    while reading(sshd.listener_now()?.as_ref()).is_none_or(|now| now == before) {
        if Instant::now() >= deadline {
            return Err(Error::failed("sshd was told to reload, but has not reopened its sockets"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Checks what can be seen of a listener that cannot be asked: that it is there, with the sockets that it had.
fn still_listens(sshd: &Sshd, deadline: Instant) -> Result<()> {
    loop {
        let mut now = sshd.clone();
        now.listener = sshd.listener_now()?;
        match lost_sockets(sshd, &now) {
            None => return Ok(()),
            Some(fault) if Instant::now() >= deadline => return Err(fault),
            Some(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// What a listening sshd offers right now, including certificates; none without a listener.
///
/// # Errors
/// When it does not answer.
pub fn served(sshd: &Sshd) -> Result<Option<ListenerOffer>> {
    let (client, users) = (Client::default(), users::to_keep());
    let user = users.last().map_or("root", String::as_str);
    // Its limits are known only where its own configuration can be read.
    let effective = sshd.for_nobody().ok();
    let prober = Prober::new(&client, sshd, user, effective.as_ref())?;
    prober.map(|prober| prober.survey(true)).transpose()
}

/// Waits until the listener has restarted: then it has new sockets, or is a new process where systemd holds the
/// sockets. Before that it answers as it did before the change, and asking would prove nothing. If nothing was
/// reloaded, this only waits.
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
    for look in 1.. {
        if started.elapsed() >= limit {
            return;
        }
        // Usually it is the same process, so most checks can skip the search through all processes.
        let same = sshd.listener.as_ref().filter(|_| look % LOOKS != 0).map(Listener::seen_now);
        let now = same.or_else(|| sshd.listener_now().ok().flatten());
        if sshd.listener.as_ref().zip(now.as_ref()).is_some_and(|(before, after)| is_new(before, after)) {
            return;
        }
        thread::sleep(LOOK);
    }
}

/// Something that the listener has to show.
#[derive(Clone, Debug)]
enum Expectation<'a> {
    Certificate {
        certificate: &'a Certificate,
        signer: [PublicKey; 1],
        /// The plain key that the same exchange shows.
        key: Option<&'a OfferedKey>,
    },
    /// A plain key; only its fingerprint is known where its public half is not on disk.
    Key { key: &'a OfferedKey, known: Vec<PublicKey> },
}

impl<'a> Expectation<'a> {
    fn certificate(certificate: &'a Certificate, key: Option<&'a OfferedKey>) -> Self {
        Self::Certificate { certificate, signer: [PublicKey::new(certificate.signature_key().clone(), "")], key }
    }

    fn key(key: &'a OfferedKey, public: &[PublicKey]) -> Self {
        let is_it = |one: &&PublicKey| one.fingerprint(HashAlg::Sha256).to_string() == key.fingerprint;
        Self::Key { key, known: public.iter().filter(is_it).cloned().collect() }
    }

    fn question(&self) -> Question<'_> {
        match self {
            Self::Certificate { certificate, signer, .. } => Question {
                knows: ClientKnowledge::Authorities(signer),
                key_type: key_type(certificate),
                certificate: true,
                name: certificate.valid_principals().first().map_or("", String::as_str),
            },
            Self::Key { key, known } => Question {
                knows: if known.is_empty() { ClientKnowledge::Nothing } else { ClientKnowledge::Keys(known) },
                key_type: &key.key_type,
                certificate: false,
                name: "probe",
            },
        }
    }

    /// What is wrong with what the listener showed.
    fn fault(&self, target: &str, seen: &Transcript) -> Option<Error> {
        match self {
            Self::Certificate { certificate, key, .. } => {
                let serial = seen.certificate.as_ref().map(|one| one.serial);
                let good = serial == Some(certificate.serial()) && seen.by_certificate && seen.is_past_host_key();
                if !good {
                    return Some(certificate_fault(target, key_type(certificate), certificate.serial(), seen));
                }
                let offers = |key: &OfferedKey| {
                    let plain = Some((key.key_type.as_str(), false));
                    seen.offer.iter().any(|name| known_hosts::type_of(name) == plain)
                };
                let lost = key.filter(|key| !offers(key))?;
                let offered = text::neutral(&seen.offer.join(","));
                Some(key_fault(target, lost).seen(format!("offered: {offered}")))
            }
            Self::Key { key, known } => {
                let same = seen.key.as_ref().is_some_and(|(_, print)| *print == key.fingerprint);
                let good = same && (known.is_empty() || seen.is_past_host_key());
                (!good).then(|| {
                    let shown = seen.key.as_ref().map_or_else(|| "no key".to_owned(), |(_, print)| print.clone());
                    key_fault(target, key).cause(seen.said()).seen(shown)
                })
            }
        }
    }

    fn note(&self, verified: &mut LiveReport) {
        match self {
            Self::Certificate { certificate, key, .. } => {
                verified.certificates.push(certificate.serial());
                verified.keys.extend(key.map(|key| key.key_type.clone()));
            }
            Self::Key { key, .. } => verified.keys.push(key.key_type.clone()),
        }
    }
}

fn key_type(certificate: &Certificate) -> &'static str {
    known_hosts::type_of(certificate.algorithm().as_str()).map_or("", |(name, _)| name)
}

/// Asks once for everything that is pending. What is as expected is pending no longer. Returns the first fault.
fn round(
    sshd: &Sshd,
    baseline: &Baseline,
    pending: &mut Vec<Expectation<'_>>,
    verified: &mut LiveReport,
) -> Result<Option<Error>> {
    let mut now = sshd.clone();
    now.listener = sshd.listener_now()?;
    if let Some(fault) = lost_sockets(sshd, &now) {
        return Ok(Some(fault));
    }
    let prober = match Prober::new(&baseline.client, &now, baseline.user(), Some(&baseline.view.effective)) {
        Ok(Some(prober)) => prober,
        Ok(None) => return Ok(Some(Error::failed("sshd does not listen any more"))),
        Err(fault) => return Ok(Some(fault)),
    };
    let questions: Vec<_> = pending.iter().map(Expectation::question).collect();
    let answers = prober.ask_all(&questions)?;
    let target = prober.target();
    let mut first = None;
    let mut left = Vec::new();
    for (expected, seen) in pending.iter().zip(&answers) {
        let others = baseline.offered.iter().flat_map(|offered| &offered.others);
        let fault = expected.fault(&target, seen).or_else(|| lost_algorithm(&target, others, seen));
        match fault {
            None => expected.note(verified),
            Some(fault) => {
                left.push(expected.clone());
                first.get_or_insert(fault);
            }
        }
    }
    *pending = left;
    Ok(first)
}

/// An algorithm that Warded cannot ask for must still be offered.
fn lost_algorithm<'a>(target: &str, mut others: impl Iterator<Item = &'a String>, seen: &Transcript) -> Option<Error> {
    let lost = others.find(|name| !seen.offer.contains(name))?;
    let lost = text::neutral(lost);
    (!seen.offer.is_empty()).then(|| Error::failed(format!("sshd at {target} does not offer {lost} as before")))
}

/// sshd must still listen on the addresses that it listened on before, as far as they can be seen.
fn lost_sockets(before: &Sshd, now: &Sshd) -> Option<Error> {
    let Some(listener) = &now.listener else { return Some(Error::failed("sshd does not listen any more")) };
    let (before, now) = (before.listener.as_ref()?.sockets.as_ref()?, listener.sockets.as_ref()?);
    let lost = before.iter().find(|socket| !now.iter().any(|one| one.address == socket.address))?;
    Some(Error::failed(format!("sshd does not listen on {} any more", lost.address)))
}

fn key_fault(target: &str, key: &OfferedKey) -> Error {
    Error::failed(format!("sshd at {target} does not offer its {} host key as before", key.key_type))
}

fn certificate_fault(target: &str, key_type: &str, serial: u64, seen: &Transcript) -> Error {
    let error = Error::failed(format!("sshd at {target} does not serve the new certificate of its {key_type} key"));
    match &seen.certificate {
        Some(other) if other.serial != serial => {
            error.cause("it serves another one").seen(format!("serial {} instead of {serial}", other.serial))
        }
        Some(_) => error.cause(seen.said()),
        None if seen.offer.is_empty() => error.cause(seen.said()),
        None => error.cause(seen.said()).seen(format!("offered: {}", text::neutral(&seen.offer.join(",")))),
    }
}
