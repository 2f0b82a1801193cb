//! How plans and results are shown: the same facts as in JSON.

use super::{
    known_hosts,
    output::{Output, Style},
    progress::Progress,
};
use crate::{
    broker::session::{Level, Message},
    context::Context,
    enrolment::Enrolment,
    pipeline::{
        self, Done, Planned, Terms, Work,
        certify::Refusal,
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
    guard::client::hosts::Way,
    moment,
    name::Name,
    text::count,
    transaction::LeftAlone,
};

/// A line that says what machine this is, and which policy is at work.
pub(super) fn header(output: Output, context: &Context, planned: &Planned<'_>) -> Result<()> {
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

/// What would change.
pub(super) fn review(output: Output, review: &Review) -> Result<()> {
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
        if program.irreversible {
            output.line(format!("    {} it cannot be undone", output.paint(Style::Red, "!")))?;
        }
        diff(output, &program.diff)?;
    }
    for service in &review.reloads {
        output.line(format!("> {service}"))?;
    }
    Ok(())
}

/// The lines that go and come.
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

/// Why it cannot be told what is served.
pub(super) fn unseen(output: Output, unserved: &PendingReload) -> Result<()> {
    let told = unserved.former.iter().map(pipeline::not_reloaded);
    let told = told.chain(unserved.unseen.iter().map(|why| format!("not seen live: {}", why.message())));
    messages(output, &told.map(|text| Message { level: Level::Warn, text }).collect::<Vec<_>>())
}

/// What lies on disk and is not served.
pub(super) fn unserved(output: Output, unserved: &PendingReload) -> Result<()> {
    if unserved.is_empty() {
        return Ok(());
    }
    unserved.certificates.iter().try_for_each(|certificate| {
        output.line(format!(
            "note: the {} with serial {} is on disk, and not served until sshd reads it",
            certificate.algorithm(),
            certificate.serial()
        ))
    })
}

/// Has what lies on disk served, and says how that went.
pub(super) fn reloaded(
    context: &Context,
    output: Output,
    schema: &'static str,
    planned: Planned<'_>,
    unserved: &PendingReload,
) -> Result<serde_json::Value> {
    let (identity, messages) = (planned.identity.clone(), planned.session.messages.clone());
    let progress = Progress::new(output);
    let mut work = Work::of(planned, Terms::default());
    work.warnings = warnings(&messages);
    let served = serve::carry_out(context, &identity, &work, unserved, &progress)?;
    drop(progress);
    let serials: Vec<String> = served.certificates.iter().map(ToString::to_string).collect();
    // It is done, whether anybody reads of it or not.
    drop(output.line(format!(
        "Reloaded {}. Seen live: {} served.",
        unserved.services().join(", "),
        count(serials.len(), "certificate")
    )));
    let reloads = served.reloads.into_iter().map(|(service, how)| ReloadObject { service, how }).collect();
    let nothing = DoneObject::nothing(schema, identity.procedure.as_str(), &messages);
    value(&DoneObject { reloads, served: serials, ..nothing })
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
    /// The terms that the machine would be enrolled on; none: they stay as they are.
    enrolment: Option<String>,
    /// The new keys of the CA that clients would need.
    new_ca_keys: Vec<String>,
    messages: &'a [Message],
}

impl<'a> PlanObject<'a> {
    pub(super) fn new(
        planned: &'a Planned<'_>,
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
    /// With the new keys of the CA that clients would need.
    pub(super) fn with(self, changes: &[NewSigner]) -> Self {
        Self { new_ca_keys: changes.iter().map(|change| change.new.clone()).collect(), ..self }
    }
}

/// A certificate as an object.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CertificateObject {
    algorithm: String,
    key: String,
    /// As text: JSON's numbers are not exact above 2^53.
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

/// Says of which users and keys a proof would say nothing.
pub(super) fn unproved(output: Output, not_proved: &[String]) -> Result<()> {
    not_proved.iter().try_for_each(|what| output.line(format!("Would not be proved: {what}.")))
}

/// What an apply, a renewal or an undo did, as an object.
#[derive(Serialize)]
pub(super) struct DoneObject<'a> {
    schema: &'static str,
    procedure: &'a str,
    /// None: there was nothing to do.
    run: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    review: Option<&'a Review>,
    certificates: Vec<CertificateObject>,
    /// The lines by which clients know this machine.
    known_hosts: Vec<String>,
    reloads: Vec<ReloadObject>,
    served: Vec<String>,
    left_alone: Vec<LeftObject>,
    /// What the CA refused to a renewal.
    refused: Vec<RefusedObject>,
    /// Users and keys of whom nothing was proved, and why.
    not_proved: Vec<String>,
    /// How the host keys were proved; none: none was.
    proved_by: Option<&'static str>,
    /// Whether that took the `ssh` program.
    needed_ssh: bool,
    /// The new keys of the CA for which certificates were put off.
    put_off: Vec<String>,
    /// Why it was not written down that these keys have certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    unrecorded: Option<&'a str>,
    /// Keys that sshd offers and would end by reading its files, so that it was not reloaded.
    former_keys: Vec<String>,
    /// Until when it has to be confirmed; none: it is kept.
    confirm_until: Option<Timestamp>,
    /// What listens and is not known, so that nothing was seen live.
    unknown_listener: Option<String>,
    /// Why nothing was seen live, for this reason or another.
    not_seen_live: Option<String>,
    messages: &'a [Message],
}

/// A certificate that the CA refused.
#[derive(Serialize)]
struct RefusedObject {
    key: String,
    why: String,
}

impl From<&Refusal> for RefusedObject {
    fn from(refusal: &Refusal) -> Self {
        Self { key: refusal.key.to_string(), why: refusal.to_string() }
    }
}

/// A file that was left as it is, because somebody has written to it.
#[derive(Serialize)]
pub(super) struct LeftObject {
    path: String,
    why: String,
}

impl From<&LeftAlone> for LeftObject {
    fn from(left: &LeftAlone) -> Self {
        Self { path: left.path.to_string(), why: left.why.clone() }
    }
}

#[derive(Serialize)]
struct ReloadObject {
    service: String,
    #[serde(flatten)]
    how: warded_lib::machine::services::ReloadResult,
}

impl<'a> DoneObject<'a> {
    pub(super) fn nothing(schema: &'static str, procedure: &'a str, messages: &'a [Message]) -> Self {
        Self {
            schema,
            procedure,
            run: None,
            review: None,
            certificates: Vec::new(),
            known_hosts: Vec::new(),
            reloads: Vec::new(),
            served: Vec::new(),
            left_alone: Vec::new(),
            refused: Vec::new(),
            not_proved: Vec::new(),
            proved_by: None,
            needed_ssh: false,
            put_off: Vec::new(),
            unrecorded: None,
            former_keys: Vec::new(),
            confirm_until: None,
            unknown_listener: None,
            not_seen_live: None,
            messages,
        }
    }

    pub(super) fn new(
        schema: &'static str,
        procedure: &'a str,
        review: &'a Review,
        messages: &'a [Message],
        done: &'a Done,
    ) -> Self {
        let reloads =
            done.reloads.iter().map(|(service, how)| ReloadObject { service: service.clone(), how: how.clone() });
        Self {
            schema,
            procedure,
            run: Some(done.run),
            review: Some(review),
            certificates: done.given.certificates.iter().map(CertificateObject::from).collect(),
            known_hosts: known_hosts::of(&done.given.certificates),
            reloads: reloads.collect(),
            served: done.served(),
            left_alone: done.left_alone.iter().map(LeftObject::from).collect(),
            refused: done.given.refused.iter().map(RefusedObject::from).collect(),
            not_proved: done.not_proved().to_vec(),
            proved_by: done.proved_by().map(Way::as_str),
            needed_ssh: done.needed_ssh(),
            put_off: done.given.put_off.iter().map(|change| change.new.clone()).collect(),
            unrecorded: done.given.unrecorded.as_deref(),
            former_keys: done.former.iter().map(|former| former.key.fingerprint.clone()).collect(),
            confirm_until: done.confirm.as_ref().map(|confirm| confirm.until),
            unknown_listener: done.unknown_listener(),
            not_seen_live: done.not_seen_live(),
            messages,
        }
    }
}

/// An object, to be printed later or as a part of another one.
pub(super) fn value(object: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(object).map_err(|error| Error::failed("cannot write JSON").cause(error))
}

/// Until when a certificate holds, and how long that is from now.
pub(super) fn until(certificate: &Certificate) -> String {
    time(certificate.valid_before()).map_or_else(|| "without end".to_owned(), |end| moment::left(end, Timestamp::now()))
}

/// A time as certificates have it; none: no bound.
pub(super) fn time(seconds: u64) -> Option<Timestamp> {
    i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok())
}
