//! `warded:host/keys`.

use super::{Answer, State, answer};
use crate::{
    broker::operation::key::{Ensure, HostKeys, KeyPair, Open, Replace},
    sandbox::bindings::warded::host::keys::{Host, HostKeyPair},
};
use ssh_key::PublicKey;
use wasmtime::component::Resource;

impl Host for State {
    fn host_keys(&mut self) -> Answer<Vec<Resource<KeyPair>>> {
        let pairs = answer!(self.perform(HostKeys));
        pairs.into_iter().map(|pair| self.hold(pair)).collect::<wasmtime::Result<_>>().map(Ok)
    }

    fn open(&mut self, path: String) -> Answer<Option<Resource<KeyPair>>> {
        let path = answer!(self.path("keys.open", &path));
        let pair = answer!(self.perform(Open(path)));
        pair.map(|pair| self.hold(pair)).transpose().map(Ok)
    }

    fn ensure(&mut self, path: String, algorithm: String) -> Answer<Resource<KeyPair>> {
        let path = answer!(self.path("keys.ensure", &path));
        let pair = answer!(self.perform(Ensure { path, algorithm }));
        self.hold(pair).map(Ok)
    }

    fn replace(&mut self, path: String) -> Answer<Resource<KeyPair>> {
        let path = answer!(self.path("keys.replace", &path));
        let pair = answer!(self.perform(Replace(path)));
        self.hold(pair).map(Ok)
    }
}

impl HostKeyPair for State {
    fn path(&mut self, pair: Resource<KeyPair>) -> wasmtime::Result<String> {
        Ok(self.handles.get(&pair)?.path.to_string())
    }

    fn algorithm(&mut self, pair: Resource<KeyPair>) -> wasmtime::Result<String> {
        Ok(self.handles.get(&pair)?.public.algorithm().to_string())
    }

    fn public_key(&mut self, pair: Resource<KeyPair>) -> wasmtime::Result<String> {
        Ok(line(&self.handles.get(&pair)?.public)?)
    }

    fn drop(&mut self, pair: Resource<KeyPair>) -> wasmtime::Result<()> {
        self.handles.delete(pair)?;
        Ok(())
    }
}

/// A public key as one line of OpenSSH's format, without a comment.
pub(super) fn line(key: &PublicKey) -> ssh_key::Result<String> {
    PublicKey::from(key.key_data().clone()).to_openssh()
}
