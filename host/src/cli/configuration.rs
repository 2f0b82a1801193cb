//! `warded config`: the configured values, and where each value comes from.

use super::output::Output;
use crate::context::{Choice, Options, installation, policies_directory, rhythm};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use warded_lib::{
    ca::due::RENEW_AFTER,
    config::{self, Config},
    error::{Exit, Result},
    machine::{facts::Init, path::AbsolutePath, sshd::default_config},
    moment::distance,
    text::{neutral, neutral_path},
};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check the configuration file, and show each value and where it comes from
    Check(Check),
}

#[derive(Debug, Args)]
pub(super) struct Check {}

#[derive(Serialize)]
struct ConfigObject<'a> {
    schema: &'static str,
    file: String,
    /// Whether the file exists; without it, the defaults apply.
    exists: bool,
    values: &'a [Value],
}

#[derive(Serialize)]
struct Value {
    name: String,
    value: String,
    origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Origin {
    Option,
    File,
    Step,
    Default,
}

impl Origin {
    fn words(self) -> &'static str {
        match self {
            Self::Option => "an option, or its variable",
            Self::File => "the file",
            Self::Step => "the set-up of `step`",
            Self::Default => "the default",
        }
    }

    fn of(is_option: bool, is_in_file: bool) -> Self {
        match (is_option, is_in_file) {
            (true, _) => Self::Option,
            (false, true) => Self::File,
            (false, false) => Self::Default,
        }
    }
}

impl ConfigCommand {
    /// Opens nothing of Warded's: a check must not create a state directory.
    pub(super) fn run(&self, options: &Options, output: Output) -> Result<Exit> {
        let Self::Check(Check {}) = self;
        let file = options.config.clone().unwrap_or_else(config::default_file);
        let config = Config::load(options.config.as_deref())?;
        let values = values(options, &config)?;
        let shown = neutral_path(&file);
        output.line(if file.exists() {
            format!("{shown} is valid.")
        } else {
            format!("There is no {shown}: the defaults hold.")
        })?;
        let width = values.iter().map(|one| one.name.len()).max().unwrap_or_default();
        for Value { name, value, origin } in &values {
            output.line(format!("{name:width$}  {value}   ({})", origin.words()))?;
        }
        output.object(&ConfigObject {
            schema: "warded.config/1",
            file: shown,
            exists: file.exists(),
            values: &values,
        })?;
        Ok(Exit::Done)
    }
}

fn values(options: &Options, config: &Config) -> Result<Vec<Value>> {
    let path = |name: &str, option: &Option<PathBuf>, configured: &Option<AbsolutePath>, default: PathBuf| {
        let origin = Origin::of(option.is_some(), configured.is_some());
        let chosen = option.clone().or_else(|| configured.as_ref().map(|path| path.as_path().to_owned()));
        Value { name: name.to_owned(), value: neutral_path(&chosen.unwrap_or(default)), origin }
    };
    let mut values = vec![authority(options, config)?];
    values.extend(config.named_ca.iter().map(|(name, step)| Value {
        name: format!("named-ca.{name}"),
        value: step.url.to_string(),
        origin: Origin::File,
    }));
    values.extend([
        path("sshd-config", &options.sshd_config, &config.sshd_config, default_config().into()),
        path("sshd", &options.sshd, &config.sshd, "the one that runs, or the one in PATH".into()),
        path("policies", &options.policies, &config.policies, policies_directory(options, config)?),
        path("state", &options.state, &config.state, config::default_state()),
    ]);
    let sshd_config = config.sshd_config.as_ref().map_or(Path::new(default_config()), AbsolutePath::as_path);
    let found = rhythm(
        options.sshd_config.as_deref().unwrap_or(sshd_config),
        Init::detect(Path::new("/")),
        &installation(options, config),
    );
    let hours = |hours: u64| format!("{hours} hours");
    let found = if found.is_multiple_of(3600) { hours(found / 3600) } else { distance(Duration::from_secs(found)) };
    for (name, is_set, value) in [
        (
            "renew-after",
            config.renew_after.is_some(),
            format!("{} percent of a certificate's life", config.renew_after.unwrap_or(RENEW_AFTER)),
        ),
        ("renew-every", config.renew_every.is_some(), config.renew_every.map_or(found, |every| hours(every.into()))),
    ] {
        values.push(Value { name: name.to_owned(), value, origin: Origin::of(false, is_set) });
    }
    if !config.known_ca_keys.is_empty() {
        values.push(Value {
            name: "known-ca-keys".to_owned(),
            value: config.known_ca_keys.join(" "),
            origin: Origin::File,
        });
    }
    Ok(values)
}

fn authority(options: &Options, config: &Config) -> Result<Value> {
    let is_option = options.ca.is_some();
    let (value, origin) = match Choice::of(options, config) {
        // Each of them is shown on a line of its own.
        Ok(Choice::Several(_)) => ("none without a name".to_owned(), Origin::Default),
        Err(error) => return Err(error),
        Ok(Choice::Local(directory)) => (neutral_path(directory.as_path()), Origin::of(is_option, true)),
        Ok(Choice::Step(None, step)) if config.step_ca.is_none() => (step.url.to_string(), Origin::Step),
        Ok(Choice::Step(_, step)) => (step.url.to_string(), Origin::of(is_option, true)),
        Ok(Choice::None) => ("none".to_owned(), Origin::Default),
    };
    Ok(Value { name: "ca".to_owned(), value: neutral(&value), origin })
}
