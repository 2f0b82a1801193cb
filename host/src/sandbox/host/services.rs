//! `warded:host/services`.

use super::{Answer, State};
use crate::{broker::operation::service::Reload, sandbox::bindings::warded::host::services::Host};

impl Host for State {
    fn reload(&mut self, name: String) -> Answer<()> {
        self.perform(Reload(name))
    }
}
