//! SSH agents: those of OpenSSH and GnuPG, and stand-ins that fail as other agents do.

use super::{
    Machine,
    wait::{LONG, wait},
};
use std::{
    fs,
    io::{self, Read as _, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// A real agent on a machine; it ends with the machine.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) socket: PathBuf,
    _process: Child,
}

impl Agent {
    pub(crate) fn openssh(machine: &Machine, name: &str) -> Self {
        let socket = machine.path(name);
        let mut command = machine.command("ssh-agent");
        let process = command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        wait("ssh-agent listens", LONG, || socket.exists());
        Self { socket, _process: process }
    }

    pub(crate) fn gnupg(machine: &Machine) -> Self {
        let home = machine.path("gnupg");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = machine.command("gpg-agent");
        command.arg("--homedir").arg(&home).args(["--enable-ssh-support", "--daemon", "--", "sleep", "1000"]);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let socket = home.join("S.gpg-agent.ssh");
        wait("gpg-agent listens", LONG, || socket.exists());
        Self { socket, _process: process }
    }
}

/// How an agent treats requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It keeps whatever it gets.
    Honest,
    /// It refuses constraints (ssh-agent-mux, Windows' OpenSSH).
    NoConstraints,
    /// It refuses confirmations.
    NoConfirmation,
    /// It refuses every identity.
    ReadOnly,
    /// It closes the connection when it gets a certificate (gnome-keyring).
    Closes,
    /// It never answers.
    Silent,
    /// It accepts no connection after the first one.
    Deaf,
    /// It announces a reply of 4 GiB.
    Huge,
    /// It announces 100 bytes, and sends three.
    Half,
    /// It does not reply to a request to add a key.
    SilentAtAdd,
    /// It reports success for a certificate, and keeps nothing.
    Forgets,
    /// It reports success for a certificate, and keeps only the bare key.
    KeepsBareKey,
    /// It keeps each certificate twice.
    KeepsTwice,
    /// It refuses to remove a certificate.
    KeepsForGood,
    /// It does not list its identities.
    Unlisted,
    /// It sends one byte per second.
    Dribbles,
}

/// A stand-in for an agent, with its contents: blobs of keys and certificates.
#[derive(Clone, Debug)]
pub(crate) struct StandIn {
    pub(crate) socket: PathBuf,
    /// The blobs that it holds.
    pub(crate) held: Arc<Mutex<Vec<Vec<u8>>>>,
    manner: Manner,
}

impl StandIn {
    /// Starts an agent that listens at this path and holds these blobs.
    pub(crate) fn start(socket: &Path, manner: Manner, held: &[Vec<u8>]) -> Self {
        let agent = Self { socket: socket.to_owned(), held: Arc::new(Mutex::new(held.to_vec())), manner };
        let listener = UnixListener::bind(socket).unwrap();
        let serving = agent.clone();
        thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                let (agent, stream) = (serving.clone(), stream.unwrap());
                if manner == Manner::Deaf {
                    kept.push(stream);
                    continue;
                }
                thread::spawn(move || drop(agent.serve(stream)));
            }
        });
        agent
    }

    fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let mut request = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
            stream.read_exact(&mut request)?;
            let adds = matches!(request[0], 17 | 25);
            match self.manner {
                Manner::Silent => thread::sleep(Duration::from_secs(3600)),
                Manner::SilentAtAdd if adds => thread::sleep(Duration::from_secs(3600)),
                Manner::Huge => stream.write_all(&[0xff; 4])?,
                Manner::Half => {
                    stream.write_all(&[0, 0, 0, 100, 12, 0, 0])?;
                    thread::sleep(Duration::from_secs(3600));
                }
                Manner::Closes if adds => return Ok(()),
                Manner::Dribbles => {
                    for byte in string(&self.answer(&request)) {
                        stream.write_all(&[byte])?;
                        thread::sleep(Duration::from_secs(1));
                    }
                }
                _ => stream.write_all(&string(&self.answer(&request)))?,
            }
        }
    }

    fn answer(&self, request: &[u8]) -> Vec<u8> {
        let mut held = self.held.lock().unwrap();
        let (success, failure) = (vec![6], vec![5]);
        match request[0] {
            11 if self.manner == Manner::Unlisted => failure,
            11 => {
                let entries: Vec<u8> = held.iter().flat_map(|blob| [string(blob), string(b"one")].concat()).collect();
                [&[12], &u32::try_from(held.len()).unwrap().to_be_bytes()[..], &entries].concat()
            }
            17 | 25 if self.refuses(request) => failure,
            17 | 25 => {
                let (certificate, public) = (nth(&request[1..], 1), nth(&request[1..], 2));
                match self.manner {
                    Manner::Forgets => {}
                    Manner::KeepsBareKey => held.push([string(b"ssh-ed25519"), string(&public)].concat()),
                    Manner::KeepsTwice => held.extend([certificate.clone(), certificate]),
                    _ => held.push(certificate),
                }
                success
            }
            18 if self.manner == Manner::KeepsForGood => failure,
            18 => {
                let (before, blob) = (held.len(), nth(&request[1..], 0));
                held.retain(|one| *one != blob);
                if held.len() < before { success } else { failure }
            }
            _ => failure,
        }
    }

    fn refuses(&self, request: &[u8]) -> bool {
        match self.manner {
            Manner::ReadOnly => true,
            Manner::NoConstraints => request[0] == 25,
            // The confirmation constraint is the last byte: no lifetime in these tests ends with this byte.
            Manner::NoConfirmation => request[0] == 25 && request.last() == Some(&2),
            _ => false,
        }
    }
}

/// Bytes, preceded by their length.
pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// The string with this number in a message.
fn nth(message: &[u8], number: usize) -> Vec<u8> {
    let split = |message: &[u8]| {
        let (length, rest) = message.split_at(4);
        let length = usize::try_from(u32::from_be_bytes(length.try_into().unwrap())).unwrap();
        (rest[..length].to_vec(), rest[length..].to_vec())
    };
    let rest = (0..number).fold(message.to_vec(), |rest, _| split(&rest).1);
    split(&rest).0
}
