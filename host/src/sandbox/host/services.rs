//! `warded:host/services`.

use super::{Answer, State};
use crate::{broker::operation::service::Tell, sandbox::bindings::warded::host::services::Host};
use warded_lib::machine::service::ServiceOperation;

impl Host for State {
    fn reload(&mut self, name: String) -> Answer<()> {
        self.perform(Tell(ServiceOperation::Reload, name))
    }

    fn restart(&mut self, name: String) -> Answer<()> {
        self.perform(Tell(ServiceOperation::Restart, name))
    }
}
