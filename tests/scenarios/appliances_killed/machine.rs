//! The appliances: what counts of them, and whether their stored settings and their files agree.

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

/// Everything that a command may change, Warded's own state too.
const DIRECTORIES: &str =
    "etc/ssh etc/cron.d etc/e-smith etc/backup-config.d etc/systemd/system data root var/lib/warded";
/// sshd as it is, but for this: it refuses the configuration in place, and no candidate, once that has certificates.
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

/// All that counts, by path; stored settings have paths of their own.
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

    /// An sshd on NethServer that takes no certificates in the end.
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

    /// The appliance generates what is in place, and sshd takes that.
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

    /// Who has pinned a host key gets in; who knows only the CA, where the machine is certified.
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

    /// A login. An sshd that has just been told to reload does not listen for a moment.
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

    /// Keeps a copy of everything that counts, by this name.
    pub(super) fn keep(&self, name: &str) {
        self.sh(&format!(
            "rm -rf /kept/{name}; mkdir -p /kept/{name}; cd /
             for directory in {DIRECTORIES}; do [ ! -e $directory ] || cp -a --parents $directory /kept/{name}; done"
        ));
    }

    /// Puts that copy back. `reloads`: sshd's files were others.
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
