//! The output of `warded login`.

use super::{
    super::{output::Output, report::until},
    files::Files,
};
use jiff::Timestamp;
use serde::Serialize;
use warded_lib::{
    agent::{Agent, Identity},
    ca::Certificate,
    error::Result,
    text::{count, neutral, shell_word},
};

/// sshd ends a connection after six keys that do not fit (`MaxAuthTries` in sshd_config(5)).
const MANY: usize = 6;

/// How a login ended.
pub(super) struct Outcome<'a> {
    status: Status,
    certificate: &'a Certificate,
    agent: Option<&'a Agent>,
    files: &'a Files,
    identities: usize,
    /// Whether the key was written to files.
    pub(super) is_written: bool,
    /// Whether the agent keeps the certificate after it expires.
    pub(super) stays: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Status {
    Unchanged,
    New,
}

impl<'a> Outcome<'a> {
    pub(super) fn unchanged(
        certificate: &'a Certificate,
        agent: Option<&'a Agent>,
        files: &'a Files,
        held: &[Identity],
    ) -> Self {
        let is_written = files.usable().is_some_and(|there| there == *certificate);
        let identities = held.len();
        Self { status: Status::Unchanged, certificate, agent, files, identities, is_written, stays: false }
    }

    pub(super) fn certificate(&self) -> &'a Certificate {
        self.certificate
    }

    pub(super) fn written(certificate: &'a Certificate, files: &'a Files) -> Self {
        Self { status: Status::New, certificate, agent: None, files, identities: 0, is_written: true, stays: false }
    }

    pub(super) fn added(certificate: &'a Certificate, agent: &'a Agent, files: &'a Files, held: &[Identity]) -> Self {
        let (agent, identities) = (Some(agent), held.len());
        Self { status: Status::New, certificate, agent, files, identities, is_written: false, stays: false }
    }
}

/// The JSON of `warded login`.
#[derive(Serialize)]
pub(super) struct LoginObject {
    schema: &'static str,
    /// The CA's address or directory.
    ca: Option<String>,
    status: Status,
    key_id: String,
    principals: Vec<String>,
    /// The critical options that sshd enforces (`source-address`, `force-command`).
    critical_options: Vec<(String, String)>,
    serial: String,
    valid_before: Option<Timestamp>,
    agent: Option<String>,
    /// Whether the agent removes the certificate when it expires; null if that is not known.
    forgets: Option<bool>,
    identities: usize,
    files: Vec<String>,
    identity_file: String,
    warnings: Vec<String>,
}

impl LoginObject {
    pub(super) fn of(outcome: &Outcome<'_>, ca: Option<String>, user: &str, missing: &[&String]) -> Self {
        let certificate = outcome.certificate;
        let is_new = outcome.status == Status::New;
        let identity_file = outcome.files.identity_file(outcome.is_written);
        Self {
            schema: "warded.login/1",
            ca,
            status: outcome.status,
            key_id: certificate.key_id().to_owned(),
            principals: certificate.principals().to_vec(),
            critical_options: limits(certificate),
            serial: certificate.serial().to_string(),
            valid_before: super::super::report::time(certificate.valid_before()),
            agent: outcome.agent.map(|agent| agent.socket().display().to_string()),
            forgets: outcome.agent.filter(|_| is_new).map(|_| !outcome.stays),
            identities: outcome.identities,
            files: outcome.files.paths(outcome.is_written),
            warnings: warnings(outcome, user, missing, &identity_file),
            identity_file,
        }
    }
}

/// The critical options. Each value is encoded as a string inside the value (PROTOCOL.certkeys).
fn limits(certificate: &Certificate) -> Vec<(String, String)> {
    let text = |value: &[u8]| neutral(&String::from_utf8_lossy(value.get(4..).unwrap_or_default()));
    certificate.critical_options().iter().map(|(name, value)| (neutral(name), text(value))).collect()
}

fn warnings(outcome: &Outcome<'_>, user: &str, missing: &[&String], identity_file: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for name in missing {
        warnings.push(format!(
            "it does not hold for {:?}, which was asked for: with a single sign-on the CA derives the names from the \
             e-mail address, and only its admins can choose others",
            neutral(name)
        ));
    }
    if missing.is_empty() && !outcome.certificate.principals().iter().any(|name| name == user) {
        warnings.push(format!(
            "it does not hold for the login name {:?}: sshd does not accept it for {user:?}, unless an \
             AuthorizedPrincipalsFile on the server lists one of its principals",
            neutral(user)
        ));
    }
    if outcome.stays {
        warnings.push(
            "the agent does not support lifetimes, so it keeps the expired certificate until `warded logout` or the \
             next login"
                .to_owned(),
        );
    }
    if outcome.identities >= MANY {
        warnings.push(format!(
            "the agent has {}: sshd ends a connection after {MANY} that it does not accept (MaxAuthTries), perhaps \
             before this one is offered. In ssh_config, for these hosts: IdentitiesOnly yes, IdentityFile \
             {identity_file}",
            count(outcome.identities, "identity").replace("identitys", "identities")
        ));
    }
    warnings
}

/// Prints the result in words.
pub(super) fn show(output: Output, outcome: &Outcome<'_>, ca: &str, object: &LoginObject) -> Result<()> {
    let certificate = outcome.certificate;
    let left = until(certificate);
    let name = neutral(certificate.key_id());
    output.line(match outcome.status {
        Status::New => format!("{name} has a certificate of {ca}: {left}."),
        Status::Unchanged => {
            format!("{name} has a certificate of {ca} already: {left}. Nothing was changed; for a new one: --force")
        }
    })?;
    let names: Vec<String> = certificate.principals().iter().map(|name| format!("{:?}", neutral(name))).collect();
    output.line(format!("holds for   {}", names.join(", ")))?;
    for (name, value) in &object.critical_options {
        let value = if value.is_empty() { String::new() } else { format!(" {value:?}") };
        output.line(format!("held to     {name}{value}"))?;
    }
    if let Some(agent) = outcome.agent {
        let end = if outcome.status == Status::New && !outcome.stays { ", which forgets it then" } else { "" };
        output.line(format!("in          the agent at {}{end}", neutral(&agent.socket().display().to_string())))?;
    }
    if outcome.is_written {
        output.line(format!("in          {} (without a passphrase)", neutral(&object.files.join(", "))))?;
    }
    let identity_file = neutral(&object.identity_file);
    let when = if outcome.agent.is_some() {
        "needed only with IdentitiesOnly".to_owned()
    } else {
        format!("or on the command line: ssh -i {}", shell_word(object.files.first().map_or("", String::as_str)))
    };
    output.line(format!("ssh_config  IdentityFile {identity_file}   ({when})"))?;
    for warning in &object.warnings {
        output.note(format!("warning: {warning}"));
    }
    Ok(())
}
