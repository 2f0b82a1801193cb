//! What a listening sshd offers right now, seen from the network: its plain host keys and its certificates. The
//! probes keep to a pace that sshd does not penalise. They name no user to sshd, unless the `ssh` program has to ask.

mod first;

use super::client::{
    Client, LIMIT, Question, known_hosts,
    pace::{self, Pace},
    program::Route,
    transcript::{End, PresentedCertificate, Transcript},
};
use crate::{
    agent,
    error::{Error, Result},
    handshake::{Limits, dial},
    machine::sshd::{Effective, Sshd, effective::major_minor},
};
use first::First;
use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long to repeat a question that gets no answer, unless a caller says otherwise.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The first release that keeps penalties for each address (`PerSourcePenalties`).
const COUNTS_SINCE: (u32, u32) = (9, 8);

/// How long to wait before asking again from an address that nobody has used, in milliseconds.
const PAUSES: [u64; 2] = [50, 0];
/// If it takes this long to get nothing, sshd is not just busy: tcp wrappers let a connection wait for 5 s before
/// they refuse it.
const SLOW: Duration = Duration::from_secs(1);
/// Why a question was not asked.
const EXHAUSTED: &str = "PerSourcePenalties refuses more connections from this machine for now";

/// A plain host key that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedKey {
    /// Its type: `ssh-ed25519`.
    pub key_type: String,
    /// Its fingerprint: `SHA256:…`.
    pub fingerprint: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedCertificate {
    /// The type of the host key it is for.
    pub key_type: String,
    /// What the client saw of it.
    pub seen: PresentedCertificate,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerOffer {
    /// Its plain host keys, one for each type.
    pub keys: Vec<OfferedKey>,
    /// Its certificates, one for each type at most.
    pub certificates: Vec<OfferedCertificate>,
    /// Host key algorithms that it offers, but for which Warded cannot make an exchange.
    pub others: Vec<String>,
    /// Whether the `ssh` program had to ask for some of this, because Warded implements no algorithm that sshd allows
    /// there.
    pub by_program: bool,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SourceAddress {
    /// A loopback address that nobody has used.
    Fresh,
    /// The address that the system chooses.
    Usual,
}

/// A way to the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ListenerRoute {
    target: SocketAddr,
    from: SourceAddress,
}

/// Asks one listener questions.
#[derive(Debug)]
pub struct Prober<'a> {
    client: &'a Client,
    sshd: Sshd,
    user: String,
    effective: Option<Effective>,
    pace: OnceLock<Pace>,
    /// The ways to the listener, the best one first.
    ways: Vec<ListenerRoute>,
    /// The index of the way that worked last.
    way: AtomicUsize,
    /// Held during a question on a way where sshd counts connections.
    counted: Mutex<()>,
}

impl<'a> Prober<'a> {
    /// A prober for the listener of an sshd whose configuration is `effective`; none if there is no listener.
    ///
    /// # Errors
    /// There is a listener, but its address is not known.
    pub fn new(client: &'a Client, sshd: &Sshd, user: &str, effective: Option<&Effective>) -> Result<Option<Self>> {
        let Some(listener) = &sshd.listener else { return Ok(None) };
        let mut addresses: Vec<SocketAddr> = match &listener.sockets {
            Some(sockets) => sockets.iter().flat_map(|socket| pace::reachable(socket.address)).collect(),
            None => {
                let effective = sshd.for_nobody()?;
                effective.addresses().flat_map(pace::reachable).collect()
            }
        };
        // IPv6 is the last choice because it has only one loopback address to come from.
        addresses.sort_by_key(|address| (address.is_ipv6(), !address.ip().is_loopback(), *address));
        addresses.dedup();
        if addresses.is_empty() {
            return Err(Error::refused(format!("sshd (process {}) runs, but listens nowhere", listener.pid))
                .next("find out why with `ss -tlnp`, and reload sshd"));
        }
        let fresh = addresses
            .iter()
            .filter(|target| target.is_ipv4())
            .map(|target| ListenerRoute { target: *target, from: SourceAddress::Fresh });
        let usual = addresses.iter().map(|target| ListenerRoute { target: *target, from: SourceAddress::Usual });
        // One fresh way is as good as another: if it is shut, the reason is its source address.
        let ways: Vec<_> = fresh.take(1).chain(usual).collect();
        Ok(Some(Self {
            client,
            sshd: sshd.clone(),
            user: user.to_owned(),
            effective: effective.cloned(),
            pace: OnceLock::new(),
            ways,
            way: AtomicUsize::new(0),
            counted: Mutex::new(()),
        }))
    }

    /// The address that the prober asks.
    #[must_use]
    pub fn target(&self) -> String {
        let way = self.ways.get(self.way.load(Ordering::Relaxed)).or(self.ways.first());
        way.map_or_else(String::new, |way| way.target.to_string())
    }

    /// Asks all the questions, several at a time. The answers come in the order of the questions.
    ///
    /// # Errors
    /// The `ssh` program has to ask and cannot be run.
    pub fn ask_all(&self, questions: &[Question<'_>]) -> Result<Vec<Transcript>> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some((index, question)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|index| Some((index, questions.get(index)?)))
            {
                done.push((index, self.ask(question)));
            }
            done
        };
        let mut all: Vec<_> = thread::scope(|scope| {
            let more: Vec<_> = (1..self.at_once().min(questions.len()))
                // If no more threads can be started, the existing ones do the work.
                .map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
                .collect();
            let mut all = work();
            all.extend(
                more.into_iter().flat_map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
            );
            all
        });
        all.sort_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Asks by the way that worked last and, if that stays shut, by the others.
    ///
    /// # Errors
    /// As [`Prober::ask_all`].
    pub fn ask(&self, question: &Question<'_>) -> Result<Transcript> {
        let mut first = None;
        for (index, way) in self.in_turn() {
            // sshd may only be busy with other connections, or with its own reload.
            for pause in PAUSES {
                let begun = Instant::now();
                let seen = self.ask_by(way, question)?;
                if seen.end != End::Incomplete {
                    self.way.store(index, Ordering::Relaxed);
                    return Ok(seen);
                }
                first.get_or_insert(seen);
                if way.from == SourceAddress::Usual || begun.elapsed() >= SLOW {
                    break;
                }
                thread::sleep(Duration::from_millis(pause));
            }
        }
        Ok(first.unwrap_or_default())
    }

    /// The ways, beginning with the one that worked last.
    fn in_turn(&self) -> impl Iterator<Item = (usize, ListenerRoute)> {
        let known = self.way.load(Ordering::Relaxed);
        let (before, after) = self.ways.split_at(known.min(self.ways.len()));
        let (count, numbered) =
            (before.len(), |start| move |(index, way): (usize, &ListenerRoute)| (start + index, *way));
        after.iter().enumerate().map(numbered(count)).chain(before.iter().enumerate().map(numbered(0)))
    }

    fn ask_by(&self, way: ListenerRoute, question: &Question<'_>) -> Result<Transcript> {
        // Threads that find the fresh way shut all continue with this one at the same time.
        let is_counted = way.from == SourceAddress::Usual;
        let _turn = is_counted.then(|| self.counted.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(from) = self.source(way) else {
            return Ok(Transcript { words: vec![EXHAUSTED.to_owned()], ..Transcript::default() });
        };
        let exchanged = dial(way.target, from, &Limits::within(LIMIT)).and_then(|stream| question.ask_alone(stream));
        self.client.settled(exchanged, question, &Route::Network(way.target, from), &self.user)
    }

    /// The source address, if the system does not choose it; waits where sshd counts connections. None: sshd would
    /// not forgive another connection soon enough.
    fn source(&self, way: ListenerRoute) -> Option<Option<IpAddr>> {
        match way.from {
            SourceAddress::Fresh => Some(pace::fresh_source(way.target)),
            SourceAddress::Usual => {
                let counts = || major_minor(self.sshd.version()).is_none_or(|version| version >= COUNTS_SINCE);
                self.pace.get_or_init(|| Pace::of(self.effective.as_ref(), counts())).wait().then_some(None)
            }
        }
    }

    /// All plain keys that the listener offers and, with `certificates`, its certificates.
    ///
    /// # Errors
    /// Refused: the listener does not answer, so nothing is known.
    pub fn survey(&self, certificates: bool) -> Result<ListenerOffer> {
        let deadline = Instant::now() + PATIENCE;
        let (first, beside) = self.begin(deadline, certificates);
        let First { offer, mut pending, seen } = first?;
        let mut seen: Vec<_> = pending.first().copied().into_iter().zip(seen).collect();
        // Drops answers about what the first connection did not show: sshd has been told to read another
        // configuration meanwhile.
        let is_asked = |question: &Question<'_>| pending.iter().any(|asked| asked.is_for(question));
        seen.extend(beside.into_iter().filter(|(question, _)| is_asked(question)));
        seen.retain(|(_, seen)| !matches!(seen.end, End::Incomplete | End::NotOffered));
        pending.retain(|question| !seen.iter().any(|(answered, _)| answered.is_for(question)));
        let others = offer.into_iter().filter(|name| known_hosts::type_of(name).is_none()).collect();
        let mut offered = ListenerOffer { others, ..ListenerOffer::default() };
        let unsigned = self.effective.as_ref().map(agent::lost_types).unwrap_or_default();
        seen.iter().for_each(|(_, seen)| offered.add(seen));
        loop {
            let answers = self.ask_all(&pending)?;
            let mut left = Vec::new();
            let mut last = None;
            for (question, seen) in pending.iter().zip(answers) {
                if seen.end == End::Incomplete && unsigned.iter().any(|name| name == question.key_type) {
                    // sshd lists the key but cannot use it: nobody can connect with it.
                } else if seen.end == End::Incomplete {
                    left.push(*question);
                    last = Some(seen);
                } else {
                    offered.add(&seen);
                }
            }
            pending = left;
            match last {
                None => {
                    offered.by_program = self.client.needed_program();
                    return Ok(offered.in_order());
                }
                Some(seen) if Instant::now() >= deadline => return Err(self.unanswered(&seen)),
                Some(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// How many connections at once the listener tolerates; only one by a way on which sshd counts them.
    fn at_once(&self) -> usize {
        let is_fresh = self.in_turn().next().is_some_and(|(_, way)| way.from == SourceAddress::Fresh);
        if is_fresh { pace::at_once(self.effective.as_ref()) } else { 1 }
    }

    fn unanswered(&self, seen: &Transcript) -> Error {
        let target = self.ways.first().map(|way| way.target);
        let tried = target.map_or_else(String::new, |target| format!("ssh -v -p {} {}", target.port(), target.ip()));
        Error::refused(format!("sshd at {} cannot be asked which host keys it offers", self.target()))
            .cause("so Warded could not check afterwards whether sshd still offers the same host keys")
            .seen(seen.said())
            .next(tried)
    }
}

impl ListenerOffer {
    /// Sorts by type, whichever answer came first.
    fn in_order(mut self) -> Self {
        self.keys.sort_by(|one, other| one.key_type.cmp(&other.key_type));
        self.certificates.sort_by(|one, other| one.key_type.cmp(&other.key_type));
        self
    }

    /// Adds what one exchange showed.
    fn add(&mut self, seen: &Transcript) {
        if let Some(certificate) = &seen.certificate {
            if let Some((key_type, _)) = known_hosts::type_of(&certificate.algorithm) {
                self.certificates.push(OfferedCertificate { key_type: key_type.to_owned(), seen: certificate.clone() });
            }
        } else if let Some((key_type, fingerprint)) = &seen.key {
            self.keys.push(OfferedKey { key_type: key_type.clone(), fingerprint: fingerprint.clone() });
        }
    }
}
