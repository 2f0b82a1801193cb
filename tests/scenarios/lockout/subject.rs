//! One machine of the matrix: one release of OpenSSH in one configuration, and for each command the state from which it
//! begins. The machine can be brought back to that state.

use super::{
    condition::Moment,
    shape::{SECOND, Shape},
};
use crate::support::{
    Client, ClientKnowledge, Peer, Run,
    attributes::{FileAttributes, whole, wholes},
    libraries,
    machine::{KEYS, NAME, await_file},
    peer::OLD,
};
use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

pub(super) type Files = BTreeMap<PathBuf, FileAttributes>;

/// A command of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Certify,
    Renew,
    Undo,
    TrustUsers,
    Rekey,
    Remove,
}

impl Task {
    pub(super) const ALL: [Self; 6] =
        [Self::Certify, Self::Renew, Self::Undo, Self::TrustUsers, Self::Rekey, Self::Remove];

    pub(super) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Certify => &["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"],
            Self::Renew => &["renew", "--force"],
            Self::Undo => &["undo", "--yes"],
            Self::TrustUsers => &["apply", "trust-user-ca", "--yes", "--accept-risk=root-by-certificate"],
            Self::Rekey => &["rekey", "--yes", "--accept-risk=replace-host-keys"],
            Self::Remove => &["remove", "--yes"],
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Certify => "certify",
            Self::Renew => "renew",
            Self::Undo => "undo",
            Self::TrustUsers => "trust-user-ca",
            Self::Rekey => "rekey",
            Self::Remove => "remove",
        }
    }
}

/// A state to which the machine can be restored.
#[derive(Debug)]
pub(super) struct Base {
    name: &'static str,
    pub(super) files: Files,
    /// The host keys with which a client that has pinned one gets in.
    pub(super) pins: Vec<&'static str>,
    pub(super) is_certified: bool,
}

#[derive(Debug)]
pub(super) struct Subject {
    pub(super) peer: Peer,
    pub(super) clean: Base,
    pub(super) certified: Base,
    /// The files of a certified machine that trusts the CA's users.
    pub(super) trusting: Files,
    /// The running sshds: the file of the process ID, the log, and on how many addresses each listens.
    sshds: Vec<(String, String, usize)>,
    /// The ports to which clients connect.
    ports: Vec<u16>,
    pub(super) shape: Shape,
    /// Whether this release's client compares a certificate's names only with the host name.
    pub(super) is_old: bool,
}

impl Subject {
    /// Returns `None` if this machine cannot be set up here.
    pub(super) fn start(suite: &'static str, shape: Shape) -> Option<Self> {
        let peer = Peer::prepared(suite, |peer| shape.make(suite, peer))?;
        let program = peer.shared().join("tests");
        let own = env::current_exe().unwrap();
        if libraries::are_old(suite) {
            libraries::adapt(&own, &program);
        } else if fs::hard_link(&own, &program).is_err() {
            fs::copy(&own, &program).unwrap();
        }
        let mut sshds = vec![("/run/sshd.pid".to_owned(), "/run/sshd.log".to_owned(), 0)];
        let mut ports = vec![22];
        if shape == Shape::SecondSshd {
            let (config, port) = SECOND;
            peer.serve(config);
            let name = config.replace('/', "-");
            sshds.push((format!("/run/sshd{name}.pid"), format!("/run/sshd{name}.log"), 0));
            ports.push(port);
        }
        let none = |name| Base { name, files: Files::new(), pins: Vec::new(), is_certified: false };
        let (clean, certified) = (none("clean"), none("certified"));
        let is_old = suite == OLD;
        if is_old {
            fs::write(peer.file("/etc/hosts"), format!("127.0.0.1 localhost {NAME}\n")).unwrap();
        }
        let mut subject = Self { peer, clean, certified, trusting: Files::new(), sshds, ports, shape, is_old };
        subject.let_in();
        for sshd in &mut subject.sshds {
            sshd.2 = listens(&subject.peer, &sshd.1);
        }
        subject.write_stand_in();
        // The first run makes directories that later runs find.
        subject.warded(Task::Certify.arguments()).ends(0);
        subject.warded(Task::Undo.arguments()).ends(0);
        subject.clean = subject.base("clean");
        subject.warded(Task::Certify.arguments()).ends(0);
        subject.certified = subject.base("certified");
        assert!(subject.certified.is_certified && !subject.clean.is_certified, "{suite} {}", shape.name());
        assert_eq!(subject.certified.pins, subject.clean.pins, "{suite} {}", shape.name());
        subject.sign_user();
        assert!(subject.by_certificate().is_err(), "{suite} {}", shape.name());
        subject.warded(Task::TrustUsers.arguments()).ends(0);
        subject.by_certificate().unwrap();
        subject.trusting = subject.files();
        subject.restore(&subject.certified);
        Some(subject)
    }

    pub(super) fn warded(&self, arguments: &[&str]) -> Run {
        self.peer.warded(arguments)
    }

    /// The state from which a task begins.
    pub(super) fn base_of(&self, task: Task) -> &Base {
        if task == Task::Certify { &self.clean } else { &self.certified }
    }

    fn base(&self, name: &'static str) -> Base {
        let copy = self.peer.shared().join(name);
        let copies = self.parts().map(|(path, part)| format!("cp -a {} {}/{part}; ", path.display(), copy.display()));
        shell(&format!("rm -rf {0}; mkdir {0}; {1}", copy.display(), copies.concat()));
        let pins: Vec<&str> = KEYS.into_iter().filter(|key| self.pinned(key).is_ok()).collect();
        assert!(
            self.shape.keys().iter().all(|key| pins.contains(key)),
            "{pins:?}: {:?}",
            self.pinned(self.shape.keys()[0])
        );
        Base { name, files: self.files(), pins, is_certified: self.stranger().is_ok() }
    }

    /// Restores this state from any other.
    pub(super) fn restore(&self, base: &Base) {
        let copy = self.peer.shared().join(base.name);
        let differs = self.files() != base.files;
        for (path, part) in self.parts() {
            // sshd's files are restored only if they differ, since sshd must then be told.
            if part != "ssh" || differs {
                shell(&format!("rm -rf {0}; cp -a {1}/{part} {0}", path.display(), copy.display()));
            }
        }
        if differs {
            self.reload();
        }
    }

    fn parts(&self) -> [(PathBuf, &'static str); 3] {
        [("/etc/ssh", "ssh"), ("/var/lib/warded", "state"), ("/root/ca", "ca")]
            .map(|(path, part)| (self.peer.file(path), part))
    }

    /// All files of sshd, and the enrolment.
    pub(super) fn files(&self) -> Files {
        let mut files = wholes(&self.peer.file("/etc/ssh"));
        let enrolment = self.peer.file("/var/lib/warded/enrolment.json");
        if enrolment.exists() {
            files.insert(enrolment.clone(), whole(&enrolment));
        }
        files
    }

    /// A client that has pinned this host key logs in by its authorized key.
    pub(super) fn pinned(&self, key: &str) -> Result<(), String> {
        let file = self.peer.file(&format!("/etc/ssh/ssh_host_{key}_key.pub"));
        let public = fs::read_to_string(file).map_err(|error| format!("{key}: {error}"))?;
        self.gets_in(&ClientKnowledge::Keys(public)).map_err(|said| format!("who pinned {key} does not get in: {said}"))
    }

    /// Adds the client's key to the user's own authorized keys.
    fn let_in(&self) {
        let user = self.shape.user();
        if user != "root" {
            let home = format!("/home/{user}");
            let script = format!(
                "cp /root/.ssh/authorized_keys {home}/.ssh/; chown -R {user}:{user} {home}; chmod 700 {home}/.ssh"
            );
            Run::of(self.peer.command("sh").args(["-ec", &script])).ends(0);
        }
    }

    /// Makes a person with the CA's certificate and no authorized key.
    fn sign_user(&self) {
        let key = self.peer.shared().join("client/person");
        Run::of(self.peer.command("ssh-keygen").args(["-q", "-N", "", "-t", "ed25519", "-f"]).arg(&key)).ends(0);
        let mut sign = self.peer.command("ssh-keygen");
        sign.args(["-q", "-s", "/root/ca/user_ca", "-I", "person", "-n", self.shape.user()]);
        Run::of(sign.arg(key.with_extension("pub"))).ends(0);
    }

    /// Whether that person can log in.
    pub(super) fn by_certificate(&self) -> Result<(), String> {
        let file = format!("/etc/ssh/ssh_host_{}_key.pub", self.shape.keys()[0]);
        let public = fs::read_to_string(self.peer.file(&file)).unwrap();
        let client = self.client(22, &ClientKnowledge::Keys(public)).command("echo in");
        let [authorized, certified] = ["client/key", "client/person"].map(|key| self.peer.shared().join(key));
        let mut person = Command::new(client.get_program());
        person.args(client.get_args().map(|word| if *word == *authorized { certified.as_os_str() } else { word }));
        let tried = Run::of(&mut person);
        if tried.code == Some(0) { Ok(()) } else { Err(tried.stderr) }
    }

    /// A client that knows only the CA logs in.
    pub(super) fn stranger(&self) -> Result<(), String> {
        let ca = fs::read_to_string(self.peer.file("/root/ca/host_ca.pub")).unwrap();
        self.gets_in(&ClientKnowledge::Authority(ca))
            .map_err(|said| format!("who knows only the CA does not get in: {said}"))
    }

    fn gets_in(&self, knows: &ClientKnowledge) -> Result<(), String> {
        self.ports.iter().try_for_each(|port| {
            let client = || self.client(*port, knows);
            // For an old release, both its own client and this machine's.
            let clients =
                if self.is_old { vec![client().by_name(), client().of_this_machine()] } else { vec![client()] };
            clients.iter().try_for_each(|client| {
                let tried = client.tries();
                let is_in = tried.code == Some(0) && tried.stdout == "in\n";
                if is_in { Ok(()) } else { Err(format!("port {port}: {}", tried.stderr)) }
            })
        })
    }

    fn client(&self, port: u16, knows: &ClientKnowledge) -> Client<'_> {
        let client = self.peer.client_at(port, knows).logs_in_as(self.shape.user());
        if self.shape.asks_twice() { client.attended() } else { client }
    }

    /// Another sshd starts with the current configuration.
    pub(super) fn sshd_starts(&self) {
        let (pid, log) = (self.peer.file("/run/another.pid"), self.peer.file("/run/another.log"));
        let mut daemon = self
            .peer
            .command("/usr/sbin/sshd")
            .args(["-D", "-p", "2299", "-o", "PidFile=/run/another.pid", "-E", "/run/another.log"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        await_file(&pid, &log);
        self.kill("TERM", "/run/another.pid");
        daemon.wait().unwrap();
        drop(fs::remove_file(&pid));
    }

    fn reload(&self) {
        for (pid, log, addresses) in &self.sshds {
            let before = listens(&self.peer, log);
            self.kill("HUP", pid);
            let patience = Instant::now() + Duration::from_secs(30);
            while listens(&self.peer, log) < before + addresses {
                assert!(Instant::now() < patience, "sshd does not listen again: {}", self.log());
                sleep(Duration::from_millis(2));
            }
        }
    }

    fn kill(&self, signal: &str, pid_file: &str) {
        let script = format!("read pid <{pid_file}; kill -{signal} $pid");
        Run::of(self.peer.command("sh").args(["-c", &script])).ends(0);
    }

    /// What sshd has logged.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.peer.file("/run/sshd.log")).unwrap()
    }

    /// The state of the newest run's journal.
    pub(super) fn state(&self) -> String {
        let runs = fs::read_dir(self.peer.file("/var/lib/warded/runs")).unwrap();
        let newest = runs.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u64>().ok()).max().unwrap();
        let state = self.peer.file(&format!("/var/lib/warded/runs/{newest}/journal.state"));
        fs::read_link(state).map_or_else(|_| "none".to_owned(), |state| state.to_str().unwrap().to_owned())
    }

    /// A command that runs one of this program's own tests inside the machine.
    pub(super) fn own_test(&self, name: &str) -> Command {
        let mut command = self.peer.command(self.peer.shared().join("tests").to_str().unwrap());
        command.args(["--exact", name, "--ignored", "--nocapture"]);
        command
    }

    /// The main files of the machine's sshds.
    pub(super) fn configurations(&self) -> Vec<&'static str> {
        let second = (self.shape == Shape::SecondSshd).then_some(SECOND.0);
        std::iter::once("/etc/ssh/sshd_config").chain(second).collect()
    }

    /// The stand-in for sshd. If it is armed for a moment, it reports when that moment comes, and waits until it may
    /// continue. Otherwise, and after that, it runs the real sshd.
    fn write_stand_in(&self) {
        let shared = self.peer.shared().display();
        let text = format!(
            "#!/bin/sh\n\
             own=/etc/ssh/sshd_config\n\
             meet() {{ mkdir {shared}/reached 2>/dev/null || return 0\n\
             while [ ! -e {shared}/go ]; do sleep 0.005; done; }}\n\
             committing() {{ newest=0; for run in /var/lib/warded/runs/*; do number=${{run##*/}}\n\
             [ $number -le $newest ] || newest=$number; done\n\
             [ \"$(readlink /var/lib/warded/runs/$newest/journal.state)\" = committing ]; }}\n\
             read -r moment 2>/dev/null <{shared}/armed || moment=\n\
             case \"$moment $* \" in\n\
             asked*' -T '*\" $own \"*) meet ;;\n\
             candidate*\" $own \"*) ;;\n\
             candidate*' -T '*) meet ;;\n\
             proof*' -i '*) meet ;;\n\
             reload*' -t '*\" $own \"*) if committing; then meet; fi ;;\n\
             esac\n\
             exec /usr/sbin/sshd \"$@\"\n"
        );
        let program = self.stand_in();
        fs::write(&program, text).unwrap();
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(super) fn stand_in(&self) -> PathBuf {
        self.peer.shared().join("stand-in")
    }

    pub(super) fn arm(&self, moment: Moment) {
        self.disarm();
        fs::write(self.peer.shared().join("armed"), format!("{}\n", moment.word())).unwrap();
    }

    pub(super) fn disarm(&self) {
        let shared = self.peer.shared();
        shell(&format!("cd {}; rm -rf armed reached go", shared.display()));
    }

    /// Whether the run has reached the moment.
    pub(super) fn is_reached(&self) -> bool {
        self.peer.shared().join("reached").exists()
    }

    /// Lets the stand-in continue.
    pub(super) fn go(&self) {
        fs::write(self.peer.shared().join("go"), "").unwrap();
    }
}

/// How many addresses an sshd has logged that it listens on.
fn listens(peer: &Peer, log: &str) -> usize {
    fs::read_to_string(peer.file(log)).unwrap().matches("Server listening").count()
}

fn shell(script: &str) {
    Run::of(Command::new("sh").args(["-ec", script])).ends(0);
}

/// Removes what differs each time: the bytes of certificates and the time of the enrolment and, with `keys`, the host
/// keys.
pub(super) fn without_what_is_made_anew(files: &Files, keys: bool) -> Files {
    let mut files = files.clone();
    for (path, file) in &mut files {
        if is_certificate(path) || path.ends_with("enrolment.json") || (keys && is_host_key(path)) {
            file.bytes.clear();
        }
    }
    files
}

/// Includes the names to which the links lead ([`Shape::Links`]).
pub(super) fn is_host_key(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    let name = name.strip_suffix(".pub").unwrap_or(name);
    (name.starts_with("ssh_host_") && name.ends_with("_key")) || name.ends_with(" key")
}

pub(super) fn is_certificate(path: &Path) -> bool {
    path.to_str().unwrap().ends_with("-cert.pub")
}
