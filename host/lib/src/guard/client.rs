//! Looks at an sshd as a client does: by a handshake in this process or, where that is not possible, with the `ssh`
//! program.

pub mod bench;
pub mod hosts;
pub mod known_hosts;
pub mod pace;
pub mod program;
pub mod transcript;
pub mod trust;

use crate::{
    error::Result,
    handshake::{Fault, HostKeyAlgorithm, Limits, Session, Stream, Verdict},
};
use known_hosts::ClientKnowledge;
use program::{Attempt, Program, Route};
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use transcript::{End, Transcript};

/// How long one exchange may take.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// A question to a server: one host key or certificate.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What the client knows of the server beforehand.
    pub knows: ClientKnowledge<'a>,
    /// The type of the host key: one of [`known_hosts::TYPES`].
    pub key_type: &'a str,
    /// Whether the client wants the certificate rather than the plain key.
    pub certificate: bool,
    /// The name under which the client looks the server up.
    pub name: &'a str,
}

impl Question<'_> {
    /// Whether this asks for the same host key or certificate as another question.
    #[must_use]
    pub fn is_for(&self, other: &Question<'_>) -> bool {
        (self.key_type, self.certificate) == (other.key_type, other.certificate)
    }

    fn algorithms(&self) -> impl Iterator<Item = HostKeyAlgorithm> {
        let Self { key_type, certificate, .. } = *self;
        HostKeyAlgorithm::all().filter(move |one| one.certificate == certificate && one.kind.key_type() == key_type)
    }

    /// Asks the question in a session.
    ///
    /// # Errors
    /// The server proves nothing; the fault says why.
    pub fn ask<S: Stream>(&self, session: &mut Session<S>) -> Result<Transcript, Fault> {
        let offer = session.server().host_keys.clone();
        let Some(algorithm) = self.algorithms().find(|algorithm| session.server().offers(*algorithm)) else {
            // The server has the key, but signs with it only by an algorithm that is not asked for here: ssh-rsa,
            // which is SHA-1.
            let is_it = |name: &&String| known_hosts::type_of(name) == Some((self.key_type, self.certificate));
            if let Some(name) = offer.iter().find(is_it) {
                return Err(Fault::Unsupported { name: name.clone() });
            }
            return Ok(Transcript { end: End::NotOffered, offer, ..Transcript::default() });
        };
        let proved = session.exchange(algorithm)?;
        Ok(trust::judge(&proved, offer, self, trust::now()))
    }

    /// Asks the question in a session of its own.
    ///
    /// # Errors
    /// As [`Question::ask`].
    pub fn ask_alone<S: Stream>(&self, stream: S) -> Result<Transcript, Fault> {
        self.ask(&mut Session::open(stream, &Limits::within(LIMIT))?)
    }
}

/// Makes the exchanges, by a handshake in this process or with the `ssh` program.
#[derive(Debug, Default)]
pub struct Client {
    program: OnceLock<Program>,
    /// Whether the `ssh` program had to be run.
    by_program: AtomicBool,
}

impl Client {
    /// The `ssh` program of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub fn program(&self) -> Result<&Program> {
        if self.program.get().is_none() {
            self.program.set(Program::find()?).ok();
        }
        self.program.get().ok_or_else(|| crate::error::Error::failed("the `ssh` client cannot be used"))
    }

    /// Whether some exchange was possible only with the `ssh` program.
    #[must_use]
    pub fn needed_program(&self) -> bool {
        self.by_program.load(Ordering::Relaxed)
    }

    /// What an exchange showed. If it could not be made in this process, the `ssh` program makes it over the route.
    ///
    /// # Errors
    /// The program is needed and cannot be run.
    pub fn settled(
        &self,
        exchanged: Result<Transcript, Fault>,
        question: &Question<'_>,
        route: &Route,
        user: &str,
    ) -> Result<Transcript> {
        let fault = match exchanged {
            Ok(seen) => return Ok(seen),
            Err(fault) => fault,
        };
        let words = vec![fault.to_string()];
        match fault.verdict() {
            Verdict::Unknown => Ok(Transcript { words, ..Transcript::default() }),
            Verdict::Wrong => Ok(Transcript { end: End::HostKeyRefused, words, ..Transcript::default() }),
            Verdict::Incapable => {
                self.by_program.store(true, Ordering::Relaxed);
                self.ask_program(question, route, user)
            }
        }
    }

    /// Asks with the `ssh` program.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn ask_program(&self, question: &Question<'_>, route: &Route, user: &str) -> Result<Transcript> {
        let program = self.program()?;
        let algorithms = known_hosts::algorithms(question.key_type, question.certificate, program.version);
        program.exchange(route, &Attempt { knows: question.knows, algorithms, name: question.name, user })
    }
}
