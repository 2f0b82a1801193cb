//! The peer: an OpenSSH with five host keys, a certificate for each, and one user who can log in.

use ssh_key::{Algorithm, EcdsaCurve, PrivateKey, PublicKey, rand_core::OsRng};
use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use warded_lib::handshake::Limits;

/// `None` is this machine's own OpenSSH; the others are Debian suites, with 8.4, 9.2, 10.0 and a newer one.
pub(crate) const PEERS: [Option<&str>; 5] = [None, Some("bullseye"), Some("bookworm"), Some("trixie"), Some("sid")];
pub(crate) const HOST_KEYS: [&str; 5] = ["ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa3072"];
const NAME: &str = "web1.example.org";

/// A peer in namespaces of its own. The first process of its PID namespace waits until its standard input is closed.
pub(crate) struct Peer {
    holder: Child,
    inner: String,
    shared: TempDir,
    pub(crate) user: PrivateKey,
}

pub(crate) fn limits() -> Limits {
    Limits::within(Duration::from_secs(20))
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The files of the host keys, their certificates and the CA; made once for all tests.
fn host_keys() -> &'static [(String, Vec<u8>)] {
    static MADE: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    MADE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let keygen = |arguments: &[&str]| {
            run(Command::new("ssh-keygen").current_dir(directory.path()).arg("-q").args(arguments));
        };
        keygen(&["-t", "ed25519", "-N", "", "-f", "ca"]);
        for name in HOST_KEYS {
            let (kind, bits) = name.split_at(name.find(|char: char| "2350".contains(char)).unwrap());
            let arguments: &[_] = if name == "ed25519" { &["-t", name] } else { &["-t", kind, "-b", bits] };
            // `ssh-key` 0.6 cannot read an ECDSA private key that begins with a zero byte, as every second P-521 key
            // does.
            while PrivateKey::read_openssh_file(&directory.path().join(name)).is_err() {
                drop(fs::remove_file(directory.path().join(name)));
                keygen(&[arguments, &["-N", "", "-f", name]].concat());
            }
            keygen(&["-s", "ca", "-h", "-I", name, "-n", NAME, "-V", "-1h:+1d", &format!("{name}.pub")]);
        }
        let files = fs::read_dir(directory.path()).unwrap().map(Result::unwrap);
        files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
    })
}

/// The directory into which the packages of this Debian suite are unpacked.
fn tree(suite: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/openssh-tree");
    PathBuf::from(run(Command::new(script).arg(suite)).trim())
}

impl Peer {
    /// Returns `None`, and prints that the test was skipped, unless it runs as root.
    pub(crate) fn start(suite: Option<&str>) -> Option<Self> {
        if run(Command::new("id").arg("-u")).trim() != "0" {
            assert_eq!(
                std::env::var("WARDED_SKIP_MISSING").as_deref(),
                Ok("1"),
                "only root can make namespaces for a peer: run this as root, or set WARDED_SKIP_MISSING=1"
            );
            // The test harness shows the output of `eprintln!` only for failed tests.
            std::io::Write::write_all(
                &mut std::io::stderr(),
                b"skipped: a test of the handshake: only root can make namespaces for its peer",
            )
            .unwrap();
            return None;
        }
        let shared = tempfile::Builder::new().prefix("warded-handshake-").tempdir().unwrap();
        let directory = shared.path().display();
        let wait = "echo ready; exec 3<&0; cat <&3 & wait";
        let script = match suite.map(tree) {
            None => format!("mount -t tmpfs -o mode=755 tmpfs /run; mkdir /run/sshd; mount -t proc proc /proc; {wait}"),
            Some(tree) => format!(
                "cd {directory}; mkdir box; mount -t tmpfs tmpfs box; cd box; mkdir upper work root
                 mount -t overlay -o lowerdir={},upperdir=upper,workdir=work overlay root
                 mount --rbind /dev root/dev; mount -t proc proc root/proc; mount -t tmpfs -o mode=755 tmpfs root/run
                 mkdir -p root/run/sshd root{directory}; mount --bind {directory} root{directory}
                 exec chroot root sh -c '{wait}'",
                tree.display()
            ),
        };
        let mut holder = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", &format!("set -e; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "the namespaces were not set up: see above");
        let pid = holder.id();
        let inner = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap().trim().to_owned();
        let user = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
        let peer = Self { holder, inner, shared, user };
        peer.make_files();
        Some(peer)
    }

    fn make_files(&self) {
        for (name, contents) in host_keys() {
            fs::write(self.path(name), contents).unwrap();
            fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut config = String::new();
        for name in HOST_KEYS {
            writeln!(config, "HostKey {0}\nHostCertificate {0}-cert.pub", self.path(name).display()).unwrap();
        }
        let authorized = self.path("authorized_keys");
        fs::write(&authorized, self.user.public_key().to_openssh().unwrap()).unwrap();
        // With StrictModes, OpenSSH would refuse a key whose file or directory others can write.
        writeln!(config, "StrictModes no\nAuthorizedKeysFile {}\nUsePAM no", authorized.display()).unwrap();
        fs::write(self.path("sshd_config"), config).unwrap();
        fs::write(self.path("banner"), "Authorised use only.\n".repeat(100)).unwrap();
    }

    /// Whether this OpenSSH has the method `mlkem768x25519-sha256`, which came with 9.9.
    pub(crate) fn knows_mlkem(&self) -> bool {
        run(self.command("ssh").args(["-Q", "kex"])).lines().any(|method| method == "mlkem768x25519-sha256")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.shared.path().join(name)
    }

    /// The public key of a host key.
    pub(crate) fn host_key(&self, name: &str) -> PublicKey {
        PublicKey::read_openssh_file(&self.path(&format!("{name}.pub"))).unwrap()
    }

    /// A command that runs a program inside the peer's namespaces.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.inner, "--mount", "--pid", "--root", "--wd", "--"]).arg(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin").env("HOME", "/root");
        command
    }

    fn sshd(&self, options: &[&str]) -> Command {
        let mut command = self.command("/usr/sbin/sshd");
        command.arg("-f").arg(self.path("sshd_config")).arg("-E").arg(self.path("log"));
        command.args(options.iter().flat_map(|option| ["-o", option]));
        command
    }

    /// Starts an sshd that serves one session over loopback TCP.
    pub(crate) fn once(&self, options: &[&str]) -> (TcpStream, Reaped) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let theirs = OwnedFd::from(listener.accept().unwrap().0);
        ours.set_nodelay(true).unwrap();
        let child = self
            .sshd(options)
            .arg("-i")
            .stdin(theirs.try_clone().unwrap())
            .stdout(theirs)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        (ours, Reaped(child))
    }

    /// Starts an sshd that listens.
    pub(crate) fn listen(&self, options: &[&str]) -> (SocketAddr, Reaped) {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listen = [format!("ListenAddress={address}"), "PidFile=none".to_owned()];
        let options: Vec<_> = listen.iter().map(String::as_str).chain(options.iter().copied()).collect();
        let child = Reaped(self.sshd(&options).arg("-D").stdin(Stdio::null()).spawn().unwrap());
        let began = Instant::now();
        while !fs::read_to_string(self.path("log")).is_ok_and(|log| log.contains("Server listening")) {
            assert!(began.elapsed() < Duration::from_secs(60), "sshd does not listen");
            sleep(Duration::from_millis(5));
        }
        (address, child)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // When the first process of a PID namespace dies, the kernel kills all others in it.
        self.holder.kill().unwrap();
        self.holder.wait().unwrap();
    }
}

/// A process that is killed when the test ends.
pub(crate) struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Runs a test with each peer, and prints the peer's name first: a failed test shows it.
pub(crate) fn each(test: impl Fn(&Peer)) {
    for suite in PEERS {
        eprintln!("with the OpenSSH of {}", suite.unwrap_or("this machine"));
        if let Some(peer) = Peer::start(suite) {
            test(&peer);
        }
    }
}

/// The part of a host key's file name that stands for its type.
pub(crate) fn file_of(key: &PublicKey) -> &'static str {
    let is = |name: &&&str| match (key.algorithm(), **name) {
        (Algorithm::Ed25519, name) => name == "ed25519",
        (Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }, name) => name == "ecdsa256",
        (Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 }, name) => name == "ecdsa384",
        (Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 }, name) => name == "ecdsa521",
        (_, name) => name == "rsa3072",
    };
    HOST_KEYS.iter().find(is).unwrap()
}
