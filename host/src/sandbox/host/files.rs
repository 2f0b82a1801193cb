//! `warded:host/files`.

use super::{Answer, State, answer};
use crate::{
    broker::operation::file::{List, Read, Remove, Write},
    sandbox::bindings::warded::host::files::Host,
};

impl Host for State {
    fn read(&mut self, path: String) -> Answer<Option<Vec<u8>>> {
        let path = answer!(self.path("files.read", &path));
        self.perform(Read(path))
    }

    fn list(&mut self, directory: String) -> Answer<Option<Vec<String>>> {
        let directory = answer!(self.path("files.list", &directory));
        let readable = self.broker.readable();
        self.perform(List { directory, readable })
    }

    fn write(&mut self, path: String, contents: Vec<u8>, mode: Option<u32>) -> Answer<bool> {
        let path = answer!(self.path("files.write", &path));
        self.perform(Write { path, contents, mode })
    }

    fn remove(&mut self, path: String) -> Answer<bool> {
        let path = answer!(self.path("files.remove", &path));
        self.perform(Remove(path))
    }
}
