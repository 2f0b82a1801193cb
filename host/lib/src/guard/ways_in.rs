//! The ways in that need no certificate: keys that users have, passwords. The proof logs in with a key
//! of its own, in a file of its own, so what a change does to theirs is compared here instead; only
//! where it may touch one of the keywords that decide about logins.

use super::{
    Candidate, MayChange,
    baseline::Baseline,
    connections::{self, Connection},
    includes::{Overlay, Staged},
};
use crate::{
    error::{Error, Result},
    machine::sshd::Effective,
    text::neutral,
};
use std::{collections::BTreeMap, fs, path::Path};

/// The keywords that decide who gets in, with what.
const LOGIN: [&str; 16] = [
    "AllowGroups",
    "AllowUsers",
    "AuthenticationMethods",
    "AuthorizedKeysCommand",
    "AuthorizedKeysCommandUser",
    "AuthorizedKeysFile",
    "DenyGroups",
    "DenyUsers",
    "GSSAPIAuthentication",
    "HostbasedAuthentication",
    "KbdInteractiveAuthentication",
    "PasswordAuthentication",
    "PermitRootLogin",
    "PubkeyAcceptedAlgorithms",
    "PubkeyAuthentication",
    "UsePAM",
];
/// As many users of the machine are looked at.
const MAX_USERS: usize = 1000;
/// As many losses are shown.
const SHOWN: usize = 5;

/// A user of the machine, as passwd(5) has him; one whom only a name service knows has a name alone.
#[derive(Clone, Debug)]
struct User {
    name: String,
    id: Option<String>,
    home: Option<String>,
}

/// What lets somebody in, and how it is called: the same key in another file is the same way.
type Ways = BTreeMap<String, String>;

impl Candidate {
    /// Sees that whoever gets in without a certificate today will get in by the same means, as far
    /// as sshd's configuration and the files that it names tell.
    ///
    /// # Errors
    /// Refused: somebody would not; unless that is accepted.
    pub fn keeps_ways_in(&self, baseline: &Baseline, may_change: MayChange<'_>) -> Result<()> {
        if self.may_lose_logins || !LOGIN.into_iter().any(|keyword| may_change.has(keyword)) {
            return Ok(());
        }
        let nothing = Staged::new();
        let (old, new) = (Overlay(&nothing), Overlay(&self.staged));
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let mut lost = Vec::new();
        let mut others: Vec<User> = passwd.lines().filter_map(User::parse).take(MAX_USERS).collect();
        let mut named = baseline.connections.clone();
        for connection in connections::connections(&self.tree, &baseline.users) {
            if !named.iter().any(|(known, _)| *known == connection) {
                let effective = self.original.effective(self.original.config.as_path(), &connection, &[])?;
                named.push((connection, effective));
            }
        }
        for (connection, before) in &named {
            let after = self.effective(connection)?;
            let user = user_of(connection, &others);
            lost.extend(lost_by(&user, (before, old), (&after, new)));
        }
        others.retain(|user| !named.iter().any(|(connection, _)| user_of(connection, &[]).name == user.name));
        let after = self.effective(&[])?;
        for user in &others {
            lost.extend(lost_by(user, (&baseline.effective, old), (&after, new)));
        }
        lost.extend(shut_out(&baseline.effective, &after));
        lost.dedup();
        if lost.is_empty() {
            return Ok(());
        }
        let more = lost.len().saturating_sub(SHOWN);
        lost.truncate(SHOWN);
        if more > 0 {
            lost.push(format!("and {more} more"));
        }
        Err(Error::refused("a way in that needs no certificate would be gone")
            .cause("who has no certificate, or one that has expired, could not log in any more")
            .seen(lost.join("\n"))
            .state("nothing was changed")
            .next("if that is what you want, run it again with --accept-risk=lose-ssh"))
    }
}

impl User {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, _, _, home, ..] = fields.as_slice() else { return None };
        Some(Self { name: (*name).to_owned(), id: Some((*id).to_owned()), home: Some((*home).to_owned()) })
    }

    /// A path of `AuthorizedKeysFile`, with its tokens replaced; none where that cannot be done.
    fn path(&self, pattern: &str) -> Option<String> {
        let mut path = String::new();
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            match (character, character == '%') {
                (_, false) => path.push(character),
                (_, true) => match characters.next()? {
                    '%' => path.push('%'),
                    'h' => path.push_str(self.home.as_deref()?),
                    'u' => path.push_str(&self.name),
                    'U' => path.push_str(self.id.as_deref()?),
                    _ => return None,
                },
            }
        }
        if path.starts_with('/') { Some(path) } else { Some(format!("{}/{path}", self.home.as_deref()?)) }
    }
}

fn user_of(connection: &Connection, users: &[User]) -> User {
    let name = connection.iter().find(|(field, _)| field == "user").map_or("root", |(_, name)| name.as_str());
    let known = users.iter().find(|user| user.name == name).cloned();
    known.unwrap_or_else(|| User { name: name.to_owned(), id: None, home: None })
}

/// What lets a user in before, and does not after.
fn lost_by(user: &User, before: (&Effective, Overlay<'_>), after: (&Effective, Overlay<'_>)) -> Vec<String> {
    let (before, after) = (ways(user, before.0, before.1), ways(user, after.0, after.1));
    let gone = before.into_iter().filter(|(way, _)| !after.contains_key(way));
    gone.map(|(_, what)| format!("{}: {}", neutral(&user.name), neutral(&what))).collect()
}

/// What lets a user in without a certificate.
fn ways(user: &User, effective: &Effective, overlay: Overlay<'_>) -> Ways {
    let mut ways = Ways::new();
    let is = |keyword: &str, value: &str| effective.values(keyword).first().is_some_and(|first| first == value);
    let (is_root, root_may) = (user.name == "root", |value| is("permitrootlogin", value));
    if is_root && root_may("no") {
        return ways;
    }
    let secrets = !is_root || root_may("yes");
    if alone(effective, "publickey") && is("pubkeyauthentication", "yes") {
        for pattern in effective.values("authorizedkeysfile").iter().flat_map(|list| list.split_whitespace()) {
            keys_in(user, pattern, effective, overlay, &mut ways);
        }
        let command = effective.values("authorizedkeyscommand").first().filter(|command| *command != "none");
        ways.extend(command.map(|command| (format!("command {command}"), format!("the keys that {command} tells"))));
    }
    if secrets && alone(effective, "password") && is("passwordauthentication", "yes") {
        ways.insert("password".to_owned(), "a password".to_owned());
    }
    if secrets
        && alone(effective, "keyboard-interactive")
        && is("kbdinteractiveauthentication", "yes")
        && is("usepam", "yes")
    {
        ways.insert("keyboard".to_owned(), "answers at the keyboard".to_owned());
    }
    for (keyword, method) in [("hostbasedauthentication", "hostbased"), ("gssapiauthentication", "gssapi-with-mic")] {
        if alone(effective, method) && is(keyword, "yes") {
            ways.insert(method.to_owned(), keyword.to_owned());
        }
    }
    ways
}

/// Whether one method is enough (`AuthenticationMethods`).
fn alone(effective: &Effective, method: &str) -> bool {
    let lists = effective.values("authenticationmethods");
    let mut all = lists.iter().flat_map(|list| list.split_whitespace()).peekable();
    all.peek().is_none() || all.any(|one| one == "any" || one.split(':').next() == Some(method) && !one.contains(','))
}

/// The keys of one file. A file that cannot be found out is its own name.
fn keys_in(user: &User, pattern: &str, effective: &Effective, overlay: Overlay<'_>, ways: &mut Ways) {
    if pattern == "none" {
        return;
    }
    let Some(path) = user.path(pattern) else {
        ways.insert(format!("file {pattern}"), format!("the keys in {pattern}"));
        return;
    };
    let Ok(contents) = overlay.read(Path::new(&path)) else { return };
    for line in String::from_utf8_lossy(&contents).lines().map(str::trim) {
        if !line.is_empty() && !line.starts_with('#') && is_accepted(line, effective) {
            ways.insert(format!("key {line}"), format!("a key in {path}"));
        }
    }
}

/// Whether sshd takes keys of the type that a line has; so it is where the type is not known.
fn is_accepted(line: &str, effective: &Effective) -> bool {
    let of_key = |word: &&str| ["ssh-", "ecdsa-sha2-", "sk-"].iter().any(|start| word.starts_with(start));
    let Some(key_type) = line.split_whitespace().find(of_key) else { return true };
    let accepted = effective.values("pubkeyacceptedalgorithms");
    let fits = |name: &str| name == key_type || (key_type == "ssh-rsa" && name.starts_with("rsa-sha2-"));
    accepted.is_empty() || accepted.iter().flat_map(|list| list.split(',')).any(fits)
}

/// Users and groups that lists of names would shut out.
fn shut_out(before: &Effective, after: &Effective) -> Vec<String> {
    let mut lost = Vec::new();
    for keyword in ["denyusers", "denygroups"] {
        let new = after.values(keyword).iter().filter(|name| !before.values(keyword).contains(name));
        lost.extend(new.map(|name| format!("{keyword} {}", neutral(name))));
    }
    for keyword in ["allowusers", "allowgroups"] {
        let (old, new) = (before.values(keyword), after.values(keyword));
        if old.is_empty() && !new.is_empty() {
            lost.push(format!("everybody but {keyword} {}", neutral(&new.join(" "))));
        } else if !new.is_empty() {
            lost.extend(
                old.iter().filter(|name| !new.contains(name)).map(|name| format!("{keyword} {}", neutral(name))),
            );
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "restrict ssh-ed25519 AAAA somebody\n# old\n\nssh-rsa BBBB other\n";

    fn user(name: &str) -> User {
        User::parse(&format!("{name}:x:1000:1000::/home/{name}:/bin/sh")).unwrap()
    }

    #[test]
    fn whatever_lets_in_without_a_certificate_is_missed() {
        let base = "pubkeyauthentication yes\nauthorizedkeysfile .ssh/authorized_keys %h/two\nauthorizedkeyscommand none\n\
                    passwordauthentication yes\nkbdinteractiveauthentication yes\nusepam yes\nauthenticationmethods any\n\
                    permitrootlogin prohibit-password\npubkeyacceptedalgorithms ssh-ed25519,rsa-sha2-512\n";
        let staged = Staged::from([
            ("/home/ann/.ssh/authorized_keys".into(), Some(KEY.as_bytes().to_vec())),
            ("/keys/ann".into(), Some(KEY.replace("# old\n", "").into_bytes())),
        ]);
        for (from, to, expected) in [
            ("", "", vec![]),
            ("authorizedkeysfile .ssh/authorized_keys %h/two", "authorizedkeysfile none", vec![2, 0]),
            ("authorizedkeysfile .ssh/authorized_keys %h/two", "authorizedkeysfile .ssh/authorized_keys", vec![0, 0]),
            ("authorizedkeysfile .ssh/authorized_keys %h/two", "authorizedkeysfile /keys/%u", vec![0, 0]),
            ("authorizedkeysfile .ssh/authorized_keys %h/two", "authorizedkeysfile /keys/%U", vec![2, 0]),
            ("pubkeyauthentication yes", "pubkeyauthentication no", vec![2, 0]),
            ("ssh-ed25519,rsa-sha2-512", "ssh-ed25519,ssh-ed25519-cert-v01@openssh.com", vec![1, 0]),
            ("passwordauthentication yes", "passwordauthentication no", vec![1, 0]),
            ("usepam yes", "usepam no", vec![1, 0]),
            ("kbdinteractiveauthentication yes", "kbdinteractiveauthentication no", vec![1, 0]),
            ("authenticationmethods any", "authenticationmethods publickey,password password", vec![3, 0]),
            (
                "authenticationmethods any",
                "authenticationmethods publickey password keyboard-interactive:pam",
                vec![0, 0],
            ),
            ("permitrootlogin prohibit-password", "permitrootlogin no", vec![0, 0]),
            ("authorizedkeyscommand none", "authorizedkeyscommand /x", vec![0, 0]),
        ] {
            let (before, after) = (Effective::parse(base), Effective::parse(&base.replace(from, to)));
            let lost = |name| lost_by(&user(name), (&before, Overlay(&staged)), (&after, Overlay(&staged))).len();
            let expected = if expected.is_empty() { vec![0, 0] } else { expected };
            assert_eq!([lost("ann"), lost("root")], expected[..], "{to}");
        }
        let no_files = Staged::new();
        let lost = |before: &str, after: &str| {
            let (before, after) = (Effective::parse(before), Effective::parse(after));
            lost_by(&user("root"), (&before, Overlay(&no_files)), (&after, Overlay(&no_files)))
        };
        let root = "permitrootlogin yes\npasswordauthentication yes\n";
        assert_eq!(lost(root, &root.replace("yes\npass", "no\npass")), ["root: a password"]);
        let command = "pubkeyauthentication yes\nauthorizedkeyscommand /x\n";
        assert_eq!(lost(command, &command.replace("/x", "none")), ["root: the keys that /x tells"]);
        assert_eq!(lost("gssapiauthentication yes\n", "gssapiauthentication no\n"), ["root: gssapiauthentication"]);
        // Whose home is not known, only the names of the files can be compared.
        let stranger = User { name: "far".to_owned(), id: None, home: None };
        let (before, after) = (Effective::parse(base), Effective::parse(&base.replace(".ssh/authorized_keys ", "")));
        let lost = lost_by(&stranger, (&before, Overlay(&no_files)), (&after, Overlay(&no_files)));
        assert_eq!(lost, ["far: the keys in .ssh/authorized_keys"]);
    }

    #[test]
    fn lists_of_names_shut_out() {
        for (before, after, expected) in [
            ("allowusers a\nallowusers b\n", "allowusers b\nallowusers a\nallowusers c\n", vec![]),
            ("allowusers a\nallowusers b\n", "allowusers b\n", vec!["allowusers a"]),
            ("allowusers a\n", "", vec![]),
            ("", "allowgroups a\n", vec!["everybody but allowgroups a"]),
            ("denyusers a\n", "denyusers a\ndenygroups b\n", vec!["denygroups b"]),
            ("denyusers a\n", "", vec![]),
        ] {
            assert_eq!(shut_out(&Effective::parse(before), &Effective::parse(after)), expected, "{before} {after}");
        }
    }
}
