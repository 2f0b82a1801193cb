//! `warded verify`: checks machines as a client sees them that knows only the CA.

mod client;
mod person;
mod prometheus;
mod report;

use super::output::Output;
use crate::context::Context;
use clap::Args;
use report::VerifyObject;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use ssh_key::PublicKey;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use warded_lib::{
    ca::{self, Kind},
    error::{Error, Exit, Result},
    guard::known_hosts::KnownAuthority,
    moment,
    probe::{self, Judge, Place, Presentation, ProbeOptions},
    text::{count, neutral},
};

/// Descriptors for other purposes than connections: name look-ups need some, too.
const SPARE: u64 = 64;

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The machines, by the names that clients use: NAME, NAME:PORT, [ADDRESS]:PORT
    #[arg(value_name = "HOST", required_unless_present = "hosts", value_parser = |text: &str| text.parse::<Place>())]
    places: Vec<Place>,
    /// File of machines, one per line: NAME[:PORT], and its address if NAME does not resolve to it
    #[arg(long, value_name = "FILE")]
    hosts: Option<PathBuf>,
    /// Check every certificate that a machine offers, each over its own connection; default: only the one that `ssh`
    /// uses
    #[arg(long)]
    all_keys: bool,
    /// File of the CA's public host keys, one per line, instead of asking the CA
    #[arg(long, value_name = "FILE")]
    ca_key: Option<PathBuf>,
    /// Also report certificates that expire within this time (7d, 12h)
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    expect_within: Option<u64>,
    /// How many machines to ask at a time
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    at_once: u32,
    /// How long to wait for one machine
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = seconds)]
    timeout: u64,
    /// Also write the findings for Prometheus' textfile collector
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,
    /// Log in as this user with `ssh` and the certificate in the agent, and do nothing there
    #[arg(long, value_name = "USER", value_parser = parse_user, conflicts_with_all = ["all_keys", "prometheus", "hosts"])]
    login_as: Option<String>,
}

/// Parses a number of seconds, at least one.
fn seconds(text: &str) -> Result<u64, String> {
    let duration = moment::duration(text)?;
    u64::try_from(duration.as_secs()).ok().filter(|seconds| *seconds > 0).ok_or_else(|| "at least a second".to_owned())
}

fn parse_user(text: &str) -> Result<String, String> {
    ca::Principal::parse(Kind::User, text).map(|user| user.as_str().to_owned())
}

impl Verify {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let begun = Instant::now();
        let places = self.places()?;
        let roots = self.roots(context)?;
        if let Some(user) = &self.login_as {
            return person::run(output, user, &places, &roots);
        }
        let at_once = usize::try_from(self.at_once).unwrap_or(usize::MAX).min(places.len());
        let allowed = file_limit(at_once);
        if allowed < at_once {
            output.note(format!(
                "note: Warded asks {} at a time, not {at_once}: this process may open no more files (ulimit -Hn)",
                count(allowed, "machine")
            ));
        }
        let asking =
            ProbeOptions { at_once: allowed, patience: Duration::from_secs(self.timeout), all_keys: self.all_keys };
        let judge = Judge { roots: &roots, now: ca::now(), at_least: self.expect_within.unwrap_or_default() };
        let mut answers: Vec<(Place, Vec<Presentation>)> =
            places.iter().cloned().zip(probe::ask(&places, asking, &judge)).collect();
        // Like `known`, this applies to machines on the command line, and not to a list.
        answers.iter_mut().take(self.places.len()).for_each(|(place, presented)| client::revoked(place, presented));
        let object = VerifyObject::of(&answers, &self.known(&roots), begun.elapsed());
        report::show(output, &object, self.hosts.is_none())?;
        client::tell(output, &object);
        // The file is written before the object is printed: if it fails, the error is the only object on stdout.
        if let Some(file) = &self.prometheus {
            prometheus::metrics(&answers, judge.now).write(file)?;
        }
        output.object(&object)?;
        Ok(if object.healthy { Exit::Done } else { Exit::Degraded })
    }

    /// What this user's ssh knows of the CA, for each machine on the command line. A list is for monitoring, whose user
    /// need not be a client.
    fn known(&self, roots: &[PublicKey]) -> Vec<Option<KnownAuthority>> {
        self.places.iter().map(|place| client::known(place, roots)).collect()
    }

    fn places(&self) -> Result<Vec<Place>> {
        let mut places = self.places.clone();
        let Some(file) = &self.hosts else { return Ok(places) };
        let text = read(file)?;
        for (index, line) in text.lines().enumerate() {
            let place = Place::of_line(line).map_err(|why| {
                Error::usage(format!("{}:{}: {why}", neutral(&file.display().to_string()), index + 1))
            })?;
            places.extend(place);
        }
        if places.is_empty() {
            return Err(Error::usage(format!("{} names no machine", file.display())));
        }
        Ok(places)
    }

    /// The CA's keys, against which certificates are checked.
    fn roots(&self, context: &Context) -> Result<Vec<PublicKey>> {
        let Some(file) = &self.ca_key else { return Ok(context.authority.open()?.roots(Kind::Host)?) };
        let text = read(file)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys = lines.map(PublicKey::from_openssh).collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(|error| Error::usage(format!("{}: not a public key", file.display())).cause(error))?;
        if keys.is_empty() {
            return Err(Error::usage(format!("there is no key in {}", file.display())).next("warded ca roots --host"));
        }
        Ok(keys)
    }
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).map_err(|error| Error::usage(format!("cannot read {}", file.display())).cause(error))
}

/// Raises this process's limit of open files as far as needed and allowed. Returns how many connections that allows.
fn file_limit(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_add(SPARE);
    // `None` means that there is no limit.
    let Some(limit) = current.filter(|limit| *limit < needed) else { return wanted };
    let raised = maximum.map_or(needed, |maximum| maximum.min(needed));
    let limit = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).map_or(limit, |()| raised);
    usize::try_from(limit.saturating_sub(SPARE)).unwrap_or(wanted).clamp(1, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_write_them() {
        for (text, expected) in [("7d", 604_800), ("12h", 43_200), ("10s", 10), ("1h30m", 5400), ("1w", 604_800)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "7", "-1d", "0s", "1 month"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
