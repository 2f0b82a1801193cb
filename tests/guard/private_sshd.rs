//! A private sshd for tests: it has its own keys and its own port on loopback, and is stopped by its process id.

use ssh_key::{Certificate, PublicKey};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use warded_lib::{
    guard::{Authorship, Baseline, Candidate, MayChange},
    machine::{
        exec::{Child, Program, Signal, find, signal},
        scratch::PrivsepDirectory,
        sshd::{Sshd, tree::StagedFiles},
    },
};

/// The files of a private sshd, and its process while it runs.
pub(crate) struct PrivateSshd {
    pub(crate) directory: PathBuf,
    pub(crate) port: u16,
    pub(crate) main: PathBuf,
    child: Option<Child>,
    _held: Option<PrivsepDirectory>,
    _scratch: tempfile::TempDir,
}

impl PrivateSshd {
    /// Configures an sshd with the three usual host keys and a drop-in directory, and does not start it.
    pub(crate) fn new() -> Self {
        let held = PrivsepDirectory::hold(Path::new("/run/sshd")).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let directory = fs::canonicalize(scratch.path()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = directory.display().to_string();
        fs::create_dir(directory.join("conf.d")).unwrap();
        for (name, kind) in
            [("rsa", "rsa"), ("ecdsa", "ecdsa"), ("ed25519", "ed25519"), ("ca", "ed25519"), ("other_ca", "ed25519")]
        {
            keygen(&[
                "-t",
                kind,
                "-b",
                if kind == "rsa" { "2048" } else { "256" },
                "-N",
                "",
                "-C",
                name,
                "-f",
                &format!("{at}/{name}"),
            ]);
        }
        let main = directory.join("daemon.conf");
        let pam = if rustix::process::geteuid().is_root() { "UsePAM no\n" } else { "" };
        fs::write(
            &main,
            format!(
                "Include {at}/conf.d/*.conf\nPort {port}\nListenAddress 127.0.0.1\nPidFile {at}/pid\n{pam}\
             HostKey {at}/rsa\nHostKey {at}/ecdsa\nHostKey {at}/ed25519\nStrictModes no\n\
             Match User nobody\n  X11Forwarding no\n"
            ),
        )
        .unwrap();
        Self { directory, port, main, child: None, _held: held, _scratch: scratch }
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn start(&mut self) {
        self.start_with(&find("sshd").unwrap(), &[]);
    }

    pub(crate) fn start_with(&mut self, binary: &Path, arguments: &[&str]) {
        self.run(binary, arguments, "127.0.0.1");
    }

    pub(crate) fn start_at(&mut self, address: &str) {
        self.run(&find("sshd").unwrap(), &[], address);
    }

    fn run(&mut self, binary: &Path, arguments: &[&str], address: &str) {
        let log = self.directory.join("log");
        let program = Program::new(binary).args(["-D", "-E"]).arg(log).arg("-f").arg(&self.main).args(arguments);
        self.child = Some(program.spawn().unwrap());
        self.wait(address);
    }

    pub(crate) fn started() -> Self {
        let mut sshd = Self::new();
        sshd.start();
        sshd
    }

    /// Reloads it, as `systemctl reload` would.
    pub(crate) fn reload(&mut self) {
        signal(self.child.as_ref().unwrap().pid(), Signal::Hangup).unwrap();
    }

    pub(crate) fn stop(&mut self) {
        self.child = None;
    }

    fn wait(&self, address: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((address, self.port)).is_err() {
            assert!(
                Instant::now() < deadline,
                "{}",
                fs::read_to_string(self.directory.join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn found(&self) -> Sshd {
        Sshd::find(&self.main.as_path().try_into().unwrap(), None).unwrap().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    pub(crate) fn drop_in(&self) -> PathBuf {
        self.directory.join("conf.d/50-warded.conf")
    }

    pub(crate) fn key(&self, name: &str) -> PublicKey {
        PublicKey::read_openssh_file(&self.directory.join(format!("{name}.pub"))).unwrap()
    }

    /// Makes a certificate for a host key. `extra` holds further arguments for ssh-keygen.
    pub(crate) fn certificate(&self, key: &str, serial: u64, extra: &[&str]) -> Certificate {
        let copy = tempfile::tempdir_in(&self.directory).unwrap();
        let public = copy.path().join("k.pub");
        fs::copy(self.directory.join(format!("{key}.pub")), &public).unwrap();
        let ca = if extra.contains(&"OTHER") { self.path("other_ca") } else { self.path("ca") };
        let mut arguments = vec!["-s", &ca, "-I", "test"];
        let serial = serial.to_string();
        arguments.extend(["-z", &serial]);
        for word in extra {
            match *word {
                "OTHER" => {}
                "USER" => arguments.retain(|one| *one != "-h"),
                word => arguments.push(word),
            }
        }
        if !extra.contains(&"USER") {
            arguments.push("-h");
        }
        if !extra.contains(&"-n") && !extra.contains(&"ANY") {
            arguments.extend(["-n", "a.example,b.example"]);
        }
        arguments.retain(|one| *one != "ANY");
        if !extra.contains(&"-V") {
            arguments.extend(["-V", "-1m:+1h"]);
        }
        arguments.push(public.to_str().unwrap());
        keygen(&arguments);
        Certificate::read_file(&copy.path().join("k-cert.pub")).unwrap()
    }

    /// The staged files of a correct change: a drop-in, and a certificate for each of these keys.
    pub(crate) fn staged(&self, certificates: &[(&str, &Certificate)]) -> StagedFiles {
        let mut lines = String::new();
        let mut staged = StagedFiles::new();
        for (key, certificate) in certificates {
            let path = self.path(&format!("{key}-cert.pub"));
            lines.push_str(&["HostCertificate ", &path, "\n"].concat());
            staged.insert(path.into(), Some(certificate.to_openssh().unwrap().into_bytes()));
        }
        staged.insert(self.drop_in(), Some(lines.into_bytes()));
        staged
    }

    /// A drop-in with this text as a staged file.
    pub(crate) fn drop_in_with(&self, text: &str) -> StagedFiles {
        StagedFiles::from([(self.drop_in(), Some(text.as_bytes().to_vec()))])
    }

    /// Builds the candidate and checks it, as if a run had written the files that are there. Returns the error's text,
    /// or an empty one.
    pub(crate) fn checked(&self, staged: &StagedFiles, granted: &[&str]) -> String {
        let sshd = self.found();
        let baseline = Baseline::take(&sshd).unwrap();
        let granted: Vec<_> = granted.iter().map(|&one| one.to_owned()).collect();
        let written = staged.keys().map(|path| (path.clone(), [None, fs::read(path).ok()]));
        let candidate = Candidate::build(&sshd, staged).map(|candidate| candidate.by(&Authorship::of(written)));
        let granted = MayChange::Only(&granted);
        let result = candidate.and_then(|candidate| {
            candidate.check(&baseline, granted)?;
            candidate.keeps_logins(&baseline, granted).map(|_| ())
        });
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    /// Writes the staged files to their places.
    pub(crate) fn commit(&self, staged: &StagedFiles) {
        for (path, contents) in staged {
            match contents {
                Some(contents) => fs::write(path, contents).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            if path.extension().is_none() {
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
    }
}

fn keygen(arguments: &[&str]) {
    let output = Program::new(find("ssh-keygen").unwrap()).arg("-q").args(arguments).run().unwrap();
    assert!(output.succeeded(), "{arguments:?}: {}", output.stderr);
}
