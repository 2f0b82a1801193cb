//! For whom a configuration is looked at: `sshd -T -C` shows what a `Match` block does only for a
//! connection that it matches.

use super::includes::Tree;
use sshd_config::line::Directive;
use std::{collections::BTreeSet, fs};

/// A connection as `sshd -T -C` wants it: `user`, `host`, `addr`, `laddr`, `lport`.
pub type Connection = Vec<(String, String)>;

/// More than any real configuration needs.
const MAX_CONNECTIONS: usize = 200;
/// How many members stand for a group.
const MEMBERS: usize = 3;

/// Those who must get in: whoever runs this, and the user who became root with sudo.
#[must_use]
pub fn users() -> Vec<String> {
    let mut users: Vec<String> = Vec::new();
    let own = rustix::process::geteuid();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    users.extend(name_of(&passwd, own.as_raw()).or_else(|| std::env::var("USER").ok().filter(|name| is_plain(name))));
    if own.is_root() {
        let sudo = std::env::var("SUDO_USER").ok();
        // Only one who exists: `Invalid user` in sshd's log is what fail2ban waits for.
        users.extend(
            sudo.filter(|name| is_plain(name) && passwd.lines().any(|line| line.starts_with(&format!("{name}:")))),
        );
    }
    users.dedup();
    users
}

fn name_of(passwd: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(uid.as_str()))?;
    line.split(':').next().map(str::to_owned)
}

/// The connections to look at: one for each user, and for each `Match` line those that it names.
#[must_use]
pub fn connections(tree: &Tree, users: &[String]) -> Vec<Connection> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let group = fs::read_to_string("/etc/group").unwrap_or_default();
    let of_match = tree.directives().filter(|(_, _, directive)| directive.is_conditional());
    let all = of_match.flat_map(|(_, _, directive)| of_match_line(&directive, &passwd, &group));
    let mut seen = BTreeSet::new();
    let mut found: Vec<Connection> = Vec::new();
    let first = users.first().map_or("root", String::as_str);
    for fields in users.iter().map(|user| vec![("user".to_owned(), user.clone())]).chain(all) {
        let connection = complete(fields, first);
        if found.len() < MAX_CONNECTIONS && seen.insert(connection.clone()) {
            found.push(connection);
        }
    }
    found
}

/// For each value that a `Match` line names one connection that has it, the first values of its
/// other criteria, and nothing else.
fn of_match_line(directive: &Directive, passwd: &str, group: &str) -> Vec<Connection> {
    let mut criteria: Vec<(String, Vec<String>)> = Vec::new();
    let mut words = directive.arguments.iter().map(|argument| argument.text.as_str());
    while let Some(word) = words.next() {
        // OpenSSH ≥ 10 also takes `User=x`.
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None if word.eq_ignore_ascii_case("all") || word.eq_ignore_ascii_case("invalid-user") => continue,
            None => (word, words.next()),
        };
        let patterns = value.unwrap_or_default().split(',').map(example).filter(|text| is_plain(text));
        let (field, values): (&str, Vec<String>) = match name.to_lowercase().as_str() {
            "user" => ("user", patterns.collect()),
            "group" => ("user", patterns.flat_map(|name| members(&name, passwd, group)).collect()),
            "host" => ("host", patterns.collect()),
            "address" => ("addr", patterns.map(|text| base(&text)).collect()),
            "localaddress" => ("laddr", patterns.map(|text| base(&text)).collect()),
            "localport" => ("lport", patterns.collect()),
            "rdomain" => ("rdomain", patterns.collect()),
            _ => continue,
        };
        criteria.push((field.to_owned(), values));
    }
    let firsts = |skip: usize| {
        let others = criteria.iter().enumerate().filter(move |(index, _)| *index != skip);
        others.filter_map(|(_, (field, values))| Some((field.clone(), values.first()?.clone())))
    };
    let each = criteria.iter().enumerate().flat_map(|(index, (field, values))| {
        values.iter().map(move |value| std::iter::once((field.clone(), value.clone())).chain(firsts(index)).collect())
    });
    each.collect()
}

/// All fields: a `Match` on one that is missing ends `sshd -T` with an error. Of two values for one
/// field (a user and a group's member) the first stays.
fn complete(fields: Connection, user: &str) -> Connection {
    let mut connection = Connection::new();
    let defaults =
        [("user", user), ("host", "localhost"), ("addr", "127.0.0.1"), ("laddr", "127.0.0.1"), ("lport", "22")];
    let defaults = defaults.map(|(field, value)| (field.to_owned(), value.to_owned()));
    for (field, value) in fields.into_iter().chain(defaults) {
        if !connection.iter().any(|(name, _)| *name == field) {
            connection.push((field, value));
        }
    }
    connection.sort();
    connection
}

/// Something that a pattern matches (also what a negated one excludes).
fn example(pattern: &str) -> String {
    pattern.trim_start_matches('!').replace(['*', '?'], "1")
}

/// The first address of a network.
fn base(network: &str) -> String {
    network.split('/').next().unwrap_or_default().to_owned()
}

/// What can stand in `-C` and is no word that could mean something else.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "._-:/@%+".contains(c)) && !text.starts_with('-')
}

fn members(name: &str, passwd: &str, group: &str) -> Vec<String> {
    let Some(line) = group.lines().find(|line| line.split(':').next() == Some(name)) else { return Vec::new() };
    let gid = line.split(':').nth(2);
    let listed = line.split(':').nth(3).unwrap_or_default().split(',').map(str::to_owned);
    let primary = passwd.lines().filter(|line| gid.is_some() && line.split(':').nth(3) == gid);
    let primary = primary.filter_map(|line| line.split(':').next().map(str::to_owned));
    listed.chain(primary).filter(|name| is_plain(name)).take(MEMBERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:50::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nadmin:x:27:ann\nstaff:x:50:\n";

    #[test]
    fn each_value_of_a_match_gets_a_connection() {
        for (line, expected) in [
            ("Match User a,b", vec!["user=a", "user=b"]),
            (
                "Match User w* Address 10.0.0.0/8,!192.168.*",
                vec!["user=w1 addr=10.0.0.0", "addr=10.0.0.0 user=w1", "addr=192.168.1 user=w1"],
            ),
            ("Match Group admin,staff", vec!["user=ann", "user=bob"]),
            ("Match LocalPort 2222 host x.example", vec!["lport=2222 host=x.example", "host=x.example lport=2222"]),
            ("Match User=c", vec!["user=c"]),
            ("Match Group nobodys", vec![]),
            ("Match invalid-user", vec![]),
            ("Match User", vec![]),
        ] {
            let found = of_match_line(&Directive::parse(line.as_bytes()).unwrap(), PASSWD, GROUP);
            let text = |one: &Connection| one.iter().map(|(f, v)| format!("{f}={v}")).collect::<Vec<_>>().join(" ");
            assert_eq!(found.iter().map(text).collect::<Vec<_>>(), expected, "{line}");
        }
    }

    #[test]
    fn a_connection_has_every_field_once() {
        let connection = complete(vec![("user".into(), "a".into()), ("user".into(), "b".into())], "root");
        let names: Vec<_> = connection.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(names, ["addr", "host", "laddr", "lport", "user"]);
        assert_eq!(connection[4].1, "a");
        assert_eq!(name_of(PASSWD, 1000).as_deref(), Some("ann"));
    }
}
