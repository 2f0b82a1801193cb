//! No program is run in a trial: the scenario says what queries print.

use std::collections::BTreeMap;
use warded_lib::{
    machine::action::{Call, Code, Fault, Ran, Runner},
    name::Name,
};

/// What each query prints, by its action's name.
#[derive(Debug)]
pub(super) struct Scripted(pub(super) BTreeMap<Name, String>);

impl Runner for Scripted {
    fn run(&self, call: &Call) -> Result<Ran, Fault> {
        match self.0.get(&call.name).filter(|_| !call.is_change) {
            Some(printed) => Ok(Ran { status: Some(0), stdout: printed.clone().into_bytes().into(), ..Ran::default() }),
            None => Err(Fault::new(Code::NoProgram, format!("the scenario does not say what {} prints", call.name))),
        }
    }
}
