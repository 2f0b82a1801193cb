//! One exchange of the machine's own `ssh` program with an sshd: over a pipe, or over the network.

use super::{LIMIT, known_hosts::ClientKnowledge, transcript::Transcript};
use crate::{
    error::{Error, Result},
    machine::{exec, scratch::Scratch, sshd::effective},
};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

/// The cheapest key exchange first, then the rest of the client's list: the proof needs no secrecy, and the
/// post-quantum exchange costs several times as much.
const FAST: &str = "KexAlgorithms=^curve25519-sha256";
/// The first version that knows `^` before a list.
const FAST_SINCE: (u32, u32) = (8, 1);

/// The `ssh` program.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    /// Its version: (9, 2).
    pub version: (u32, u32),
    scratch: Scratch,
    files: AtomicUsize,
}

/// How to reach the server.
#[derive(Clone, Debug)]
pub enum Route {
    /// A command that is an sshd on its standard input and output.
    Pipe(Vec<String>),
    /// A listening socket, and the address to come from.
    Network(SocketAddr, Option<IpAddr>),
}

/// One connection of the `ssh` program, which tries no login.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    /// What the client knows of the server beforehand.
    pub knows: ClientKnowledge<'a>,
    /// The host key algorithms it takes.
    pub algorithms: String,
    /// The name under which it looks the server up: a principal.
    pub name: &'a str,
    /// The user named to the server, who has to exist. No login is tried.
    pub user: &'a str,
}

impl Program {
    /// Finds the machine's `ssh`.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> Result<Self> {
        let path = exec::find("ssh").ok_or_else(|| {
            Error::failed("cannot prove that nobody is locked out")
                .cause("this sshd can be tested only with the `ssh` client, which this machine does not have")
                .next("install it (Debian, Alpine: openssh-client; Fedora, RHEL: openssh-clients) and try again")
        })?;
        let output = exec::Program::new(&path).arg("-V").run()?;
        let version = effective::version(&output.stderr).as_deref().and_then(effective::major_minor).unwrap_or((7, 4));
        Ok(Self { path, version, scratch: Scratch::private()?, files: AtomicUsize::new(0) })
    }

    /// Makes one exchange.
    ///
    /// # Errors
    /// The client cannot be run at all. How an exchange ends is in the transcript.
    pub fn exchange(&self, route: &Route, attempt: &Attempt<'_>) -> Result<Transcript> {
        let known = attempt.knows.write(&self.scratch, self.files.fetch_add(1, Ordering::Relaxed))?;
        let known = format!("UserKnownHostsFile={}", known.display());
        let alias = format!("HostKeyAlias={}", attempt.name);
        let algorithms = format!("HostKeyAlgorithms={}", attempt.algorithms);
        let mut options = vec![known, alias, algorithms];
        options.extend(OPTIONS.iter().map(|&option| option.to_owned()));
        if self.version >= FAST_SINCE {
            options.push(FAST.to_owned());
        }
        let mut program = exec::Program::new(&self.path).timeout(LIMIT).args(["-F", "none", "-vv", "-T", "-x", "-a"]);
        program = program.args(["-l", attempt.user]);
        let address = match route {
            Route::Pipe(command) => {
                options.push(format!("ProxyCommand={}", proxy_command(command)));
                "proof.invalid".to_owned()
            }
            Route::Network(address, source) => {
                if let Some(source) = source {
                    program = program.arg("-b").arg(source.to_string());
                }
                program = program.arg("-p").arg(address.port().to_string());
                address.ip().to_string()
            }
        };
        program = program.args(options_of(&options)).arg(address);
        let output = program.args(["-o", "PreferredAuthentications=none", "-o", "IdentityFile=none", "true"]).run()?;
        let mut transcript = Transcript::parse(&output.stderr);
        if output.timed_out {
            transcript.words.push(format!("no end after {} s", LIMIT.as_secs()));
        }
        Ok(transcript)
    }
}

/// The user's own setup must not take part, and ssh must not ask or write anything.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_shell_and_ssh() {
        let words = ["/usr/sbin/sshd", "-o", "Banner=it's %h"].map(str::to_owned);
        assert_eq!(proxy_command(&words), "'/usr/sbin/sshd' '-o' 'Banner=it'\\''s %%h'");
    }
}
