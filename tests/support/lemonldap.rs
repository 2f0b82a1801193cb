//! The real LemonLDAP::NG, as a provider of single sign-on in the network of a machine.

use super::{
    issuer::visit,
    missing,
    network::Network,
    run::Run,
    wait::{LONG, wait},
};
use std::{
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The path of one of the peers' scripts.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers").join(name).canonicalize().unwrap()
}

/// The provider; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct LemonLdap {
    process: Child,
    port: u16,
}

impl LemonLdap {
    /// A provider that knows only this redirect URI. `None` if it is not available on this machine and the test is
    /// skipped.
    pub(crate) fn start(network: &Network, redirect_uri: &str) -> Option<Self> {
        Self::serving(network, redirect_uri, None)
    }

    /// A provider that knows only the clients that these commands register.
    pub(crate) fn after(network: &Network, commands: &Path) -> Option<Self> {
        Self::serving(network, "", Some(commands))
    }

    fn serving(network: &Network, redirect_uri: &str, commands: Option<&Path>) -> Option<Self> {
        let made = Run::of(&mut Command::new(script("lemonldap")));
        if made.code == Some(69) && missing::peer(made.stderr.trim()) {
            return None;
        }
        let tree = made.ends(0).stdout;
        let port = network.free_port();
        let mut command = network.command(script("lemonldap-serve"));
        command.args([tree.trim(), &port.to_string(), redirect_uri]).args(commands).process_group(0);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let provider = Self { process, port };
        wait("nginx listens", LONG, || network.on(|| TcpStream::connect(("127.0.0.1", port)).is_ok()));
        // The first answer takes as long as loading its Perl code.
        let configuration = format!("{}/.well-known/openid-configuration", provider.name());
        wait("LemonLDAP::NG answers", LONG, || visit(network, &configuration).status == 200);
        Some(provider)
    }

    pub(crate) fn name(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for LemonLdap {
    /// The processes that it has started end with the machine in whose network they are.
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
