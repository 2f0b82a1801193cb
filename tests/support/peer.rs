//! OpenSSH of another Debian release, in namespaces of its own: with the files where a machine has
//! them, and Warded running inside as root, with its files where it has them by default.

use super::{
    client::{self, Client, Knows},
    enclosure::{Enclosure, is_root},
    machine::{KEYS, await_file, copy_key},
    run::Run,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

const WARDED: &str = "/usr/bin/warded";

/// A machine with another OpenSSH.
#[derive(Debug)]
pub(crate) struct Peer {
    enclosure: Enclosure,
    shared: TempDir,
}

impl Peer {
    /// A machine with OpenSSH as a suite of Debian ships it, with three host keys, and these lines
    /// at the end of the stock configuration. None, said aloud: this is not root.
    pub(crate) fn start(suite: &str, lines: &str) -> Option<Self> {
        if !is_root() {
            assert!(env::var_os("CI").is_none(), "these tests have to run as root in CI");
            eprintln!("SKIPPED: not root, so there is no tree with the OpenSSH of {suite}");
            return None;
        }
        let shared = tempfile::Builder::new().prefix("warded-peer-").tempdir().unwrap();
        let enclosure = Enclosure::within(&tree(suite), shared.path(), Path::new(env!("CARGO_BIN_EXE_warded")));
        let peer = Self { enclosure, shared };
        for name in KEYS {
            copy_key(name, &peer.file(&format!("/etc/ssh/ssh_host_{name}_key")));
        }
        let config = peer.file("/etc/ssh/sshd_config");
        let stock = fs::read_to_string(&config).unwrap();
        assert!(!stock.lines().any(|line| line.starts_with("HostKey")), "not a stock configuration");
        fs::write(&config, format!("{stock}{lines}")).unwrap();
        fs::create_dir(peer.shared.path().join("client")).unwrap();
        client::make_key(peer.shared.path());
        fs::create_dir_all(peer.file("/root/.ssh")).unwrap();
        fs::copy(peer.shared.path().join("authorized_keys"), peer.file("/root/.ssh/authorized_keys")).unwrap();
        peer.warded(&["ca", "init", "/root/ca"]).ends(0);
        peer.command("/usr/sbin/sshd").args(["-E", "/run/sshd.log"]).stdin(Stdio::null()).status().unwrap();
        await_file(&peer.file("/run/sshd.pid"), &peer.file("/run/sshd.log"));
        Some(peer)
    }

    /// A program, to be run inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = self.enclosure.command(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin").env("HOME", "/root");
        command
    }

    /// Runs Warded inside.
    pub(crate) fn warded(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(WARDED).env("WARDED_CA", "/root/ca").args(arguments))
    }

    /// A client inside, of that OpenSSH.
    pub(crate) fn client(&self, knows: &Knows) -> Client<'_> {
        Client::new(Some(&self.enclosure), self.shared.path(), 22, knows)
    }

    /// A file of the machine's, seen from outside.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.enclosure.outside(Path::new(path))
    }
}

/// The tree of a suite; made where there is none yet.
fn tree(suite: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/openssh-tree");
    let run = Run::of(Command::new(script).arg(suite)).ends(0);
    PathBuf::from(run.stdout.trim())
}
