//! Key files that sshd ignores because users other than their owner could have written them.

use crate::cli::outlook::Problem;
use std::{fs, os::unix::fs::MetadataExt as _, path::Path};
use warded_lib::{
    machine::{
        ownership::chmod_unwritable,
        sshd::Effective,
        users::{self, User},
    },
    text::neutral,
};

/// The maximum number of users that are checked.
const MAX_USERS: usize = 1_000;

/// What is wrong, if sshd checks modes strictly (`StrictModes`).
pub(super) fn look(effective: &Effective) -> Vec<Problem> {
    if effective.values("strictmodes").first().is_none_or(|strict| strict != "yes") {
        return Vec::new();
    }
    let named = effective.values("authorizedkeysfile");
    let files: Vec<&str> = named.iter().flat_map(|line| line.split_whitespace()).collect();
    let users = users::all();
    users.iter().filter(|user| user.has_shell()).take(MAX_USERS).filter_map(|user| passed_over(user, &files)).collect()
}

/// The first of a user's files, or of the directories above it, that others can change. sshd checks from the file up to
/// the home directory, or up to the root if the file is elsewhere (`safe_path` in OpenSSH's misc.c).
fn passed_over(user: &User, files: &[&str]) -> Option<Problem> {
    let home = fs::canonicalize(&user.home).unwrap_or_else(|_| user.home.clone().into());
    files.iter().find_map(|named| {
        let named = expanded(named, user);
        let file = fs::canonicalize(Path::new(&user.home).join(named)).ok()?;
        let is_at_home = file.starts_with(&home);
        let looked_at = file.ancestors().take_while(|path| !is_at_home || path.starts_with(&home));
        let (why, next) = looked_at.into_iter().find_map(|path| fault(path, user))?;
        let file = neutral(&file.to_string_lossy());
        Some(Problem::with(
            format!("sshd passes {file} over, so {} does not get in by a key: {why}", neutral(&user.name)),
            next,
        ))
    })
}

/// Expands the tokens of `AuthorizedKeysFile` (sshd_config(5)).
fn expanded(named: &str, user: &User) -> String {
    let parts = named.split("%%").map(|part| part.replace("%u", &user.name).replace("%h", &user.home));
    parts.collect::<Vec<_>>().join("%")
}

/// Why users other than its owner can change a file or directory, and what to do. Debian's sshd accepts write
/// permission for the user's own group if nobody else is in it; that is not reported as a fault.
fn fault(path: &Path, user: &User) -> Option<(String, String)> {
    let found = fs::metadata(path).ok()?;
    let shown = neutral(&path.to_string_lossy());
    if ![0, user.id].contains(&found.uid()) {
        let next = format!("let {shown} belong to {} or root", neutral(&user.name));
        return Some((format!("{shown} belongs to another user"), next));
    }
    let is_others_group = found.mode() & 0o020 != 0 && found.gid() != user.group;
    let is_writable = found.mode() & 0o002 != 0 || is_others_group;
    is_writable.then(|| (format!("others can write {shown}"), chmod_unwritable(path, found.mode())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_file_and_the_way_to_it_are_the_users_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let home = scratch.path().canonicalize().unwrap().join("home");
        fs::create_dir_all(home.join(".ssh")).unwrap();
        fs::write(home.join(".ssh/authorized_keys"), "").unwrap();
        let found = fs::metadata(&home).unwrap();
        let user = User {
            name: "jane".to_owned(),
            id: found.uid(),
            group: found.gid(),
            home: home.display().to_string(),
            shell: "/bin/sh".to_owned(),
        };
        let told = |name: &str, mode| {
            let path = home.join(name);
            let before = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let told = passed_over(&user, &["%h/.ssh/authorized_keys", ".ssh/authorized_keys2"]);
            fs::set_permissions(&path, before).unwrap();
            told.map(|problem| problem.to_string())
        };
        for (named, expected) in [("%h/.keys/%u", "/keys/jane"), ("/etc/%%h/%u", "/etc/%h/jane"), (".ssh/a", ".ssh/a")]
        {
            assert!(expanded(named, &user).ends_with(expected.trim_start_matches("/keys")), "{named}");
        }
        let other = User { id: user.id + 1, ..user.clone() };
        // Files of root count as everybody's own.
        let foreign = passed_over(&other, &[".ssh/authorized_keys"]).map(|problem| problem.to_string());
        assert_eq!(foreign.is_some_and(|foreign| foreign.contains("belongs to another user")), found.uid() != 0);
        for (name, mode, is_told) in [
            ("", 0o700, false),
            ("", 0o775, false),
            ("", 0o757, true),
            (".ssh", 0o702, true),
            (".ssh/authorized_keys", 0o644, false),
            (".ssh/authorized_keys", 0o666, true),
        ] {
            let told = told(name, mode);
            assert_eq!(told.is_some(), is_told, "{name} {mode:o}: {told:?}");
            assert!(told.is_none_or(|told| told.contains("jane does not get in by a key")), "{name}");
        }
    }
}
