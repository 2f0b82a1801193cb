//! `warded:host/schedule`.

use super::{Answer, State};
use crate::{broker::operation::schedule::Schedule, sandbox::bindings::warded::host::schedule::Host};

impl Host for State {
    fn renewals(&mut self) -> Answer<bool> {
        self.perform(Schedule { renews: true })
    }

    fn none(&mut self) -> Answer<bool> {
        self.perform(Schedule { renews: false })
    }
}
