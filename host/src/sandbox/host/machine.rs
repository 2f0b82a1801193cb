//! `warded:host/machine`.

use super::State;
use crate::{broker::operation::fact::Fact, sandbox::bindings::warded::host::machine::Host};
use warded_lib::error::Error;

impl Host for State {
    fn fact(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        // The interface has no error for a fact, so a fact that cannot be determined ends the run.
        self.perform(Fact(name))?.map_err(|error| {
            Error::failed("a fact about this machine cannot be determined").cause(error.message).into()
        })
    }
}
