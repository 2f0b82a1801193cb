//! Key files that sshd passes over because others than their user could have written them.

use crate::cli::outlook::Problem;
use std::{fs, os::unix::fs::MetadataExt as _, path::Path};
use warded_lib::{
    machine::{
        sshd::Effective,
        users::{self, User},
    },
    text::neutral,
};

/// More users than this are not looked at.
const MAX_USERS: usize = 1_000;

/// What is wrong, where sshd is strict about modes.
pub(super) fn look(effective: &Effective) -> Vec<Problem> {
    if effective.values("strictmodes").first().is_none_or(|strict| strict != "yes") {
        return Vec::new();
    }
    let named = effective.values("authorizedkeysfile");
    let files: Vec<&str> = named.iter().flat_map(|line| line.split_whitespace()).collect();
    let users = users::all();
    users.iter().filter(|user| user.has_shell()).take(MAX_USERS).filter_map(|user| passed_over(user, &files)).collect()
}

/// The first of these users' files, or of the directories on the way to it, that is not theirs alone. sshd looks from the
/// file up to the home directory, or to the root where the file is elsewhere (`safe_path` in OpenSSH's misc.c).
fn passed_over(user: &User, files: &[&str]) -> Option<Problem> {
    let home = fs::canonicalize(&user.home).unwrap_or_else(|_| user.home.clone().into());
    files.iter().find_map(|named| {
        let named = named.replace("%%", "%").replace("%h", &user.home).replace("%u", &user.name);
        let file = fs::canonicalize(Path::new(&user.home).join(named)).ok()?;
        let is_at_home = file.starts_with(&home);
        let looked_at = file.ancestors().take_while(|path| !is_at_home || path.starts_with(&home));
        let theirs = looked_at.into_iter().find(|path| !is_own(path, user))?;
        let (theirs, file) = (neutral(&theirs.to_string_lossy()), neutral(&file.to_string_lossy()));
        Some(Problem::with(
            format!("sshd passes {file} over, so {} does not get in by a key: others can write {theirs}", user.name),
            format!("chmod go-w {theirs}, if it belongs to {} or root", user.name),
        ))
    })
}

/// Debian's sshd takes what the user's own group can write, where nobody else is in it; that is not told as a fault.
fn is_own(path: &Path, user: &User) -> bool {
    let Ok(found) = fs::metadata(path) else { return true };
    let is_others_group = found.mode() & 0o020 != 0 && found.gid() != user.group;
    [0, user.id].contains(&found.uid()) && found.mode() & 0o002 == 0 && !is_others_group
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
