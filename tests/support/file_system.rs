//! File systems for tests. A test that needs one starts itself again, in a mount namespace of its own: whatever is
//! mounted there disappears with its last process.

use super::run::Run;
use rustix::fs::statfs;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The environment variable that tells a test that it was started again, and on which file system.
const ON: &str = "WARDED_TEST_ON";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileSystem {
    /// In an image file, through a loop device.
    Ext4,
    /// In memory.
    Tmpfs,
    /// Two file systems in memory; the upper one is empty at first.
    Overlay,
}

impl FileSystem {
    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Tmpfs => "tmpfs",
            Self::Overlay => "overlay",
        }
    }

    /// The type that statfs(2) reports.
    fn magic(self) -> i64 {
        match self {
            Self::Ext4 => 0xef53,
            Self::Tmpfs => 0x0102_1994,
            Self::Overlay => 0x794c_7630,
        }
    }

    /// Called from the test of this name: starts the test again, with its temporary files on this file system, and
    /// returns its output. `None` in the test that was started again, which is to do the work.
    pub(crate) fn host(self, test: &str) -> Option<Run> {
        if env::var(ON).is_ok_and(|on| on == self.name()) {
            return None;
        }
        let scratch = tempfile::Builder::new().prefix("warded-mounts-").tempdir().unwrap();
        let mount = match self {
            // The image is in memory, so that nothing waits for this machine's disk.
            Self::Ext4 => "truncate -s 256M image; mkfs.ext4 -q image; mkdir at; mount -o loop image at",
            Self::Tmpfs | Self::Overlay => "mkdir -m 755 at upper; mount -t tmpfs -o mode=755 tmpfs upper",
        };
        let script = format!("set -e; mount -t tmpfs -o mode=755 tmpfs .; cd \"$PWD\"; {mount}; cd /; exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]).arg(env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture", "--include-ignored"]).current_dir(scratch.path());
        command.env(ON, self.name()).env("TMPDIR", scratch.path().join("at"));
        let run = Run::of(&mut command);
        assert!(run.stdout.contains("1 passed"), "{}\n{}", run.stdout, run.stderr);
        Some(run)
    }

    /// Asserts that a file is on this file system.
    #[track_caller]
    pub(crate) fn holds(self, path: &Path) {
        let found = statfs(path).unwrap().f_type;
        assert_eq!(found, self.magic(), "{} is not on {}", path.display(), self.name());
    }
}

/// Mounts an overlay over a directory, whose contents become the lower layer.
pub(super) fn layer(directory: &Path) {
    assert!(env::var(ON).is_ok_and(|on| on == FileSystem::Overlay.name()), "in this process nothing may be mounted");
    let upper = PathBuf::from(env::var_os("TMPDIR").unwrap()).with_file_name("upper");
    let name = directory.file_name().unwrap();
    let [upper, work] = ["u", "w"].map(|part| upper.join(part).join(name));
    for part in [&upper, &work] {
        fs::create_dir_all(part).unwrap();
    }
    let (lower, upper, work) = (directory.display(), upper.display(), work.display());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    Run::of(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(directory)).ends(0);
}
