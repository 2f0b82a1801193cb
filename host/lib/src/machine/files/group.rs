//! Whether a group can contain users other than the owner of a file. Fedora and RHEL give each user a private group,
//! with umask 002; such a group counts as the owner alone.

use crate::machine::users;
use std::path::Path;

/// Who else can write a file with this mode, owner and group, as the subject of a sentence. None: only the owner.
pub(super) fn who_else_can_write(mode: u32, user: u32, group: u32) -> Option<String> {
    if mode & 0o002 != 0 {
        return Some("others".to_owned());
    }
    if mode & 0o020 == 0 {
        return None;
    }
    let (users, groups) = (users::table(Path::new("/etc/passwd")), users::table(Path::new("/etc/group")));
    if is_private(&users, &groups, user, group) {
        return None;
    }
    let known = records(&groups).find(|record| record.get(2) == Some(&group.to_string().as_str()));
    let name = known.and_then(|record| record.first().map(|name| (*name).to_owned()));
    Some(format!("the group {}", crate::text::neutral(&name.unwrap_or_else(|| group.to_string()))))
}

/// Whether a group is the user's own, by name and number, and has no other member. `users` and `groups` are the texts
/// of passwd(5) and group(5). A group that is not in them may have any members.
fn is_private(users: &str, groups: &str, user: u32, group: u32) -> bool {
    let (user, group) = (user.to_string(), group.to_string());
    let owner = records(users).find(|record| record.get(2) == Some(&user.as_str()));
    let Some([name, _, _, own_group, ..]) = owner.as_deref() else { return false };
    let mut of_group = records(groups).filter(|record| record.get(2) == Some(&group.as_str()));
    let (Some(found), None) = (of_group.next(), of_group.next()) else { return false };
    let [group_name, _, _, members] = found.as_slice() else { return false };
    let is_owner = |member: &str| member == *name;
    let mut sharing = records(users).filter(|record| record.get(3) == Some(&group.as_str()));
    *own_group == group
        && group_name == name
        && members.split(',').filter(|member| !member.is_empty()).all(is_owner)
        && sharing.all(|record| record.first() == Some(name))
}

fn records(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:50::/:/bin/sh\n\
                         eve:x:1002:1001::/:/bin/sh\ncem:x:1003:1003::/:/bin/sh\ndan:x:1004:1003::/:/bin/sh\n";
    const GROUPS: &str = "root:x:0:\nann:x:1000:ann\nstaff:x:50:\nbob:x:1001:\ncem:x:1003:\nmix:x:1005:ann,bob\n";

    #[test]
    fn a_private_group_has_one_member() {
        for (user, group, expected) in [
            (0, 0, true),
            (1000, 1000, true),
            // An administrators' group; another user's group; a group that is another user's primary group, too.
            (0, 50, false),
            (1001, 50, false),
            (1002, 1001, false),
            (1003, 1003, false),
            (1000, 1005, false),
            // Not in these files: a directory service such as LDAP may define them in any way.
            (1000, 2000, false),
            (2000, 1000, false),
        ] {
            assert_eq!(is_private(USERS, GROUPS, user, group), expected, "{user} {group}");
        }
        assert!(!is_private(USERS, "ann:x:1000:ann,eve\n", 1000, 1000));
        assert!(!is_private(USERS, "ann:x:1000:\nann:x:1000:eve\n", 1000, 1000));
        assert!(!is_private("", "", 0, 0));
    }

    #[test]
    fn who_can_write_is_named() {
        assert_eq!(who_else_can_write(0o755, 0, 0), None);
        assert_eq!(who_else_can_write(0o702, 0, 0).as_deref(), Some("others"));
        assert_eq!(who_else_can_write(0o770, 0, 4_000_000_000).as_deref(), Some("the group 4000000000"));
    }
}
