//! Proves a change of ssh's known_hosts before it is made, on the very bytes: what `ssh-keygen` finds in them, and
//! whom the real `ssh` then trusts. This needs no sshd.

mod names;
mod options;
mod revoked;
mod server;

use crate::{
    error::{Error, Result},
    machine::{
        exec::{self, Output},
        ownership::chown,
        scratch::Scratch,
        ssh::{Host, Settings, Ssh},
    },
    text::{count, neutral, neutral_lines},
};
pub use names::{AuthorityLine, KnownAuthority};
use options::StandIn;
pub use revoked::{revocation, revoking_lines};
use server::{SshVerdict, Stage};
use ssh_key::Algorithm;
use sshd_config::known_hosts::{Entry, Marker, Patterns, Wanted, Wide, is_file_name, lines, matches};
use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

/// Whether a path leads to a known_hosts file, by its name.
#[must_use]
pub fn is_known_hosts(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(is_file_name)
}

/// A known_hosts file that would change.
#[derive(Clone, Debug)]
pub struct Change {
    /// The path by which ssh reaches it.
    pub path: PathBuf,
    /// What is there now; empty where there is no file.
    pub before: Vec<u8>,
    /// What would be there.
    pub after: Vec<u8>,
    /// The owner of the file that is there.
    pub owner: Option<u32>,
}

/// What was proved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// The lists of patterns for whose names ssh trusts the CA.
    pub patterns: Vec<String>,
    /// Other names for which ssh trusts the CA, or may trust it, by other lines; in words.
    pub others: Vec<String>,
    /// How many plain host keys `ssh-keygen` finds as before.
    pub keys: usize,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = self.patterns.join(" ");
        let trusts = if self.others.is_empty() {
            format!("ssh trusts the CA for {patterns}, and for no other name")
        } else {
            format!(
                "ssh trusts the CA for {patterns}, and beside that by what is there now: {}",
                self.others.join(", ")
            )
        };
        let finds = format!("ssh finds {} as before", count(self.keys, "known host key"));
        match (self.patterns.is_empty(), self.keys) {
            (false, 0) => f.write_str(&trusts),
            (false, _) => write!(f, "{trusts}; {finds}"),
            (true, _) => f.write_str(&finds),
        }
    }
}

/// A line that would be added.
struct NewLine<'a> {
    /// Its number in the file, from 1.
    number: usize,
    entry: Entry<'a>,
}

impl Change {
    /// Proves the change.
    ///
    /// # Errors
    /// Refused: ssh or `ssh-keygen` would not find what it should.
    pub fn prove(&self) -> Result<Proof> {
        self.refuse_owner()?;
        let scratch = Scratch::private()?;
        let (before, after) =
            (scratch.write("before", &self.before, 0o600)?, scratch.write("known_hosts", &self.after, 0o600)?);
        let keys = self.refuse_lost(&listed(&before)?, &listed(&after)?)?;
        let mut proof = Proof { keys, ..Proof::default() };
        for patterns in self.patterns()? {
            let is_of = |new: &NewLine<'_>| String::from_utf8_lossy(new.entry.hosts).parse().as_ref() == Ok(&patterns);
            let new: Vec<NewLine<'_>> = self.coming().filter(is_of).collect();
            self.refuse_not_found(&patterns, &new, &after)?;
            let settings = self.refuse_not_trusted(&patterns, &new, &scratch)?;
            let others = self.others(&settings).into_iter().filter(|one| !proof.others.contains(one));
            proof.others.extend(others.collect::<Vec<_>>());
            proof.patterns.push(patterns.to_string());
        }
        Ok(proof)
    }

    /// The patterns that cover more than the names of one domain, among the lines that would be added.
    ///
    /// # Errors
    /// A line has patterns that cannot be read.
    pub fn wide(&self) -> Result<Vec<Wide>> {
        let all: Vec<Patterns> = self.patterns()?;
        Ok(all.iter().flat_map(Patterns::wide).collect())
    }

    /// Whether ssh would trust a CA that it does not trust now.
    #[must_use]
    pub fn adds(&self) -> bool {
        self.coming().next().is_some()
    }

    /// The CA lines that would be added.
    fn coming(&self) -> impl Iterator<Item = NewLine<'_>> {
        let there = |line: &[u8]| lines(&self.before).any(|one| one.trim_ascii_end() == line.trim_ascii_end());
        let numbered = lines(&self.after).enumerate().filter(move |(_, line)| !there(line));
        numbered.filter_map(|(index, line)| {
            let entry = Entry::parse(line).filter(|entry| entry.marker == Marker::Authority)?;
            Some(NewLine { number: index + 1, entry })
        })
    }

    fn patterns(&self) -> Result<Vec<Patterns>> {
        let lists: BTreeSet<String> =
            self.coming().map(|new| String::from_utf8_lossy(new.entry.hosts).into_owned()).collect();
        let wrong = |why: String| self.refused("the patterns of a line cannot be proved").cause(why);
        lists.into_iter().map(|list| list.parse().map_err(wrong)).collect()
    }

    /// Refuses a file of another user: only root can give files away, so the new file could not have the old one's
    /// owner.
    fn refuse_owner(&self) -> Result<()> {
        let own = rustix::process::geteuid();
        match self.owner {
            Some(owner) if !own.is_root() && owner != own.as_raw() => {
                let path = neutral(&self.path.to_string_lossy());
                Err(Error::refused(format!("{path} belongs to another user (uid {owner})"))
                    .cause("it was probably made by a program run with sudo; ssh cannot add hosts to it either")
                    .next(chown(&self.path)))
            }
            _ => Ok(()),
        }
    }

    /// Checks that `ssh-keygen` still lists every plain key that it lists now, hashed names included.
    fn refuse_lost(&self, before: &[String], after: &[String]) -> Result<usize> {
        let mut left = after.iter();
        match before.iter().find(|pin| !left.any(|one| one == *pin)) {
            None => Ok(before.len()),
            Some(lost) => Err(self.refused("a host key that is known now would be lost").seen(lost)),
        }
    }

    /// Checks that `ssh-keygen -F` finds our lines, as a CA's, for a name that the patterns cover, and not for
    /// another name.
    fn refuse_not_found(&self, patterns: &Patterns, new: &[NewLine<'_>], file: &Path) -> Result<()> {
        if let Some(inside) = patterns.example(Wanted::Inside) {
            let found = found(&inside, file)?;
            if let Some(missing) = new.iter().find(|new| !found.contains(&new.number)) {
                return Err(self
                    .refused(format!("ssh-keygen does not find line {} for {inside}", missing.number))
                    .cause("the line before it may have no end, or an encoding that ssh does not read"));
            }
        }
        if let Some(outside) = patterns.example(Wanted::Outside) {
            let found = found(&outside, file)?;
            if let Some(wrong) = new.iter().find(|new| found.contains(&new.number)) {
                return Err(self.refused(format!("ssh-keygen finds line {} for {outside}, too", wrong.number)));
            }
        }
        Ok(())
    }

    /// Checks that the real ssh, as configured for a name that the patterns cover, accepts a certificate of a CA that
    /// takes our CA's place in the file, and that it accepts none for another name. Returns the configuration for the
    /// covered name.
    fn refuse_not_trusted(&self, patterns: &Patterns, new: &[NewLine<'_>], scratch: &Scratch) -> Result<Settings> {
        let Some(ssh) = Ssh::find() else { return Err(self.refused("there is no `ssh` program on this machine")) };
        let inside = patterns.example(Wanted::Inside).unwrap_or_default();
        let settings = ssh.settings(&host(&inside)?)?;
        self.refuse_unread(&inside, &settings)?;
        let looked_up = looked_up(&host(&inside)?, &settings);
        if !matches(patterns.to_string().as_bytes(), &looked_up) {
            return Err(self.looked_up_otherwise(&inside, &looked_up));
        }
        for one in new {
            self.refuse_revoked(one, &inside, &settings, scratch)?;
            let name = format!("stand-in-{}", one.number);
            let algorithm = self.algorithm(one, &settings)?;
            let stage = Stage::new(&algorithm)?;
            let file = scratch.write(&name, &self.with_stand_in(one, stage.authority()), 0o600)?;
            let stand_in = StandIn { new: one, key: stage.authority(), file: &file, scratch, tried: "inside" };
            let options = self.options(&ssh, &looked_up, &settings, stand_in)?;
            let (met, output) = stage.meet(&ssh, &looked_up, &options)?;
            match met {
                SshVerdict::Trusted => {}
                SshVerdict::Refused => return Err(self.refused_by_ssh(one, (&inside, &looked_up), &settings, &output)),
                SshVerdict::NoAlgorithm => return Err(self.without_certificates(&inside, &settings)),
                SshVerdict::Unclear => return Err(self.not_shown(&inside, &output)),
            }
            let Some(outside) = patterns.example(Wanted::Outside) else { continue };
            let elsewhere = ssh.settings(&host(&outside)?)?;
            let options = self.options(&ssh, &outside, &elsewhere, StandIn { tried: "outside", ..stand_in })?;
            let (met, output) = stage.meet(&ssh, &outside, &options)?;
            match met {
                SshVerdict::Refused | SshVerdict::NoAlgorithm => {}
                SshVerdict::Trusted => return Err(self.refused(format!("ssh would trust the CA for {outside}, too"))),
                SshVerdict::Unclear => return Err(self.not_shown(&outside, &output)),
            }
        }
        Ok(settings)
    }

    fn refused_by_ssh(
        &self,
        new: &NewLine<'_>,
        (name, looked_up): (&str, &str),
        settings: &Settings,
        output: &Output,
    ) -> Error {
        let error = self.refused(format!("ssh would not trust the CA for {name}"));
        match self.revoked_by(new, looked_up, settings) {
            Some(by) => error.cause(by).seen(said(output)).next("see why it was revoked; if that is over, take it out"),
            None => error.cause(said(output)),
        }
    }

    fn not_shown(&self, name: &str, output: &Output) -> Error {
        self.refused(format!("could not find out whether ssh would trust the CA for {name}"))
            .cause("ssh did not complete its exchange with the test server that stands in for that host")
            .seen(said(output))
            .next("run this again; if it fails again, run `ssh -v` to a host of that name and see where it stops")
    }

    fn without_certificates(&self, name: &str, settings: &Settings) -> Error {
        self.refused(format!("ssh takes no host certificate for {name}"))
            .cause(
                "HostKeyAlgorithms of its configuration has none of the -cert-v01@openssh.com names, or has them \
                 behind others",
            )
            .seen(settings.values("hostkeyalgorithms").join(" "))
            .next("put these names first in HostKeyAlgorithms in ssh_config, or take that line out")
    }

    /// The type of the CA's key in a line. ssh has to accept that type (`CASignatureAlgorithms`).
    fn algorithm(&self, new: &NewLine<'_>, settings: &Settings) -> Result<Algorithm> {
        let (key_type, _) = new.entry.key();
        let key_type = String::from_utf8_lossy(key_type).into_owned();
        let allowed = settings.values("casignaturealgorithms").join(",");
        let is = |name: &str| name == key_type || (key_type == "ssh-rsa" && name.starts_with("rsa-sha2-"));
        if !allowed.is_empty() && !allowed.split(',').any(is) {
            return Err(self
                .refused(format!("ssh takes no signature of this CA, whose key is {key_type}"))
                .cause("CASignatureAlgorithms of its configuration does not have it")
                .seen(allowed)
                .next("add it to CASignatureAlgorithms in ssh_config, or take that line out"));
        }
        key_type.parse().map_err(|error| self.refused(format!("{key_type} is an unknown type of key")).cause(error))
    }

    /// The file, with the key of another CA in one of our new lines.
    fn with_stand_in(&self, new: &NewLine<'_>, key: &str) -> Vec<u8> {
        let mut file = Vec::new();
        for (index, line) in lines(&self.after).enumerate() {
            if new.number == index + 1 {
                let parts: [&[u8]; 5] = [b"@cert-authority ", new.entry.hosts, b" ", key.as_bytes(), b"\n"];
                file.extend(parts.concat());
            } else {
                file.extend_from_slice(line);
            }
        }
        file
    }

    /// Refuses the change if ssh does not read this file for the name.
    fn refuse_unread(&self, name: &str, settings: &Settings) -> Result<()> {
        let read = [settings.values("userknownhostsfile"), settings.values("globalknownhostsfile")].concat();
        if read.iter().any(|path| Path::new(path) == self.path) {
            return Ok(());
        }
        Err(self
            .refused(format!("ssh does not read this file for {name}"))
            .seen(format!("it reads: {}", read.join(" "))))
    }

    fn refused(&self, what: impl fmt::Display) -> Error {
        Error::refused(format!("{}: {what}", neutral(&self.path.to_string_lossy())))
    }
}

/// The name under which ssh looks a host up, according to its configuration.
fn looked_up(host: &Host, settings: &Settings) -> String {
    if let Some(alias) = settings.first("hostkeyalias") {
        return alias;
    }
    let real = settings.first("hostname").unwrap_or_else(|| host.name.clone());
    // A pattern without a port covers every port: ssh tries again without the port.
    host.port.map_or_else(|| real.clone(), |port| format!("[{real}]:{port}"))
}

fn host(name: &str) -> Result<Host> {
    name.parse().map_err(|why: String| Error::refused(format!("{name} cannot be looked up")).cause(why))
}

/// The plain host keys that `ssh-keygen` finds in a file, each with its name.
fn listed(file: &Path) -> Result<Vec<String>> {
    // `ssh-keygen` exits with an error where there are none.
    Ok(keygen(&["-l".as_ref(), "-f".as_ref(), file])?.stdout.lines().map(str::to_owned).collect())
}

/// The numbers of the CA lines that `ssh-keygen` finds for a name.
fn found(name: &str, file: &Path) -> Result<Vec<usize>> {
    let output = keygen(&["-F".as_ref(), name.as_ref(), "-f".as_ref(), file])?;
    let number =
        |line: &str| line.strip_prefix("# Host ")?.split_once(" found: line ")?.1.strip_suffix(" CA")?.parse().ok();
    Ok(output.stdout.lines().filter_map(number).collect())
}

fn keygen(arguments: &[&Path]) -> Result<Output> {
    let program = exec::find("ssh-keygen")
        .ok_or_else(|| Error::failed("cannot prove the change: there is no `ssh-keygen` on this machine"))?;
    exec::Program::new(program).args(arguments).run()
}

/// What ssh printed, for a message.
fn said(output: &Output) -> String {
    let words = neutral_lines(output.stderr.trim());
    if words.is_empty() { output.ending() } else { words }
}

#[cfg(test)]
mod tests;
