//! A machine that has booted: Debian's systemd is its first process, and OpenSSH runs as Debian's units
//! say. Whenever that process ends, it boots anew with the files that it has.

use super::{
    client::{self, Client, Knows},
    enclosure::{Enclosure, child, command_of, outside_of},
    machine::{KEYS, copy_key},
    missing,
    network::Network,
    peer::tree,
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

/// Where Warded is there.
pub(crate) const WARDED: &str = "/usr/local/bin/warded";
const LONG: Duration = Duration::from_secs(60);

/// A machine with systemd.
#[derive(Debug)]
pub(crate) struct Booted {
    // Its first process has a child, a shell that boots the machine; that one's child is systemd-nspawn(1), and
    // that one's the machine's first process.
    enclosure: Enclosure,
    first: String,
    // Can be removed when the enclosure's processes have ended.
    _groups: Groups,
    shared: TempDir,
}

impl Booted {
    /// A machine with OpenSSH and systemd as a suite of Debian ships them, with three host keys, on which this
    /// unit is enabled. None: nothing can boot here, and the test is skipped.
    pub(crate) fn start(suite: &str, unit: &str) -> Option<Self> {
        if missing::root() || missing::program("systemd-nspawn", "systemd-container") {
            return None;
        }
        let shared = tempfile::Builder::new().prefix("warded-box-").tempdir().unwrap();
        let groups = Groups::new(shared.path().file_name().unwrap().to_str().unwrap());
        let program = Path::new(env!("CARGO_BIN_EXE_warded"));
        let enclosure = Enclosure::before_boot(&tree(suite), shared.path(), program, WARDED, &groups.0);
        let root = enclosure.outside(&shared.path().join("box/root"));
        for name in KEYS {
            copy_key(name, &root.join(format!("etc/ssh/ssh_host_{name}_key")));
        }
        fs::create_dir(shared.path().join("client")).unwrap();
        client::make_key(shared.path());
        fs::create_dir_all(root.join("root/.ssh")).unwrap();
        fs::copy(shared.path().join("authorized_keys"), root.join("root/.ssh/authorized_keys")).unwrap();
        fs::write(root.join("etc/machine-id"), "").unwrap();
        Run::of(Command::new("systemctl").arg("--root").arg(&root).args(["enable", unit])).ends(0);
        fs::write(shared.path().join("boot"), "").unwrap();
        let mut booted = Self { enclosure, first: String::new(), _groups: groups, shared };
        booted.await_boot();
        booted.shell("warded ca init /root/ca").ends(0);
        Some(booted)
    }

    /// Its power is cut; then it boots.
    pub(crate) fn loses_power(&mut self) {
        kill_process(Pid::from_raw(self.first.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
        self.await_boot();
    }

    /// It is shut down as a reboot does it, and boots; how long its first process took to end.
    pub(crate) fn reboots(&mut self) -> Duration {
        let (began, first) = (Instant::now(), format!("/proc/{}", self.first));
        self.shell("systemctl --no-block reboot");
        while Path::new(&first).exists() {
            assert!(began.elapsed() < 2 * LONG, "it does not go down");
            sleep(Duration::from_millis(10));
        }
        let took = began.elapsed();
        self.await_boot();
        took
    }

    /// Waits until it is up, with another first process than before.
    fn await_boot(&mut self) {
        let (earlier, end) = (self.first.clone(), Instant::now() + LONG);
        let is_up = |booted: &mut Self| {
            let keeper = booted.enclosure.first_process();
            let Some(first) = child(keeper).and_then(child).and_then(child) else { return false };
            let is_init = fs::read_to_string(format!("/proc/{first}/comm")).is_ok_and(|name| name.trim() == "systemd");
            if !is_init || first == earlier {
                return false;
            }
            booted.first = first;
            booted.shell("systemctl is-active --quiet multi-user.target").code == Some(0)
        };
        while !is_up(self) {
            let console = || fs::read_to_string(self.shared.path().join("console")).unwrap_or_default();
            assert!(Instant::now() < end, "it does not boot: {}", console());
            sleep(Duration::from_millis(20));
        }
    }

    /// A line for sh(1), inside, as root.
    pub(crate) fn shell(&self, line: &str) -> Run {
        let mut shell = command_of(&self.first, "/bin/sh");
        shell.env_clear().env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin").env("HOME", "/root");
        Run::of(shell.env("WARDED_CA", "/root/ca").args(["-c", line]))
    }

    /// Runs Warded there in a login of its own, as its administrator would.
    pub(crate) fn warded(&self, words: &str) -> Run {
        let key = fs::read_to_string(self.file("/etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
        Run::of(&mut self.client(&Knows::Keys(key)).command(&format!("WARDED_CA=/root/ca {WARDED} {words}")))
    }

    /// A client beside it.
    pub(crate) fn client(&self, knows: &Knows) -> Client<'_> {
        Client::new(Some(&self.enclosure), self.shared.path(), 22, knows)
    }

    /// Its network, in which servers beside it can listen.
    pub(crate) fn network(&self) -> Network {
        self.enclosure.network()
    }

    /// A file of the machine's, seen from outside.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        outside_of(&self.first, Path::new(path))
    }
}

/// Control groups for one machine: its systemd takes the one that it is in for its own.
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
            // A process that was killed is in its group for a moment.
            while remove(group).is_err() && Instant::now() < end {
                sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Removes a group with those below it: what else is there is no file.
fn remove(group: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(group)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}
