//! `actions.*`: queries run at once; changes are queued.

use super::{Failure, Operation, schedule};
use crate::broker::{granted::Granted, session::Session};
use serde_json::{Value, json};
use std::sync::Arc;
use warded_lib::{
    digest::Digest,
    machine::{
        action::{Action, Fault, Invocation, Step},
        keys::holds_private_key,
    },
    policy::need::Need,
    text::{count, shell_word},
};

/// Inputs that a guest gives, by name.
type Input = Vec<(String, String)>;

/// Runs a program that changes nothing, and returns its answer.
#[derive(Debug)]
pub struct Query {
    pub name: String,
    /// The input for the program.
    pub input: Input,
}

/// Stages a program that changes something.
#[derive(Debug)]
pub struct Change {
    pub name: String,
    /// The input for the program.
    pub input: Input,
}

impl Operation for Query {
    type Output = Vec<u8>;

    fn need(&self) -> Need {
        Need::Query(self.name.clone())
    }

    fn arguments(&self) -> Value {
        json!({ "input": self.input })
    }

    fn input(&self) -> Option<String> {
        digests(&self.input)
    }

    fn outcome(output: &Vec<u8>) -> Option<String> {
        Some(format!("output: {}, {}", count(output.len(), "byte"), Digest::of(output)))
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<Vec<u8>, Failure> {
        let Self { name, input } = granted.operation();
        let filled = filled(session, name, input)?;
        let runner = Arc::clone(&session.runner);
        let answer = session.changes.ask(&filled, runner.as_ref(), &session.root)?.bytes();
        // No private key reaches a guest, even if the policy shows this part of the answer.
        if holds_private_key(&answer) {
            return Err(Failure::new("private-key", format!("the answer of {name} holds a private key")));
        }
        Ok(answer)
    }
}

impl Operation for Change {
    type Output = bool;

    fn need(&self) -> Need {
        Need::Change(self.name.clone())
    }

    fn arguments(&self) -> Value {
        json!({ "input": self.input })
    }

    fn input(&self) -> Option<String> {
        digests(&self.input)
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<bool, Failure> {
        let Self { name, input } = granted.operation();
        let filled = filled(session, name, input)?;
        let runner = Arc::clone(&session.runner);
        let Session { actions, changes, root, .. } = session;
        let step = Step::of(filled, actions, |query| changes.ask(query, runner.as_ref(), root))?;
        Ok(changes.queue(step))
    }
}

/// The action with its inputs.
fn filled(session: &Session, name: &str, input: &Input) -> Result<Invocation, Failure> {
    let known = session.actions.iter().find(|(known, _)| known.as_str() == name);
    let (name, action) = known.ok_or_else(|| Failure::new("no-program", "the policy has no such action"))?;
    // The action's undo may name this program even if the action itself does not.
    let back = action.undo.as_ref().and_then(|undo| session.actions.get(&undo.action));
    let names_warded = [Some(action), back].into_iter().flatten().any(Action::names_warded);
    let warded = if names_warded { own_words(session)? } else { String::new() };
    let given = input.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Ok(Invocation::new(name, action, given, &warded)?)
}

/// The command line of this binary, with the options that lead it to the same files, quoted for a shell.
fn own_words(session: &Session) -> Result<String, Failure> {
    // On a machine that is only described, nothing runs it.
    if session.is_described() {
        return Ok(schedule::DESCRIBED.to_owned());
    }
    let untrusted = |why: String| Failure::new("untrusted-program", why);
    let Some(terms) = &session.schedule else {
        return Err(untrusted("it is not known where this program is".to_owned()));
    };
    if let Some(why) = schedule::unsafe_program(&terms.program) {
        return Err(untrusted(why));
    }
    let words = terms.options.iter().flat_map(|(option, path)| [(*option).to_owned(), path.display().to_string()]);
    let words = std::iter::once(terms.program.display().to_string()).chain(words);
    Ok(words.map(|word| shell_word(&word)).collect::<Vec<_>>().join(" "))
}

/// The inputs for the record: the length and digest of each.
fn digests(input: &Input) -> Option<String> {
    let one = |(name, value): &(String, String)| {
        format!("{name}: {}, {}", count(value.len(), "byte"), Digest::of(value.as_bytes()))
    };
    (!input.is_empty()).then(|| input.iter().take(8).map(one).collect::<Vec<_>>().join("; "))
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let failure = Self::new(fault.code.as_str(), fault.message);
        fault.status.into_iter().fold(failure, |failure, status| failure.about("status", status))
    }
}
