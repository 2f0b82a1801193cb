//! `warded:host/log`.

use super::{State, stopped};
use crate::{
    broker::{operation::message::Say, session::Level},
    sandbox::{bindings::warded::host::log::Host, limits},
};
use warded_lib::error::Error;

impl Host for State {
    fn info(&mut self, message: String) -> wasmtime::Result<()> {
        self.say(Level::Info, message)
    }

    fn warn(&mut self, message: String) -> wasmtime::Result<()> {
        self.say(Level::Warn, message)
    }
}

impl State {
    fn say(&mut self, level: Level, text: String) -> wasmtime::Result<()> {
        if self.session.messages.len() >= limits::LOG_LINES {
            return Err(stopped(&format!("it said more than {} lines", limits::LOG_LINES)));
        }
        self.perform(Say { level, text })?
            .map_err(|error| Error::failed("a message of the component was lost").cause(error.message).into())
    }
}
