//! A server within this process, with a host key certified by a throw-away CA, and the real `ssh` as its client.
#![expect(clippy::disallowed_methods, reason = "listens on a port of its own for one client, on this machine alone")]

use crate::{
    ca::{Kind, throw_away::ThrowAway},
    error::{Error, Result},
    guard::client::known_hosts::line_of,
    handshake::{Choice, ClientReport, Fault, Identity, Limits, serve},
    machine::{
        exec::{self, Output},
        ssh::Ssh,
    },
};
use ssh_key::{Algorithm, EcdsaCurve, PrivateKey, rand_core::OsRng};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

/// How long one connection may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long to wait for the server once ssh has ended.
const PATIENCE: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(5);

/// ssh's verdict on the server. Another program may have connected before ssh, so what the server saw counts only
/// together with what ssh printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SshVerdict {
    /// ssh accepted the certificate and went on to the login.
    Trusted,
    /// ssh asked for no certificate algorithm, and refused the plain host key.
    NoAlgorithm,
    /// ssh refused the host key.
    Refused,
    /// Unknown: ssh's exchange with the server did not complete.
    Unclear,
}

/// How ssh's exchange ended, by its messages (`sshconnect.c`, `sshconnect2.c`, `kex.c`; the same from 7.4 to 10.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// ssh accepted the host key and tried to log in; the server lets nobody in.
    Login,
    /// ssh refused the host key.
    HostKey,
    /// The two sides had no algorithm in common.
    Algorithm,
    Other,
}

impl End {
    fn of(stderr: &str) -> Self {
        let says = |words: &str| stderr.lines().any(|line| line.contains(words));
        if says("Host key verification failed.") {
            Self::HostKey
        } else if says(": no matching host key type found.") {
            Self::Algorithm
        } else if says("Permission denied (publickey).") {
            Self::Login
        } else {
            Self::Other
        }
    }
}

/// The throw-away CA, and host keys that it can certify.
pub(super) struct Stage {
    authority: ThrowAway,
    line: String,
    keys: Vec<PrivateKey>,
}

impl Stage {
    /// Makes a CA whose key is of the same type as another CA's.
    pub(super) fn new(like: &Algorithm) -> Result<Self> {
        let wrong = |error: ssh_key::Error| Error::failed("cannot make a throw-away key").cause(error);
        let authority = ThrowAway::like(like)?;
        // A hardened client may accept only one of these.
        let kinds = [Algorithm::Ed25519, Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }];
        let keys = kinds.into_iter().map(|kind| PrivateKey::random(&mut OsRng, kind)).collect::<Result<_, _>>();
        Ok(Self { line: line_of(authority.public().key_data())?, keys: keys.map_err(wrong)?, authority })
    }

    /// The CA's public key.
    pub(super) fn authority(&self) -> &str {
        &self.line
    }

    /// Makes ssh connect to the server as if the server were `name`.
    pub(super) fn meet(&self, ssh: &Ssh, name: &str, options: &[String]) -> Result<(SshVerdict, Output)> {
        let identities = self.identities(name)?;
        let wrong = |error: std::io::Error| Error::failed("cannot listen on this machine").cause(error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(wrong)?;
        listener.set_nonblocking(true).map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        let (sender, served) = channel();
        let serve = move || sender.send(serve_one(&listener, &identities)).unwrap_or_default();
        thread::Builder::new().spawn(serve).map_err(wrong)?;
        let output = connect(ssh, name, address, options)?;
        Ok((judge(&served, End::of(&output.stderr)), output))
    }

    fn identities(&self, name: &str) -> Result<Vec<Identity>> {
        let identity = |key: &PrivateKey| {
            let certificate = self.authority.certify(key.public_key(), Kind::Host, name)?;
            Ok(Identity { key: key.clone(), certificate: Some(certificate.bytes().to_vec()) })
        };
        self.keys.iter().map(identity).collect()
    }
}

/// Serves the first client that comes in time.
fn serve_one(listener: &TcpListener, identities: &[Identity]) -> Option<Result<ClientReport, Fault>> {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).ok()?;
                return Some(serve(stream, identities, &Limits::within(LIMIT)));
            }
            Err(_) => thread::sleep(TICK),
        }
    }
    None
}

fn judge(served: &Receiver<Option<Result<ClientReport, Fault>>>, end: End) -> SshVerdict {
    let took_certificate = match served.recv_timeout(PATIENCE) {
        Ok(Some(Ok(ClientReport { accepted, algorithm, .. }))) => algorithm.certificate.then_some(accepted),
        Ok(Some(Err(Fault::NotSpoken { choice: Choice::HostKey, .. }))) => None,
        Ok(Some(Err(_)) | None) | Err(_) => {
            return if end == End::HostKey { SshVerdict::Refused } else { SshVerdict::Unclear };
        }
    };
    match (end, took_certificate) {
        (End::Login, Some(true)) => SshVerdict::Trusted,
        (End::HostKey, Some(false)) => SshVerdict::Refused,
        (End::HostKey | End::Algorithm, None) => SshVerdict::NoAlgorithm,
        (End::Login | End::HostKey | End::Algorithm | End::Other, _) => SshVerdict::Unclear,
    }
}

/// The options by which ssh reaches the server under this name.
pub(super) fn reached(name: &str) -> [String; 2] {
    [format!("HostName={}", Ipv4Addr::LOCALHOST), format!("HostKeyAlias={name}")]
}

/// Runs ssh with the user's own configuration, except for how it reaches the server and what a login would do.
fn connect(ssh: &Ssh, name: &str, address: SocketAddr, options: &[String]) -> Result<Output> {
    let mut program = exec::Program::new(&ssh.program).timeout(LIMIT).args(["-T", "-x", "-a", "-p"]);
    program = program.arg(address.port().to_string());
    for option in reached(name).iter().chain(options).map(String::as_str).chain(OPTIONS) {
        program = program.args(["-o", option]);
    }
    let host = name.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(name, |(host, _)| host);
    program.args(["-l", "nobody", "--", host, "true"]).run()
}

/// ssh must not ask anything, write anything or log anybody in.
const OPTIONS: [&str; 25] = [
    // How the connection is protected does not decide whom ssh trusts. Every OpenSSH has these algorithms, and so has
    // the server.
    "KexAlgorithms=ecdh-sha2-nistp256",
    "Ciphers=aes128-ctr",
    "MACs=hmac-sha2-256",
    "AddressFamily=any",
    "CanonicalizeHostname=no",
    "ProxyCommand=none",
    "ProxyJump=none",
    "BatchMode=yes",
    "LogLevel=INFO",
    "StrictHostKeyChecking=yes",
    "CheckHostIP=no",
    "UpdateHostKeys=no",
    "VerifyHostKeyDNS=no",
    "PreferredAuthentications=none",
    "IdentityFile=none",
    "IdentityAgent=none",
    "GSSAPIAuthentication=no",
    "ControlMaster=no",
    "ControlPath=none",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "BindAddress=127.0.0.1",
    "ConnectTimeout=8",
    "ConnectionAttempts=1",
];
