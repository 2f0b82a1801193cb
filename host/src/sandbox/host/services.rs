//! `warded:host/services`.

use super::{Answer, State};
use crate::{broker::operation::service::ServiceCall, sandbox::bindings::warded::host::services::Host};
use warded_lib::machine::service::ServiceOperation;

impl Host for State {
    fn reload(&mut self, name: String) -> Answer<()> {
        self.perform(ServiceCall(ServiceOperation::Reload, name))
    }

    fn restart(&mut self, name: String) -> Answer<()> {
        self.perform(ServiceCall(ServiceOperation::Restart, name))
    }
}
