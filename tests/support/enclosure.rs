//! Namespaces for one machine: its own mounts, network and processes. Whatever is started inside
//! ends with it. An ordinary user gets none, and works beside the machine's own processes.

use super::network::Network;
use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// What its first process does: waits for the end of its input, and for whoever else has ended;
/// else they would be there for ever, and be looked at by everybody who looks at all processes.
const WAIT: &str = "echo ready; exec 3<&0; cat <&3 & wait";

/// What every enclosure does first. Nothing is propagated: unshare(1) makes all mounts private.
const BEGIN: &str = "set -e; ip link set lo up";

/// Namespaces, until dropped.
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
    /// This machine's own files, its programs read-only, with a `/run` and a `/proc` of its own. Who logs in runs nothing
    /// that somebody here wants at each start of a shell.
    pub(crate) fn beside() -> Self {
        Self::start(&format!(
            "{BEGIN}; mount --bind /usr /usr; mount -o remount,bind,ro /usr; \
             mount -t tmpfs -o mode=755 tmpfs /run; mkdir /run/sshd; mount -t proc proc /proc; \
             mkdir /run/upper /run/work; \
             mount -t overlay -o lowerdir=/etc/ssh,upperdir=/run/upper,workdir=/run/work overlay /etc/ssh; \
             [ ! -e ~/.bashrc ] || mount --bind /dev/null ~/.bashrc; {WAIT}"
        ))
    }

    /// The files of a tree, which stays as it is: changes are gone with the enclosure. `shared` is
    /// a directory seen inside as it is outside; `program` is seen as `/usr/bin/warded`. There is room
    /// for some megabytes, so that a test can fill it.
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
        // Whatever is written inside would else be written to this machine.
        let root = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).unwrap();
        assert_ne!(root(&enclosure.outside(Path::new("/"))), root(Path::new("/")), "this is no tree of its own");
        enclosure
    }

    /// The files of a tree, to be booted once there is a file `boot` in `shared`, and whenever what was booted
    /// has ended: by systemd-nspawn(1) and what it starts, `nspawn` and `boot`. `program` is seen there as `name`. Its first
    /// process is whoever boots it.
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
            // What its first process waits for: it ends with this one, however that ends.
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

    /// A program to be run inside.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        command_of(&self.inner, program)
    }

    pub(crate) fn network(&self) -> Network {
        Network::of_process(&self.inner)
    }

    /// A program of this machine's, to be run in the namespaces but outside of a tree: there
    /// `SHARED/box/root` is the tree.
    pub(crate) fn command_beside(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.inner, "--mount", "--net", "--pid", "--"]).arg(program);
        command
    }

    /// The number of the first process inside, as it is seen from outside.
    pub(crate) fn first_process(&self) -> &str {
        &self.inner
    }

    /// Where a path inside is seen from outside.
    pub(crate) fn outside(&self, path: &Path) -> PathBuf {
        outside_of(&self.inner, path)
    }
}

/// A program to be run where a process is.
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

/// Where a path of a process's is seen from outside.
pub(super) fn outside_of(process: &str, path: &Path) -> PathBuf {
    Path::new("/proc").join(process).join("root").join(path.strip_prefix("/").unwrap())
}

impl Drop for Enclosure {
    fn drop(&mut self) {
        // With its first process all others of the namespace are killed.
        self.holder.kill().unwrap();
        self.holder.wait().unwrap();
    }
}
