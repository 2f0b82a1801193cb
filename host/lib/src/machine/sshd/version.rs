//! The version of an sshd, and the file that has it: a version is remembered beyond a run only with its program.

use super::{DIRECTORY, Sshd, effective};
use crate::{
    error::Result,
    machine::{exec::Program, file_identity::FileIdentity},
};
use std::{path::Path, time::SystemTime};

/// What a program is said to be that cannot be asked for its version.
pub const UNKNOWN: &str = "unknown";

/// The version that a program named.
#[derive(Debug)]
pub(super) struct LearntVersion {
    /// None: the program did not name one.
    version: Option<String>,
    /// The program as it was before it was asked; none: it may have been written since without a sign of it.
    program: Option<FileIdentity>,
}

impl Sshd {
    /// Its version: `9.2p1`, `9.2` where it does not tell more, `unknown` where it cannot be asked.
    #[must_use]
    pub fn version(&self) -> &str {
        self.learnt_version().version.as_deref().unwrap_or(UNKNOWN)
    }

    /// Its version, and the program that has it. None where the version is not known, or is not certainly that of the
    /// program which is there now.
    #[must_use]
    pub fn proven_version(&self) -> Option<(&str, &FileIdentity)> {
        let LearntVersion { version, program } = self.learnt_version();
        let (version, program) = (version.as_deref()?, program.as_ref()?);
        (FileIdentity::of(&self.binary).as_ref() == Some(program)).then_some((version, program))
    }

    /// Notes the version that a program has; ignored where it is another program than this one now, or the version is
    /// not one.
    pub fn has_version(&self, version: &str, program: &FileIdentity) {
        if version != UNKNOWN && FileIdentity::of(&self.binary).as_ref() == Some(program) {
            let (version, program) = (Some(version.to_owned()), Some(program.clone()));
            self.learnt.version.get_or_init(|| LearntVersion { version, program });
        }
    }

    fn learnt_version(&self) -> &LearntVersion {
        self.learnt.version.get_or_init(|| {
            let now = SystemTime::now();
            let program = FileIdentity::of(&self.binary).filter(|program| !program.is_fresh_at(now));
            LearntVersion { version: ask(&self.binary).ok().flatten(), program }
        })
    }
}

/// The version that a program of OpenSSH names; before 9.2 sshd does so only in its usage text.
fn ask(binary: &Path) -> Result<Option<String>> {
    let output = Program::new(binary).directory(DIRECTORY).arg("-V").run()?;
    Ok(effective::version(&format!("{}\n{}", output.stderr, output.stdout)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, thread, time::Duration};

    /// Puts a program in the place of another one, and waits until it is older than a tick of the kernel's clock.
    fn put(program: &Path, script: &str) {
        let new = program.with_extension("new");
        fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&new, program).unwrap();
        while FileIdentity::of(program).unwrap().is_fresh_at(SystemTime::now()) {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn sshd(directory: &Path) -> (Sshd, PathBuf) {
        let (program, config) = (directory.join("sshd"), directory.join("odd.conf"));
        fs::write(&config, "").unwrap();
        put(&program, "echo OpenSSH_9.2p1, OpenSSL >&2");
        (Sshd::find(&config.as_path().try_into().unwrap(), Some(&program)).unwrap().unwrap(), program)
    }

    #[test]
    fn a_version_is_that_of_the_program_which_named_it() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().canonicalize().unwrap();
        let (first, program) = sshd(&directory);
        let old = FileIdentity::of(&program).unwrap();
        assert_eq!(first.proven_version(), Some(("9.2p1", &old)));
        // Replaced after it was asked: what it said is not of the program that is there.
        put(&program, "echo OpenSSH_10.0p2, OpenSSL >&2");
        assert_eq!((first.version(), first.proven_version()), ("9.2p1", None));
        let again = || Sshd::find(&first.config, Some(&program)).unwrap().unwrap();
        let told = again();
        told.has_version("9.2p1", &old);
        assert_eq!(told.version(), "10.0p2");
        let told = again();
        told.has_version("10.1p1", &FileIdentity::of(&program).unwrap());
        assert_eq!(told.proven_version().map(|(version, _)| version), Some("10.1p1"));
    }

    #[test]
    fn a_version_that_is_not_known_is_not_remembered() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().canonicalize().unwrap();
        let (first, program) = sshd(&directory);
        put(&program, "exit 1");
        assert_eq!((first.version(), first.proven_version()), (UNKNOWN, None));
        put(&program, "echo OpenSSH_9.9p1, OpenSSL >&2");
        let told = Sshd::find(&first.config, Some(&program)).unwrap().unwrap();
        told.has_version(UNKNOWN, &FileIdentity::of(&program).unwrap());
        assert_eq!(told.version(), "9.9p1");
    }
}
