//! The version of an sshd, together with the identity of its program. A version is remembered beyond a run only for the
//! same program.

use super::{DIRECTORY, Sshd, effective};
use crate::{
    error::Result,
    machine::{exec::Program, file_identity::FileIdentity},
};
use std::{path::Path, time::SystemTime};

/// The version of a program that cannot be asked for it.
pub const UNKNOWN: &str = "unknown";

/// The version that a program reported.
#[derive(Debug)]
pub(super) struct LearntVersion {
    /// None: the program did not report one.
    version: Option<String>,
    /// The program's identity before it was asked. None: it may have been replaced since without a change of its
    /// identity.
    program: Option<FileIdentity>,
}

impl Sshd {
    /// The version, such as `9.2p1`, or `9.2` if the program tells no more; `unknown` if it cannot be asked.
    #[must_use]
    pub fn version(&self) -> &str {
        self.learnt_version().version.as_deref().unwrap_or(UNKNOWN)
    }

    /// The version, and the identity of the program that reported it. None if the version is not known, or may not be
    /// that of the program which is installed now.
    #[must_use]
    pub fn proven_version(&self) -> Option<(&str, &FileIdentity)> {
        let LearntVersion { version, program } = self.learnt_version();
        let (version, program) = (version.as_deref()?, program.as_ref()?);
        (FileIdentity::of(&self.binary).as_ref() == Some(program)).then_some((version, program))
    }

    /// Records a known version of a program. Ignored if the program has been replaced since, or the version is
    /// `unknown`.
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

/// The version that an OpenSSH program reports; before 9.2, sshd shows it only in its usage text.
fn ask(binary: &Path) -> Result<Option<String>> {
    let output = Program::new(binary).directory(DIRECTORY).arg("-V").run()?;
    Ok(effective::version(&format!("{}\n{}", output.stderr, output.stdout)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, thread, time::Duration};

    /// Replaces a program, and waits until the new one is older than a tick of the kernel's clock.
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
        // The program is replaced after it was asked: its answer does not belong to the new program.
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
