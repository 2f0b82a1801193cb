//! Files that `AuthorizedPrincipalsFile` names. Each has, for one user, the principals whose certificates may log in as
//! that user (OpenSSH's auth2-pubkeyfile.c). A line is a principal, perhaps with options before it.

use std::{collections::BTreeMap, fmt};

/// The name of Warded's directory for these files, beside sshd's configuration. The host lets a guest write only what
/// the operator named into it.
pub const DIRECTORY: &str = "warded-principals";
/// The value with which the operator asks for no mapping.
pub const NONE: &str = "none";
/// The form of a value, for messages.
const FORM: &str = "LOGIN=PRINCIPAL[,PRINCIPAL...], or none";
/// The greatest length of a name.
const MAX_NAME: usize = 128;

/// Which principals may log in as which users, by login name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping(BTreeMap<String, Vec<String>>);

impl Mapping {
    /// Reads the values of a setting, one for each login; if a login is named twice, its principals add up. `none`
    /// alone gives an empty mapping.
    ///
    /// # Errors
    /// The first value that is wrong, and why.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let values: Vec<&str> = values.into_iter().collect();
        if values == [NONE] {
            return Ok(Self::default());
        }
        let mut mapping = Self::default();
        for value in values {
            let (login, principals) = entry(value)?;
            let known = mapping.0.entry(login.to_owned()).or_default();
            for principal in principals {
                if !known.iter().any(|one| one == principal) {
                    known.push(principal.to_owned());
                }
            }
        }
        Ok(mapping)
    }

    /// Each login with its principals, in the order of their names.
    pub fn logins(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(login, principals)| (login.as_str(), principals.as_slice()))
    }

    /// Whether it has no login.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The contents of a login's file; none if the login has no principals.
    #[must_use]
    pub fn file(&self, login: &str) -> Option<Vec<u8>> {
        let principals = self.0.get(login)?;
        let mut text = format!("# Managed by Warded: certificates for these principals log in as {login}.\n");
        for principal in principals {
            text.push_str(principal);
            text.push('\n');
        }
        Some(text.into_bytes())
    }
}

/// `jane (jane, ops), root (admins)`
impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (login, principals)) in self.logins().enumerate() {
            write!(f, "{}{login} ({})", if index == 0 { "" } else { ", " }, principals.join(", "))?;
        }
        Ok(())
    }
}

/// Checks that one value of the setting is well formed.
///
/// # Errors
/// What is wrong with it.
pub fn check(value: &str) -> Result<(), String> {
    if value == NONE { Ok(()) } else { entry(value).map(|_| ()) }
}

/// The principals that a file names, without options and comments.
#[must_use]
pub fn named(file: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(file);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect()
}

/// The directory in which a value of `AuthorizedPrincipalsFile` names one file per user, if the value is
/// `DIRECTORY/%u`.
#[must_use]
pub fn directory_of(value: &str) -> Option<&str> {
    value.strip_suffix("/%u").filter(|directory| directory.starts_with('/') && !directory.contains('%'))
}

fn entry(value: &str) -> Result<(&str, Vec<&str>), String> {
    if value == NONE {
        return Err(format!("{NONE} cannot be combined with other values"));
    }
    let Some((login, principals)) = value.split_once('=') else {
        return Err(format!("{value:?} has no `=`; write {FORM}"));
    };
    check_login(login)?;
    let principals: Vec<&str> = principals.split(',').collect();
    principals.iter().try_for_each(|principal| check_principal(login, principal))?;
    Ok((login, principals))
}

/// Checks a login name, which becomes part of a path.
fn check_login(login: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    let starts = login.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_');
    if starts && login.len() <= MAX_NAME && login.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!(
        "{login:?} is not a login name: letters, digits, `.`, `_`, `-` and `@`, and a letter, digit or `_` \
                 first"
    ))
}

/// Checks a principal. sshd reads the text before a blank as options, and compares the rest letter by letter.
fn check_principal(login: &str, principal: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{principal:?} cannot be a principal of {login}: {why}"));
    if principal.is_empty() {
        return wrong("it is empty");
    }
    if principal.len() > MAX_NAME {
        return wrong("it is too long");
    }
    if principal.bytes().any(|byte| byte.is_ascii_whitespace()) {
        return wrong("it has a blank, and sshd reads the text before a blank as options");
    }
    if principal.contains(['*', '?', '!']) {
        return wrong("sshd compares principals letter by letter, so name each one");
    }
    if principal.contains(['"', '\'', '`', '\\', '=', '#']) || !principal.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong("it has a quote, `=`, `#`, a backslash, or a character that is not ASCII");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_read_and_written() {
        let mapping = Mapping::parse(["jane=jane,ops", "root=admins", "jane=ops,jane@example.org"]).unwrap();
        assert_eq!(mapping.to_string(), "jane (jane, ops, jane@example.org), root (admins)");
        assert!(!mapping.is_empty());
        let file = mapping.file("root").unwrap();
        assert_eq!(
            String::from_utf8(file.clone()).unwrap(),
            "# Managed by Warded: certificates for these principals log in as root.\nadmins\n"
        );
        assert_eq!(named(&file), ["admins"]);
        assert_eq!(mapping.file("ann"), None);
        assert!(Mapping::parse([NONE]).unwrap().is_empty());
        assert_eq!(directory_of("/etc/ssh/warded-principals/%u"), Some("/etc/ssh/warded-principals"));
        for other in ["none", "%h/.ssh/p", "/etc/%u/%u", "/etc/ssh/p", "p/%u", "/etc/ssh/%U"] {
            assert_eq!(directory_of(other), None, "{other}");
        }
        assert_eq!(named(b"# x\n\n  a \nfrom=\"10.*\" b\r\n"), ["a", "b"]);
    }

    #[test]
    fn what_sshd_would_read_otherwise_is_refused() {
        for (value, why) in [
            ("", "has no `=`"),
            ("jane", "has no `=`"),
            ("=jane", "is not a login name"),
            ("../root=jane", "is not a login name"),
            ("a/b=jane", "is not a login name"),
            (".jane=jane", "is not a login name"),
            ("-jane=jane", "is not a login name"),
            ("ja ne=jane", "is not a login name"),
            ("%u=jane", "is not a login name"),
            ("jane=", "it is empty"),
            ("jane=jane,", "it is empty"),
            ("jane=jane,,ops", "it is empty"),
            ("jane=jane, ops", "it has a blank"),
            ("jane=no-pty ops", "it has a blank"),
            ("jane=\tops", "it has a blank"),
            ("jane=\"ops\"", "a quote"),
            ("jane=from=10.0.0.1", "`=`"),
            ("jane=#ops", "`#`"),
            ("jane=*", "letter by letter"),
            ("jane=ops\u{e9}", "not ASCII"),
        ] {
            let said = check(value).unwrap_err();
            assert!(said.contains(why), "{value}: {said}");
            assert_eq!(Mapping::parse([value]).unwrap_err(), said);
        }
        assert!(Mapping::parse(["jane=jane", NONE]).unwrap_err().contains("cannot be combined"));
        for value in ["none", "jane=jane", "jane=jane@example.org,urn:ops/a", "none=ops", "j.d_e-x@ad=ops"] {
            assert_eq!(check(value), Ok(()), "{value}");
        }
        let name = |length| "a".repeat(length);
        for (login, principal, is_fine) in [(128, 128, true), (129, 1, false), (1, 129, false)] {
            let value = format!("{}={}", name(login), name(principal));
            assert_eq!(check(&value).is_ok(), is_fine, "{login} {principal}");
        }
    }
}
