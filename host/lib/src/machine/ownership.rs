//! The owners that Warded accepts for files it relies on, and the commands that give a path the required owner or mode.

use crate::text::{by_sudo, shell_word};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

/// The `chown` command to suggest for a file. None is suggested for a directory: if a home became root's, its user
/// could not log in.
#[must_use]
pub fn chown(path: &Path) -> String {
    let user = rustix::process::geteuid().as_raw();
    if path.symlink_metadata().is_ok_and(|found| found.is_dir()) { elsewhere_for(user) } else { chown_to(user, path) }
}

/// Advice on where files that Warded relies on have to lie.
#[must_use]
pub fn elsewhere() -> String {
    elsewhere_for(rustix::process::geteuid().as_raw())
}

fn elsewhere_for(user: u32) -> String {
    if user == 0 {
        // Only root reads the installed copy, which may be a secret.
        "use a directory that only root can write; for a file: sudo install -m 600 FILE /etc/warded/".to_owned()
    } else {
        "use a directory that only you and root can write".to_owned()
    }
}

fn chown_to(user: u32, path: &Path) -> String {
    let path = shell_word(&path.to_string_lossy());
    // Only root may give files away.
    if user == 0 { format!("chown root {path}") } else { format!("sudo chown {user} {path}") }
}

/// The command that gives this user access to a path: it mends the first path component that denies access.
#[must_use]
pub fn admission(path: &Path, wanted: Access) -> Option<String> {
    let mut way: Vec<&Path> = path.ancestors().collect();
    way.reverse();
    let mut above: Option<Metadata> = None;
    for at in way {
        let found = fs::metadata(at).ok()?;
        let needed = match (at == path, found.is_dir()) {
            (false, _) => Access::EXEC_OK,
            (true, true) => wanted | Access::EXEC_OK,
            (true, false) => wanted,
        };
        if accessat(CWD, at, needed, AtFlags::EACCESS).is_err() {
            let user = rustix::process::geteuid().as_raw();
            let is_in_own = above.is_some_and(|above| above.uid() == user);
            return Some(admission_to(user, (found.uid(), found.is_dir()), is_in_own, at));
        }
        above = Some(found);
    }
    None
}

/// `is_in_own`: whether the path lies in a directory of the user's. Elsewhere it may belong to another user on purpose.
fn admission_to(user: u32, (owner, is_directory): (u32, bool), is_in_own: bool, path: &Path) -> String {
    if owner == user {
        let mode = if is_directory { "u+rwx" } else { "u+rw" };
        format!("chmod {mode} {}", shell_word(&path.to_string_lossy()))
    } else if is_in_own {
        chown_to(user, path)
    } else {
        by_sudo()
    }
}

/// The command that removes write permission from the group, and from others if they have it.
#[must_use]
pub fn chmod_unwritable(path: &Path, mode: u32) -> String {
    let classes = if mode & 0o002 == 0 { "g" } else { "go" };
    format!("chmod {classes}-w {}", shell_word(&path.to_string_lossy()))
}

/// Whether root or the effective user is that owner.
#[must_use]
pub fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_denied_is_given_to_whom_it_belongs() {
        let path = Path::new("/home/a/.ssh");
        for (user, found, is_in_own, expected) in [
            (1000, (1000, true), true, "chmod u+rwx /home/a/.ssh"),
            (1000, (1000, false), true, "chmod u+rw /home/a/.ssh"),
            (1000, (0, true), true, "sudo chown 1000 /home/a/.ssh"),
            (1000, (0, false), true, "sudo chown 1000 /home/a/.ssh"),
        ] {
            assert_eq!(admission_to(user, found, is_in_own, path), expected);
        }
        let elsewhere = admission_to(1000, (0, true), false, Path::new("/etc/ssh"));
        assert!(elsewhere.contains("sudo") && !elsewhere.contains("/etc/ssh"), "{elsewhere}");
        assert_eq!(admission(Path::new("/no/such/file"), Access::READ_OK), None);
    }

    #[test]
    fn a_command_names_the_path_and_nothing_else() {
        for (user, path, command) in [
            (0, "/etc/a file", "chown root '/etc/a file'"),
            (1000, "/home/a/.config/x", "sudo chown 1000 /home/a/.config/x"),
        ] {
            assert_eq!(chown_to(user, Path::new(path)), command);
        }
        for (user, words) in [(0, "install -m 600 FILE /etc/warded/"), (1000, "only you and root can write")] {
            let advice = elsewhere_for(user);
            assert!(advice.contains(words) && !advice.contains("chown"), "{advice}");
        }
        assert!(!chown(Path::new("/tmp")).contains("chown"));
        for (mode, command) in [(0o775, "chmod g-w /a"), (0o666, "chmod go-w /a"), (0o602, "chmod go-w /a")] {
            assert_eq!(chmod_unwritable(Path::new("/a"), mode), command);
        }
    }
}
