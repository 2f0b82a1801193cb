//! An ssh client as people use it: with its default algorithms, and a known_hosts file.

use super::{
    enclosure::Enclosure,
    machine::{NAME, keygen},
    run::Run,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
};

/// What a client's known_hosts contains.
#[derive(Clone, Debug)]
pub(crate) enum ClientKnowledge {
    /// Nothing: it accepts the key that it sees first, and remembers it.
    Nothing,
    /// Host keys, one line each.
    Keys(String),
    /// The host CA's keys, one line each, and nothing else.
    Authority(String),
}

/// A client, with its own known_hosts file.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    enclosure: Option<&'a Enclosure>,
    known_hosts: PathBuf,
    port: u16,
    accepts: bool,
    algorithms: Option<&'a str>,
    server: &'static str,
    user: Option<&'static str>,
    key: PathBuf,
    beside: bool,
    attended: bool,
}

impl<'a> Client<'a> {
    /// A client of the machine in `directory`, where [`make_key`] has made a key.
    pub(crate) fn new(enclosure: Option<&'a Enclosure>, directory: &Path, port: u16, knows: &ClientKnowledge) -> Self {
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let known_hosts = directory.join(format!("client/known_hosts-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let lines: Vec<String> = match knows {
            ClientKnowledge::Nothing => Vec::new(),
            ClientKnowledge::Keys(keys) => keys.lines().map(|key| format!("{NAME} {key}\n")).collect(),
            ClientKnowledge::Authority(keys) => {
                keys.lines().map(|key| format!("@cert-authority *.example.org {key}\n")).collect()
            }
        };
        fs::write(&known_hosts, lines.concat()).unwrap();
        let accepts = matches!(knows, ClientKnowledge::Nothing);
        Self {
            enclosure,
            known_hosts,
            port,
            accepts,
            algorithms: None,
            server: "127.0.0.1",
            user: None,
            key: directory.join("client/key"),
            beside: false,
            attended: false,
        }
    }

    /// The same client, but it accepts only these host key algorithms.
    pub(crate) fn only(self, algorithms: &'a str) -> Self {
        Self { algorithms: Some(algorithms), ..self }
    }

    /// The same client, but it connects to the server's name: before OpenSSH 7.6, a client compared that name, and not
    /// its `HostKeyAlias`, with the names in a certificate.
    pub(crate) fn by_name(self) -> Self {
        Self { server: NAME, ..self }
    }

    /// The same client, but it logs in as this user.
    pub(crate) fn logs_in_as(self, user: &'static str) -> Self {
        Self { user: Some(user), ..self }
    }

    /// The same client, but with another key, and the certificate beside that key.
    pub(crate) fn with_key(self, key: PathBuf) -> Self {
        Self { key, ..self }
    }

    /// The same client, but with this machine's own OpenSSH, in the same network.
    pub(crate) fn of_this_machine(self) -> Self {
        Self { beside: true, ..self }
    }

    /// The same client, but with authentication methods that ask a person. No question is answered: nobody is there.
    pub(crate) fn attended(self) -> Self {
        Self { attended: true, ..self }
    }

    /// Logs in, and runs a command there.
    #[track_caller]
    pub(crate) fn connects(&self) -> Run {
        let run = self.tries().ends(0);
        assert_eq!(run.stdout, "in\n", "{}", run.stderr);
        run
    }

    pub(crate) fn tries(&self) -> Run {
        Run::of(&mut self.command("echo in"))
    }

    /// The command of a login that runs this line.
    pub(crate) fn command(&self, line: &str) -> Command {
        // Each login has a source address of its own, as from another machine, because sshd penalises addresses.
        static ADDRESS: AtomicU16 = AtomicU16::new(0);
        let [high, low] = ADDRESS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut command = match self.enclosure {
            Some(enclosure) if self.beside => enclosure.command_beside("ssh"),
            Some(enclosure) => enclosure.command("ssh"),
            None => Command::new("ssh"),
        };
        let known_hosts = format!("UserKnownHostsFile={}", self.known_hosts.display());
        command
            .args(["-v", "-F", "none", "-o", "IdentitiesOnly=yes", "-o", &known_hosts])
            .args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", &format!("HostKeyAlias={NAME}")])
            .args(["-o", &format!("StrictHostKeyChecking={}", if self.accepts { "accept-new" } else { "yes" })])
            .args(["-b", &format!("127.77.{high}.{}", low.max(1)), "-p", &self.port.to_string(), "-i"])
            .arg(&self.key);
        command.args(["-o", if self.attended { "PasswordAuthentication=no" } else { "BatchMode=yes" }]);
        if let Some(algorithms) = self.algorithms {
            command.args(["-o", &format!("HostKeyAlgorithms={algorithms}")]);
        }
        command.args(self.user.into_iter().flat_map(|user| ["-l", user]));
        command.args([self.server, line]);
        command
    }
}

/// Makes a user's key, and authorises it: `AuthorizedKeysFile` is `authorized_keys` there.
pub(crate) fn make_key(directory: &Path) {
    let key = directory.join("client/key");
    keygen(&["-q", "-N", "", "-C", "somebody", "-t", "ed25519", "-f"], &key);
    let authorized = directory.join("authorized_keys");
    fs::copy(key.with_extension("pub"), &authorized).unwrap();
    fs::set_permissions(&authorized, fs::Permissions::from_mode(0o644)).unwrap();
}
