//! `warded:host/authority`.

use super::{Answer, State, answer, keys};
use crate::{
    broker::operation::{
        authority::{Issue, Read, Rekey, Renew, Roots, Write},
        key::KeyPair,
    },
    sandbox::bindings::warded::host::authority::{Host, HostCertificate, HostIssued, Kind, Validity},
};
use warded_lib::{
    ca::{self, Certificate, Principals},
    change_set::RequestId,
};
use wasmtime::component::Resource;

impl Host for State {
    fn roots(&mut self, kind: Kind) -> Answer<Vec<String>> {
        let roots = answer!(self.perform(Roots(kind.into())));
        Ok(Ok(roots.iter().map(keys::line).collect::<Result<_, _>>()?))
    }

    fn read(&mut self, path: String) -> Answer<Option<Resource<Certificate>>> {
        let path = answer!(self.path("authority.read", &path));
        let certificate = answer!(self.perform(Read(path)));
        certificate.map(|certificate| self.hold(certificate)).transpose().map(Ok)
    }

    fn issue(&mut self, key: Resource<KeyPair>, kind: Kind, principals: Vec<String>) -> Answer<Resource<RequestId>> {
        let key = self.handles.get(&key)?.clone();
        let kind = ca::Kind::from(kind);
        let principals = answer!(self.principals("authority.issue", kind, &principals));
        let id = answer!(self.perform(Issue { key, kind, principals }));
        self.hold(id).map(Ok)
    }

    fn renew(&mut self, key: Resource<KeyPair>, current: Resource<Certificate>) -> Answer<Resource<RequestId>> {
        let key = self.handles.get(&key)?.clone();
        let current = self.handles.get(&current)?.clone();
        let kind = current.kind();
        let principals = answer!(self.principals("authority.renew", kind, current.principals()));
        let id = answer!(self.perform(Renew { key, current, kind, principals }));
        self.hold(id).map(Ok)
    }

    fn rekey(&mut self, key: Resource<KeyPair>, current: Resource<Certificate>) -> Answer<Resource<RequestId>> {
        let key = self.handles.get(&key)?.clone();
        let current = self.handles.get(&current)?.clone();
        let kind = current.kind();
        let principals = answer!(self.principals("authority.rekey", kind, current.principals()));
        let id = answer!(self.perform(Rekey { key, current, kind, principals }));
        self.hold(id).map(Ok)
    }

    fn write(&mut self, path: String, certificate: Resource<RequestId>) -> Answer<bool> {
        let request = *self.handles.get(&certificate)?;
        let path = answer!(self.path("authority.write", &path));
        self.perform(Write { path, request })
    }
}

impl HostIssued for State {
    fn drop(&mut self, issued: Resource<RequestId>) -> wasmtime::Result<()> {
        self.handles.delete(issued)?;
        Ok(())
    }
}

impl HostCertificate for State {
    fn serial(&mut self, certificate: Resource<Certificate>) -> wasmtime::Result<u64> {
        Ok(self.handles.get(&certificate)?.serial())
    }

    fn key_id(&mut self, certificate: Resource<Certificate>) -> wasmtime::Result<String> {
        Ok(self.handles.get(&certificate)?.key_id().to_owned())
    }

    fn principals(&mut self, certificate: Resource<Certificate>) -> wasmtime::Result<Vec<String>> {
        Ok(self.handles.get(&certificate)?.principals().to_vec())
    }

    fn validity(&mut self, certificate: Resource<Certificate>) -> wasmtime::Result<Validity> {
        let certificate = self.handles.get(&certificate)?;
        Ok(Validity { after: certificate.valid_after(), before: certificate.valid_before() })
    }

    fn signer(&mut self, certificate: Resource<Certificate>) -> wasmtime::Result<String> {
        Ok(self.handles.get(&certificate)?.signer_fingerprint())
    }

    fn signer_key(&mut self, certificate: Resource<Certificate>) -> wasmtime::Result<String> {
        Ok(keys::line(self.handles.get(&certificate)?.signer())?)
    }

    fn public_key(&mut self, certificate: Resource<Certificate>) -> wasmtime::Result<String> {
        Ok(keys::line(self.handles.get(&certificate)?.key())?)
    }

    fn kind(&mut self, certificate: Resource<Certificate>) -> wasmtime::Result<Kind> {
        Ok(self.handles.get(&certificate)?.kind().into())
    }

    fn due(&mut self, certificate: Resource<Certificate>) -> wasmtime::Result<bool> {
        Ok(self.session.renewal.is_due(self.handles.get(&certificate)?))
    }

    fn drop(&mut self, certificate: Resource<Certificate>) -> wasmtime::Result<()> {
        self.handles.delete(certificate)?;
        Ok(())
    }
}

impl State {
    fn principals(&mut self, capability: &'static str, kind: ca::Kind, names: &[String]) -> Answer<Principals> {
        let parsed = Principals::parse(kind, names.iter().map(String::as_str)).map_err(|why| why.to_string());
        self.parse(capability, "invalid-principal", &names.join(" "), parsed)
    }
}

impl From<Kind> for ca::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Host => Self::Host,
            Kind::User => Self::User,
        }
    }
}

impl From<ca::Kind> for Kind {
    fn from(kind: ca::Kind) -> Self {
        match kind {
            ca::Kind::Host => Self::Host,
            ca::Kind::User => Self::User,
        }
    }
}
