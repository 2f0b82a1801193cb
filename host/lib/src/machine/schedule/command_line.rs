//! Parses command lines of units and cron tables: what they run, and for which installation.

use super::table::SkipReason;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// The files on which `warded renew` has to work, and its default files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    pub state: PathBuf,
    pub config: PathBuf,
    /// The state directory if no option names one; it depends on the configuration file.
    pub default_state: PathBuf,
    /// The configuration file if no option names one.
    pub default_config: PathBuf,
}

/// Why a command that runs `warded renew` does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectionReason {
    /// It is in a file of cron's, but no cron daemon runs that reads the file.
    NoDaemon,
    /// It uses another state directory.
    State(PathBuf),
    /// It uses another configuration.
    Config(PathBuf),
    /// It renews only for one sshd, which a person named.
    OneSshd(PathBuf),
    /// It runs as this user, who cannot renew root's certificates.
    User(String),
    /// It runs only at boot.
    OnlyAtStart,
    /// A timer that only counts from its last run, and never has a first one.
    NeverStarts,
    /// A timer that names the years in which it runs, so that it ends.
    FixedYears,
    /// cron ignores it.
    Ignored(SkipReason),
}

impl fmt::Display for RejectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDaemon => f.write_str("runs `warded renew`, and no cron daemon runs that reads it"),
            Self::State(state) => write!(f, "renews another installation, with the state {}", state.display()),
            Self::Config(config) => write!(f, "renews by another configuration, {}", config.display()),
            Self::OneSshd(config) => write!(f, "renews the sshd of {} alone", config.display()),
            Self::User(user) => write!(f, "runs `warded renew` as {user}, and not as root"),
            Self::OnlyAtStart => f.write_str("runs `warded renew` only when the machine starts"),
            Self::NeverStarts => f.write_str("would run `warded renew`, but sets no time for its first start"),
            Self::FixedYears => f.write_str("runs `warded renew` in the years that it names, and then no more"),
            Self::Ignored(why) => write!(f, "would run `warded renew`, and {why}"),
        }
    }
}

impl Installation {
    /// Whether a schedule's file that Warded wrote belongs to another state directory.
    #[must_use]
    pub fn is_anothers(&self, file: &str) -> bool {
        let commands = file.lines().filter(|line| !line.trim_start().starts_with('#'));
        let mut states = commands.filter_map(|line| named(&words(line).collect::<Vec<_>>(), "--state"));
        let state = states.next_back().map_or_else(|| self.default_state.clone(), PathBuf::from);
        words(file).any(|word| matches!(word, "renew" | "recover")) && !is_same(&state, &self.state)
    }

    /// The first of these lines that runs `warded renew` for this installation, or why the first renewing line does not
    /// count. None if no line runs it at all. `text` is the whole file, which may set variables.
    pub(super) fn is_renewed_by<'a>(
        &self,
        lines: impl Iterator<Item = &'a str>,
        text: &str,
    ) -> Option<Result<&'a str, RejectionReason>> {
        let mut found = None;
        for line in lines {
            let Some(words) = renewal(line) else { continue };
            match self.is_meant(&words, text) {
                Ok(()) => return Some(Ok(line)),
                Err(why) => {
                    found.get_or_insert(Err(why));
                }
            }
        }
        found
    }

    fn is_meant(&self, words: &[&str], text: &str) -> Result<(), RejectionReason> {
        let named = |option, variable| named(words, option).or_else(|| assigned(text, variable)).map(PathBuf::from);
        let config = named("--config", "WARDED_CONFIG").unwrap_or_else(|| self.default_config.clone());
        if !is_same(&config, &self.config) {
            return Err(RejectionReason::Config(config));
        }
        let state = named("--state", "WARDED_STATE").unwrap_or_else(|| self.default_state.clone());
        if !is_same(&state, &self.state) {
            return Err(RejectionReason::State(state));
        }
        named("--sshd-config", "WARDED_SSHD_CONFIG").map_or(Ok(()), |config| Err(RejectionReason::OneSshd(config)))
    }
}

/// Whether a user's line runs `warded renew` as root.
pub(super) fn is_by_sudo(line: &str) -> bool {
    let before: Vec<&str> = words(line).take_while(|word| !is_warded(word)).collect();
    let is_program = |word: &&str| ["sudo", "doas"].contains(&word.rsplit('/').next().unwrap_or_default());
    before.iter().any(is_program) && !before.iter().any(|word| word.starts_with("-u") || word.starts_with("--user"))
}

fn is_warded(word: &str) -> bool {
    word.trim_start_matches(['-', '@', ':', '+', '!']).rsplit('/').next() == Some("warded")
}

/// Whether a line runs this command of Warded, whatever surrounds it.
pub(super) fn runs(line: &str, command: &str) -> bool {
    of_command(line, command).is_some()
}

/// The words of a line after `warded`, if it runs `warded renew`.
fn renewal(line: &str) -> Option<Vec<&str>> {
    of_command(line, "renew")
}

fn of_command<'a>(line: &'a str, command: &str) -> Option<Vec<&'a str>> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let mut words = words(line);
    words.by_ref().find(|word| is_warded(word))?;
    let words: Vec<&str> = words.collect();
    words.contains(&command).then_some(words)
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|sign: char| sign.is_whitespace() || "\"';&|(){}".contains(sign)).filter(|word| !word.is_empty())
}

/// The value of an option.
fn named<'a>(words: &[&'a str], option: &str) -> Option<&'a str> {
    words.iter().enumerate().find_map(|(index, word)| match word.strip_prefix(option)? {
        "" => words.get(index + 1).copied(),
        rest => rest.strip_prefix('='),
    })
}

/// The value of a variable that a file sets for a unit or for the lines of a table.
fn assigned<'a>(text: &'a str, variable: &str) -> Option<&'a str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let assignments = lines.flat_map(words).map(|word| word.strip_prefix("Environment=").unwrap_or(word));
    assignments.filter_map(|word| word.strip_prefix(variable)?.strip_prefix('=')).last()
}

/// Whether two paths lead to the same file, as far as that can be seen.
fn is_same(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installation(state: &str, config: &str) -> Installation {
        Installation {
            state: state.into(),
            config: config.into(),
            default_state: "/var/lib/warded".into(),
            default_config: "/etc/warded/config.toml".into(),
        }
    }

    #[test]
    fn lines_that_renew() {
        for (line, expected) in [
            ("17 4 * * * root warded renew", true),
            ("@reboot sleep 60; /usr/local/bin/warded --json renew --force", true),
            ("-/usr/bin/warded renew", true),
            ("/bin/sh -c 'warded renew'", true),
            ("warded status", false),
            ("warded-agent renew", false),
            ("renew warded", false),
            ("  # warded renew", false),
        ] {
            assert_eq!(renewal(line).is_some(), expected, "{line}");
        }
    }

    #[test]
    fn only_lines_for_this_installation_count() {
        let usual = || installation("/var/lib/warded", "/etc/warded/config.toml");
        let other = || installation("/srv/w", "/srv/w.toml");
        let (state, config) = (
            |path: &str| Err(RejectionReason::State(path.into())),
            |path: &str| Err(RejectionReason::Config(path.into())),
        );
        for (own, text, expected) in [
            (usual(), "warded renew", Ok(())),
            (usual(), "warded --state /var/lib/warded renew", Ok(())),
            (usual(), "warded --state=/srv/w renew", state("/srv/w")),
            (usual(), "warded renew --state '/srv/w'", state("/srv/w")),
            (usual(), "WARDED_STATE=/srv/w warded renew", state("/srv/w")),
            (usual(), "WARDED_STATE=/srv/w\n7 * * * * root warded renew", state("/srv/w")),
            (usual(), "Environment=\"WARDED_STATE=/srv/w\"\nExecStart=/bin/warded renew", state("/srv/w")),
            (usual(), "#WARDED_STATE=/srv/w\nwarded renew", Ok(())),
            (usual(), "warded --config /srv/w.toml renew", config("/srv/w.toml")),
            (usual(), "warded --sshd-config /srv/sshd renew", Err(RejectionReason::OneSshd("/srv/sshd".into()))),
            (usual(), "warded --state /srv/w renew; date\nwarded renew", Ok(())),
            (other(), "warded --config /srv/w.toml renew", state("/var/lib/warded")),
            (other(), "warded --state /srv/w renew", config("/etc/warded/config.toml")),
            (other(), "warded --state /srv/w --config /srv/w.toml renew", Ok(())),
        ] {
            assert_eq!(own.is_renewed_by(text.lines(), text).map(|found| found.map(|_| ())), Some(expected), "{text}");
        }
        for (own, line, expected) in [
            (usual(), "ExecStart=/usr/local/bin/warded renew", false),
            (usual(), "ExecStart=/usr/local/bin/warded --state /srv/w recover", true),
            (other(), "ExecStart=/usr/local/bin/warded --state /srv/w recover", false),
            (other(), "7 * * * * root warded renew", true),
            (other(), "[Timer]\nOnCalendar=hourly", false),
        ] {
            assert_eq!(own.is_anothers(line), expected, "{line}");
        }
        assert_eq!(usual().is_renewed_by(std::iter::once("warded status"), ""), None);
    }

    #[test]
    fn a_user_may_renew_by_sudo() {
        for (line, expected) in [
            ("7 * * * * sudo warded renew", true),
            ("7 * * * * /usr/bin/sudo -n /usr/local/bin/warded renew", true),
            ("7 * * * * doas warded renew", true),
            ("7 * * * * sudo -u jane warded renew", false),
            ("7 * * * * warded renew; sudo date", false),
        ] {
            assert_eq!(is_by_sudo(line), expected, "{line}");
        }
    }
}
