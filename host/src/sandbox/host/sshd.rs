//! `warded:host/sshd`.

use super::{Answer, State};
use crate::{
    broker::operation::sshd::EffectiveValues,
    sandbox::bindings::warded::host::{sshd::Host, types::Setting},
};

impl Host for State {
    fn effective(&mut self, keyword: String, connection: Vec<Setting>) -> Answer<Vec<String>> {
        let connection = connection.into_iter().map(|Setting { name, value }| (name, value)).collect();
        self.perform(EffectiveValues { keyword, connection })
    }
}
