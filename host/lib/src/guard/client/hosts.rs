//! Proves the host keys of a candidate with one sshd that serves one connection: a user with a throw-away key logs
//! in, and each further host key is proved by a key exchange in the same session. Options that only concern logins
//! let that user in. If the configuration still lets nobody in, each host key is proved by a connection of its own,
//! without a login.

use super::{
    Client, Question,
    bench::{Bench, Connection},
    program::Route,
    transcript::{End, Transcript},
};
use crate::{error::Result, handshake::Login, text};
use ssh_key::PrivateKey;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// At most this many connections at once, where each host key needs one of its own.
const AT_ONCE: usize = 3;

/// The user and the key of a login that ends the proof.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// The user.
    pub user: &'a str,
    /// The key; none: nobody can log in, or a login would run a program.
    pub key: Option<&'a PrivateKey>,
}

/// How the host keys were proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProofMethod {
    /// All in one session.
    #[default]
    Session,
    /// Each by a connection of its own.
    Connections,
}

impl ProofMethod {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Connections => "connections",
        }
    }
}

/// Asks all the questions; the answers come in the order of the questions.
///
/// # Errors
/// When sshd cannot be started, or the `ssh` program is needed and cannot be run.
pub fn ask(
    bench: &Bench,
    client: &Client,
    guest: Guest<'_>,
    questions: &[Question<'_>],
) -> Result<(Vec<Transcript>, ProofMethod)> {
    let mut answers = vec![None; questions.len()];
    if questions.len() > 1 && guest.key.is_some() {
        in_session(bench, guest, questions, &mut answers)?;
    }
    let open: Vec<usize> =
        answers.iter().enumerate().filter_map(|(index, answer)| answer.is_none().then_some(index)).collect();
    let way = if open.is_empty() { ProofMethod::Session } else { ProofMethod::Connections };
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    let work = || {
        while let Some(index) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some(question) = questions.get(*index) {
                let seen = alone(bench, client, guest.user, question);
                found.lock().unwrap_or_else(PoisonError::into_inner).push((*index, seen));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..AT_ONCE.min(open.len()) {
            // If no more threads can be started, the existing ones do the work.
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    for (index, seen) in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
        if let Some(answer) = answers.get_mut(index) {
            *answer = Some(seen?);
        }
    }
    Ok((answers.into_iter().flatten().collect(), way))
}

/// Asks as many of the questions as one session can answer, the first one before the login.
fn in_session(
    bench: &Bench,
    guest: Guest<'_>,
    questions: &[Question<'_>],
    answers: &mut [Option<Transcript>],
) -> Result<()> {
    let Some(key) = guest.key else { return Ok(()) };
    let Ok(Connection { mut session, service }) = bench.open()? else { return Ok(()) };
    let mut logged_in = false;
    let mut exchanged = false;
    for (question, answer) in questions.iter().zip(answers) {
        if exchanged && !logged_in {
            logged_in = matches!(session.authenticate(guest.user, key), Ok(Login::Accepted));
            if !logged_in {
                break;
            }
        }
        let Ok(seen) = question.ask(&mut session) else { break };
        exchanged |= seen.end != End::NotOffered;
        *answer = Some(seen);
    }
    drop(session);
    drop(service);
    Ok(())
}

/// Asks in a connection of its own; once more if nothing was learnt, which happens only on a very busy machine.
fn alone(bench: &Bench, client: &Client, user: &str, question: &Question<'_>) -> Result<Transcript> {
    let mut last = Transcript::default();
    for _ in 0..2 {
        last = once(bench, client, user, question)?;
        if last.end != End::Incomplete {
            break;
        }
    }
    Ok(last)
}

fn once(bench: &Bench, client: &Client, user: &str, question: &Question<'_>) -> Result<Transcript> {
    let (asked, said) = match bench.open()? {
        Ok(Connection { mut session, service }) => {
            let asked = question.ask(&mut session);
            drop(session);
            (asked, service.end())
        }
        Err((fault, said)) => (Err(fault), said),
    };
    let mut seen = client.settled(asked, question, &Route::Pipe(bench.words().to_vec()), user)?;
    if !seen.is_past_host_key() {
        seen.words.extend(said.lines().map(text::neutral));
    }
    Ok(seen)
}
