//! Which of the configured CAs a command is for.

use super::{Context, Options, operators_path};
use crate::public_status::{self, PublicStatus};
use std::{path::Path, rc::Rc};
use warded_lib::{
    ca::{
        configured::Authority,
        step::{Identification, Settings, steppath},
    },
    config::{self, Config},
    error::{Error, Result},
    machine::path::AbsolutePath,
    name::Name,
};

/// A CA, as it is configured.
#[derive(Debug)]
pub enum Choice {
    /// A local CA in this directory.
    Local(AbsolutePath),
    /// A step-ca, with the name that it has in the configuration, if it has one.
    Step(Option<Name>, Box<Settings>),
    /// One of several, which the operator has to name.
    Several(String),
    None,
}

impl Choice {
    /// The CA that `--ca` names; else the one without a name; else the only one that is configured.
    ///
    /// # Errors
    /// There are several, or none of that name; or the command is for the machine, whose CA has no name.
    pub fn of(options: &Options, config: &Config) -> Result<Self> {
        let chosen = match &options.ca {
            Some(given) => Self::given(given, config)?,
            None => match (&config.ca, step_ca(config)) {
                (Some(directory), _) => Self::Local(directory.clone()),
                (None, Ok(Some(settings))) => Self::Step(None, Box::new(settings)),
                // A faulty set-up of `step` matters only if its CA would be the chosen one.
                (None, Err(error)) => return Err(error),
                (None, Ok(None)) => Self::only(config),
            },
        };
        match &chosen {
            Self::Step(Some(name), _) if options.is_for_machine => {
                Err(Error::usage(format!("{name} is a CA for logins, and this command uses the CA of the machine"))
                    .next(
                        "to set the CA of the machine: warded bootstrap --ca-url URL --fingerprint HEX, without --name",
                    ))
            }
            Self::Step(..) | Self::Local(_) | Self::Several(_) | Self::None => Ok(chosen),
        }
    }

    /// The CA that `--ca` names: a name from the configuration, or else a directory.
    fn given(given: &Path, config: &Config) -> Result<Self> {
        let name = given.to_str().and_then(|text| text.parse::<Name>().ok());
        if let Some((name, settings)) = name.as_ref().and_then(|name| config.named_ca.get_key_value(name)) {
            return Ok(Self::Step(Some(name.clone()), Box::new(settings.clone())));
        }
        if let Some(name) = name.filter(|_| !given.exists()) {
            let error = Error::usage(format!("there is no CA called {name}, and no directory of that name"));
            return Err(if config.named_ca.is_empty() {
                error.next(format!("to configure one for logins: warded bootstrap --name {name}"))
            } else {
                error
                    .cause(format!("the configuration names {}", names(config)))
                    .next("name one of these, or the directory of a local CA")
            });
        }
        operators_path(given).map(Self::Local)
    }

    fn only(config: &Config) -> Self {
        let mut named = config.named_ca.iter();
        match (named.next(), named.next()) {
            (None, _) => Self::None,
            (Some((name, settings)), None) => Self::Step(Some(name.clone()), Box::new(settings.clone())),
            (Some(_), Some(_)) => Self::Several(names(config)),
        }
    }

    /// The CA's name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::Step(name, _) => name.as_ref(),
            Self::Local(_) | Self::Several(_) | Self::None => None,
        }
    }

    /// The CA, ready to be opened. `identification` says who this machine or this person is to the CA.
    pub(super) fn authority(self, identification: &Identification) -> Authority {
        match self {
            Self::Local(directory) => Authority::local(directory.as_path()),
            Self::Step(_, settings) => Authority::step(*settings, identification.clone()),
            Self::Several(names) => {
                let first = names.split(',').next().unwrap_or_default().to_owned();
                Authority::unchosen(
                    Error::usage(format!("several CAs are configured: {names}"))
                        .next(format!("name one: --ca {first}")),
                )
            }
            Self::None => of_machine().map_or_else(Authority::none, Authority::of_root_only),
        }
    }
}

fn names(config: &Config) -> String {
    config.named_ca.keys().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// The name of the CA that a command is for, if it has one. Nothing is opened, and no CA is asked.
#[must_use]
pub fn ca_name(options: &Options) -> Option<Name> {
    let config = Config::load(options.config.as_deref()).ok()?;
    Choice::of(options, &config).ok()?.name().cloned()
}

/// The step-ca without a name that is configured, or the one that `step` was set up for.
///
/// # Errors
/// The set-up of `step` cannot be read.
pub fn step_ca(config: &Config) -> Result<Option<Settings>> {
    match (&config.step_ca, steppath::directory()) {
        (Some(settings), _) => Ok(Some(settings.clone())),
        (None, Some(directory)) => steppath::read(&directory),
        (None, None) => Ok(None),
    }
}

/// The address of this machine's CA, for a user who has configured none. Only root can use that CA.
fn of_machine() -> Option<String> {
    if config::is_root() {
        return None;
    }
    PublicStatus::read(&public_status::file_of_machine()).ok().flatten()?.ca_in_words()
}

impl Context {
    /// Each CA that this command is for, with its name if it has one: the one of `--ca`, or else all that are
    /// configured, including those whose configuration cannot be read.
    #[must_use]
    pub fn authorities(&self) -> Vec<(Option<Name>, Rc<Authority>)> {
        let is_one = self.options.ca.is_some() || (self.ca_name.is_none() && self.authority.is_there());
        let first = is_one.then(|| (self.ca_name.clone(), Rc::clone(&self.authority)));
        let named = self.named_cas.iter().filter(|_| self.options.ca.is_none()).map(|(name, settings)| {
            (Some(name.clone()), Rc::new(Authority::step(settings.clone(), self.options.identification.clone())))
        });
        first.into_iter().chain(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    fn chosen(ca: Option<&str>, config: &str, is_for_machine: bool) -> Result<String, String> {
        let options = Options { ca: ca.map(Into::into), is_for_machine, ..Options::default() };
        let mut text = String::new();
        for line in config.lines() {
            let more = format!("url = '{}.test'\nroot = '/r'\nfingerprint = '{}'", line.len(), "ab".repeat(32));
            let more = if line.starts_with('[') { more.as_str() } else { "" };
            writeln!(text, "{line}\n{more}").unwrap();
        }
        match Choice::of(&options, &toml::from_str(&text).unwrap()) {
            Ok(Choice::Local(directory)) => Ok(directory.to_string()),
            Ok(Choice::Step(name, _)) => {
                Ok(name.map_or_else(|| "the one without a name".to_owned(), |name| name.to_string()))
            }
            Ok(Choice::Several(names)) => Ok(format!("one of {names}")),
            Ok(Choice::None) => Ok("none".to_owned()),
            Err(error) => Err(error.message().to_owned()),
        }
    }

    #[test]
    fn a_name_goes_before_a_directory_and_the_ca_without_a_name_before_the_others() {
        let two = "[named-ca.lab]\n[named-ca.work]";
        for (ca, config, expected) in [
            (None, "[step-ca]\n[named-ca.work]", "the one without a name"),
            (None, "ca = '/ca'\n[named-ca.work]", "/ca"),
            (None, "[named-ca.work]", "work"),
            (Some("work"), "[step-ca]\n[named-ca.work]", "work"),
            (Some("lab"), two, "lab"),
            (Some("/work"), two, "/work"),
        ] {
            assert_eq!(chosen(ca, config, false).as_deref(), Ok(expected), "{ca:?} {config}");
        }
        assert!(chosen(Some("src"), two, false).unwrap().ends_with("/src"), "a directory that is there");
        let missing = "there is no CA called wrok, and no directory of that name";
        for config in ["[step-ca]", two] {
            assert_eq!(chosen(Some("wrok"), config, false).unwrap_err(), missing);
        }
        assert_eq!(chosen(None, two, false).unwrap(), "one of lab, work");
        for ca in [None, Some("work")] {
            assert!(chosen(ca, "[named-ca.work]", true).unwrap_err().contains("is a CA for logins"), "{ca:?}");
        }
    }
}
