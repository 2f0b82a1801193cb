//! Whether servers present host certificates that a strict client accepts. This process checks that from outside, by
//! handshakes without a login. It uses nothing that a client knows about the servers, such as known_hosts.

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

/// How often to connect if the connection ends before the server has shown anything: sshd drops connections when many
/// are pending (`MaxStartups`).
const TRIES: u32 = 4;
/// The pause before the second try; it doubles before each further one.
const PAUSE: Duration = Duration::from_millis(200);
/// The stack size of a thread, in bytes: a handshake needs a fraction of it, and there may be thousands of threads.
const STACK: usize = 1024 * 1024;

/// How to probe servers.
#[derive(Clone, Copy, Debug)]
pub struct ProbeOptions {
    /// How many servers to probe at a time.
    pub at_once: usize,
    /// The time limit for one server.
    pub patience: Duration,
    /// Whether to request every certificate that the server offers, each over a connection of its own.
    pub all_keys: bool,
}

/// What a server presented.
#[derive(Clone, Debug)]
pub struct Presentation {
    /// The algorithm that was requested; `None`: the server offers no certificate, or was not reached.
    pub algorithm: Option<HostKeyAlgorithm>,
    /// The certificate whose key the server proved to hold.
    pub certificate: Option<Certificate>,
    /// The judgement on it.
    pub finding: Finding,
}

/// Probes all servers; the results have the order of `places`.
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
            // If no more threads can be started, the existing ones do the work.
            if thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    answers.into_iter().map(|answer| answer.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

/// Probes one server: for the certificate that a client would choose, or for all of them.
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

/// Tries again if the server ended the connection before it had said anything conclusive.
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

/// One connection with one key exchange. Also returns the algorithms that could be requested.
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

/// The certificate algorithms in the order in which `ssh` prefers them (HostKeyAlgorithms in ssh_config(5)).
fn certificates() -> impl Iterator<Item = HostKeyAlgorithm> {
    HostKeyAlgorithm::all().filter(|algorithm| algorithm.certificate)
}

/// Keeps one of the two signature algorithms for RSA, which both use the same key.
fn once_per_key(mut algorithms: Vec<HostKeyAlgorithm>) -> Vec<HostKeyAlgorithm> {
    if algorithms.contains(&HostKeyAlgorithm::certificate(KeyKind::RsaSha512)) {
        algorithms.retain(|one| one.kind != KeyKind::RsaSha256);
    }
    algorithms
}

/// Connects to the first of the server's addresses that accepts. Each address gets its share of the remaining time.
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
