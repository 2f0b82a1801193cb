//! `warded:host/services`.

use super::{Answer, State};
use crate::{operation::service::Reload, runtime::bindings::warded::host::services::Host};

impl Host for State {
    fn reload(&mut self, name: String) -> Answer<()> {
        self.perform(Reload(name))
    }
}
