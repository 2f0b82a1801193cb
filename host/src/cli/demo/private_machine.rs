//! The machine of the demonstration: a directory with its own sshd and CA, and Warded's state, configuration and
//! policies.

use crate::context::{Context, Options};
use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use warded_lib::{
    ca::local::LocalAuthority,
    error::{Error, Result},
    machine::{
        exec::{Child, Program, find},
        keys,
    },
};

/// The three types of host keys that a stock sshd has.
const KEYS: [(&str, &str); 3] = [("rsa", "ssh-rsa"), ("ecdsa", "ecdsa-sha2-nistp256"), ("ed25519", "ssh-ed25519")];

/// The machine. Everything is removed when this is dropped.
pub(super) struct PrivateMachine {
    directory: PathBuf,
    sshd: Option<PathBuf>,
    port: u16,
    clients: Cell<u32>,
    _daemon: Option<Child>,
    _scratch: Option<TempDir>,
}

impl PrivateMachine {
    /// Makes the directory, and starts an sshd in it if there is one.
    pub(super) fn start(sshd: Option<&Path>, keep: bool) -> Result<Self> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error: std::io::Error| Error::failed(format!("cannot set the demonstration up: {what}")).cause(error)
        };
        // Each directory gets the mode that it needs: if the umask let a group write, Warded would trust none of them.
        let mode = fs::Permissions::from_mode;
        let scratch = tempfile::Builder::new()
            .prefix("warded-demo-")
            .permissions(mode(0o700))
            .tempdir()
            .map_err(failed("no scratch directory"))?;
        // Resolved, because sshd needs a path without links in order to re-execute itself.
        let directory = scratch.path().canonicalize().map_err(failed("no scratch directory"))?;
        let ssh = directory.join("ssh");
        let port = free_port().map_err(failed("no free port"))?;
        LocalAuthority::init(&directory.join("ca"))?;
        for part in ["ssh", "ssh/sshd_config.d", "policies"] {
            let made = directory.join(part);
            fs::create_dir(&made).and_then(|()| fs::set_permissions(&made, mode(0o755))).map_err(failed(part))?;
        }
        let mut config = format!("Include {}/sshd_config.d/*.conf\n", ssh.display());
        for (name, algorithm) in KEYS {
            let path = ssh.join(format!("ssh_host_{name}_key"));
            make_key(&path, name, algorithm)?;
            config.push_str(&["HostKey ", &path.to_string_lossy(), "\n"].concat());
        }
        write!(
            config,
            "ListenAddress 127.0.0.1\nPort {port}\nPidFile {0}/sshd.pid\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nAuthorizedKeysFile {0}/authorized_keys\n",
            directory.display()
        )
        .map_err(|error| Error::failed("cannot set the demonstration up").cause(error))?;
        // Both are needed: without a client, the server can show nothing.
        let program = sshd.map(Path::to_owned).or_else(|| find("sshd")).filter(|_| find("ssh").is_some());
        // Without an sshd that can check its configuration, the configuration must not change. So there is none then.
        if program.is_some() {
            write(&ssh.join("sshd_config"), config.as_bytes(), 0o644).map_err(failed("sshd_config"))?;
        }
        let daemon = program.as_deref().map(|program| serve(program, &directory, port)).transpose()?;
        let scratch = if keep {
            drop(scratch.keep());
            None
        } else {
            Some(scratch)
        };
        Ok(Self { directory, sshd: program, port, clients: Cell::new(0), _daemon: daemon, _scratch: scratch })
    }

    /// Warded's context on this machine.
    pub(super) fn context(&self) -> Result<Context> {
        Context::open(&Options {
            config: None,
            state: Some(self.directory.join("state")),
            policies: Some(self.directory.join("policies")),
            sshd_config: Some(self.directory.join("ssh/sshd_config")),
            sshd: self.sshd.clone(),
            ca: Some(self.directory.join("ca")),
            ..Options::default()
        })
    }

    /// The directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The directory of sshd's configuration and keys.
    pub(super) fn ssh(&self) -> PathBuf {
        self.directory.join("ssh")
    }

    /// The sshd program.
    pub(super) fn sshd(&self) -> Option<&Path> {
        self.sshd.as_deref()
    }

    /// The port that sshd listens on.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The number of the next client: each client has a source address of its own.
    pub(super) fn next_client(&self) -> u32 {
        self.clients.set(self.clients.get() + 1);
        self.clients.get()
    }

    /// An introduction for newcomers.
    pub(super) fn introduction(&self) -> String {
        match &self.sshd {
            Some(_) => format!(
                "A private sshd on 127.0.0.1:{} and a CA of its own, in a scratch directory. Nothing on this machine is changed.",
                self.port
            ),
            None => "A CA of its own in a scratch directory, and no sshd: there is none here. Nothing on this machine is changed.".to_owned(),
        }
    }

    /// Every file of the sshd, with its permission bits, for comparison.
    pub(super) fn tree(&self) -> Result<BTreeMap<PathBuf, (u32, Vec<u8>)>> {
        let mut tree = BTreeMap::new();
        let mut directories = vec![self.ssh()];
        while let Some(directory) = directories.pop() {
            let unreadable = |error| Error::failed(format!("cannot read {}", directory.display())).cause(error);
            for entry in fs::read_dir(&directory).map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                let metadata = path.symlink_metadata().map_err(unreadable)?;
                if metadata.is_dir() {
                    directories.push(path);
                } else {
                    let contents = fs::read(&path).map_err(unreadable)?;
                    tree.insert(path, (metadata.permissions().mode() & 0o7777, contents));
                }
            }
        }
        Ok(tree)
    }
}

/// Starts sshd, and waits until it listens.
fn serve(program: &Path, directory: &Path, port: u16) -> Result<Child> {
    let log = directory.join("sshd.log");
    let mut daemon =
        Program::new(program).args(["-D", "-f"]).arg(directory.join("ssh/sshd_config")).arg("-E").arg(&log).spawn()?;
    let patience = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if daemon.has_ended() || Instant::now() > patience {
            let said = fs::read_to_string(&log).unwrap_or_default();
            return Err(
                Error::failed("the private sshd does not start").cause(warded_lib::text::neutral_lines(said.trim()))
            );
        }
        sleep(Duration::from_millis(10));
    }
    Ok(daemon)
}

/// Makes a host key as `ssh-keygen -A` does; without ssh-keygen, Warded makes the key.
fn make_key(path: &Path, name: &str, algorithm: &str) -> Result<()> {
    if let Some(keygen) = find("ssh-keygen") {
        let made =
            Program::new(keygen).args(["-q", "-N", "", "-C", "root@demo.test", "-t", name, "-f"]).arg(path).run()?;
        return if made.succeeded() { Ok(()) } else { Err(Error::failed("cannot make a host key").cause(made.stderr)) };
    }
    let failed = |error: &dyn std::fmt::Display| Error::failed("cannot make a host key").cause(error);
    let key = keys::generate(algorithm, "root@demo.test").map_err(|error| failed(&error))?;
    let public = key.public_file().map_err(|error| failed(&error))?;
    write(path, key.private.as_bytes(), 0o600).map_err(|error| failed(&error))?;
    write(&path.with_extension("pub"), public.as_bytes(), 0o644).map_err(|error| failed(&error))
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn write(path: &Path, contents: &[u8], mode: u32) -> std::io::Result<()> {
    fs::write(path, contents)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
