//! A machine for tests: a directory with its own sshd and CA, and Warded's state, configuration and policies.

pub(crate) use super::files::{Found, tree};
use super::{
    client::{self, Client, ClientKnowledge},
    enclosure::{Enclosure, is_root},
    file_system,
    network::Network,
    run::Run,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, TcpListener},
    os::{
        fd::AsFd as _,
        unix::{fs::PermissionsExt as _, net::UnixDatagram},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        mpsc::{Receiver, channel},
    },
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The types of host keys that a stock sshd has.
pub(crate) const KEYS: [&str; 3] = ["rsa", "ecdsa", "ed25519"];
/// The name that a test's machine is certified for.
pub(crate) const NAME: &str = "web1.example.org";

/// What a machine should be like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// Lines at the end of sshd's main configuration file.
    pub(crate) lines: String,
    /// Additional arguments of sshd.
    pub(crate) arguments: Vec<String>,
    /// Whether it has no RSA key, which makes everything slower.
    pub(crate) without_rsa: bool,
    /// Whether no sshd listens.
    pub(crate) stopped: bool,
    /// Whether the main file has no `Include`, so that it must be changed itself.
    pub(crate) alone: bool,
    /// Whether its directory is an overlay over the files that were made there. Only within
    /// [`super::FileSystem::host`], whose mounts end with it.
    pub(crate) layered: bool,
}

/// The machine. Everything is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Machine {
    // Dropped in this order: the processes, then the files.
    daemon: Option<Child>,
    enclosure: Option<Enclosure>,
    directory: PathBuf,
    port: u16,
    arguments: Vec<String>,
    _scratch: TempDir,
}

impl Machine {
    /// A machine with an sshd that listens.
    pub(crate) fn start() -> Self {
        Self::with(&Setup::default())
    }

    /// A machine without a listener: faster, and enough where nothing is applied.
    pub(crate) fn stopped() -> Self {
        Self::with(&Setup { stopped: true, ..Setup::default() })
    }

    /// A machine with this setup.
    pub(crate) fn with(setup: &Setup) -> Self {
        let scratch = tempfile::Builder::new().prefix("warded-test-").tempdir().unwrap();
        let directory = scratch.path().canonicalize().unwrap();
        // In a network of its own, any port is free.
        let port = if is_root() { 2222 } else { free_port() };
        for part in ["ssh", "ssh/sshd_config.d", "policies", "client"] {
            fs::create_dir(directory.join(part)).unwrap();
        }
        fs::write(directory.join("config.toml"), "").unwrap();
        let ssh = directory.join("ssh");
        let mut config = String::new();
        if !setup.alone {
            writeln!(config, "Include {}/sshd_config.d/*.conf", ssh.display()).unwrap();
        }
        for name in KEYS.into_iter().filter(|name| !setup.without_rsa || *name != "rsa") {
            let path = ssh.join(format!("ssh_host_{name}_key"));
            copy_key(name, &path);
            writeln!(config, "HostKey {}", path.display()).unwrap();
        }
        write!(
            config,
            "ListenAddress 127.0.0.1\nPort {port}\nPidFile {0}/sshd.pid\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nAuthorizedKeysFile {0}/authorized_keys\n{1}",
            directory.display(),
            setup.lines
        )
        .unwrap();
        fs::write(ssh.join("sshd_config"), config).unwrap();
        client::make_key(&directory);
        if setup.layered {
            file_system::layer(&directory);
        }
        let enclosure = is_root().then(Enclosure::beside);
        let mut machine =
            Self { daemon: None, enclosure, directory, port, arguments: setup.arguments.clone(), _scratch: scratch };
        machine.warded(["ca", "init", machine.path("ca").to_str().unwrap()]).ends(0);
        if !setup.stopped {
            machine.serve();
        }
        machine
    }

    /// Starts sshd, and waits until it listens.
    pub(crate) fn serve(&mut self) {
        let mut sshd = self.command("/usr/sbin/sshd");
        sshd.args(["-D", "-f"]).arg(self.config());
        self.serve_by(sshd);
    }

    /// Starts sshd with this command, to which arguments of sshd are added, and waits until it listens.
    pub(crate) fn serve_by(&mut self, mut sshd: Command) {
        let daemon =
            sshd.arg("-E").arg(self.path("sshd.log")).args(&self.arguments).stdin(Stdio::null()).spawn().unwrap();
        self.daemon = Some(daemon);
        await_file(&self.path("sshd.pid"), &self.path("sshd.log"));
    }

    /// The ID of the process that started sshd.
    pub(crate) fn starter(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// A command for a program that runs on this machine.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.enclosure.as_ref().map_or_else(|| Command::new(program), |enclosure| enclosure.command(program))
    }

    /// A command that runs Warded on this machine.
    pub(crate) fn warded_command<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_warded"));
        self.environment(&mut command).args(arguments);
        command
    }

    /// Sets the environment variables by which Warded finds this machine's files.
    pub(crate) fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for (name, path) in [
            ("CONFIG", "config.toml"),
            ("STATE", "state"),
            ("POLICIES", "policies"),
            ("SSHD_CONFIG", "ssh/sshd_config"),
            ("CA", "ca"),
        ] {
            command.env(format!("WARDED_{name}"), self.path(path));
        }
        command.env_remove("WARDED_SSHD").env("TMPDIR", "/tmp").env("NO_COLOR", "1")
    }

    /// Runs Warded on this machine.
    pub(crate) fn warded<const N: usize>(&self, arguments: [&str; N]) -> Run {
        Run::of(&mut self.warded_command(arguments))
    }

    /// A shell line that runs Warded on this machine, wherever the line is run. It clears the rest of the environment.
    pub(crate) fn warded_line(&self, words: &str) -> String {
        let mut command = Command::new("env");
        let given = self.environment(&mut command).get_envs();
        let given: Vec<String> =
            given.filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value?.to_str()?))).collect();
        format!("env -i {} {} {words}", given.join(" "), env!("CARGO_BIN_EXE_warded"))
    }

    /// Starts a system log on this machine; receives what is sent to it from now on.
    pub(crate) fn system_log(&self) -> Receiver<String> {
        // This machine's own `/dev` does not change.
        let devices = "set -e; mkdir /run/dev; mount -t tmpfs -o mode=755 tmpfs /run/dev; cd /dev
            cp -a null zero full random urandom tty fd stdin stdout stderr /run/dev; mount --move /run/dev /dev";
        Run::of(self.command("sh").args(["-c", devices])).ends(0);
        self.messages_at("/dev/log")
    }

    /// Creates journald's socket on this machine; receives what is sent to it from now on.
    pub(crate) fn journal(&self) -> Receiver<String> {
        Run::of(self.command("mkdir").args(["-p", "/run/systemd/journal"])).ends(0);
        self.messages_at("/run/systemd/journal/socket")
    }

    fn messages_at(&self, path: &str) -> Receiver<String> {
        let enclosure = self.enclosure.as_ref().expect("this takes a namespace of its own");
        let socket = UnixDatagram::bind(enclosure.outside(Path::new(path))).unwrap();
        let (sender, messages) = channel();
        // Read at once, as a daemon does: the socket's queue is short.
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            while let Ok(length) = socket.recv(&mut bytes) {
                if sender.send(String::from_utf8(bytes[..length].to_vec()).unwrap()).is_err() {
                    return;
                }
            }
        });
        messages
    }

    /// Certifies the host keys for [`NAME`].
    #[track_caller]
    pub(crate) fn certify(&self) -> Value {
        let run = self.warded(["apply", "certify-host", "--set", &format!("principal={NAME}"), "--yes", "--json"]);
        run.ends(0).object("warded.apply/1")
    }

    /// A client on this machine, which connects to [`NAME`].
    pub(crate) fn client(&self, knows: &ClientKnowledge) -> Client<'_> {
        Client::new(self.enclosure.as_ref(), &self.directory, self.port, knows)
    }

    /// Starts another sshd with this machine's configuration, which must listen, and ends it.
    #[track_caller]
    pub(crate) fn another_sshd_starts(&self) {
        let pid = self.path("another.pid");
        let mut daemon = self
            .command("/usr/sbin/sshd")
            .args(["-D", "-p", "2299", "-f"])
            .arg(self.config())
            .arg("-o")
            .arg(format!("PidFile={}", pid.display()))
            .arg("-E")
            .arg(self.path("another.log"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        await_file(&pid, &self.path("another.log"));
        let inner = fs::read_to_string(&pid).unwrap();
        // Run inside the namespace, where the process has another ID.
        Run::of(self.command("kill").arg(inner.trim())).ends(0);
        daemon.wait().unwrap();
        if pid.exists() {
            fs::remove_file(&pid).unwrap();
        }
    }

    /// Asserts that a client which knows only the host CA gets in: sshd listens, and serves certificates.
    #[track_caller]
    pub(crate) fn serves_certificates(&self) {
        self.client(&ClientKnowledge::Authority(self.authority())).connects();
    }

    pub(crate) fn network(&self) -> Network {
        self.enclosure.as_ref().map(Enclosure::network).unwrap_or_default()
    }

    /// The host CA's public key.
    pub(crate) fn authority(&self) -> String {
        fs::read_to_string(self.path("ca/host_ca.pub")).unwrap()
    }

    /// The types of its host keys.
    pub(crate) fn keys(&self) -> Vec<&'static str> {
        KEYS.into_iter().filter(|name| self.path(&format!("ssh/ssh_host_{name}_key")).exists()).collect()
    }

    /// A host key's public half.
    pub(crate) fn host_key(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("ssh/ssh_host_{name}_key.pub"))).unwrap()
    }

    /// A path in this machine's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The same path, including what is mounted on this machine only.
    pub(crate) fn inside(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        self.enclosure.as_ref().map_or_else(|| path.clone(), |enclosure| enclosure.outside(&path))
    }

    /// A socket that listens on this machine and belongs to none of its processes.
    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        let enclosure = self.enclosure.as_ref().expect("this takes a network of its own");
        let network = fs::File::open(enclosure.outside(Path::new("/proc/1/ns/net"))).unwrap();
        // A thread can be in another network namespace than its process.
        let listen = move || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap()
        };
        std::thread::spawn(listen).join().unwrap()
    }

    /// Programs that run on this machine, apart from those that keep it up. Zombies do not count, since nobody there
    /// reaps them.
    pub(crate) fn programs(&self) -> Vec<String> {
        let Some(enclosure) = &self.enclosure else { return Vec::new() };
        let stat = |entry: fs::DirEntry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The enclosure's own processes: the first one, and the one with which it waits.
            let keeps_it = pid == 1 || stat.contains(" (cat) S 1 ");
            (!keeps_it && !stat.contains(") Z ")).then_some(stat)
        };
        fs::read_dir(enclosure.outside(Path::new("/proc"))).unwrap().filter_map(|entry| stat(entry.unwrap())).collect()
    }

    /// sshd's main configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.path("ssh/sshd_config")
    }

    /// Every file of sshd's directory, for comparison.
    pub(crate) fn tree(&self) -> BTreeMap<PathBuf, Found> {
        tree(&self.path("ssh"))
    }

    /// The records of the audit log.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let log = self.warded(["audit", "log", "--json"]).ends(0).object("warded.audit-log/1");
        self.warded(["audit", "verify"]).ends(0);
        log["records"].as_array().unwrap().clone()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.enclosure = None;
        if let Some(mut daemon) = self.daemon.take() {
            // If the machine has namespaces, the daemon has ended with them.
            drop(daemon.kill());
            daemon.wait().unwrap();
        }
    }
}

/// Copies one of the host keys that this process has made, since making an RSA key takes a while.
pub(crate) fn copy_key(name: &str, to: &Path) {
    // The keys are kept in memory: a temporary directory in a static would never be removed.
    static MADE: OnceLock<Vec<[Vec<u8>; 2]>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let made = KEYS.map(|name| {
            let key = directory.path().join(name);
            keygen(&["-q", "-N", "", "-C", "root@web1", "-t", name, "-f"], &key);
            [fs::read(&key).unwrap(), fs::read(key.with_extension("pub")).unwrap()]
        });
        made.to_vec()
    });
    let [private, public] = &made[KEYS.iter().position(|one| *one == name).unwrap()];
    fs::write(to, private).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(to.with_extension("pub"), public).unwrap();
}

/// Waits for the file that sshd writes when it listens.
pub(crate) fn await_file(pid_file: &Path, log: &Path) {
    let patience = Instant::now() + Duration::from_secs(20);
    // The file is empty for a moment after it is created.
    while fs::read(pid_file).unwrap_or_default().is_empty() {
        assert!(Instant::now() < patience, "{:?}", fs::read_to_string(log));
        sleep(Duration::from_millis(10));
    }
}

/// Runs ssh-keygen.
pub(crate) fn keygen(arguments: &[&str], file: &Path) {
    let run = Run::of(Command::new("ssh-keygen").args(arguments).arg(file));
    run.ends(0);
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
