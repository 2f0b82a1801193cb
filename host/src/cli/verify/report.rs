//! The output of `warded verify`.

use super::super::{
    output::{Output, Style},
    report::{time, until},
};
use jiff::Timestamp;
use serde::Serialize;
use std::{iter::repeat, time::Duration};
use warded_lib::{
    error::Result,
    guard::known_hosts::KnownAuthority,
    probe::{Finding, Place, Presentation, shown},
    text::neutral,
};

/// The JSON of `warded verify`.
#[derive(Serialize)]
pub(super) struct VerifyObject {
    schema: &'static str,
    /// Whether a strict client gets in everywhere, and for as long as expected.
    pub(super) healthy: bool,
    seconds: f64,
    hosts: Vec<Host>,
}

#[derive(Serialize)]
struct Host {
    name: String,
    address: String,
    port: u16,
    /// `ok`, `ends-soon`, `no-certificate`, `wrong`, `unknown`: the worst of its keys.
    state: &'static str,
    cause: Option<String>,
    /// Whether a line for this CA in the caller's ssh files matches the name; null if there is no such line, or nobody
    /// looked.
    pattern_matches: Option<bool>,
    keys: Vec<Key>,
    #[serde(skip)]
    known: Option<KnownAuthority>,
}

#[derive(Serialize)]
struct Key {
    algorithm: Option<&'static str>,
    state: &'static str,
    cause: Option<String>,
    serial: Option<String>,
    key_id: Option<String>,
    valid_before: Option<Timestamp>,
    signer: Option<String>,
    #[serde(skip)]
    until: Option<String>,
}

/// Orders findings from good to bad.
fn severity(finding: &Finding) -> u8 {
    match finding {
        Finding::Good => 0,
        Finding::EndsSoon => 1,
        Finding::Unknown(_) => 2,
        Finding::NoCertificate => 3,
        Finding::Wrong(_) => 4,
    }
}

impl Host {
    fn of(place: &Place, presented: &[Presentation], known: Option<&KnownAuthority>) -> Self {
        let worst = presented.iter().map(|one| &one.finding).max_by_key(|finding| severity(finding));
        let cause = |finding: &Finding| finding.cause().map(neutral);
        Self {
            name: place.name.clone(),
            address: place.address.clone(),
            port: place.port(),
            state: worst.map_or("unknown", Finding::code),
            cause: worst.and_then(cause),
            pattern_matches: known.map(|known| known.matches),
            known: known.cloned(),
            keys: presented
                .iter()
                .map(|one| Key {
                    algorithm: one.algorithm.map(warded_lib::handshake::HostKeyAlgorithm::name),
                    state: one.finding.code(),
                    cause: cause(&one.finding),
                    serial: one.certificate.as_ref().map(|found| found.serial().to_string()),
                    key_id: one.certificate.as_ref().map(|found| found.key_id().to_owned()),
                    valid_before: one.certificate.as_ref().and_then(|found| time(found.valid_before())),
                    signer: one.certificate.as_ref().map(warded_lib::ca::Certificate::signer_fingerprint),
                    until: one.certificate.as_ref().map(until),
                })
                .collect(),
        }
    }

    fn shown(&self) -> String {
        shown(&self.name, self.port)
    }
}

impl VerifyObject {
    /// `known` is what the caller's ssh knows of the CA, for the first of the machines.
    pub(super) fn of(answers: &[(Place, Vec<Presentation>)], known: &[Option<KnownAuthority>], took: Duration) -> Self {
        let known = known.iter().map(Option::as_ref).chain(repeat(None));
        let hosts: Vec<Host> =
            answers.iter().zip(known).map(|((place, presented), known)| Host::of(place, presented, known)).collect();
        let healthy = hosts.iter().all(|host| host.state == Finding::Good.code());
        Self { schema: "warded.verify/1", healthy, seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0, hosts }
    }

    /// What the caller's ssh knows of the CA, for each machine for which it has a line.
    pub(super) fn known(&self) -> impl Iterator<Item = &KnownAuthority> {
        self.hosts.iter().filter_map(|host| host.known.as_ref())
    }

    fn count(&self, is_counted: impl Fn(&Host) -> bool) -> usize {
        self.hosts.iter().filter(|host| is_counted(host)).count()
    }
}

/// Prints the result in words: for a list, only what is not good, and the numbers.
pub(super) fn show(output: Output, object: &VerifyObject, show_good: bool) -> Result<()> {
    for host in &object.hosts {
        let is_good = host.state == Finding::Good.code();
        if is_good && !show_good {
            continue;
        }
        let style = if is_good { Style::Green } else { Style::Red };
        let state = output.paint(style, &format!("{:<15}", host.state));
        let keys = host.keys.iter().filter_map(|key| Some(format!("{} {}", key.algorithm?, key.until.as_ref()?)));
        let details: Vec<String> = host.cause.clone().into_iter().chain(keys).collect();
        output.line(format!("{state} {}  {}", host.shown(), details.join(" · ")))?;
    }
    if object.hosts.len() > 1 {
        let good = object.count(|host| host.state == Finding::Good.code());
        let unknown = object.count(|host| host.state == "unknown");
        let bad = object.hosts.len() - good - unknown;
        output.line(format!(
            "{} machines in {:.1} s: {good} ok, {bad} not, {unknown} unknown",
            object.hosts.len(),
            object.seconds
        ))?;
    }
    Ok(())
}
