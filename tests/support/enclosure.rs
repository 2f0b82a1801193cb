//! Namespaces for one machine: its own mounts, network and processes. Everything that is started inside ends with it.
//! An ordinary user cannot have them, and works beside the machine's own processes.

use super::network::Network;
use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// What the first process does: waits for the end of its input, and reaps every process that has ended. Without that,
/// zombies would stay for ever, and every program that lists processes would read them.
const WAIT: &str = "echo ready; exec 3<&0; cat <&3 & wait";

/// What every enclosure does first. No mount is propagated: unshare(1) makes all mounts private.
const BEGIN: &str = "set -e; ip link set lo up";

/// Namespaces, which end when this is dropped.
#[derive(Debug)]
pub(crate) struct Enclosure {
    holder: Child,
    inner: String,
}

/// Whether this process may make namespaces.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

impl Enclosure {
    /// This machine's own files, its programs read-only, with its own `/run` and `/proc`. `~/.bashrc` is hidden, so
    /// that a login does not run what this machine's user has in it.
    pub(crate) fn beside() -> Self {
        Self::start(&format!(
            "{BEGIN}; mount --bind /usr /usr; mount -o remount,bind,ro /usr; \
             mount -t tmpfs -o mode=755 tmpfs /run; mkdir /run/sshd; mount -t proc proc /proc; \
             mkdir /run/upper /run/work; \
             mount -t overlay -o lowerdir=/etc/ssh,upperdir=/run/upper,workdir=/run/work overlay /etc/ssh; \
             [ ! -e ~/.bashrc ] || mount --bind /dev/null ~/.bashrc; {WAIT}"
        ))
    }

    /// The files of a tree, which does not change: all changes disappear with the enclosure. `shared` has the same path
    /// inside as outside; `program` appears as `/usr/bin/warded`. There is room for some megabytes only, so that a test
    /// can fill it.
    pub(crate) fn within(tree: &Path, shared: &Path, program: &Path) -> Self {
        let (tree, shared, program) = (tree.display(), shared.display(), program.display());
        let enclosure = Self::start(&format!(
            "{BEGIN}; cd {shared}; mkdir box; mount -t tmpfs -o mode=755,size=64m tmpfs box; cd box; mkdir upper work root
             mount -t overlay -o lowerdir={tree},upperdir=upper,workdir=work overlay root
             mount --rbind /dev root/dev; mount -t proc proc root/proc; mount -t tmpfs -o mode=755 tmpfs root/run
             mkdir -p root/run/sshd root{shared}; mount --bind {shared} root{shared}
             : >root/usr/bin/warded; mount --bind {program} root/usr/bin/warded
             exec chroot root sh -c '{WAIT}'"
        ));
        // Otherwise everything written inside would be written to this machine.
        let root = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).unwrap();
        assert_ne!(root(&enclosure.outside(Path::new("/"))), root(Path::new("/")), "this is no tree of its own");
        enclosure
    }

    /// The files of a tree, to be booted as soon as there is a file `boot` in `shared`, and again whenever the booted
    /// machine has ended. `nspawn` and `boot` are the command line of systemd-nspawn(1) and what it starts. `program`
    /// appears there as `name`. The enclosure's first process is the one that boots the machine.
    pub(super) fn before_boot(
        tree: &Path,
        shared: &Path,
        (program, name): (&Path, &str),
        groups: &[PathBuf],
        [nspawn, boot]: &[&str; 2],
    ) -> Self {
        let (tree, shared, program) = (tree.display(), shared.display(), program.display());
        let joined: String = groups.iter().map(|group| format!("echo 0 >{}/cgroup.procs; ", group.display())).collect();
        Self::start(&format!(
            "{BEGIN}; {joined} mount -t proc proc /proc; cd {shared}; mkdir box
             mount -t tmpfs -o mode=755,size=256m tmpfs box; cd box; mkdir upper work root
             mount -t overlay -o lowerdir={tree},upperdir=upper,workdir=work overlay root
             exec 3<&0; echo ready; until [ -e ../boot ]; do sleep 0.02; done
             while :; do
                 {nspawn} --quiet --register=no --keep-unit --directory=root --machine=box --resolv-conf=off \
                     --timezone=off --link-journal=no --console=read-only --bind-ro={program}:{name} {boot} \
                     </dev/null >>../console 2>&1 || :
             done & exec cat <&3"
        ))
    }

    fn start(script: &str) -> Self {
        let mut holder = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", script])
            // The first process waits for this pipe: it ends with this process, however that ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "ready\n", "the namespaces were not set up: see above");
        let pid = holder.id();
        let inner = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        Self { holder, inner: inner.trim().to_owned() }
    }

    /// A command for a program that runs inside.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        command_of(&self.inner, program)
    }

    pub(crate) fn network(&self) -> Network {
        Network::of_process(&self.inner)
    }

    /// A command for one of this machine's programs, run in the namespaces but outside of a tree: the tree is
    /// `SHARED/box/root` there.
    pub(crate) fn command_beside(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.inner, "--mount", "--net", "--pid", "--"]).arg(program);
        command
    }

    /// The ID of the first process inside, as seen from outside.
    pub(crate) fn first_process(&self) -> &str {
        &self.inner
    }

    /// The path outside of a path inside.
    pub(crate) fn outside(&self, path: &Path) -> PathBuf {
        outside_of(&self.inner, path)
    }
}

/// A command for a program that runs in the namespaces of a process.
pub(crate) fn command_of(process: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", process, "--mount", "--net", "--pid", "--root", "--wd", "--"]).arg(program);
    command
}

/// The only child of a process.
pub(crate) fn child(process: impl AsRef<str>) -> Option<String> {
    let process = process.as_ref();
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next().map(str::to_owned)
}

/// The path outside of a path that a process sees.
pub(super) fn outside_of(process: &str, path: &Path) -> PathBuf {
    Path::new("/proc").join(process).join("root").join(path.strip_prefix("/").unwrap())
}

impl Drop for Enclosure {
    fn drop(&mut self) {
        // When its first process ends, the kernel kills all others in the namespace.
        self.holder.kill().unwrap();
        self.holder.wait().unwrap();
    }
}
