//! npm's provider `oidc-provider`, which supports the device grant, in the network of a machine.

use super::{
    issuer::visit,
    lemonldap::script,
    network::Network,
    run::Run,
    wait::{LONG, wait},
};
use std::{
    net::TcpStream,
    process::{Child, Command, Stdio},
};

/// The provider; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct OidcProvider {
    process: Child,
    port: u16,
}

impl OidcProvider {
    /// A provider whose users have the addresses NAME@lab.test.
    pub(crate) fn start(network: &Network) -> Self {
        let port = network.free_port();
        let library = Run::of(&mut Command::new(script("oidc-provider"))).ends(0).stdout;
        let mut command = network.command("node");
        command
            .arg(script("oidc-provider.mjs"))
            .args([library.trim(), &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let provider = Self { process: command.spawn().unwrap(), port };
        wait("the provider listens", LONG, || network.on(|| TcpStream::connect(("127.0.0.1", port)).is_ok()));
        let configuration = format!("{}/.well-known/openid-configuration", provider.name());
        wait("the provider answers", LONG, || visit(network, &configuration).status == 200);
        provider
    }

    pub(crate) fn name(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
