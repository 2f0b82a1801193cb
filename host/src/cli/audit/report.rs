//! `warded audit POLICY`: what each procedure can call, asks for, may do and did.

use super::html;
use crate::{
    assessment::{self, Assessment, Basis, Finding, Procedure, Severity, Suggestion, Usages},
    cli::output::{Output, Style},
    components,
    context::{self, Context, Options},
    sandbox::granting::BoundPolicy,
};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};
use warded_artifact::{
    imports,
    reach::Reach,
    read::{self, MAX_COMPONENT_BYTES},
};
use warded_lib::{
    audit::{self, Record},
    config,
    digest::Digest,
    error::{Error, Exit, Result},
    machine::facts::Facts,
    moment,
    policy::{file::Policy, lines::Key},
    text::{count, neutral},
};

#[derive(Debug, Args)]
pub(super) struct Report {
    /// A policy's name, or a component: a name with a `/`, or one that ends in `.wasm`
    #[arg(value_name = "POLICY|FILE.wasm")]
    what: Option<String>,
    /// Report only on this procedure
    #[arg(long, value_name = "NAME")]
    procedure: Option<String>,
    /// Exit with code 4 if there are such findings
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    fail_on: Vec<Severity>,
    /// Also write the report as one HTML file, for a browser or a printer
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the smallest policy file that covers what was used here, and what else is needed
    #[arg(long, conflicts_with = "procedure")]
    suggest: bool,
    /// Overwrite the file of --html even if it is not such a report
    #[arg(long, requires = "html")]
    overwrite: bool,
}

/// What the report assesses.
pub(super) struct Subject {
    pub(super) title: String,
    pub(super) component: Vec<u8>,
    policy: Option<Policy>,
    /// The policy's text.
    text: Option<String>,
    pub(super) origin: String,
    log: LogReading,
}

/// What is known from the audit log.
enum LogReading {
    /// A component's file is not a policy yet, so it is not in the log.
    NotApplicable,
    /// This user may not read the log.
    Private,
    Read {
        usages: Usages,
        of_policy: VecDeque<Vec<Record>>,
        broken: Option<String>,
    },
}

impl Report {
    pub(super) fn run(&self, context: Result<Context>, options: &Options, output: Output) -> Result<Exit> {
        let what = self.what.as_deref().ok_or_else(|| {
            Error::usage("no policy and no component is named").next(
                "name a policy (`warded policy list` shows them) or a component's file; or see `warded audit --help`",
            )
        })?;
        let subject = if what.contains('/') || what.ends_with(".wasm") {
            Subject::file(Path::new(what))?
        } else {
            Subject::policy(what, self.html.is_some(), context, options)?
        };
        let request = imports::request(&subject.component)?;
        let request = request.map(|text| Policy::parse(&text, "the component's request")).transpose()?;
        let none = Usages::default();
        let usages = if let LogReading::Read { usages, .. } = &subject.log { usages } else { &none };
        let mut assessed = assessment::assess(&subject.component, request.as_ref(), subject.policy.as_ref(), usages)?;
        if let Some(only) = &self.procedure {
            assessed.procedures.retain(|name, _| name == only);
            if assessed.procedures.is_empty() {
                return Err(Error::usage(format!("{} has no procedure {}", subject.title, neutral(only))));
            }
        }
        let findings = assessed.findings();
        let suggestion = if self.suggest { Some(subject.suggestion(&assessed)?) } else { None };
        match &suggestion {
            Some(suggestion) => {
                let used = format!("on this machine. Audit log: {}", subject.log_in_words());
                output.line(suggestion.told(&subject.title, &used))?;
            }
            None => print(&subject, &assessed, &findings, output)?,
        }
        // The page is written before the object is printed: if it fails, the error is the only object on stdout.
        if let Some(path) = &self.html {
            let machine = Facts::read(Path::new("/")).hostname;
            html::write(path, &html::page(&subject, &machine, &assessed, &findings, subject.runs()), self.overwrite)?;
        }
        output.object(&object(&subject, &assessed, &findings, usages, suggestion.as_ref()))?;
        let failed = findings.iter().any(|finding| self.fail_on.contains(&finding.severity));
        Ok(if failed { Exit::Degraded } else { Exit::Done })
    }
}

impl Subject {
    fn file(path: &Path) -> Result<Self> {
        let component = read::any(path, MAX_COMPONENT_BYTES)?;
        let title = neutral(&path.display().to_string());
        Ok(Self {
            origin: "a file, no policy".to_owned(),
            title,
            component,
            policy: None,
            text: None,
            log: LogReading::NotApplicable,
        })
    }

    fn policy(name: &str, with_runs: bool, context: Result<Context>, options: &Options) -> Result<Self> {
        let (policies, log) = match context {
            Ok(context) => (context.policies()?, LogReading::of(name, with_runs, context.log.directory())?),
            // To look only, this user needs no state directory.
            Err(_) if !config::is_root() => (context::policies_only(options)?.0, LogReading::Private),
            Err(error) => return Err(error),
        };
        let granting =
            policies.into_iter().find(|granting| granting.policy.name.as_str() == name).ok_or_else(|| {
                Error::usage(format!("there is no policy {}", neutral(name)))
                    .next("`warded policy list` shows those there are")
            })?;
        let text = Some(components::text(&granting)?);
        let BoundPolicy { policy, component, origin, .. } = granting;
        Ok(Self {
            text,
            title: format!("{} {}", policy.name, policy.version),
            component: component.into_owned(),
            policy: Some(policy),
            origin: origin.to_string(),
            log,
        })
    }
}

impl Subject {
    /// The state of the log.
    pub(super) fn log_in_words(&self) -> String {
        match &self.log {
            LogReading::NotApplicable => "none: a file is nobody's policy yet".to_owned(),
            LogReading::Private => "this account may not read it".to_owned(),
            LogReading::Read { usages, broken, .. } => {
                let since = usages
                    .since
                    .map_or_else(String::new, |since| format!(", the first {}", moment::when(since, Timestamp::now())));
                let chain =
                    broken.as_ref().map_or_else(|| "chain intact".to_owned(), |why| format!("NOT INTACT: {why}"));
                format!("{}{since}, {chain}", count(usages.records, "record"))
            }
        }
    }

    /// Whether it is known which calls were made.
    pub(super) fn log_is_read(&self) -> bool {
        matches!(self.log, LogReading::Read { .. })
    }

    /// Whether records were changed, removed or reordered.
    pub(super) fn chain_is_broken(&self) -> bool {
        matches!(self.log, LogReading::Read { broken: Some(_), .. })
    }

    fn suggestion(&self, assessed: &Assessment) -> Result<Suggestion> {
        let without = |why: &str, next: &str| Err(Error::refused(why).next(next));
        match (&self.log, &self.text) {
            (LogReading::Read { .. }, Some(text)) => assessed.suggestion(text),
            (LogReading::Private, Some(_)) => {
                without("without the audit log it is not known what was used", "run this as root: the log is root's")
            }
            (_, None) | (LogReading::NotApplicable, _) => without(
                "a component's file has no audit log, so it is not known what it uses",
                "name a policy that ran here: `warded policy list` shows them",
            ),
        }
    }

    /// The records of the policy's newest runs, the newest one first.
    fn runs(&self) -> impl Iterator<Item = &[Record]> {
        let runs = match &self.log {
            LogReading::Read { of_policy, .. } => Some(of_policy),
            LogReading::NotApplicable | LogReading::Private => None,
        };
        runs.into_iter().flat_map(|runs| runs.iter().rev()).map(Vec::as_slice)
    }
}

impl LogReading {
    /// Reads the log, with the records of the newest runs if a page shows them.
    fn of(policy: &str, with_runs: bool, directory: &Path) -> Result<Self> {
        let broken = audit::verify_all(directory)?.err().map(|broken| broken.to_string());
        let mut newest = html::NewestRuns::default();
        let records = audit::read(directory)?.flatten().inspect(|record| {
            if with_runs && record.event.policy == policy {
                newest.add(record);
            }
        });
        let usages = Usages::read(policy, records);
        Ok(Self::Read { usages, of_policy: newest.runs, broken })
    }
}

fn print(subject: &Subject, assessed: &Assessment, findings: &[Finding], output: Output) -> Result<()> {
    let digest = Digest::of(&subject.component);
    output.line(format!(
        "{}  {}",
        subject.title,
        output.paint(Style::Dim, &format!("{} · {digest}", subject.origin))
    ))?;
    match &subject.log {
        LogReading::NotApplicable => {}
        LogReading::Private => output.line("The audit log is root's: `sudo warded audit` shows what was done, too.")?,
        LogReading::Read { .. } => output.line(format!("audit log: {}", subject.log_in_words()))?,
    }
    for (name, procedure) in &assessed.procedures {
        output.line("")?;
        output.line(headline(name, procedure, assessed))?;
        table(procedure, output)?;
    }
    if !assessed.never_called.is_empty() {
        let names: Vec<String> = assessed.never_called.iter().map(|name| neutral(name)).collect();
        output.line("")?;
        output.line(format!("exported, and never called by the host: {}", names.join(", ")))?;
    }
    output.line("")?;
    for finding in findings {
        let style = if finding.severity == Severity::Unused { Style::Dim } else { Style::Yellow };
        let severity = output.paint(style, &format!("{:8}", finding.severity.to_string()));
        output.line(format!("{severity}{}: {}", finding.procedure, neutral(&finding.what)))?;
        output.line(format!("        next: {}", finding.next))?;
    }
    if findings.iter().all(|finding| finding.severity == Severity::Unused) {
        let granted = if assessed.basis == Basis::Policy { "granted" } else { "requested" };
        output.line(format!(
            "Nothing is {granted} that no procedure can call, and nothing can be called that is not {granted}."
        ))?;
    }
    Ok(())
}

fn headline(name: &str, procedure: &Procedure, assessed: &Assessment) -> String {
    let all = assessed.imported.len();
    let reach = match &procedure.reach {
        Reach::Functions(functions) => {
            format!("can call {} of the {all} functions that the component imports", functions.len())
        }
        Reach::Everything { because } => {
            format!("counts as calling all {all} functions that the component imports: {because}")
        }
    };
    format!("{name}: {reach}")
}

fn table(procedure: &Procedure, output: Output) -> Result<()> {
    let mark = |holds: bool| if holds { "●" } else { "·" };
    // If no policy grants anything to the component, these columns are empty.
    let of_policy = procedure.basis == Basis::Policy;
    output.line(if of_policy {
        "  reachable requested granted    calls  grant"
    } else {
        "  reachable requested  grant"
    })?;
    for grant in &procedure.grants {
        let exercise = procedure.usage.grants.get(&grant.line.to_string());
        let marks = format!("      {}         {}", mark(grant.reachable), mark(grant.requested));
        if !of_policy {
            output.line(format!("{marks}      {}", grant.line))?;
            continue;
        }
        let calls = exercise.map_or_else(|| "-".to_owned(), |exercise| exercise.count.calls.to_string());
        output.line(format!("{marks}        {}     {calls:>6}  {}", mark(grant.granted), grant.line))?;
        for (need, calls) in exercise.iter().flat_map(|exercise| &exercise.needs) {
            let need = neutral(need);
            // A need that says nothing beyond its grant gets no line of its own.
            if !grant.line.to_string().contains(&need) && !matches!(grant.line.key, Key::Inform | Key::Warn) {
                output.line(output.paint(Style::Dim, &format!("{:36}{calls:>4} × {need}", "")))?;
            }
        }
    }
    for function in &procedure.ungranted {
        output.line(format!(
            "      ●         ·      {}no grant for {function}",
            if of_policy { "  ·          -  " } else { "" }
        ))?;
    }
    for note in procedure.notes() {
        output.line(format!("  note: {}", neutral(&note)))?;
    }
    let now = Timestamp::now();
    if let Some(used) = procedure.usage.in_words(|time| moment::when(time, now)) {
        output.line(format!("  {used}"))?;
    }
    Ok(())
}

fn object(
    subject: &Subject,
    assessed: &Assessment,
    findings: &[Finding],
    usages: &Usages,
    suggestion: Option<&Suggestion>,
) -> Value {
    let procedures = assessed.procedures.iter().map(|(name, procedure)| {
        let reach = match &procedure.reach {
            Reach::Functions(functions) => json!({ "functions": functions }),
            Reach::Everything { because } => json!({ "everything": because, "functions": assessed.imported }),
        };
        let grants = procedure.grants.iter().map(|grant| {
            json!({
                "grant": grant.line.to_string(), "key": grant.line.key, "reachable": grant.reachable,
                "requested": grant.requested, "granted": grant.granted, "named": grant.named,
                "exercised": procedure.usage.grants.get(&grant.line.to_string()),
            })
        });
        json!({
            "name": name, "reach": reach, "grants": grants.collect::<Vec<_>>(), "ungranted": procedure.ungranted,
            "not_ruled_out": procedure.not_ruled_out,
            "runs": procedure.usage.runs, "first": procedure.usage.first, "last": procedure.usage.last,
            "denied": procedure.usage.denied,
        })
    });
    let log = match &subject.log {
        LogReading::NotApplicable => json!({ "read": false, "because": "a file is nobody's policy yet" }),
        LogReading::Private => json!({ "read": false, "because": "this account may not read it" }),
        LogReading::Read { broken, .. } => json!({
            "read": true, "records": usages.records, "since": usages.since, "intact": broken.is_none(), "broken": broken,
            "components": usages.components,
        }),
    };
    json!({
        "schema": "warded.audit/1", "subject": subject.title, "origin": subject.origin,
        "component": Digest::of(&subject.component).to_string(), "log": log, "imported": assessed.imported,
        "procedures": procedures.collect::<Vec<_>>(), "never_called": assessed.never_called, "findings": findings,
        "suggestion": suggestion,
    })
}
