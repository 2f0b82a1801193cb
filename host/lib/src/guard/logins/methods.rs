//! The ways in of a user, as far as sshd's configuration and the files that it names tell: keys, certificates,
//! passwords. This module runs no program and asks no name service; a command counts as one way in, whatever it would
//! print.

use crate::{
    digest::Digest,
    machine::{
        sshd::{Effective, tree::Overlay},
        users,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// A user. If only a name service knows the user, there is just a name.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) id: Option<u32>,
    pub(super) home: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoginMethod {
    /// What messages call it.
    pub(super) what: String,
    /// The keyword that opens it.
    pub(super) keyword: &'static str,
    /// For a certificate: what decides about it.
    pub(super) certificate: Option<CertificateLogin>,
}

/// The certificates that let a user in: the file with the CA's key, and the principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CertificateLogin {
    /// The file that `TrustedUserCAKeys` names.
    pub(super) file: PathBuf,
    pub(super) principal: String,
}

/// The ways in of a user, by what stays the same before and after: a key that moves to another file is the same way
/// in.
#[derive(Clone, Debug, Default)]
pub(super) struct LoginMethods {
    pub(super) all: BTreeMap<String, LoginMethod>,
    /// The files that were read to find them.
    pub(super) files: BTreeSet<PathBuf>,
}

impl From<users::User> for User {
    fn from(user: users::User) -> Self {
        Self { name: user.name, id: Some(user.id), home: Some(user.home) }
    }
}

impl User {
    /// Whether sshd treats the account as root's: by its number, whatever its name is.
    pub(super) fn is_root(&self) -> bool {
        self.name == "root" || self.id == Some(0)
    }

    /// The user of this name. What passwd(5) does not tell is not known.
    pub(super) fn named(name: &str, all: &[User]) -> Self {
        let known = all.iter().find(|user| user.name == name).cloned();
        known.unwrap_or_else(|| Self { name: name.to_owned(), id: None, home: None })
    }

    /// A path of `AuthorizedKeysFile` with its tokens replaced; none if that is not possible.
    fn path(&self, pattern: &str) -> Option<PathBuf> {
        let mut path = String::new();
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            match (character, character == '%') {
                (_, false) => path.push(character),
                (_, true) => match characters.next()? {
                    '%' => path.push('%'),
                    'h' => path.push_str(self.home.as_deref()?),
                    'u' => path.push_str(&self.name),
                    'U' => path.push_str(&self.id?.to_string()),
                    _ => return None,
                },
            }
        }
        let path = if path.starts_with('/') { path } else { format!("{}/{path}", self.home.as_deref()?) };
        Some(path.into())
    }
}

/// The files that give a user a way in, where `values` are the values of one keyword.
pub(super) fn files(user: &User, keyword: &str, values: &[String]) -> Vec<PathBuf> {
    if keyword.ends_with("command") {
        return values.first().map(PathBuf::from).into_iter().collect();
    }
    let patterns = values.iter().flat_map(|value| value.split_whitespace()).filter(|pattern| *pattern != "none");
    patterns.filter_map(|pattern| user.path(pattern)).collect()
}

/// The ways in of a user.
pub(super) fn ways(user: &User, effective: &Effective, overlay: Overlay<'_>) -> LoginMethods {
    let mut look = Look { user, effective, overlay, is_factor: false, ways: LoginMethods::default() };
    let (is_root, root_may) = (user.is_root(), |value| look.is("permitrootlogin", value));
    if is_root && root_may("no") {
        return look.ways;
    }
    let secrets = !is_root || root_may("yes");
    if look.is("pubkeyauthentication", "yes") && look.takes_part("publickey") {
        look.is_factor = !look.alone("publickey");
        look.keys();
        look.certificates();
    }
    look.is_factor = false;
    if secrets && look.is("passwordauthentication", "yes") && look.alone("password") {
        look.add("password".to_owned(), "a password", "PasswordAuthentication");
    }
    if secrets
        && look.is("kbdinteractiveauthentication", "yes")
        && look.is("usepam", "yes")
        && look.alone("keyboard-interactive")
    {
        look.add("keyboard".to_owned(), "answers at the keyboard", "KbdInteractiveAuthentication");
    }
    for (keyword, method) in [("HostbasedAuthentication", "hostbased"), ("GSSAPIAuthentication", "gssapi-with-mic")] {
        if look.is(keyword, "yes") && look.alone(method) {
            look.add(method.to_owned(), method, keyword);
        }
    }
    let lists = effective.values("authenticationmethods").iter().flat_map(|list| list.split_whitespace());
    for list in lists.filter(|list| list.contains(',')) {
        look.add(format!("methods {list}"), &format!("{list}, one after the other"), "AuthenticationMethods");
    }
    look.ways
}

struct Look<'a> {
    user: &'a User,
    effective: &'a Effective,
    overlay: Overlay<'a>,
    /// Whether what is found lets the user in only together with another method.
    is_factor: bool,
    ways: LoginMethods,
}

impl Look<'_> {
    fn is(&self, keyword: &str, value: &str) -> bool {
        self.effective.values(keyword).first().is_some_and(|first| first == value)
    }

    /// Whether one method is enough (`AuthenticationMethods`).
    fn alone(&self, method: &str) -> bool {
        let lists = self.effective.values("authenticationmethods");
        let mut all = lists.iter().flat_map(|list| list.split_whitespace()).peekable();
        all.peek().is_none()
            || all.any(|one| one == "any" || one.split(':').next() == Some(method) && !one.contains(','))
    }

    /// Whether a method is enough, or is one of several that are required together.
    fn takes_part(&self, method: &str) -> bool {
        let lists = self.effective.values("authenticationmethods").iter().flat_map(|list| list.split_whitespace());
        self.alone(method) || lists.flat_map(|list| list.split(',')).any(|one| one.split(':').next() == Some(method))
    }

    fn add(&mut self, key: String, what: &str, keyword: &'static str) {
        let key = if self.is_factor { format!("factor {key}") } else { key };
        self.ways.all.insert(key, LoginMethod { what: what.to_owned(), keyword, certificate: None });
    }

    fn read(&mut self, path: &Path) -> Option<Vec<u8>> {
        self.ways.files.insert(path.to_owned());
        self.overlay.read(path).ok()
    }

    /// The lines of a file that are neither blank nor comments.
    fn lines(&mut self, path: &Path) -> Vec<String> {
        let bytes = self.read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }

    fn keys(&mut self) {
        let effective = self.effective;
        for pattern in effective.values("authorizedkeysfile").iter().flat_map(|list| list.split_whitespace()) {
            if pattern == "none" {
                continue;
            }
            let Some(path) = self.user.path(pattern) else {
                // If the file cannot be determined, its pattern stands for it.
                self.add(format!("file {pattern}"), &format!("the keys in {pattern}"), "AuthorizedKeysFile");
                continue;
            };
            let lines = self.lines(&path);
            for line in lines.into_iter().filter(|line| is_accepted(line, effective)) {
                self.add(format!("key {line}"), &format!("a key in {}", path.display()), "AuthorizedKeysFile");
            }
        }
        self.command("AuthorizedKeysCommand", "the keys that");
    }

    /// A command is identified by its line and the contents of its program.
    fn command(&mut self, keyword: &'static str, what: &str) {
        let Some(command) = self.effective.values(keyword).first().filter(|command| *command != "none") else { return };
        let program = command.split_whitespace().next().unwrap_or_default().to_owned();
        let contents = self.read(Path::new(&program)).map(|bytes| Digest::of(&bytes).to_string());
        let user = self.effective.values(&format!("{keyword}User")).join(" ");
        let key = format!("command {keyword} {command} {user} {}", contents.unwrap_or_default());
        self.add(key, &format!("{what} {program} tells"), keyword);
    }

    /// Adds a way in for each CA key and each principal of the user.
    fn certificates(&mut self) {
        let mut authorities = Vec::new();
        for path in self.effective.values("trustedusercakeys").iter().filter(|path| *path != "none") {
            let lines = self.lines(Path::new(path)).into_iter();
            authorities.extend(lines.map(|line| (PathBuf::from(path), line)));
        }
        if authorities.is_empty() {
            return;
        }
        let named = self.effective.values("authorizedprincipalsfile").first().filter(|path| *path != "none").cloned();
        let principals = match named {
            None => vec![self.user.name.clone()],
            Some(pattern) => match self.user.path(&pattern) {
                Some(path) => self.lines(&path),
                None => vec![format!("those in {pattern}")],
            },
        };
        for (file, authority) in &authorities {
            for principal in &principals {
                let what = format!("certificates for {principal} by the CA key {}", end_of(authority));
                let key = format!("certificate {authority} {principal}");
                self.add(key.clone(), &what, "TrustedUserCAKeys");
                let key = if self.is_factor { format!("factor {key}") } else { key };
                if let Some(way) = self.ways.all.get_mut(&key) {
                    way.certificate = Some(CertificateLogin { file: file.clone(), principal: principal.clone() });
                }
            }
        }
        self.command("AuthorizedPrincipalsCommand", "certificates for the principals that");
    }
}

/// The end of a key, enough to tell it from others in a message.
fn end_of(key: &str) -> String {
    let blob = key.split_whitespace().find(|word| word.len() > 60).unwrap_or(key);
    let skipped = blob.chars().count().saturating_sub(12);
    format!("…{}", blob.chars().skip(skipped).collect::<String>())
}

/// Whether sshd accepts keys of the type in this line; true if the type is not known.
fn is_accepted(line: &str, effective: &Effective) -> bool {
    let of_key = |word: &&str| ["ssh-", "ecdsa-sha2-", "sk-"].iter().any(|start| word.starts_with(start));
    let Some(key_type) = line.split_whitespace().find(of_key) else { return true };
    let accepted = effective.values("pubkeyacceptedalgorithms");
    let fits = |name: &str| name == key_type || (key_type == "ssh-rsa" && name.starts_with("rsa-sha2-"));
    accepted.is_empty() || accepted.iter().flat_map(|list| list.split(',')).any(fits)
}
