//! Whether servers present host certificates that a strict client accepts: asked from outside, by handshakes in this
//! process, without a login. Nothing is read that a client knows of them, such as known_hosts.

mod judgement;
mod place;

pub use judgement::{Finding, Judge};
pub use place::{Place, shown};

use crate::{
    ca::Certificate,
    handshake::{Fault, HostKeyAlgorithm, KeyKind, Limits, Session, Verdict, dial},
};
use std::{
    net::TcpStream,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How often a connection is made that ends before anything was learnt: sshd drops some when many are pending
/// (`MaxStartups`).
const TRIES: u32 = 4;
/// How long the second try waits; each further one waits twice as long.
const PAUSE: Duration = Duration::from_millis(200);
/// Of one thread, in bytes: a handshake needs a fraction of it, and there may be thousands.
const STACK: usize = 1024 * 1024;

/// How servers are asked.
#[derive(Clone, Copy, Debug)]
pub struct ProbeOptions {
    /// How many at a time.
    pub at_once: usize,
    /// How long one server may take.
    pub patience: Duration,
    /// Whether it is asked for every certificate that it offers, each over a connection of its own.
    pub all_keys: bool,
}

/// What a server presented.
#[derive(Clone, Debug)]
pub struct Presentation {
    /// For which algorithm it was asked; none: it offers no certificate, or was not reached.
    pub algorithm: Option<HostKeyAlgorithm>,
    /// What it proved to hold.
    pub certificate: Option<Certificate>,
    /// What that means.
    pub finding: Finding,
}

/// Asks them all; the answers come in the order of the places.
#[must_use]
pub fn ask(places: &[Place], asking: ProbeOptions, judge: &Judge<'_>) -> Vec<Vec<Presentation>> {
    let next = AtomicUsize::new(0);
    let answers: Vec<Mutex<Vec<Presentation>>> = places.iter().map(|_| Mutex::default()).collect();
    let work = || {
        while let Some((place, answer)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|index| places.get(index).zip(answers.get(index)))
        {
            let presented = of_one(place, asking, judge);
            *answer.lock().unwrap_or_else(PoisonError::into_inner) = presented;
        }
    };
    thread::scope(|scope| {
        for _ in 1..asking.at_once.min(places.len()) {
            // Where there can be no more threads, those that there are do the work.
            if thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    answers.into_iter().map(|answer| answer.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

/// Asks one server: for the certificate that a client would choose, or for all of them.
fn of_one(place: &Place, asking: ProbeOptions, judge: &Judge<'_>) -> Vec<Presentation> {
    let (first, offered) = match persistently(|| one(place, asking, judge, None)) {
        Ok(first) => first,
        Err(fault) => return vec![unproved(&fault)],
    };
    let further = offered.into_iter().filter(|one| Some(*one) != first.algorithm && asking.all_keys);
    let further: Vec<Presentation> = further
        .map(|algorithm| {
            let asked = persistently(|| one(place, asking, judge, Some(algorithm)));
            asked.map_or_else(|fault| Presentation { algorithm: Some(algorithm), ..unproved(&fault) }, |(one, _)| one)
        })
        .collect();
    std::iter::once(first).chain(further).collect()
}

fn unproved(fault: &Fault) -> Presentation {
    Presentation { algorithm: None, certificate: None, finding: Finding::of_fault(fault) }
}

/// Again where a server ended the connection before it had said anything that counts.
fn persistently<T>(ask: impl Fn() -> Result<T, Fault>) -> Result<T, Fault> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match ask() {
            Err(fault) if is_worth_repeating(&fault) => thread::sleep(pause),
            ended => return ended,
        }
        pause *= 2;
    }
    ask()
}

fn is_worth_repeating(fault: &Fault) -> bool {
    fault.verdict() == Verdict::Unknown && !matches!(fault, Fault::Timeout | Fault::Io(_))
}

/// One connection, and one exchange; also what else could be asked for.
fn one(
    place: &Place,
    asking: ProbeOptions,
    judge: &Judge<'_>,
    wanted: Option<HostKeyAlgorithm>,
) -> Result<(Presentation, Vec<HostKeyAlgorithm>), Fault> {
    let deadline = Instant::now() + asking.patience;
    let limits = Limits { deadline, ..Limits::within(asking.patience) };
    let mut session = Session::open(connected(place, &limits)?, &limits)?;
    let algorithms = once_per_key(certificates().filter(|one| session.server().offers(*one)).collect());
    let Some(algorithm) = wanted.or_else(|| algorithms.first().copied()) else {
        let none = Presentation { algorithm: None, certificate: None, finding: Finding::NoCertificate };
        return Ok((none, Vec::new()));
    };
    let proved = session.exchange(algorithm)?;
    let (certificate, finding) = match Certificate::from_bytes(&proved.blob) {
        Ok(certificate) => {
            let finding = judge.of(&certificate, &place.name);
            (Some(certificate), finding)
        }
        Err(error) => (None, Finding::Wrong(error.to_string())),
    };
    Ok((Presentation { algorithm: Some(algorithm), certificate, finding }, algorithms))
}

/// In the order in which `ssh` prefers them (HostKeyAlgorithms in ssh_config(5)).
fn certificates() -> impl Iterator<Item = HostKeyAlgorithm> {
    HostKeyAlgorithm::all().filter(|algorithm| algorithm.certificate)
}

/// RSA has two signatures for one key.
fn once_per_key(mut algorithms: Vec<HostKeyAlgorithm>) -> Vec<HostKeyAlgorithm> {
    if algorithms.contains(&HostKeyAlgorithm::certificate(KeyKind::RsaSha512)) {
        algorithms.retain(|one| one.kind != KeyKind::RsaSha256);
    }
    algorithms
}

/// A connection to the first of its addresses that takes one; each gets its share of the time.
fn connected(place: &Place, limits: &Limits) -> Result<TcpStream, Fault> {
    let addresses = place.addresses()?;
    let mut ended = Fault::Timeout;
    for (index, address) in addresses.iter().enumerate() {
        let left = limits.deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
        match dial(*address, None, &Limits { deadline: Instant::now() + share, ..*limits }) {
            Ok(stream) => return Ok(stream),
            Err(fault) => ended = fault,
        }
    }
    Err(ended)
}
