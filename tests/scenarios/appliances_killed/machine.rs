//! The appliances: which of their files count, and whether stored settings and files agree.

use crate::support::{
    ClientKnowledge, Peer, Run,
    files::Found,
    machine::KEYS,
    nethserver::{NethServer, Properties},
    true_nas::{Settings, TrueNas},
    wait::{LONG, wait},
};
use std::{
    collections::BTreeMap,
    fs,
    ops::Deref,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

/// The directories in which a command may change something, including Warded's own state.
const DIRECTORIES: &str =
    "etc/ssh etc/cron.d etc/e-smith etc/backup-config.d etc/systemd/system data root var/lib/warded";
/// An sshd that behaves like the real one with one exception: once its own configuration names certificates, it refuses
/// that configuration. It accepts candidates.
const REFUSES: &str = "#!/bin/sh
case \" $* \" in
*' -f /etc/ssh/sshd_config '*) own=1 ;;
*' -f '*) own= ;;
*) own=1 ;;
esac
case \"$own $* \" in
1*' -t '*) case $(cat /etc/ssh/sshd_config) in *HostCertificate*) echo refused >&2; exit 255 ;; esac ;;
esac
exec /usr/sbin/sshd \"$@\"
";

/// Every file that counts, by its path; stored settings have invented paths.
pub(super) type Kept = BTreeMap<PathBuf, Found>;

pub(super) enum Appliance {
    TrueNas(TrueNas),
    NethServer(NethServer),
}

impl Deref for Appliance {
    type Target = Peer;
    fn deref(&self) -> &Peer {
        match self {
            Self::TrueNas(machine) => machine,
            Self::NethServer(machine) => machine,
        }
    }
}

impl Appliance {
    pub(super) fn true_nas(settings: Settings<'_>) -> Option<Self> {
        TrueNas::start(settings).map(Self::TrueNas)
    }

    pub(super) fn nethserver() -> Option<Self> {
        let machine = Self::NethServer(NethServer::start("bookworm", Properties::default())?);
        let refuses = machine.file(machine.refusing_sshd());
        fs::write(&refuses, REFUSES).unwrap();
        fs::set_permissions(&refuses, fs::Permissions::from_mode(0o755)).unwrap();
        Some(machine)
    }

    /// On NethServer, the sshd that refuses certificates once they are in place.
    pub(super) fn refusing_sshd(&self) -> &'static str {
        "/usr/sbin/refusing-sshd"
    }

    pub(super) fn kept(&self) -> Kept {
        let mut kept = match self {
            Self::TrueNas(machine) => {
                let state = machine.state();
                let mut kept = state.files;
                for (name, text) in [("options", state.options), ("jobs", state.jobs)] {
                    kept.insert(Path::new("stored").join(name), (0, 0, 0, text.into_bytes()));
                }
                kept
            }
            Self::NethServer(machine) => machine.tree(),
        };
        if let Ok(bytes) = fs::read(self.file("/var/lib/warded/enrolment.json")) {
            kept.insert("enrolment.json".into(), (0, 0, 0, bytes));
        }
        kept
    }

    /// Checks that the appliance generates the files that are in place, and that sshd accepts them.
    pub(super) fn agrees(&self) -> Result<(), String> {
        let configuration = || fs::read_to_string(self.file("/etc/ssh/sshd_config")).unwrap();
        let before = configuration();
        let generated = match self {
            Self::TrueNas(machine) => {
                machine.calls(&["etc.generate", "ssh"]).ends(0);
                configuration()
            }
            Self::NethServer(machine) => machine.product(),
        };
        if generated != before {
            return Err(format!("the appliance generates something else:\n{generated}\nwhere this is:\n{before}"));
        }
        let run = Run::of(self.command("/usr/sbin/sshd").arg("-t"));
        if run.code == Some(0) { Ok(()) } else { Err(format!("sshd does not take its configuration: {}", run.stderr)) }
    }

    /// Checks that a client that has pinned a host key can connect; and one that knows only the CA, if the machine is
    /// certified.
    pub(super) fn lets_in(&self, is_certified: bool) -> Result<(), String> {
        let read = |path: &str| fs::read_to_string(self.file(path)).unwrap();
        for key in KEYS {
            let run = self.tries(&ClientKnowledge::Keys(read(&format!("/etc/ssh/ssh_host_{key}_key.pub"))));
            if run.code != Some(0) {
                return Err(format!("who pinned {key} is locked out: {}", run.stderr));
            }
        }
        let run = self.tries(&ClientKnowledge::Authority(read("/root/ca/host_ca.pub")));
        if (run.code == Some(0)) == is_certified {
            return Ok(());
        }
        Err(format!("who knows only the CA: {run:?}"))
    }

    /// Tries to log in. An sshd that has just been told to reload does not listen for a moment.
    fn tries(&self, knows: &ClientKnowledge) -> Run {
        let end = Instant::now() + LONG;
        loop {
            let tried = self.client(knows).tries();
            if !tried.stderr.contains("Connection refused") || Instant::now() > end {
                return tried;
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Copies everything that counts, under this name.
    pub(super) fn keep(&self, name: &str) {
        self.sh(&format!(
            "rm -rf /kept/{name}; mkdir -p /kept/{name}; cd /
             for directory in {DIRECTORIES}; do [ ! -e $directory ] || cp -a --parents $directory /kept/{name}; done"
        ));
    }

    /// Restores the copy of this name. `reloads`: sshd must reload, since its files differ.
    pub(super) fn put_back(&self, name: &str, reloads: bool) {
        self.sh(&format!("cd / && rm -rf {DIRECTORIES} && cp -a /kept/{name}/. /"));
        if reloads {
            self.sh("pid=$(cat /run/sshd.pid); rm /run/sshd.pid; kill -HUP $pid");
            wait("sshd listens again", LONG, || fs::read(self.file("/run/sshd.pid")).is_ok_and(|pid| !pid.is_empty()));
        }
    }

    fn sh(&self, script: &str) {
        Run::of(self.command("sh").args(["-ec", script])).ends(0);
    }
}
