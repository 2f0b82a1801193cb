//! A TrueNAS: a Debian with `tests/peers/midclt`, its store, and the sshd configuration that it generates. It can also
//! have the paths of CORE, which is a FreeBSD.

use super::{
    ClientKnowledge, Peer, Run,
    client::Client,
    files::Found,
    machine::{KEYS, tree},
    wait::{LONG, wait},
};
use std::{
    collections::BTreeMap, env, fs, ops::Deref, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command,
};

const SET: &str = "principal=web1.example.org";
pub(crate) const CERTIFY: [&str; 5] = ["apply", "certify-host", "--set", SET, "--yes"];
pub(crate) const TRUST: [&str; 4] = ["apply", "trust-user-ca", "--yes", "--accept-risk=root-by-certificate"];
pub(crate) const REMOVE: [&str; 4] = ["apply", "remove", "--yes", "--accept-risk=lose-ssh"];

/// The settings in the web interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) version: &'a str,
    /// A user who may log in with a password.
    pub(crate) password_user: Option<&'a str>,
    pub(crate) two_factor: bool,
    /// The auxiliary parameters.
    pub(crate) options: &'a str,
}

impl Settings<'_> {
    /// The default settings of this release.
    pub(crate) fn of(version: &str) -> Settings<'_> {
        Settings { version, password_user: None, two_factor: false, options: "" }
    }
}

/// Whether `tests/appliances` tests every release.
pub(crate) fn all() -> bool {
    env::var("WARDED_APPLIANCES").is_ok_and(|all| all == "all")
}

/// The relevant state: the settings, the jobs, sshd's files, and the persistent files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) options: String,
    pub(crate) jobs: String,
    pub(crate) sshd_config: String,
    /// The files in /etc/ssh, and Warded's files in /root.
    pub(crate) files: BTreeMap<PathBuf, Found>,
}

/// The paths of a release.
#[derive(Debug)]
struct Layout {
    midclt: &'static str,
    sshd: &'static str,
    config: &'static str,
    policy: &'static str,
}

const SCALE: Layout =
    Layout { midclt: "/usr/bin/midclt", sshd: "/usr/sbin/sshd", config: "/etc/ssh/sshd_config", policy: "truenas" };
/// The host keys are in /etc/ssh here, too, since Debian's sshd looks for them there.
const CORE: Layout = Layout {
    midclt: "/usr/local/bin/midclt",
    sshd: "/usr/local/sbin/sshd",
    config: "/usr/local/etc/ssh/sshd_config",
    policy: "truenas-core",
};

#[derive(Debug)]
pub(crate) struct TrueNas {
    peer: Peer,
    layout: &'static Layout,
}

impl Deref for TrueNas {
    type Target = Peer;
    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl TrueNas {
    /// A machine with a running sshd, with the policy accepted, and with the paths of this release. `None` if this is
    /// not root and the test is skipped.
    pub(crate) fn start(settings: Settings<'_>) -> Option<Self> {
        // Versions of CORE and FreeNAS begin with 1.
        let layout = if settings.version.starts_with('1') { &CORE } else { &SCALE };
        let suite = if settings.version == "26" { "trixie" } else { "bookworm" };
        let machine = Self { peer: Self::prepared(suite, settings, layout)?, layout };
        if layout.config != SCALE.config {
            let pid = fs::read_to_string(machine.file("/run/sshd.pid")).unwrap();
            Run::of(machine.command("kill").arg(pid.trim())).ends(0);
            wait("sshd ends", LONG, || !machine.file("/run/sshd.pid").exists());
            fs::remove_file(machine.file(SCALE.config)).unwrap();
            machine.serves();
        }
        machine.adds_policy(layout.policy);
        Some(machine)
    }

    fn prepared(suite: &str, settings: Settings<'_>, layout: &Layout) -> Option<Peer> {
        Peer::prepared(suite, |peer| {
            fs::create_dir_all(peer.file("/data/store/keys")).unwrap();
            if layout.config != SCALE.config {
                let made = "mkdir -p /usr/local/bin /usr/local/sbin /usr/local/etc/ssh; touch /etc/rc.subr; \
                            cp /usr/sbin/sshd /usr/local/sbin/sshd";
                Run::of(peer.command("sh").args(["-ec", made])).ends(0);
                fs::write(peer.file("/data/store/config"), layout.config).unwrap();
            }
            let midclt = peer.file(layout.midclt);
            fs::write(&midclt, include_str!("../peers/midclt")).unwrap();
            fs::set_permissions(midclt, fs::Permissions::from_mode(0o755)).unwrap();
            for name in KEYS {
                for end in ["", ".pub"] {
                    let name = format!("ssh_host_{name}_key{end}");
                    fs::copy(peer.file(&format!("/etc/ssh/{name}")), peer.file(&format!("/data/store/keys/{name}")))
                        .unwrap();
                }
            }
            store(peer, settings);
            Run::of(peer.command(layout.midclt).args(["call", "etc.generate", "ssh"])).ends(0);
        })
    }

    /// A command that runs Warded there.
    pub(crate) fn warded_command(&self, words: &[&str]) -> Command {
        let mut command = self.peer.warded_command(words);
        if self.layout.config != SCALE.config {
            command.env("WARDED_SSHD_CONFIG", self.layout.config).env("WARDED_SSHD", self.layout.sshd);
        }
        command
    }

    pub(crate) fn warded(&self, words: &[&str]) -> Run {
        Run::of(&mut self.warded_command(words))
    }

    /// Changes the settings as the web interface does: stores them, and generates the files.
    pub(crate) fn sets(&self, settings: Settings<'_>) {
        store(self, settings);
        self.calls(&["service.reload", "ssh"]);
    }

    /// Whether its sshd runs, by its PID file, which the middleware removes when it tells sshd to reload.
    pub(crate) fn is_served(&self) -> bool {
        self.file("/run/sshd.pid").exists()
    }

    /// Starts its sshd.
    pub(crate) fn serves(&self) {
        let mut sshd = self.command(self.layout.sshd);
        Run::of(sshd.args(["-f", self.layout.config, "-E", "/run/sshd.log"])).ends(0);
        wait("sshd listens", LONG, || self.is_served());
    }

    /// Calls a method of the middleware.
    pub(crate) fn calls(&self, words: &[&str]) -> Run {
        Run::of(self.command(self.layout.midclt).arg("call").args(words))
    }

    /// Sets what goes wrong from now on: `METHOD:FAULT`, or `none`.
    pub(crate) fn mode(&self, mode: &str) {
        fs::write(self.file("/data/store/mode"), format!("{mode}\n")).unwrap();
    }

    /// The contents of a file of the store.
    pub(crate) fn stored(&self, name: &str) -> String {
        fs::read_to_string(self.file(&format!("/data/store/{name}"))).unwrap_or_default()
    }

    pub(crate) fn state(&self) -> State {
        let known = tree(&self.file("/etc/ssh")).into_iter().chain(tree(&self.file("/root")));
        // The CA of a test is in the same directory.
        let is_kept = |(path, _): &(PathBuf, Found)| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("ssh") || name.starts_with("warded-") || name.starts_with('.')
        };
        let sshd_config = self.sshd_config();
        State {
            options: self.stored("options"),
            jobs: self.stored("jobs"),
            sshd_config,
            files: known.filter(is_kept).collect(),
        }
    }

    fn sshd_config(&self) -> String {
        fs::read_to_string(self.file(self.layout.config)).unwrap()
    }

    /// Whether `sshd -t` accepts the present configuration, and what it says if not.
    pub(crate) fn sshd_takes_it(&self) -> Result<(), String> {
        let run = Run::of(self.command(self.layout.sshd).args(["-t", "-f", self.layout.config]));
        if run.code == Some(0) { Ok(()) } else { Err(run.stderr) }
    }

    /// Asserts that the present files are what the middleware would generate now.
    #[track_caller]
    pub(crate) fn is_as_generated(&self) {
        let before = self.sshd_config();
        self.calls(&["etc.generate", "ssh"]).ends(0);
        assert_eq!(self.sshd_config(), before);
    }

    /// Whether a client gets in that has pinned a host key, or, without one, a client that knows only the CA.
    pub(crate) fn gets_in(&self, key: Option<&str>) -> bool {
        self.logs_in(key).is_ok()
    }

    /// The same, with the client's output.
    pub(crate) fn logs_in(&self, key: Option<&str>) -> Result<(), String> {
        is_in(&self.client(&self.knowledge(key)))
    }

    /// Whether a client without a key here can log in as root with a certificate of the CA.
    pub(crate) fn logs_in_by_certificate(&self) -> Result<(), String> {
        is_in(&self.client_with_certificate(&self.knowledge(Some("ed25519"))))
    }

    #[track_caller]
    pub(crate) fn lets_in_by_certificate(&self, expected: bool) {
        let found = self.logs_in_by_certificate();
        assert_eq!(found.is_ok(), expected, "who has only a certificate: {found:?}");
    }

    fn knowledge(&self, key: Option<&str>) -> ClientKnowledge {
        let read = |path: String| fs::read_to_string(self.file(&path)).unwrap();
        match key {
            Some(key) => ClientKnowledge::Keys(read(format!("/data/store/keys/ssh_host_{key}_key.pub"))),
            None => ClientKnowledge::Authority(read("/root/ca/host_ca.pub".to_owned())),
        }
    }

    /// Asserts that every client gets in that should.
    #[track_caller]
    pub(crate) fn lets_everybody_in(&self, is_certified: bool) {
        self.sshd_takes_it().unwrap();
        for key in KEYS {
            assert!(self.gets_in(Some(key)), "who pinned {key} is locked out");
        }
        assert_eq!(self.gets_in(None), is_certified, "who knows only the CA");
    }
}

fn is_in(client: &Client<'_>) -> Result<(), String> {
    let run = client.tries();
    if run.code == Some(0) && run.stdout == "in\n" { Ok(()) } else { Err(run.stderr) }
}

fn store(peer: &Peer, settings: Settings<'_>) {
    let two_factor = if settings.two_factor { "on" } else { "off" };
    for (name, text) in [
        ("version", settings.version),
        ("password-user", settings.password_user.unwrap_or_default()),
        ("two-factor", two_factor),
        ("options", settings.options),
    ] {
        fs::write(peer.file(&format!("/data/store/{name}")), text).unwrap();
    }
}
