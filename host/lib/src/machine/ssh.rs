//! The SSH client of this machine: its program, and what it reports about its configuration.

use super::{
    exec::{self, Output},
    keys::without_private_key,
};
use crate::{
    error::{Error, Result},
    text::neutral_lines,
};
use std::{collections::BTreeMap, env, path::PathBuf, str::FromStr};

/// The `ssh` program.
#[derive(Clone, Debug)]
pub struct Ssh {
    /// Its path.
    pub program: PathBuf,
}

/// A host, as ssh looks it up in known_hosts: `NAME`, or `[NAME]:PORT` for another port than 22.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name or address.
    pub name: String,
    /// The port; none: the one that ssh chooses.
    pub port: Option<u16>,
}

/// The keywords whose values are paths, several in a line.
const FILES: [&str; 3] = ["userknownhostsfile", "globalknownhostsfile", "revokedhostkeys"];
/// The keywords whose value is a single command, with its arguments and quotes, or a single path.
const WHOLE: [&str; 3] = ["knownhostscommand", "proxycommand", "identityagent"];
/// What `ssh` says if `ForkAfterAuthentication` is set and there is no command (`main` in ssh.c), even with `-G`.
const NO_COMMAND: &str = "Cannot fork into background without a command to execute.";

/// The output of `ssh -G`: keywords, each with its values.
#[derive(Clone, Debug, Default)]
pub struct Settings(BTreeMap<String, Vec<String>>);

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.rsplit_once("]:")) {
            Some((name, port)) => (name, port.parse().map(Some).map_err(|_| format!("{port:?} is no port"))?),
            None => (text, None),
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
        // A name that begins with a hyphen would be taken for an option.
        if name.is_empty() || name.len() > 255 || name.starts_with('-') || !name.bytes().all(is_plain) {
            return Err(format!("{:?} is no name of a host", neutral_lines(text)));
        }
        Ok(Self { name: name.to_owned(), port })
    }
}

impl Ssh {
    #[must_use]
    pub fn find() -> Option<Self> {
        exec::find("ssh").map(|program| Self { program })
    }

    /// The configuration for a host and the user who runs this.
    ///
    /// # Errors
    /// When ssh cannot be run, or refuses its configuration.
    pub fn settings(&self, host: &Host) -> Result<Settings> {
        self.settings_with(host, &[])
    }

    /// The same with options that override the configuration.
    ///
    /// # Errors
    /// As [`Ssh::settings`].
    pub fn settings_with(&self, host: &Host, options: &[String]) -> Result<Settings> {
        let mut program = exec::Program::new(&self.program).args(["-o", without_dns(&host.name)]);
        for option in options {
            program = program.arg("-o").arg(option);
        }
        asked(program, host, UNUSABLE)
    }

    /// The configuration for a login as `user` on a host, as the person's own `ssh` reads it: with all environment
    /// variables, and with DNS lookups if names are to be canonicalized.
    ///
    /// # Errors
    /// As [`Ssh::settings`].
    pub fn settings_of_login(&self, host: &Host, user: &str) -> Result<Settings> {
        asked(with_variables(exec::Program::new(&self.program)).args(["-l", user]), host, UNUSABLE)
    }
}

const UNUSABLE: &str = "ssh cannot use its configuration";

/// The output of `ssh -G` with these arguments.
///
/// # Errors
/// When ssh cannot be run, or refuses its configuration.
pub fn asked(program: exec::Program, host: &Host, wrong: &'static str) -> Result<Settings> {
    let port = host.port.map(|port| ["-p".to_owned(), port.to_string()]);
    let program = program.args(port.into_iter().flatten());
    let ask = |program: exec::Program, dump: &str| program.args([dump, "--", &host.name]).run();
    let mut output = ask(program.clone(), "-G")?;
    if output.stderr.contains(NO_COMMAND) {
        // With -N (no session) ssh needs no command. `Match sessiontype` would notice that, so plain -G is tried first.
        output = ask(program, "-GN")?;
    }
    if !output.succeeded() {
        return Err(unusable(&output, wrong, &host.name));
    }
    Ok(Settings::parse(&output.stdout))
}

/// Gives the program the environment of this process: `IdentityAgent`, `Match exec` and commands may refer to the
/// user's variables.
#[must_use]
pub fn with_variables(program: exec::Program) -> exec::Program {
    let own = env::vars_os().filter(|(name, _)| name != "PATH" && name != "LC_ALL" && name != "HOME");
    own.fold(program, |program, (name, value)| program.env(name, value))
}

/// An option that keeps `ssh -G` from using DNS. A name with a dot counts as canonical already, so that what the
/// configuration says about canonical names (`Match canonical`) applies.
#[must_use]
pub fn without_dns(name: &str) -> &'static str {
    if name.contains('.') { "CanonicalizeMaxDots=0" } else { "CanonicalizeHostname=no" }
}

/// The error if `ssh -G` failed.
fn unusable(output: &Output, what: &'static str, host: &str) -> Error {
    let said = neutral_lines(without_private_key(&output.stderr).trim());
    let next = format!("see what is wrong with it: ssh -G {host}");
    if output.timed_out {
        return Error::failed(what)
            .cause("`ssh -G` did not end in time; it runs the commands of `Match exec`, each to its end")
            .next(next);
    }
    Error::refused(what).cause(if said.is_empty() { output.ending() } else { said }).next(next)
}

impl Settings {
    fn parse(text: &str) -> Self {
        let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (keyword, values) in text.lines().filter_map(|line| line.split_once(' ')) {
            let keyword = keyword.to_ascii_lowercase();
            let values = match keyword.as_str() {
                keyword if WHOLE.contains(&keyword) => vec![values.to_owned()],
                keyword if FILES.contains(&keyword) => file_names(values),
                _ => values.split_whitespace().map(str::to_owned).collect(),
            };
            settings.entry(keyword).or_default().extend(values);
        }
        Self(settings)
    }

    /// The values of a keyword; empty if it is absent.
    #[must_use]
    pub fn values(&self, keyword: &str) -> Vec<String> {
        self.0.get(&keyword.to_ascii_lowercase()).cloned().unwrap_or_default()
    }

    /// The first value of a keyword, unless that is `none`.
    #[must_use]
    pub fn first(&self, keyword: &str) -> Option<String> {
        self.values(keyword).into_iter().next().filter(|value| value != "none")
    }
}

/// The paths in a line. ssh prints them without quotes (`dump_cfg_strarray_oneline` in its readconf.c), so a blank ends
/// a path only if the next word begins like a path.
fn file_names(line: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for word in line.split(' ') {
        match names.last_mut() {
            Some(name) if name != "none" && !word.starts_with(['/', '~', '%', '$']) => {
                name.push(' ');
                name.push_str(word);
            }
            Some(_) | None => names.push(word.to_owned()),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_never_options() {
        let host = |text: &str| text.parse::<Host>().map(|host| (host.name, host.port));
        assert_eq!(host("web1.lab.test"), Ok(("web1.lab.test".to_owned(), None)));
        assert_eq!(host("[web1.lab.test]:2222"), Ok(("web1.lab.test".to_owned(), Some(2222))));
        assert_eq!(host("fd00::7"), Ok(("fd00::7".to_owned(), None)));
        for bad in ["", "-oProxyCommand=x", "[-x]:22", "a b", "a\nb", "[a]:0x", "[a]:70000", "a;b", "$(x)"] {
            assert!(host(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_ssh_says_is_read_by_keywords() {
        let settings = Settings::parse(
            "user ann\nuserknownhostsfile /a /b\nhostkeyalias none\nhost x\nrevokedhostkeys none\n\
             globalknownhostsfile /a b/c  d /e ~/f g\nknownhostscommand /bin/x \"a  b\" %H\nproxycommand nc  %h %p\n",
        );
        assert_eq!(settings.values("ProxyCommand"), ["nc  %h %p"]);
        assert_eq!(settings.values("UserKnownHostsFile"), ["/a", "/b"]);
        assert_eq!(settings.values("GlobalKnownHostsFile"), ["/a b/c  d", "/e", "~/f g"]);
        assert_eq!(settings.values("KnownHostsCommand"), ["/bin/x \"a  b\" %H"]);
        assert!(settings.first("RevokedHostKeys").is_none());
        assert!(settings.values("port").is_empty() && settings.first("hostkeyalias").is_none());
    }
}
