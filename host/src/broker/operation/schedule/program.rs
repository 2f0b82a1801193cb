//! Whether root may run a program by the clock.

use std::{os::unix::fs::MetadataExt as _, path::Path};
use warded_lib::text::neutral;

/// Whether users other than root can replace this program, or the schedule's service cannot see it.
pub(super) fn is_unsafe(program: &Path) -> bool {
    const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];
    TEMPORARY.iter().any(|directory| program.starts_with(directory)) || changed_by_others(program).is_some()
}

/// Why nothing that root runs later may name this program; `None` if it may.
pub(in crate::broker::operation) fn unsafe_program(program: &Path) -> Option<String> {
    is_unsafe(program).then(|| concern(program).unwrap_or_default())
}

/// Why root should not run this program every hour; `None` if there is no reason against it.
pub(super) fn concern(program: &Path) -> Option<String> {
    let is_below = |directories: &[&str]| directories.iter().any(|directory| program.starts_with(directory));
    let is_built = program.parent().is_some_and(|directory| {
        let is_profile = directory.file_name().is_some_and(|name| name == "release" || name == "debug");
        is_profile && directory.ancestors().any(|above| above.join("CACHEDIR.TAG").exists())
    });
    let why = if is_built {
        "lies in a build directory".to_owned()
    } else if is_below(&["/tmp", "/var/tmp", "/dev/shm"]) {
        "lies in a directory for temporary files, which the scheduled service does not see".to_owned()
    } else if is_below(&["/home", "/root"]) {
        "lies in a home directory".to_owned()
    } else {
        format!("can be changed by users other than root ({})", changed_by_others(program)?.display())
    };
    let program = neutral(&program.to_string_lossy());
    Some(format!(
        "{program} {why}, and the schedule runs it as root every hour. Install Warded where only root writes, such as \
         /usr/local/bin, and run this again with that copy."
    ))
}

/// The program, or a directory on the way to it, if users other than root can change it.
fn changed_by_others(program: &Path) -> Option<&Path> {
    program.ancestors().find(|path| {
        let is_sticky = |mode: u32| mode & 0o1000 != 0;
        path.metadata().is_ok_and(|found| found.uid() != 0 || (found.mode() & 0o022 != 0 && !is_sticky(found.mode())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    #[test]
    fn a_program_that_others_can_change_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |path: &str| {
            let path = scratch.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path
        };
        at("target/CACHEDIR.TAG");
        let says = |program: &Path, words: &str| concern(program).is_some_and(|concern| concern.contains(words));
        assert!(says(&at("target/release/warded"), "lies in a build directory"));
        assert!(says(Path::new("/tmp/warded"), "lies in a directory for temporary files"));
        assert!(says(Path::new("/home/jane/bin/warded"), "lies in a home directory"));
        assert!(says(Path::new("/root/warded"), "lies in a home directory"));
        assert_eq!(concern(Path::new("/usr/bin/env")), None);
        let open = at("bin/warded");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(changed_by_others(&open), Some(&*open));
        assert_eq!(changed_by_others(Path::new("/usr/bin/env")), None);
        assert!(is_unsafe(&open) && is_unsafe(Path::new("/var/tmp/warded")) && !is_unsafe(Path::new("/usr/bin/env")));
    }
}
