//! The command that gives a path the owner or the mode that Warded asks for, as an advice names it.

use crate::text::shell_word;
use std::path::Path;

/// Gives a file or a directory to whom Warded runs as.
#[must_use]
pub fn chown(path: &Path) -> String {
    chown_to(rustix::process::geteuid().as_raw(), "", path)
}

/// The same for a link, and not for what it leads to.
#[must_use]
pub fn chown_link(path: &Path) -> String {
    chown_to(rustix::process::geteuid().as_raw(), "-h ", path)
}

fn chown_to(user: u32, option: &str, path: &Path) -> String {
    let path = shell_word(&path.to_string_lossy());
    // Nobody but root may give files away.
    if user == 0 { format!("chown {option}root {path}") } else { format!("sudo chown {option}{user} {path}") }
}

/// Takes the permission to write from the group, and from others where they have it.
#[must_use]
pub fn chmod_unwritable(path: &Path, mode: u32) -> String {
    let classes = if mode & 0o002 == 0 { "g" } else { "go" };
    format!("chmod {classes}-w {}", shell_word(&path.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_the_path_and_nothing_else() {
        for (user, option, path, command) in [
            (0, "", "/etc/warded", "chown root /etc/warded"),
            (0, "-h ", "/etc/a link", "chown -h root '/etc/a link'"),
            (1000, "", "/home/a/.config", "sudo chown 1000 /home/a/.config"),
        ] {
            assert_eq!(chown_to(user, option, Path::new(path)), command);
        }
        for (mode, command) in [(0o775, "chmod g-w /a"), (0o666, "chmod go-w /a"), (0o602, "chmod go-w /a")] {
            assert_eq!(chmod_unwritable(Path::new("/a"), mode), command);
        }
    }
}
