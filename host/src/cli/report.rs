//! How plans and results are shown: with the same facts as in JSON.

mod done;

pub(super) use done::{DoneObject, LeftObject};

use super::{
    output::{Output, Style},
    progress::Progress,
};
use crate::{
    broker::session::{Level, Message},
    context::Context,
    enrolment::Enrolment,
    pipeline::{
        self, PlannedRun, Terms, Work,
        serve::{self, PendingReload},
    },
};
use jiff::Timestamp;
use serde::Serialize;
use ssh_key::HashAlg;
use warded_lib::{
    ca::{
        Certificate,
        rotation::{self, NewSigner},
    },
    change_set::review::{Action, Review},
    error::{Error, Result},
    moment,
    name::Name,
    text::count,
};

/// A line that says which machine and which policy this is.
pub(super) fn header(output: Output, context: &Context, planned: &PlannedRun<'_>) -> Result<()> {
    let facts = &context.facts;
    let sshd = planned.session.sshd_version().map(|version| format!("OpenSSH {version} · ")).unwrap_or_default();
    let policy = &planned.granting.policy;
    let replaced: Vec<&str> = policy.instead_of.iter().map(Name::as_str).collect();
    let instead = if replaced.is_empty() { String::new() } else { format!(", instead of {}", replaced.join(", ")) };
    let line = format!(
        "{} · {sshd}init {} · policy {} {} ({}{instead})",
        facts.os_name,
        facts.init.as_str(),
        policy.name,
        policy.version,
        planned.granting.origin
    );
    output.line(output.paint(Style::Dim, &line))
}

/// What would change; first of all, what cannot be undone.
pub(super) fn review(output: Output, review: &Review) -> Result<()> {
    for program in review.programs.iter().filter(|program| program.irreversible) {
        output.line(format!("{} {} cannot be undone", output.paint(Style::Red, "!"), program.name))?;
    }
    let width = review.files.iter().map(|file| file.path.chars().count()).max().unwrap_or_default().min(60);
    for file in &review.files {
        let (sign, style) = match file.action {
            Action::Add => ("+", Style::Green),
            Action::Change => ("~", Style::Yellow),
            Action::Remove => ("-", Style::Red),
        };
        let mode = file
            .mode
            .as_ref()
            .filter(|mode| mode.as_str() != "0644")
            .map(|mode| format!("mode {mode}"))
            .unwrap_or_default();
        let what: Vec<&str> = [file.what.as_str(), mode.as_str()].into_iter().filter(|text| !text.is_empty()).collect();
        let line = format!("{} {:width$}   {}", output.paint(style, sign), file.path, what.join(" · "));
        output.line(line.trim_end())?;
        for end in &file.ends {
            output.line(format!("    {} {end}", output.paint(Style::Yellow, "!")))?;
        }
        diff(output, &file.diff)?;
    }
    for program in &review.programs {
        let sign = output.paint(if program.irreversible { Style::Red } else { Style::Yellow }, ">");
        output.line(format!("{sign} run {} ({})", program.name, program.program))?;
        diff(output, &program.diff)?;
    }
    for service in &review.reloads {
        output.line(format!("> {service}"))?;
    }
    Ok(())
}

/// The removed and added lines.
fn diff(output: Output, lines: &[String]) -> Result<()> {
    lines.iter().try_for_each(|line| {
        let style = match line.chars().next() {
            Some('+') => Style::Green,
            Some('-') => Style::Red,
            _ => Style::Dim,
        };
        output.verbatim(format!("    {}", output.paint(style, line)))
    })
}

/// What the procedure said.
pub(super) fn messages(output: Output, messages: &[Message]) -> Result<()> {
    for Message { level, text } in messages {
        let label = match level {
            Level::Info => "note:",
            Level::Warn => &output.paint(Style::Yellow, "warning:"),
        };
        output.line(format!("{label} {text}"))?;
    }
    Ok(())
}

/// The warnings among what the procedure said.
pub(super) fn warnings(messages: &[Message]) -> Vec<String> {
    messages.iter().filter(|message| message.level == Level::Warn).map(|message| message.text.clone()).collect()
}

/// The new keys of the CA that clients would need.
pub(super) fn new_signers(output: Output, changes: &[NewSigner]) -> Result<()> {
    changes.iter().try_for_each(|change| {
        output.line(format!("{} {change}", output.paint(Style::Yellow, "warning:")))?;
        output.line(format!("  {}", rotation::NEXT))
    })
}

/// The terms that a machine is enrolled on.
pub(super) fn enrolment(output: Output, enrolment: Option<&Enrolment>) -> Result<()> {
    enrolment.map_or(Ok(()), |enrolment| output.line(format!("> {}", enrolment.announced())))
}

/// Why it is not known what sshd serves.
pub(super) fn unseen(output: Output, unserved: &PendingReload) -> Result<()> {
    let told = unserved.former.iter().map(pipeline::not_reloaded);
    let told = told.chain(unserved.unseen.iter().map(|why| format!("not seen live: {}", why.message())));
    messages(output, &told.map(|text| Message { level: Level::Warn, text }).collect::<Vec<_>>())
}

/// The certificates on disk that are not served.
pub(super) fn unserved(output: Output, unserved: &PendingReload) -> Result<()> {
    if unserved.is_empty() {
        return Ok(());
    }
    unserved.unread.iter().try_for_each(|what| output.line(format!("Not proved: {what}.")))?;
    unserved.certificates.iter().try_for_each(|certificate| {
        output.line(format!(
            "note: the {} with serial {} is on disk, and not served until sshd reads it",
            certificate.algorithm(),
            certificate.serial()
        ))
    })
}

/// Makes sshd serve the certificates on disk, and reports the result.
pub(super) fn reloaded(
    context: &Context,
    output: Output,
    schema: &'static str,
    planned: PlannedRun<'_>,
    unserved: &PendingReload,
) -> Result<serde_json::Value> {
    let (identity, messages) = (planned.identity.clone(), planned.session.messages.clone());
    let progress = Progress::new(output);
    let mut work = Work::of(planned, Terms::default());
    work.warnings = warnings(&messages);
    let served = serve::carry_out(context, &identity, &work, unserved, &progress)?;
    drop(progress);
    let serials: Vec<String> = served.certificates.iter().map(ToString::to_string).collect();
    // The change is made, whether or not its report can be printed.
    drop(output.line(format!(
        "Reloaded {}. Seen live: {} served.",
        unserved.services().join(", "),
        count(serials.len(), "certificate")
    )));
    let nothing = DoneObject::nothing(schema, identity.procedure.as_str(), &messages);
    value(&nothing.reloaded(served.reloads, serials))
}

/// A plan as an object.
#[derive(Serialize)]
pub(super) struct PlanObject<'a> {
    schema: &'static str,
    policy: &'a str,
    version: &'a str,
    component: String,
    procedure: &'a str,
    pending: bool,
    #[serde(flatten)]
    review: &'a Review,
    /// The terms that the machine would be enrolled with; null if they stay as they are.
    enrolment: Option<String>,
    /// The new keys of the CA that clients would need.
    new_ca_keys: Vec<String>,
    messages: &'a [Message],
}

impl<'a> PlanObject<'a> {
    pub(super) fn new(
        planned: &'a PlannedRun<'_>,
        review: &'a Review,
        enrolment: Option<&Enrolment>,
        pending: bool,
    ) -> Self {
        Self {
            schema: "warded.plan/1",
            policy: planned.identity.policy.as_str(),
            version: &planned.granting.policy.version,
            component: planned.identity.component.to_string(),
            procedure: planned.identity.procedure.as_str(),
            pending,
            review,
            enrolment: enrolment.map(ToString::to_string),
            new_ca_keys: Vec::new(),
            messages: &planned.session.messages,
        }
    }
}

impl PlanObject<'_> {
    /// Adds the new keys of the CA that clients would need.
    pub(super) fn with(self, changes: &[NewSigner]) -> Self {
        Self { new_ca_keys: changes.iter().map(|change| change.new.clone()).collect(), ..self }
    }
}

/// A certificate as an object.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CertificateObject {
    algorithm: String,
    key: String,
    /// A string, since JSON's numbers are not exact above 2^53.
    serial: String,
    key_id: String,
    principals: Vec<String>,
    valid_after: Option<Timestamp>,
    pub(super) valid_before: Option<Timestamp>,
    signer: String,
}

impl From<&Certificate> for CertificateObject {
    fn from(certificate: &Certificate) -> Self {
        Self {
            algorithm: certificate.algorithm().to_owned(),
            key: certificate.key().fingerprint(HashAlg::Sha256).to_string(),
            serial: certificate.serial().to_string(),
            key_id: warded_lib::text::neutral(certificate.key_id()),
            principals: certificate.principals().iter().map(|name| warded_lib::text::neutral(name)).collect(),
            valid_after: time(certificate.valid_after()),
            valid_before: time(certificate.valid_before()),
            signer: certificate.signer_fingerprint(),
        }
    }
}

/// Says for which users and keys nothing would be proved.
pub(super) fn unproved(output: Output, not_proved: &[String]) -> Result<()> {
    not_proved.iter().try_for_each(|what| output.line(format!("Would not be proved: {what}.")))
}

/// The object as a JSON value, to be printed later or as part of another one.
pub(super) fn value(object: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(object).map_err(|error| Error::failed("cannot write JSON").cause(error))
}

/// Until when a certificate is valid, and how long that is from now.
pub(super) fn until(certificate: &Certificate) -> String {
    time(certificate.valid_before()).map_or_else(|| "without end".to_owned(), |end| moment::left(end, Timestamp::now()))
}

/// A time in a certificate; `None` if there is no limit.
pub(super) fn time(seconds: u64) -> Option<Timestamp> {
    i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok())
}
