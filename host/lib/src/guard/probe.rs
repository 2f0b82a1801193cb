//! One exchange of the machine's own `ssh` client with an sshd: over a pipe, or over the network
//! from an address that nobody has used before.

use super::{known_hosts::Knows, transcript::Transcript};
use crate::{
    error::{Error, Result},
    machine::{
        exec::{self, Program},
        scratch::Scratch,
        sshd::effective,
    },
};
use ssh_key::rand_core::{OsRng, RngCore};
use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// How long one exchange may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The cheapest key exchange first, the rest of the client's list after it: what is proved here is
/// not the secrecy of the exchange, and the post-quantum one costs several times as much.
const FAST: &str = "KexAlgorithms=^curve25519-sha256";
/// `^` before a list is known since this version.
const FAST_SINCE: (u32, u32) = (8, 1);

/// The `ssh` client.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    /// Its version: (9, 2).
    pub version: (u32, u32),
    scratch: Scratch,
    files: AtomicUsize,
    /// When the last connections from our own address were made.
    pub(super) recent: Mutex<VecDeque<Instant>>,
}

/// How the server is reached.
#[derive(Clone, Debug)]
pub enum Route {
    /// A command that is an sshd on its standard input and output.
    Pipe(Vec<String>),
    /// A listening socket, and the address to come from.
    Network(SocketAddr, Option<Ipv4Addr>),
}

/// What is tried.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// What the client knows of the server beforehand.
    pub knows: Knows<'a>,
    /// The host key algorithms it takes.
    pub algorithms: String,
    /// The name under which it looks the server up: a principal.
    pub name: &'a str,
    /// Who logs in: a name that exists.
    pub user: &'a str,
    /// His key and the subsystem to ask for; none: no login is tried.
    pub login: Option<(&'a Path, &'a str)>,
}

impl Client {
    /// Finds the machine's `ssh`.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> Result<Self> {
        let path = exec::find("ssh").ok_or_else(|| {
            Error::failed("cannot prove that nobody is locked out")
                .cause("there is no `ssh` client on this machine, and the proof is a real handshake with it")
                .next("install it (Debian, Alpine: openssh-client; Fedora, RHEL: openssh-clients) and try again")
        })?;
        let output = Program::new(&path).arg("-V").run()?;
        let version = effective::version(&output.stderr).as_deref().and_then(effective::major_minor).unwrap_or((7, 4));
        Ok(Self { path, version, scratch: Scratch::private()?, files: AtomicUsize::new(0), recent: Mutex::default() })
    }

    /// Makes one exchange; the second value is the client's exit status, which is the subsystem's.
    ///
    /// # Errors
    /// When the client cannot be run at all: how the exchange ends is in the transcript.
    pub fn exchange(&self, route: &Route, attempt: &Attempt<'_>) -> Result<(Transcript, Option<i32>)> {
        let known = attempt.knows.write(&self.scratch, self.files.fetch_add(1, Ordering::Relaxed))?;
        let known = format!("UserKnownHostsFile={}", known.display());
        let alias = format!("HostKeyAlias={}", attempt.name);
        let algorithms = format!("HostKeyAlgorithms={}", attempt.algorithms);
        let mut options = vec![known, alias, algorithms];
        options.extend(OPTIONS.iter().map(|&option| option.to_owned()));
        if self.version >= FAST_SINCE {
            options.push(FAST.to_owned());
        }
        let mut program = Program::new(&self.path).timeout(LIMIT).args(["-F", "none", "-vv", "-T", "-x", "-a"]);
        if attempt.login.is_some() {
            program = program.arg("-s");
        }
        program = program.args(["-l", attempt.user]);
        match route {
            Route::Pipe(command) => {
                options.push(format!("ProxyCommand={}", proxy_command(command)));
                program = program.args(options_of(&options)).arg("proof.invalid");
            }
            Route::Network(address, source) => {
                if let Some(source) = source {
                    program = program.arg("-b").arg(source.to_string());
                }
                program = program.arg("-p").arg(address.port().to_string()).args(options_of(&options));
                program = program.arg(address.ip().to_string());
            }
        }
        program = match attempt.login {
            None => program.args(["-o", "PreferredAuthentications=none", "-o", "IdentityFile=none", "true"]),
            // A subsystem comes behind the server, like a command.
            Some((key, subsystem)) => program
                .args(["-o", "PreferredAuthentications=publickey", "-o"])
                .arg(format!("IdentityFile={}", key.display()))
                .arg(subsystem),
        };
        let output = program.run()?;
        let mut transcript = Transcript::parse(&output.stderr);
        if output.timed_out {
            transcript.words.push(format!("no end after {} s", LIMIT.as_secs()));
        }
        Ok((transcript, output.status))
    }
}

/// Nothing of the user's own set-up may take part, nothing may ask, nothing may be written.
const OPTIONS: [&str; 15] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "CheckHostIP=no",
    "UpdateHostKeys=no",
    "VerifyHostKeyDNS=no",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "ControlMaster=no",
    "ControlPath=none",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "GSSAPIAuthentication=no",
    "ConnectTimeout=8",
    "ConnectionAttempts=1",
];

fn options_of(options: &[String]) -> impl Iterator<Item = &str> {
    options.iter().flat_map(|option| ["-o", option.as_str()])
}

/// A command for `ProxyCommand`: each word quoted for the shell, and `%` doubled, which ssh expands.
fn proxy_command(words: &[String]) -> String {
    let quoted = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''")));
    quoted.collect::<Vec<_>>().join(" ").replace('%', "%%")
}

/// The address at which a listening socket is reached from the machine itself.
#[must_use]
pub fn reachable(socket: SocketAddr) -> SocketAddr {
    let address = match socket.ip() {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => socket.ip(),
    };
    SocketAddr::new(address, socket.port())
}

/// A loopback address to come from: OpenSSH ≥ 9.8 counts what each address does, and ours are many.
/// None where the server is not on 127/8.
#[must_use]
pub fn fresh_source(target: SocketAddr) -> Option<Ipv4Addr> {
    let on_loopback = matches!(target.ip(), IpAddr::V4(address) if address.is_loopback());
    let [a, b, c, _] = OsRng.next_u32().to_be_bytes();
    // Never 127.0.x.x, where other things live, nor an address that ends in 0 or 255.
    on_loopback.then(|| Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_shell_and_ssh() {
        let words = ["/usr/sbin/sshd", "-o", "Banner=it's %h"].map(str::to_owned);
        assert_eq!(proxy_command(&words), "'/usr/sbin/sshd' '-o' 'Banner=it'\\''s %%h'");
    }

    #[test]
    fn sockets_are_reached_from_the_machine() {
        for (socket, expected, fresh) in [
            ("0.0.0.0:22", "127.0.0.1:22", true),
            ("127.0.0.5:22", "127.0.0.5:22", true),
            ("[::]:2222", "[::1]:2222", false),
            ("192.0.2.1:22", "192.0.2.1:22", false),
        ] {
            let target = reachable(socket.parse().unwrap());
            assert_eq!(target.to_string(), expected);
            assert_eq!(fresh_source(target).is_some(), fresh, "{socket}");
        }
    }
}
