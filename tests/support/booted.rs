//! A machine that has booted: its first process is systemd or another init system of Debian's, which starts OpenSSH as
//! on Debian. Whenever that process ends, the machine boots again with the files that it has.

use super::{
    client::{self, Client, ClientKnowledge},
    enclosure::{Enclosure, child, command_of, outside_of},
    libraries,
    machine::{KEYS, copy_key},
    missing,
    network::Network,
    peer::{made_by, tree},
    run::Run,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The path of Warded on the machine.
pub(crate) const WARDED: &str = "/usr/local/bin/warded";
const LONG: Duration = Duration::from_secs(60);

/// The init system of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Init {
    Systemd,
    Sysvinit,
    /// OpenRC, started by sysvinit's first process.
    Openrc,
}

impl Init {
    /// The name of the first process.
    fn process(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Sysvinit | Self::Openrc => "init",
        }
    }

    /// The options with which systemd-nspawn(1) starts it.
    fn boot(self) -> &'static str {
        match self {
            Self::Systemd => "--boot",
            Self::Sysvinit | Self::Openrc => "/sbin/init",
        }
    }

    /// The condition inside that shows that the machine is up.
    fn is_up(self) -> &'static str {
        match self {
            Self::Systemd => "systemctl is-active --quiet multi-user.target",
            Self::Sysvinit | Self::Openrc => "test -e /run/sshd.pid -a -e /run/crond.pid",
        }
    }

    fn reboot(self) -> &'static str {
        match self {
            Self::Systemd => "systemctl --no-block reboot",
            Self::Sysvinit | Self::Openrc => "reboot",
        }
    }
}

/// A machine that boots.
#[derive(Debug)]
pub(crate) struct Booted {
    // The enclosure's first process has a child: a shell that boots the machine. That shell's child is
    // systemd-nspawn(1), whose child is the machine's first process.
    enclosure: Enclosure,
    first: String,
    init: Init,
    // Declared after the enclosure: the groups can be removed only when its processes have ended.
    _groups: Groups,
    shared: TempDir,
}

impl Booted {
    /// A machine with OpenSSH and systemd from this release of Debian, with three host keys, on which this unit is
    /// enabled. `None` if nothing can boot here and the test is skipped.
    pub(crate) fn start(suite: &str, unit: &str) -> Option<Self> {
        let enable = |root: &Path| {
            fs::write(root.join("etc/machine-id"), "").unwrap();
            let mut enable = Command::new("systemctl");
            // The package also has a sysvinit script, and the tool that would enable it is not there.
            enable.env("SYSTEMCTL_SKIP_SYSV", "1");
            Run::of(enable.arg("--root").arg(root).args(["enable", unit])).ends(0);
        };
        Self::boot(Init::Systemd, suite, || tree(suite), enable)
    }

    /// A machine with OpenSSH and cron from Debian bookworm, and another init system than systemd.
    pub(crate) fn with(init: Init) -> Option<Self> {
        let name = match init {
            Init::Systemd => return Self::start("bookworm", "ssh.service"),
            Init::Sysvinit => "sysvinit",
            Init::Openrc => "openrc",
        };
        Self::boot(init, "bookworm", || made_by("init-tree", Some(name)), |_| ())
    }

    fn boot(
        init: Init,
        suite: &str,
        tree: impl FnOnce() -> Option<PathBuf>,
        prepare: impl FnOnce(&Path),
    ) -> Option<Self> {
        if missing::root() || missing::program("systemd-nspawn", "systemd-container") {
            return None;
        }
        let tree = tree()?;
        let shared = tempfile::Builder::new().prefix("warded-box-").tempdir().unwrap();
        let groups = Groups::new(shared.path().file_name().unwrap().to_str().unwrap());
        let own = Path::new(env!("CARGO_BIN_EXE_warded"));
        let mut program = own.to_owned();
        if libraries::are_old(suite) {
            program = shared.path().join("warded");
            libraries::adapt(own, &program);
        }
        let boot = [nspawn(suite), init.boot()];
        let enclosure = Enclosure::before_boot(&tree, shared.path(), (&program, WARDED), &groups.0, &boot);
        let root = enclosure.outside(&shared.path().join("box/root"));
        if libraries::are_old(suite) {
            libraries::bring(own, &root);
        }
        for name in KEYS {
            copy_key(name, &root.join(format!("etc/ssh/ssh_host_{name}_key")));
        }
        fs::create_dir(shared.path().join("client")).unwrap();
        client::make_key(shared.path());
        fs::create_dir_all(root.join("root/.ssh")).unwrap();
        fs::copy(shared.path().join("authorized_keys"), root.join("root/.ssh/authorized_keys")).unwrap();
        prepare(&root);
        fs::write(shared.path().join("boot"), "").unwrap();
        let mut booted = Self { enclosure, first: String::new(), init, _groups: groups, shared };
        booted.await_boot();
        booted.shell("warded ca init /root/ca").ends(0);
        Some(booted)
    }

    /// Cuts the power of the machine, which then boots again.
    pub(crate) fn loses_power(&mut self) {
        kill_process(Pid::from_raw(self.first.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
        self.await_boot();
    }

    /// Shuts the machine down as a reboot does, and boots it. Returns how long its first process took to end.
    pub(crate) fn reboots(&mut self) -> Duration {
        let (began, first) = (Instant::now(), format!("/proc/{}", self.first));
        self.shell(self.init.reboot());
        while Path::new(&first).exists() {
            assert!(began.elapsed() < 2 * LONG, "it does not go down");
            sleep(Duration::from_millis(10));
        }
        let took = began.elapsed();
        self.await_boot();
        took
    }

    /// Waits until the machine is up, with another first process than before.
    fn await_boot(&mut self) {
        let (earlier, end) = (self.first.clone(), Instant::now() + LONG);
        let is_up = |booted: &mut Self| {
            let keeper = booted.enclosure.first_process();
            let Some(first) = child(keeper).and_then(child).and_then(child) else { return false };
            let name = fs::read_to_string(format!("/proc/{first}/comm")).unwrap_or_default();
            let is_init = name.trim() == booted.init.process();
            if !is_init || first == earlier {
                return false;
            }
            booted.first = first;
            booted.shell(booted.init.is_up()).code == Some(0)
        };
        while !is_up(self) {
            let console = || fs::read_to_string(self.shared.path().join("console")).unwrap_or_default();
            assert!(Instant::now() < end, "it does not boot: {}", console());
            sleep(Duration::from_millis(20));
        }
    }

    /// Runs a line of sh(1) inside, as root.
    pub(crate) fn shell(&self, line: &str) -> Run {
        let mut shell = command_of(&self.first, "/bin/sh");
        shell.env_clear().env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin").env("HOME", "/root");
        Run::of(shell.env("WARDED_CA", "/root/ca").args(["-c", line]))
    }

    /// Runs a line of sh(1) inside, as an ordinary user with this home directory.
    pub(crate) fn shell_of(&self, id: u32, home: &str, line: &str) -> Run {
        let mut shell = Command::new("nsenter");
        shell.args(["--target", &self.first, "--mount", "--net", "--pid", "--root", "--wd"]);
        shell.args([format!("--setuid={id}"), format!("--setgid={id}")]).args(["--", "/bin/sh", "-c", line]);
        Run::of(shell.env_clear().env("PATH", "/usr/local/bin:/usr/bin").env("HOME", home))
    }

    /// Runs Warded there in a login session of its own, as an administrator would.
    pub(crate) fn warded(&self, words: &str) -> Run {
        let key = fs::read_to_string(self.file("/etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
        Run::of(&mut self.client(&ClientKnowledge::Keys(key)).command(&format!("WARDED_CA=/root/ca {WARDED} {words}")))
    }

    /// A client in the machine's network.
    pub(crate) fn client(&self, knows: &ClientKnowledge) -> Client<'_> {
        Client::new(Some(&self.enclosure), self.shared.path(), 22, knows)
    }

    /// The ID of a process in the machine's network that lives as long as the machine.
    pub(super) fn keeper(&self) -> &str {
        self.enclosure.first_process()
    }

    /// The machine's network, in which other servers can listen.
    pub(crate) fn network(&self) -> Network {
        self.enclosure.network()
    }

    /// The path of a file of the machine, seen from outside.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        outside_of(&self.first, Path::new(path))
    }
}

/// systemd-nspawn(1): since 258, systemd does not start on version 1 control groups, which this machine may have.
fn nspawn(suite: &str) -> &'static str {
    if suite == "sid" { "env SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn" } else { "systemd-nspawn" }
}

/// Control groups for one machine: its systemd takes the group that it starts in for its own.
#[derive(Debug)]
struct Groups(Vec<PathBuf>);

impl Groups {
    fn new(name: &str) -> Self {
        let hierarchies = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let there = hierarchies.into_iter().filter(|directory| directory.join("cgroup.procs").exists());
        let groups: Vec<_> = there.map(|directory| directory.join(name)).collect();
        groups.iter().for_each(|group| fs::create_dir(group).unwrap());
        Self(groups)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let end = Instant::now() + LONG;
        for group in &self.0 {
            // A killed process stays in its group for a moment.
            while remove(group).is_err() && Instant::now() < end {
                sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Removes a group with those below it. Everything else in the directory is not a real file.
fn remove(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
