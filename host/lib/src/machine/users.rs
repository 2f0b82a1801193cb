//! The users of this machine, read from passwd(5) without name services.

mod logged_in;

use super::exec::{self, Program};
use rustix::process::geteuid;
use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

/// The user as whom sshd's process runs before a client has authenticated (OpenSSH's `SSH_PRIVSEP_USER`).
const SEPARATED: &str = "sshd";
/// Packages create users with lower numbers (Debian's policy, login.defs).
const FIRST_PERSON: u32 = 1000;
const NOBODY: u32 = 65534;
/// More than any real file has.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A user, from a line of passwd(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The user's number.
    pub id: u32,
    /// The number of the user's primary group.
    pub group: u32,
    /// The home directory.
    pub home: String,
    /// The program that a login runs; empty means `/bin/sh`.
    pub shell: String,
}

impl User {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, group, _, home, rest @ ..] = fields.as_slice() else { return None };
        Some(Self {
            name: (*name).to_owned(),
            id: id.parse().ok()?,
            group: group.parse().ok()?,
            home: (*home).to_owned(),
            shell: rest.first().copied().unwrap_or_default().to_owned(),
        })
    }

    /// Whether a login gives this user a shell.
    #[must_use]
    pub fn has_shell(&self) -> bool {
        let name = self.shell.rsplit('/').next().unwrap_or_default();
        !["nologin", "false", "true", "sync", "halt", "shutdown"].contains(&name)
    }

    /// Whether this is the account of a person, not one that a package created.
    #[must_use]
    pub fn is_person(&self) -> bool {
        (FIRST_PERSON..NOBODY).contains(&self.id) && self.has_shell()
    }
}

/// The users of shadow(5) who can log in with a password; none if the file cannot be read.
#[must_use]
pub fn with_password() -> Option<Vec<String>> {
    let text = shadow()?;
    Some(text.split(|byte| *byte == b'\n').filter_map(name_with_password).collect())
}

/// The users of shadow(5) whose accounts sshd treats as locked, unless PAM decides that; none if the file cannot be
/// read (OpenSSH's `LOCKED_PASSWD_PREFIX` on Linux).
#[must_use]
pub fn locked() -> Option<Vec<String>> {
    let text = shadow()?;
    Some(text.split(|byte| *byte == b'\n').filter_map(locked_name).collect())
}

fn locked_name(line: &[u8]) -> Option<String> {
    let mut fields = line.split(|byte| *byte == b':');
    let (name, hash) = (fields.next()?, fields.next()?);
    hash.starts_with(b"!").then(|| String::from_utf8_lossy(name).into_owned())
}

fn shadow() -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let mut text = zeroize::Zeroizing::new(Vec::new());
    File::open("/etc/shadow").and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text)).ok()?;
    Some(text)
}

/// No password matches a hash that begins with `!` or `*`.
fn name_with_password(line: &[u8]) -> Option<String> {
    let mut fields = line.split(|byte| *byte == b':');
    let (name, hash) = (fields.next()?, fields.next()?);
    let can_be_right = hash.first().is_some_and(|first| !b"!*".contains(first)) && hash != b"x";
    can_be_right.then(|| String::from_utf8_lossy(name).into_owned())
}

/// All users in the file; empty if it cannot be read.
#[must_use]
pub fn all() -> Vec<User> {
    table(Path::new("/etc/passwd")).lines().filter_map(User::parse).collect()
}

/// The text of passwd(5) or group(5), up to a limit; empty if it cannot be read.
pub(super) fn table(path: &Path) -> String {
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text)) {
        Ok(_) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => String::new(),
    }
}

/// The user who runs this. A user who is not in the file is looked up in the machine's name services, as `ssh` does:
/// `ssh` uses the home directory found there, whatever `HOME` says.
#[must_use]
pub fn own() -> Option<User> {
    let id = geteuid().as_raw();
    all().into_iter().find(|user| user.id == id).or_else(|| {
        let found = Program::new(exec::find("getent")?).args(["passwd", &id.to_string()]).run().ok()?;
        found.stdout.lines().find_map(User::parse)
    })
}

/// The users who must not be locked out: the one who runs this, and the one who became root with sudo.
#[must_use]
pub fn to_keep() -> Vec<String> {
    let (all, own) = (all(), geteuid());
    let mut users: Vec<String> = Vec::new();
    let by_id = all.iter().find(|user| user.id == own.as_raw()).map(|user| user.name.clone());
    users.extend(by_id.or_else(|| std::env::var("USER").ok().filter(|name| is_plain(name))));
    if own.is_root() {
        let sudo = std::env::var("SUDO_USER").ok();
        // Only an existing user: fail2ban reacts to `Invalid user` in sshd's log.
        users.extend(sudo.filter(|name| is_plain(name) && all.iter().any(|user| user.name == *name)));
    }
    users.dedup();
    users
}

/// The user who runs this: the one who logged in, even after su or sudo.
#[must_use]
pub fn operator() -> String {
    let all = all();
    let name =
        |id: u32| all.iter().find(|user| user.id == id).map_or_else(|| format!("user {id}"), |user| user.name.clone());
    let login = fs::read_to_string("/proc/self/loginuid").ok().and_then(|id| id.trim().parse().ok());
    // If nobody logged in, as in a service, the kernel reports the highest number.
    if let Some(id) = login.filter(|id| *id != u32::MAX) {
        return name(id);
    }
    let own = geteuid();
    // SUDO_USER counts only for root, who could claim any name anyway.
    let sudo = std::env::var("SUDO_USER").ok().filter(|sudo| own.is_root() && is_plain(sudo));
    sudo.unwrap_or_else(|| name(own.as_raw()))
}

/// The logged-in users of passwd(5), without those whom [`to_keep`] names.
#[must_use]
pub fn logged_in() -> Vec<String> {
    let (ids, kept) = (logged_in::ids(), to_keep());
    let is_new = |user: &User| {
        ids.contains(&user.id) && is_plain(&user.name) && user.name != SEPARATED && !kept.contains(&user.name)
    };
    all().into_iter().filter(is_new).map(|user| user.name).collect()
}

/// The sources of users other than passwd(5) that nsswitch.conf(5) names.
#[must_use]
pub fn other_sources() -> Vec<String> {
    sources(&fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default())
}

fn sources(text: &str) -> Vec<String> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("passwd:")).unwrap_or_default();
    let words = line.split('#').next().unwrap_or_default().split_whitespace();
    // The source `systemd` adds only users of systemd's own, who do not log in.
    let is_other = |word: &&str| !["files", "compat", "systemd"].contains(word) && !word.contains(['[', ']', '=']);
    words.filter(is_other).map(str::to_owned).collect()
}

/// Whether a name can be given to `sshd -C` and cannot be mistaken for something else.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "._-@+".contains(c)) && !text.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let ann = User { name: "ann".into(), id: 1000, group: 50, home: "/home/ann".into(), shell: "/bin/sh".into() };
        for (line, expected) in
            [("ann:x:1000:50:Ann:/home/ann:/bin/sh", Some(ann)), ("+::::::", None), ("ann:x:1000", None), ("", None)]
        {
            assert_eq!(User::parse(line), expected, "{line}");
        }
        for (line, expected) in [
            ("ann:$y$j9T$abc:19000:0:99999:7:::", Some("ann")),
            ("bob:!$y$j9T$abc:19000::::::", None),
            ("daemon:*:19000::::::", None),
            ("eve::19000::::::", None),
            ("x", None),
        ] {
            assert_eq!(name_with_password(line.as_bytes()).as_deref(), expected, "{line}");
        }
        for (line, locked) in
            [("ann:!:19000", true), ("ann:!$y$j9T$abc", true), ("ann:*:1", false), ("ann:$y$j:1", false)]
        {
            assert_eq!(locked_name(line.as_bytes()).is_some(), locked, "{line}");
        }
        for (shell, id, expected) in
            [("/bin/sh", 1000, true), ("", 1000, true), ("/usr/sbin/nologin", 1000, false), ("/bin/sh", 33, false)]
        {
            assert_eq!(User::parse(&format!("a:x:{id}:1::/:{shell}")).unwrap().is_person(), expected, "{shell} {id}");
        }
        assert!(!to_keep().is_empty());
        for (text, expected) in [
            ("", &[][..]),
            ("group: sss\npasswd:   files systemd # sss\n", &[]),
            ("passwd: files sss [NOTFOUND=return] ldap\n", &["sss", "ldap"]),
        ] {
            assert_eq!(sources(text), expected, "{text}");
        }
        for (name, plain) in
            [("ann", true), ("CORP+ann", true), ("-o", false), ("a b", false), ("a,b", false), ("", false)]
        {
            assert_eq!(is_plain(name), plain, "{name}");
        }
    }
}
