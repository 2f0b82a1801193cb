//! The first look at a listener: which host key algorithms it offers, and the first of its keys. At the same time it
//! asks for the keys on disk, because these are usually what the listener offers.

use super::{
    super::client::{
        LIMIT, Question,
        known_hosts::{self, ClientKnowledge},
        program::Route,
        transcript::Transcript,
    },
    PAUSES, Prober, SLOW, SourceAddress,
};
use crate::{
    error::Result,
    handshake::{Fault, Limits, Session, dial},
    machine::sshd::host_key,
};
use ssh_key::PublicKey;
use std::{
    panic,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

/// The algorithms of host keys that the first connection showed, and the questions that follow from them.
pub(super) struct First {
    pub(super) offer: Vec<String>,
    pub(super) pending: Vec<Question<'static>>,
    /// The answer to the first of `pending`.
    pub(super) seen: Option<Transcript>,
}

/// A question and its transcript.
pub(super) type Answered = (Question<'static>, Transcript);

impl Prober<'_> {
    /// Makes the first connection and, at the same time, asks for the other keys on disk, by the best way only. What
    /// that does not tell is asked again later. Asks nothing beside the first connection if the listener tolerates
    /// only one connection or counts them.
    pub(super) fn begin(&self, deadline: Instant, certificates: bool) -> (Result<First>, Vec<Answered>) {
        let way = self.ways.first().copied().filter(|way| way.from == SourceAddress::Fresh);
        let likely = if way.is_some() { self.likely() } else { Vec::new() };
        let ask = |question: Question<'static>| Some((question, self.ask_by(way?, &question).ok()?));
        thread::scope(|scope| {
            let beside = likely.into_iter().skip(1).take(self.at_once() - 1);
            let beside: Vec<_> = beside
                .map_while(|question| thread::Builder::new().spawn_scoped(scope, move || ask(question)).ok())
                .collect();
            let first = self.first(deadline, certificates);
            let answers =
                beside.into_iter().filter_map(|one| one.join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
            (first, answers.collect())
        })
    }

    /// The questions for the plain keys that are on disk and that the configuration allows sshd to offer.
    fn likely(&self) -> Vec<Question<'static>> {
        let Some(effective) = &self.effective else { return Vec::new() };
        let keys: Vec<_> = effective.host_keys.iter().filter_map(|path| host_key::public(path)).collect();
        let is_there = |question: &Question<'_>| {
            let is_it =
                |key: &PublicKey| known_hosts::type_of(key.algorithm().as_str()) == Some((question.key_type, false));
            keys.iter().any(is_it)
        };
        let lists = effective.values("hostkeyalgorithms").iter().flat_map(|list| list.split(',')).map(str::to_owned);
        let mut likely = questions(&lists.collect::<Vec<_>>(), false);
        likely.retain(is_there);
        likely
    }

    /// The first connection: the server's lists, the questions that follow from them, and what the first of these
    /// shows.
    fn first(&self, deadline: Instant, certificates: bool) -> Result<First> {
        let mut pause = Duration::from_millis(20);
        let mut attempt = 0;
        loop {
            let mut fault: Option<Fault> = None;
            // The other ways are used only after the best one has stayed shut.
            let begun = Instant::now();
            let all = attempt >= PAUSES.len();
            for (number, (index, way)) in self.in_turn().enumerate() {
                if number > 0 && !all && begun.elapsed() < SLOW {
                    break;
                }
                let Some(from) = self.source(way) else { continue };
                let limits = Limits::within(LIMIT);
                match dial(way.target, from, &limits).and_then(|stream| Session::open(stream, &limits)) {
                    Ok(mut session) => {
                        self.way.store(index, Ordering::Relaxed);
                        let offer = session.server().host_keys.clone();
                        let pending = questions(&offer, certificates);
                        let seen = pending.first().map(|question| {
                            let asked = question.ask(&mut session);
                            self.client.settled(asked, question, &Route::Network(way.target, from), &self.user)
                        });
                        return Ok(First { offer, seen: seen.transpose()?, pending });
                    }
                    Err(other) => {
                        fault.get_or_insert(other);
                    }
                }
            }
            if Instant::now() + pause >= deadline {
                let words = fault.map(|fault| fault.to_string()).into_iter().collect();
                return Err(self.unanswered(&Transcript { words, ..Transcript::default() }));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
            attempt += 1;
        }
    }
}

/// A question for each type of key among the algorithms that a server offers, the plain ones first.
fn questions(offer: &[String], certificates: bool) -> Vec<Question<'static>> {
    let mut wanted: Vec<(&str, bool)> = offer.iter().filter_map(|name| known_hosts::type_of(name)).collect();
    wanted.sort_unstable_by_key(|(key_type, certificate)| (*certificate, *key_type));
    wanted.dedup();
    wanted.retain(|(_, certificate)| certificates || !certificate);
    let question =
        |(key_type, certificate)| Question { knows: ClientKnowledge::Nothing, key_type, certificate, name: "probe" };
    wanted.into_iter().map(question).collect()
}
