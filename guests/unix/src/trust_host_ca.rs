//! `trust-host-ca`: ssh on this machine trusts the CA's host certificates for the names of a domain.
//!
//! A user's run changes that user's known_hosts, root's the system's. The procedure asks ssh which file that is, and
//! whether ssh reads it at all. Every line that is not Warded's stays.

use warded_guest::authority::{self, Kind};
use warded_guest::known_hosts::{self, Conflict, Patterns, Trust, Wanted};
use warded_guest::{Error, Settings, files, log, machine, ssh};

/// ssh's default files.
const OF_SYSTEM: [&str; 2] = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
const OF_USER: [&str; 2] = [".ssh/known_hosts", ".ssh/known_hosts2"];

/// Every user has to read the system's file, but nobody else needs to read a user's file.
const SYSTEM_MODE: u32 = 0o644;
const NEW_USER_MODE: u32 = 0o600;

/// Values of the keywords that name no file with lines.
const NO_FILE: [&str; 2] = ["none", "/dev/null"];

const ORDER: &str = "Set up clients first: once a host presents a certificate, Go programs that know the host's plain \
                     key, but not this CA, refuse the host (golang/go#33366).";

pub(crate) fn run(settings: &Settings) -> Result<(), Error> {
    log::info(ORDER);
    let patterns: Vec<String> = settings.all("domain").into_iter().map(str::to_owned).collect();
    let keys: Vec<String> = authority::roots(Kind::Host)?;
    let authority = machine::fact("ca.name").unwrap_or_default();
    let trust = Trust { patterns: &patterns, keys: &keys, authority: &authority };
    let lists = patterns.iter().map(|list| list.parse()).collect::<Result<Vec<Patterns>, String>>();
    let lists = lists.map_err(|why| {
        Error::new("invalid-domain", why)
            .about("setting", "domain")
            .next("name the hosts that the CA certifies, such as --set domain='*.example.org'")
    })?;
    say_what_is_wide(&lists);
    let place = Own::find()?;
    for name in lists.iter().filter_map(|list| list.example(Wanted::Inside)) {
        look_for_conflicts(&trust, &place, &name)?;
    }
    let path = place.path();
    refuse_missing_directory(&path)?;
    let now = files::read(&path)?;
    let next = trust.added_to(now.as_deref().unwrap_or_default());
    if now.as_deref().is_some_and(|now| now.starts_with(b"\xef\xbb\xbf")) {
        log::warn(&format!("{path} begins with a byte order mark, so ssh does not read its first line."));
    }
    let has_nul = |line: &[u8]| line.contains(&0);
    if let Some(index) = known_hosts::lines(now.as_deref().unwrap_or_default()).position(has_nul) {
        log::warn(&format!("{path} line {} has a NUL byte: ssh reads the line only up to it.", index + 1));
    }
    let mode = place.mode(now.is_some());
    files::write(&path, &next, mode)?;
    Ok(())
}

/// The procedure makes no directory, because `.ssh` should be accessible to its owner alone.
fn refuse_missing_directory(path: &str) -> Result<(), Error> {
    let Some((directory, _)) = path.rsplit_once('/') else { return Ok(()) };
    if files::list(directory)?.is_some() {
        return Ok(());
    }
    Err(Error::new("no-directory", format!("There is no directory {directory} for {path}."))
        .about("path", directory)
        .next(format!("mkdir -m 700 {directory}")))
}

fn say_what_is_wide(lists: &[Patterns]) {
    for wide in lists.iter().flat_map(Patterns::wide) {
        log::warn(&format!(
            "{} is not limited to one domain: this CA could impersonate every host that it matches, such as {}.",
            wide.pattern, wide.covers
        ));
    }
}

/// Whose file it is.
enum Own {
    System,
    User { home: String },
}

impl Own {
    fn find() -> Result<Self, Error> {
        if machine::fact("user.id").as_deref() == Some("0") {
            return Ok(Self::System);
        }
        let home = machine::fact("home").ok_or_else(|| {
            Error::new("no-home", "This user has no home directory.")
                .next("give the user one in /etc/passwd, or run this as root for all users of this machine")
        })?;
        Ok(Self::User { home })
    }

    /// The file for Warded's lines.
    fn path(&self) -> String {
        match self {
            Self::System => OF_SYSTEM[0].to_owned(),
            Self::User { home } => format!("{home}/{}", OF_USER[0]),
        }
    }

    fn mode(&self, is_there: bool) -> Option<u32> {
        match self {
            Self::System => Some(SYSTEM_MODE),
            Self::User { .. } => (!is_there).then_some(NEW_USER_MODE),
        }
    }

    /// The keyword that names it.
    fn keyword(&self) -> &'static str {
        match self {
            Self::System => "GlobalKnownHostsFile",
            Self::User { .. } => "UserKnownHostsFile",
        }
    }
}

/// Refuses if ssh does not read the file, or if it reads a line that conflicts with Warded's.
fn look_for_conflicts(trust: &Trust<'_>, own: &Own, name: &str) -> Result<(), Error> {
    let path = own.path();
    let read = ssh::effective(own.keyword(), name)?;
    if !read.contains(&path) {
        return Err(not_read(trust, own, name, &read));
    }
    let home = machine::fact("home").unwrap_or_default();
    let granted = OF_USER.iter().map(|name| format!("{home}/{name}")).chain(OF_SYSTEM.map(str::to_owned));
    let all = [ssh::effective("userknownhostsfile", name)?, ssh::effective("globalknownhostsfile", name)?].concat();
    for file in granted.filter(|file| all.contains(file)) {
        // A file that this user cannot read is unreadable to this user's ssh, too; only the file that is changed has to
        // be readable.
        let contents = match files::read(&file) {
            Ok(contents) => contents.unwrap_or_default(),
            Err(error) if file == path => return Err(error),
            Err(_) => continue,
        };
        match trust.conflict(&contents) {
            None => {}
            Some(Conflict::Encoding(_)) if file != path => {}
            Some(conflict) => return Err(refusal(&file, conflict)),
        }
    }
    Ok(())
}

fn not_read(trust: &Trust<'_>, own: &Own, name: &str, read: &[String]) -> Error {
    let (path, keyword) = (own.path(), own.keyword());
    let error = Error::new("not-read", format!("ssh does not read {path} for {name}: it reads {}.", read.join(" ")))
        .about("path", &*path);
    let files: Vec<&str> = read.iter().map(String::as_str).filter(|file| !NO_FILE.contains(file)).collect();
    let Some(instead) = files.first() else {
        return error.next(format!("have ssh read it, with this line in ssh_config: {keyword} {path}"));
    };
    // A path with the host's name in it differs for each host.
    if files.iter().any(|file| file.contains(name)) {
        return error
            .next(format!("have ssh read it, too: add {path} after the files of the {keyword} line of ssh_config"));
    }
    let lines = trust.lines().fold(error, |error, line| error.next(format!("put this line into {instead}: {line}")));
    lines.next(format!("or have ssh read it, too, with this line in ssh_config: {keyword} {} {path}", files.join(" ")))
}

fn refusal(file: &str, conflict: Conflict) -> Error {
    let error = match conflict {
        Conflict::Encoding(name) => {
            Error::new("foreign-encoding", format!("{file} is {name}, and ssh finds no lines in such a file."))
                .next(format!("write it again as UTF-8: iconv -f UTF-16 -t UTF-8 {file} >{file}.new"))
        }
        Conflict::Revoked(line) => Error::new(
            "revoked",
            format!(
                "{file} line {line} revokes a key of this CA: ssh refuses the hosts of that line, whatever other \
                     lines say."
            ),
        )
        .next("find out why the key was revoked; if that reason no longer applies, take the line out"),
        Conflict::Excluded(line, pattern) => Error::new(
            "excluded",
            format!(
                "{file} line {line} trusts this CA, but not for {pattern}: a line of Warded's would trust it \
                     there, too."
            ),
        )
        .next(format!("exclude it as well: --set domain='PATTERN,!{pattern}'; or take that line out")),
    };
    error.about("path", file)
}
