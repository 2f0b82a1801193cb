//! `warded:host/actions`.

use super::{Answer, State};
use crate::{
    broker::operation::action::{Change, Query},
    sandbox::bindings::warded::host::{actions::Host, types::Setting},
};

impl Host for State {
    fn query(&mut self, name: String, input: Vec<Setting>) -> Answer<Vec<u8>> {
        self.perform(Query { name, input: pairs(input) })
    }

    fn change(&mut self, name: String, input: Vec<Setting>) -> Answer<bool> {
        self.perform(Change { name, input: pairs(input) })
    }
}

fn pairs(input: Vec<Setting>) -> Vec<(String, String)> {
    input.into_iter().map(|Setting { name, value }| (name, value)).collect()
}
