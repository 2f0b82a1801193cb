//! A trial runs no program: the scenario says what queries print, and after a change the query prints the state that
//! the policy says it has.

use super::scenario::ProgramFailure;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use warded_lib::{
    machine::action::{Call, Code, Fault, Invocation, Output, RawOutput, Runner, StateChange, StateValue, Step},
    name::Name,
};

/// How the next change fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It does nothing, and fails.
    Before,
    /// It does everything that it should, and reports a failure.
    After,
}

/// What queries print, by the name of their action, and how changes alter that.
#[derive(Debug)]
pub(super) struct ScriptedPrograms {
    documents: Mutex<Documents>,
    failing: BTreeMap<Name, ProgramFailure>,
}

#[derive(Debug, Default)]
struct Documents {
    printed: BTreeMap<Name, String>,
    next: Next,
    failure: Option<Failure>,
    /// The list elements that a change removed: a change that restores them gives the same elements.
    taken: BTreeMap<Name, Value>,
}

/// The effect of the next change.
#[derive(Debug, Default)]
struct Next {
    /// The query that shows its state, and the state afterwards; `None` if no query shows it.
    state: Option<(StateChange, StateValue)>,
    /// The output and the exit status by which it counts as successful.
    printed: String,
    status: i32,
}

impl ScriptedPrograms {
    pub(super) fn new(printed: BTreeMap<Name, String>, failing: BTreeMap<Name, ProgramFailure>) -> Self {
        Self { documents: Mutex::new(Documents { printed, ..Documents::default() }), failing }
    }

    /// What every query prints now.
    pub(super) fn documents(&self) -> BTreeMap<Name, String> {
        self.lock().printed.clone()
    }

    /// Prepares for the next change: this step's, or the one that rolls it back.
    ///
    /// # Errors
    /// The state after the change cannot be determined.
    pub(super) fn expects(&self, step: &Step, rolls_back: bool, failure: Option<Failure>) -> Result<(), Fault> {
        let seen = step.seen.clone();
        let change = seen.as_ref().filter(|_| rolls_back).map_or(&step.change, |seen| &seen.undo);
        let (ok, state) = (&change.action.ok, change.action.state.as_ref());
        let (printed, status) = (ok.stdout.clone().unwrap_or_default(), ok.status);
        // As the change itself declares it, and not as the host expects it: the policy may be wrong.
        let to = state.map(|state| change.becomes(&state.becomes)).transpose()?;
        let mut documents = self.lock();
        documents.next = Next { state: seen.zip(to), printed, status };
        documents.failure = failure;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Documents> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runner for ScriptedPrograms {
    fn run(&self, call: &Call) -> Result<RawOutput, Fault> {
        let mut documents = self.lock();
        if let Some(failure) = self.failing.get(&call.name) {
            return Ok(failed(failure));
        }
        if call.is_change {
            return documents.change(call);
        }
        match documents.printed.get(&call.name) {
            Some(printed) => Ok(ended(0, printed)),
            None => Err(Fault::new(Code::NoProgram, format!("the scenario does not say what {} prints", call.name))),
        }
    }
}

impl Documents {
    fn change(&mut self, call: &Call) -> Result<RawOutput, Fault> {
        let failure = self.failure.take();
        let Next { state, printed, status } = std::mem::take(&mut self.next);
        if failure == Some(Failure::Before) {
            return Ok(ended(status.wrapping_add(1), ""));
        }
        if let Some((seen, to)) = state {
            let query = &seen.query.name;
            let taken = self.taken.get(query).cloned();
            let now = self.printed.get(query).map(String::as_str).unwrap_or_default();
            let (next, took) = becomes(now, &seen, &to, (taken, given(call))).ok_or_else(|| {
                let why = format!("{} cannot change what {query} prints in this scenario", call.name);
                Fault::new(Code::UnexpectedOutput, why)
            })?;
            if let Some(took) = took {
                self.taken.insert(query.clone(), took);
            }
            self.printed.insert(query.clone(), next);
        }
        Ok(ended(status.wrapping_add(i32::from(failure.is_some())), &printed))
    }
}

fn failed(failure: &ProgramFailure) -> RawOutput {
    let (status, words) = match failure {
        ProgramFailure::Hangs(_) => return RawOutput { timed_out: true, ..RawOutput::default() },
        ProgramFailure::Fails { fails } => (1, fails),
        ProgramFailure::Ends { status, says } => (*status, says),
    };
    RawOutput { stderr: words.clone().into_bytes().into(), ..ended(status, "") }
}

fn ended(status: i32, printed: &str) -> RawOutput {
    RawOutput { status: Some(status), stdout: printed.as_bytes().to_vec().into(), ..RawOutput::default() }
}

/// What a query prints after a change, and what the change removed from a list; `None` if the query printed nothing
/// that can hold such a state.
fn becomes(
    now: &str,
    seen: &StateChange,
    to: &StateValue,
    (taken, given): (Option<Value>, Map<String, Value>),
) -> Option<(String, Option<Value>)> {
    let document = || serde_json::from_str::<Value>(now).ok();
    let is_text = !matches!(&seen.query.action.output, Some(Output::Json(_)));
    Some(match (to, &seen.state.member) {
        (StateValue::Value(value), Some(member)) => {
            let mut document = document()?;
            let element = if document.is_array() { document.as_array_mut()?.first_mut()? } else { &mut document };
            element.as_object_mut()?.insert(member.clone(), value.clone());
            (document.to_string(), None)
        }
        (StateValue::Value(value), None) => (value.as_str().map_or_else(|| value.to_string(), str::to_owned), None),
        (StateValue::Absent, _) if is_text => (String::new(), None),
        (StateValue::Present, _) if is_text => ("present\n".to_owned(), None),
        (StateValue::Absent, _) => ("[]".to_owned(), document()?.as_array()?.first().cloned()),
        (StateValue::Present, _) => (Value::Array(vec![made(&seen.query, taken, given)]).to_string(), None),
    })
}

/// The members of all objects that a change gets as JSON input.
fn given(call: &Call) -> Map<String, Value> {
    let stdin = call.stdin.as_ref().map(|input| input.as_slice());
    let words = call.argv.iter().map(String::as_bytes).chain(stdin);
    words.filter_map(|word| serde_json::from_slice::<Map<_, _>>(word).ok()).flatten().collect()
}

/// The object that an appliance creates: the one that was removed earlier, or one in which each member that the query
/// shows is 1; with the members from the input.
fn made(query: &Invocation, taken: Option<Value>, given: Map<String, Value>) -> Value {
    let members = match &query.action.output {
        Some(Output::Json(members)) => members.as_slice(),
        Some(Output::Text(_) | Output::File(_)) | None => &[],
    };
    let mut made = match taken {
        Some(Value::Object(taken)) => taken,
        Some(_) | None => members.iter().map(|member| (member.clone(), 1.into())).collect(),
    };
    made.extend(given.into_iter().filter(|(member, _)| members.contains(member)));
    Value::Object(made)
}
