//! Actions whose programs generate sshd's main configuration file, now or later, from the input that a run gives them.
//! The guard judges the file that the run leaves, so the programs must not generate another one.

use crate::broker::{operation::Failure, session::Session};
use sshd_config::block;
use std::sync::Arc;
use warded_lib::{
    error::{Error, Result},
    machine::action::{Action, Invocation, Kind, StateChange, StateValue},
    name::Name,
    text::count,
};

/// Compares what each of these actions will generate with the file that the run leaves.
///
/// # Errors
/// Refused: they differ. Or a program cannot be asked.
pub(super) fn check(session: &mut Session) -> Result<()> {
    let actions = session.actions.clone();
    for (name, action) in actions.iter().filter(|(_, action)| action.yields.is_some()) {
        match action.kind {
            Kind::Query => check_query(session, name, action)?,
            Kind::Change => check_change(session, name)?,
        }
    }
    Ok(())
}

/// The query sees a copy of the files that the run stages, so its answer must be the file itself.
fn check_query(session: &mut Session, name: &Name, action: &Action) -> Result<()> {
    let query = Invocation::new(name, action, [], "").map_err(Error::from)?;
    if !session.changes.is_copied_from(&query, &session.root).map_err(Error::from)? {
        return Ok(());
    }
    let runner = Arc::clone(&session.runner);
    let made = session.changes.ask(&query, runner.as_ref(), &session.root).map_err(Error::from)?.bytes();
    if made == left(session)? {
        return Ok(());
    }
    Err(differs(session, name).cause(format!(
        "its output for the staged files is {}, and differs from the checked file",
        count(made.len(), "byte")
    )))
}

/// An input that becomes part of the file may change only between Warded's marks, and must have the same lines there as
/// the file.
fn check_change(session: &mut Session, name: &Name) -> Result<()> {
    let left = left(session)?;
    let of_it = session.changes.steps().iter().filter(|step| step.change.name == *name);
    for StateChange { before, after, .. } in of_it.filter_map(|step| step.seen.as_ref()) {
        let (before, after) = (text(before), text(after));
        // A block that is added after an unterminated last line terminates that line.
        let ended = |mut text: Vec<u8>| {
            text.extend((!text.is_empty() && !text.ends_with(b"\n")).then_some(b'\n'));
            text
        };
        let outside = |text: &str| block::outside(text.as_bytes()).ok().map(|lines| ended(lines.concat()));
        if outside(before).is_none() || outside(before) != outside(after) {
            return Err(differs(session, name).cause("its input gets another text outside of Warded's marks"));
        }
        if blocks(after.as_bytes()) != blocks(&left) {
            return Err(
                differs(session, name).cause("its input gets other lines between Warded's marks than the file has")
            );
        }
    }
    Ok(())
}

fn text(observed: &StateValue) -> &str {
    match observed {
        StateValue::Value(value) => value.as_str().unwrap_or_default(),
        StateValue::Absent | StateValue::Present => "",
    }
}

/// The lines of each block between Warded's marks; `None` if the marks are not in pairs.
fn blocks(text: &[u8]) -> Option<Vec<&[u8]>> {
    let blocks = block::all(text).ok()?;
    Some(blocks.into_iter().filter_map(|(_, range)| text.get(range)).map(<[u8]>::trim_ascii).collect())
}

/// sshd's main file as the run leaves it.
fn left(session: &mut Session) -> Result<Vec<u8>> {
    let main = session.circumstances.places.sshd_config.clone();
    let place = session.place(&main, main.segments().count()).map_err(failed)?;
    let found = place.map(|place| session.changes.read(&place)).transpose();
    Ok(found.map_err(|error| failed(Failure::from(error)))?.flatten().unwrap_or_default())
}

fn failed(failure: Failure) -> Error {
    Error::failed(failure.message)
}

fn differs(session: &Session, name: &Name) -> Error {
    let main = &session.circumstances.places.sshd_config;
    Error::refused(format!("the program of {name} would make another {main} than the one that this run checks")).next(
        "this is a fault of the procedure: tell whoever made the policy, with `warded plan --record FILE` of this run",
    )
}
