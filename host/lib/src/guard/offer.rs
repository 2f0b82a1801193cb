//! What a listening sshd offers right now: its plain host keys and its certificates, seen from the
//! network one connection at a time, at a pace that no penalty of sshd's own punishes.

use super::{
    known_hosts::{self, Knows, TYPES},
    probe::{self, Attempt, Client, Route},
    transcript::{End, SeenCertificate, Transcript},
};
use crate::{
    error::{Error, Result},
    machine::sshd::{Sshd, effective::major_minor},
};
use std::{
    net::SocketAddr,
    sync::PoisonError,
    thread,
    time::{Duration, Instant},
};

/// At most this many connections from one address…
const BURST: usize = 10;
/// …within this time: sshd ≥ 9.8 forgives that by default (`persourcepenalties`: min 15 s, noauth 1 s).
const WINDOW: Duration = Duration::from_secs(15);
/// How long a question without an answer is asked again, when nothing is said about it.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A plain host key that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedKey {
    /// Its type: `ssh-ed25519`.
    pub key_type: String,
    /// Its fingerprint: `SHA256:…`.
    pub fingerprint: String,
}

/// A certificate that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedCertificate {
    /// The type of the host key it is for.
    pub key_type: String,
    /// What the client tells of it.
    pub seen: SeenCertificate,
}

/// All that a listener offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// Its plain host keys, one for each type.
    pub keys: Vec<OfferedKey>,
    /// Its certificates, one for each type at most.
    pub certificates: Vec<OfferedCertificate>,
}

/// Asks one listener questions.
#[derive(Debug)]
pub struct Prober<'a> {
    client: &'a Client,
    target: SocketAddr,
    user: String,
    /// Whether connections can come from addresses of our choice.
    fresh: bool,
    /// Whether this sshd counts what an address does (since 9.8).
    counts: bool,
}

impl<'a> Prober<'a> {
    /// One for the listener of an sshd; none if it has no listener.
    ///
    /// # Errors
    /// When it has one, and it cannot be told where it listens.
    pub fn new(client: &'a Client, sshd: &Sshd, user: &str) -> Result<Option<Self>> {
        let Some(listener) = &sshd.listener else { return Ok(None) };
        let mut addresses: Vec<_> = match &listener.sockets {
            Some(sockets) => sockets.iter().map(|socket| socket.address).collect(),
            None => sshd.effective(sshd.config.as_path(), &[], &[])?.addresses().collect(),
        };
        // From 127/8 we can come from any address; IPv6 is the last choice because it has only ::1.
        addresses.sort_by_key(|address| {
            let target = probe::reachable(*address);
            (!target.ip().is_loopback(), target.is_ipv6(), target)
        });
        let target = addresses.first().copied().map(probe::reachable).ok_or_else(|| {
            Error::refused(format!("sshd (process {}) runs, but listens nowhere", listener.pid))
                .next("find out why with `ss -tlnp`, and reload sshd")
        })?;
        let counts = major_minor(&sshd.version).is_none_or(|version| version >= (9, 8));
        Ok(Some(Self { client, target, user: user.to_owned(), fresh: true, counts }))
    }

    /// Where it asks.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        self.target
    }

    /// One connection. Waits first, if sshd would take it amiss.
    ///
    /// # Errors
    /// When the client cannot be run.
    pub fn ask(&mut self, knows: Knows<'_>, algorithms: String, name: &str) -> Result<Transcript> {
        let attempt = Attempt { knows, algorithms, name, user: &self.user, login: None };
        if let Some(source) = probe::fresh_source(self.target).filter(|_| self.fresh) {
            let (seen, _) = self.client.exchange(&Route::Network(self.target, Some(source)), &attempt)?;
            let unbound = |line: &String| line.contains("annot assign requested address") || line.starts_with("bind ");
            if seen.end != End::Incomplete || !seen.words.iter().any(unbound) {
                return Ok(seen);
            }
        }
        self.fresh = false;
        if self.counts {
            let mut recent = self.client.recent.lock().unwrap_or_else(PoisonError::into_inner);
            while recent.len() >= BURST {
                let Some(oldest) = recent.pop_front() else { break };
                thread::sleep(WINDOW.saturating_sub(oldest.elapsed()));
            }
            recent.push_back(Instant::now());
        }
        let (seen, _) = self.client.exchange(&Route::Network(self.target, None), &attempt)?;
        Ok(seen)
    }

    /// Asks until the exchange completes, or the deadline is over: the last transcript.
    ///
    /// # Errors
    /// When the client cannot be run.
    pub fn ask_until(
        &mut self,
        deadline: Instant,
        knows: Knows<'_>,
        algorithms: &str,
        name: &str,
    ) -> Result<Transcript> {
        let mut pause = Duration::from_millis(50);
        loop {
            let seen = self.ask(knows, algorithms.to_owned(), name)?;
            if seen.end != End::Incomplete || Instant::now() + pause >= deadline {
                return Ok(seen);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// All plain keys that are offered, and with `certificates` those too.
    ///
    /// # Errors
    /// When the listener does not answer: refused, because nothing is known then.
    pub fn survey(&mut self, certificates: bool) -> Result<Offered> {
        let version = self.client.version;
        let any: Vec<_> = TYPES.iter().map(|one| known_hosts::algorithms(one, false, version)).collect();
        let first = self.complete(&any.join(","))?;
        let mut offered = Offered::default();
        offered.add(&first);
        let mut wanted: Vec<(&str, bool)> = first.offer.iter().filter_map(|name| known_hosts::type_of(name)).collect();
        wanted.sort_unstable_by_key(|(key_type, certificate)| (*certificate, *key_type));
        wanted.dedup();
        for (key_type, certificate) in wanted {
            let known = !certificate && offered.keys.iter().any(|key| key.key_type == key_type);
            if !known && (certificates || !certificate) {
                let seen = self.complete(&known_hosts::algorithms(key_type, certificate, version))?;
                offered.add(&seen);
            }
        }
        Ok(offered)
    }

    fn complete(&mut self, algorithms: &str) -> Result<Transcript> {
        let seen = self.ask_until(Instant::now() + PATIENCE, Knows::Nothing, algorithms, "probe")?;
        if seen.end == End::Incomplete {
            return Err(Error::refused(format!("sshd at {} cannot be asked which host keys it offers", self.target))
                .cause("so it could not be told afterwards whether it still offers the same ones")
                .seen(seen.said())
                .state("nothing was changed")
                .next(format!("ssh -v -p {} {}", self.target.port(), self.target.ip())));
        }
        Ok(seen)
    }
}

impl Offered {
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
