//! `warded:host/ssh`.

use super::{Answer, State};
use crate::{broker::operation::ssh::EffectiveValues, sandbox::bindings::warded::host::ssh::Host};

impl Host for State {
    fn effective(&mut self, keyword: String, host: String) -> Answer<Vec<String>> {
        self.perform(EffectiveValues { keyword, host })
    }
}
