//! The real step-ca, with keys and a configuration of its own, on a port of the loopback interface.

mod provisioner;
mod server;
mod setup;
mod tests;

use super::{
    https::Https,
    jwk::{self, Jwk},
    machine::keygen,
    network::Network,
    x509::Authority,
};
pub(crate) use provisioner::{PASSWORD, Provisioner};
use serde_json::{Value, json};
use server::{Server, binary};
pub(crate) use setup::Setup;
use setup::{read_config, write_config};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What it prints each time it begins to serve.
const SERVES: &str = "Serving HTTPS on";

/// A CA. Everything is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct StepCa {
    // Dropped in this order: the process, then its files.
    server: Option<Server>,
    binary: &'static Path,
    network: Network,
    port: u16,
    names: Vec<String>,
    tls: Authority,
    keys: BTreeMap<String, Jwk>,
    directory: TempDir,
}

impl StepCa {
    /// A CA with the provisioners `admin`, whose key has the password [`PASSWORD`], and `sshpop`. `None` if step-ca
    /// cannot be built on this machine and the test is skipped.
    pub(crate) fn start(network: &Network) -> Option<Self> {
        Self::with(network, &Setup::default())
    }

    /// A CA with this setup.
    pub(crate) fn with(network: &Network, setup: &Setup) -> Option<Self> {
        let mut ca = Self::made(network, setup)?;
        ca.serve();
        Some(ca)
    }

    /// A CA whose certificates are not valid for any client: only its log shows that it serves.
    pub(crate) fn unchecked(network: &Network, setup: &Setup) -> Option<Self> {
        let mut ca = Self::made(network, setup)?;
        ca.server = Some(Server::start(ca.binary, ca.directory.path(), &ca.network));
        super::wait::wait("step-ca serves", super::wait::LONG, || ca.begun() > 0);
        Some(ca)
    }

    fn made(network: &Network, setup: &Setup) -> Option<Self> {
        let binary = binary()?;
        let directory = tempfile::Builder::new().prefix("warded-step-ca-").tempdir().unwrap();
        let port = network.free_port();
        // The name contains characters that certificates and messages have to quote.
        let tls = match setup.ends {
            Some(ends) => Authority::ending("Test, Inc.", ends),
            None => Authority::new("Test, Inc."),
        };
        let keys = setup.write(directory.path(), port, &tls, &Authority::new("Other CA"));
        let names = setup.names.clone();
        Some(Self { server: None, binary, network: network.clone(), port, names, tls, keys, directory })
    }

    /// Its URL, with the first of its names.
    pub(crate) fn url(&self) -> String {
        self.url_by(&self.names[0])
    }

    /// Its URL, with a name that resolves to this machine.
    pub(crate) fn url_by(&self, name: &str) -> String {
        format!("https://{name}:{}", self.port)
    }

    /// The SHA-256 of its root certificate.
    pub(crate) fn fingerprint(&self) -> String {
        self.tls.fingerprint()
    }

    /// Its root certificate.
    pub(crate) fn root(&self) -> String {
        self.tls.root()
    }

    /// A file with the password of all JWK provisioners.
    pub(crate) fn password_file(&self) -> PathBuf {
        self.path("provisioner-password")
    }

    /// The file with a JWK provisioner's private key.
    pub(crate) fn key_file(&self, provisioner: &str) -> PathBuf {
        self.path(&format!("{provisioner}.jwk"))
    }

    /// A JWK provisioner's key, for tokens that Warded would not make.
    pub(crate) fn key(&self, provisioner: &str) -> &Jwk {
        &self.keys[provisioner]
    }

    /// The file with the certificate that X5C provisioners accept, followed by its intermediate, and the file with its
    /// key.
    pub(crate) fn x5c(&self) -> (PathBuf, PathBuf) {
        (self.path("x5c.crt"), self.path("x5c.key"))
    }

    /// The public key that signs certificates of hosts (`host`) or users (`user`).
    pub(crate) fn authority(&self, kind: &str) -> String {
        fs::read_to_string(self.path(&format!("{kind}_ca.pub"))).unwrap()
    }

    /// The path of a file of the CA: `host_ca` and `user_ca` are the private keys.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Its log, one JSON object per line, which gives the true reason for a 401.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A client that asks the CA directly.
    pub(crate) fn https(&self) -> Https {
        Https { network: self.network.clone(), port: self.port, name: self.names[0].clone(), root: self.root() }
    }

    /// Ends the process.
    pub(crate) fn stop(&mut self) {
        drop(self.server.take());
    }

    /// Starts it again, after [`StepCa::stop`].
    pub(crate) fn serve(&mut self) {
        let before = self.begun();
        self.server = Some(Server::start(self.binary, self.directory.path(), &self.network));
        self.await_more_than(before);
    }

    /// Restarts it: older tokens become invalid.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.serve();
    }

    /// Makes it read its configuration again, in the same process.
    pub(crate) fn reload(&mut self) {
        let before = self.begun();
        self.server.as_mut().unwrap().signal("HUP");
        self.await_more_than(before);
    }

    /// Changes its configuration, and restarts it.
    pub(crate) fn reconfigure(&mut self, change: impl FnOnce(&mut Value)) {
        let mut config = read_config(self.directory.path());
        change(&mut config);
        write_config(self.directory.path(), &config);
        self.restart();
    }

    /// Makes it sign host certificates with a new key. It still lists the former key, and accepts what that key signed.
    /// Returns the former key.
    pub(crate) fn rotate_host_key(&mut self) -> String {
        let former = self.authority("host");
        for name in ["host_ca", "host_ca.pub"] {
            fs::rename(self.path(name), self.path(&format!("former_{name}"))).unwrap();
        }
        keygen(&["-q", "-N", "", "-C", "", "-t", "ecdsa", "-f"], &self.path("host_ca"));
        let key = jwk::public_of(&former);
        self.reconfigure(|config| config["ssh"]["keys"] = json!([{ "type": "host", "federated": false, "key": key }]));
        former
    }

    fn begun(&self) -> usize {
        self.log().matches(SERVES).count()
    }

    fn await_more_than(&self, before: usize) {
        let patience = Instant::now() + Duration::from_secs(20);
        let serves = || self.begun() > before && self.https().get("/health").is_ok_and(|answer| answer.status == 200);
        while !serves() {
            assert!(Instant::now() < patience, "step-ca does not serve: {}", self.log());
            sleep(Duration::from_millis(10));
        }
    }
}
