//! OpenSSH of another Debian release, in namespaces of its own. All files have their usual places, and Warded runs
//! inside as root, with its files in their default places.

use super::{
    client::{self, Client, ClientKnowledge},
    enclosure::Enclosure,
    libraries,
    machine::{KEYS, await_file, copy_key},
    missing,
    network::Network,
    run::Run,
    wait::{LONG, wait},
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;
use warded_lib::digest::Digest;

const WARDED: &str = "/usr/bin/warded";
/// The systemd manager, which is not process 1 on any of these machines.
pub(crate) const SYSTEMD: &str = "/usr/lib/systemd/systemd";
/// The release that is built from source.
pub(crate) const OLD: &str = "7.5";

/// Warded on these machines: the present one, or an earlier one that `WARDED_PROGRAM` names (`tests/earlier-host`).
fn program() -> PathBuf {
    env::var_os("WARDED_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_warded").into(), PathBuf::from)
}

/// A machine with another version of OpenSSH.
#[derive(Debug)]
pub(crate) struct Peer {
    enclosure: Enclosure,
    shared: TempDir,
}

impl Peer {
    /// A machine with OpenSSH from a release of Debian, with the host keys that it makes itself, and these lines
    /// appended to the stock configuration. `None` if this is not root and the test is skipped.
    pub(crate) fn start(suite: &str, lines: &str) -> Option<Self> {
        Self::shaped(suite, |directory| {
            let config = directory.join("sshd_config");
            let stock = fs::read_to_string(&config).unwrap();
            fs::write(config, format!("{stock}{lines}")).unwrap();
        })
    }

    /// The same with another configuration: `shape` changes the stock one, in the directory that is `/etc/ssh` inside.
    pub(crate) fn shaped(suite: &str, shape: impl FnOnce(&Path)) -> Option<Self> {
        Self::prepared(suite, |peer| shape(&peer.file("/etc/ssh")))
    }

    /// The same, after `prepare`, which may run programs inside.
    pub(crate) fn prepared(suite: &str, prepare: impl FnOnce(&Self)) -> Option<Self> {
        if missing::root() {
            return None;
        }
        let shared = tempfile::Builder::new().prefix("warded-peer-").tempdir().unwrap();
        let (mut program, own) = (program(), program());
        if libraries::are_old(suite) {
            program = shared.path().join("warded");
            libraries::adapt(&own, &program);
        }
        let enclosure = Enclosure::within(&tree(suite)?, shared.path(), &program);
        let peer = Self { enclosure, shared };
        if libraries::are_old(suite) {
            libraries::bring(&own, &peer.file("/"));
        }
        for name in KEYS {
            copy_key(name, &peer.file(&format!("/etc/ssh/ssh_host_{name}_key")));
        }
        // Also makes the other host keys of this release: OpenSSH 10.6 has a fourth.
        Run::of(peer.command("ssh-keygen").arg("-A")).ends(0);
        if suite == "bullseye" {
            // Removes a key that this sshd does not load and that Debian's package does not make.
            for name in ["ssh_host_dsa_key", "ssh_host_dsa_key.pub"] {
                fs::remove_file(peer.file("/etc/ssh").join(name)).unwrap();
            }
        }
        let stock = fs::read_to_string(peer.file("/etc/ssh/sshd_config")).unwrap();
        assert!(!stock.lines().any(|line| line.starts_with("HostKey")), "not a stock configuration");
        // A machine without systemd: if systemd is installed and is not process 1, its timers may still renew.
        fs::remove_file(peer.file(SYSTEMD)).unwrap();
        prepare(&peer);
        fs::create_dir(peer.shared.path().join("client")).unwrap();
        client::make_key(peer.shared.path());
        fs::create_dir_all(peer.file("/root/.ssh")).unwrap();
        fs::copy(peer.shared.path().join("authorized_keys"), peer.file("/root/.ssh/authorized_keys")).unwrap();
        peer.warded(&["ca", "init", "/root/ca"]).ends(0);
        peer.serves();
        Some(peer)
    }

    /// Starts its sshd, and waits until it listens.
    pub(crate) fn serves(&self) {
        self.command("/usr/sbin/sshd").args(["-E", "/run/sshd.log"]).stdin(Stdio::null()).status().unwrap();
        await_file(&self.file("/run/sshd.pid"), &self.file("/run/sshd.log"));
    }

    /// Makes its sshd read its files again, and waits until it listens.
    pub(crate) fn reloads_sshd(&self) {
        let pid_file = self.file("/run/sshd.pid");
        let pid = fs::read_to_string(&pid_file).unwrap();
        // sshd writes the file again when it listens.
        fs::remove_file(&pid_file).unwrap();
        Run::of(self.command("kill").args(["-HUP", pid.trim()])).ends(0);
        await_file(&pid_file, &self.file("/run/sshd.log"));
    }

    /// Stops its sshd and starts another one; existing logins survive.
    pub(crate) fn restarts_sshd(&self) {
        let pid_file = self.file("/run/sshd.pid");
        let pid = fs::read_to_string(&pid_file).unwrap();
        Run::of(self.command("kill").arg(pid.trim())).ends(0);
        wait("sshd ends", LONG, || !pid_file.exists());
        self.serves();
    }

    /// Accepts a policy from this checkout, as its documentation says.
    pub(crate) fn adds_policy(&self, name: &str) {
        let component = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../policies/{name}.wasm"));
        let component = fs::read(component).unwrap();
        let file = self.shared.path().join(format!("{name}.wasm"));
        fs::write(&file, &component).unwrap();
        let digest = Digest::of(&component).to_string();
        let answers = ["--yes", "--digest", &digest];
        let words = ["policy", "add", file.to_str().unwrap(), "--accept-risk=unsigned-policy"];
        self.warded(&[&words[..], &answers].concat()).ends(0);
    }

    /// A command for a program that runs inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = self.enclosure.command(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin").env("HOME", "/root");
        command
    }

    /// Makes cron renew, with a crontab as an administrator writes it.
    pub(crate) fn renews_by_cron(&self) {
        fs::create_dir_all(self.file("/etc/cron.d")).unwrap();
        fs::write(self.file("/etc/cron.d/mine"), "17 4 * * * root warded renew\n").unwrap();
        self.starts_cron();
    }

    /// Starts Debian's cron daemon, which does not run here by itself.
    pub(crate) fn starts_cron(&self) {
        let mut cron = self.command("/usr/sbin/cron");
        let started = cron.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(started.success(), "{started}");
    }

    /// Runs Warded inside.
    pub(crate) fn warded(&self, arguments: &[&str]) -> Run {
        Run::of(&mut self.warded_command(arguments))
    }

    /// A command that runs Warded inside.
    pub(crate) fn warded_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(WARDED);
        command.env("WARDED_CA", "/root/ca").args(arguments);
        command
    }

    /// Runs a shell line with this machine's programs: the tree lacks some that every system has. Files in `/etc` are
    /// those inside.
    pub(crate) fn shell_beside(&self, line: &str) -> Run {
        let etc = self.file("/etc");
        let line = [" ", ">"].into_iter().fold(line.to_owned(), |line, before| {
            line.replace(&format!("{before}/etc/"), &format!("{before}{}/", etc.display()))
        });
        let is_inside = |path: &str| path.starts_with(&*etc.to_string_lossy());
        assert!(
            line.split([' ', '>', '\'', '"'])
                .all(|word| !word.starts_with('/') || is_inside(word) || word.starts_with("/^")),
            "{line}"
        );
        Run::of(Command::new("sh").args(["-ec", &line]))
    }

    /// A command for a program of this machine, outside of the tree but in the same namespaces.
    pub(crate) fn command_beside(&self, program: &str) -> Command {
        self.enclosure.command_beside(program)
    }

    pub(crate) fn network(&self) -> Network {
        self.enclosure.network()
    }

    /// The tree's path, as programs outside of it see it.
    pub(crate) fn tree(&self) -> PathBuf {
        self.shared.path().join("box/root")
    }

    /// Warded's processes inside, each with its command line, in which every word ends with NUL.
    pub(crate) fn processes(&self) -> Vec<(i32, String)> {
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(self.enclosure.first_process());
        assert!(own.is_some(), "it has ended");
        let found = |pid: String| {
            // The watchdog was started under another name.
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            let line = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).ok()?).into_owned();
            let is_one = (name.trim() == "warded" || line.contains("\0watchdog\0")) && namespace(&pid) == own;
            Some((pid.parse().ok()?, line)).filter(|_| is_one)
        };
        let entries = fs::read_dir("/proc").unwrap();
        entries.filter_map(|entry| found(entry.ok()?.file_name().into_string().ok()?)).collect()
    }

    /// A directory that has the same path inside and outside.
    pub(crate) fn shared(&self) -> &Path {
        self.shared.path()
    }

    /// A client inside, of the same OpenSSH.
    pub(crate) fn client(&self, knows: &ClientKnowledge) -> Client<'_> {
        self.client_at(22, knows)
    }

    /// The same, for the sshd on another port.
    pub(crate) fn client_at(&self, port: u16, knows: &ClientKnowledge) -> Client<'_> {
        Client::new(Some(&self.enclosure), self.shared.path(), port, knows)
    }

    /// A client that can log in as root only with a certificate of the user CA.
    pub(crate) fn client_with_certificate(&self, knows: &ClientKnowledge) -> Client<'_> {
        let key = self.shared.path().join("client/certified");
        if !key.exists() {
            let make = "ssh-keygen -q -t ed25519 -N '' -f $0 && \
                        ssh-keygen -q -s /root/ca/user_ca -I somebody -n root $0.pub";
            Run::of(self.command("sh").args(["-ec", make]).arg(&key)).ends(0);
        }
        self.client(knows).with_key(key)
    }

    /// Starts another sshd with this main configuration file, and waits until it listens.
    pub(crate) fn serve(&self, config: &str) {
        let name = config.replace('/', "-");
        let (pid, log) = (format!("/run/sshd{name}.pid"), format!("/run/sshd{name}.log"));
        let mut sshd = self.command("/usr/sbin/sshd");
        sshd.args(["-f", config, "-E", &log, "-o", &format!("PidFile={pid}")]).stdin(Stdio::null()).status().unwrap();
        await_file(&self.file(&pid), &self.file(&log));
    }

    /// The types of its host keys.
    pub(crate) fn keys(&self) -> Vec<String> {
        let names = fs::read_dir(self.file("/etc/ssh")).unwrap().map(|entry| entry.unwrap().file_name());
        let kind =
            |name: std::ffi::OsString| Some(name.to_str()?.strip_prefix("ssh_host_")?.strip_suffix("_key")?.to_owned());
        names.filter_map(kind).collect()
    }

    /// The path of a file of the machine, seen from outside.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.enclosure.outside(Path::new(path))
    }
}

/// The tree of a release, or of the one that is built from source. `None` if there is none and the test is skipped.
pub(crate) fn tree(suite: &str) -> Option<PathBuf> {
    if suite == OLD { made_by("openssh-7.5", None) } else { made_by("openssh-tree", Some(suite)) }
}

/// The tree that a script in `tests/peers` makes if necessary. `None` if it cannot and the test is skipped.
pub(crate) fn made_by(script: &str, name: Option<&str>) -> Option<PathBuf> {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers");
    let run = Run::of(Command::new(peers.join(script)).args(name));
    let is_missing = run.code != Some(0) && missing::peer(&format!("{script} made no tree: {}", run.stderr.trim()));
    (!is_missing).then(|| PathBuf::from(run.stdout.trim()))
}
