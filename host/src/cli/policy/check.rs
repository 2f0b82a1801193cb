//! `warded policy check`: whether a component can be published. Needs neither a CA nor root.

use crate::{
    assessment::{self, Severity, Usages},
    cli::output::Output,
    context::HangHandler,
    sandbox::{
        Component,
        granting::{BoundPolicy, Origin},
    },
};
use clap::Args;
use serde_json::json;
use std::{borrow::Cow, path::PathBuf};
use warded_artifact::read;
use warded_lib::{
    digest::Digest,
    error::{Error, Exit, Result},
    policy::file::Policy,
    text::{count, neutral, neutral_path},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    component: PathBuf,
    /// A request, to compare with the one in the component
    #[arg(value_name = "REQUEST.toml")]
    request: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(&self, on_hang: HangHandler, output: Output) -> Result<Exit> {
        let shown = neutral_path(&self.component);
        let (component, text) = read::component(&self.component)?;
        let request = Policy::parse(&text, &format!("the request in {shown}"))?;
        let mut findings = self.other_request(&text)?;
        compile(&component, &request, on_hang)?;
        let assessed = assessment::assess(&component, Some(&request), None, &Usages::default())?;
        for finding in assessed.findings().iter().filter(|finding| finding.severity != Severity::Unused) {
            findings.push((format!("{}: {}", finding.procedure, finding.what), finding.next));
        }
        let digest = Digest::of(&component);
        output.line(format!(
            "{} {} · {shown} · {} bytes · {digest}",
            request.name,
            request.version,
            component.len()
        ))?;
        for (name, procedure) in &assessed.procedures {
            output.line(format!("  {name:16} {}", count(procedure.grants.len(), "grant")))?;
        }
        if !assessed.never_called.is_empty() {
            let names: Vec<String> = assessed.never_called.iter().map(|name| neutral(name)).collect();
            output.line(format!("exported, and never called by the host: {}", names.join(", ")))?;
        }
        let notes = assessed.notes();
        for note in &notes {
            output.line(format!("note: {}", neutral(note)))?;
        }
        for (what, next) in &findings {
            output.line(format!("finding: {}\n         next: {next}", neutral(what)))?;
        }
        let what: Vec<_> = findings.iter().map(|(what, next)| json!({ "what": what, "next": next })).collect();
        output.object(&json!({
            "schema": "warded.policy-check/1", "name": request.name.as_str(), "version": request.version,
            "component": digest.to_string(), "bytes": component.len(),
            "never_called": assessed.never_called, "findings": what, "notes": notes,
        }))?;
        if findings.is_empty() {
            output.line("It asks for what it can call, and for nothing else.")?;
            return Ok(Exit::Done);
        }
        Ok(Exit::Refused)
    }

    /// A request in a file beside the component must be the same as the one in it.
    fn other_request(&self, carried: &str) -> Result<Vec<(String, &'static str)>> {
        let Some(path) = &self.request else { return Ok(Vec::new()) };
        let bytes = read::any(path, warded_lib::machine::files::MAX_BYTES)?;
        let text = String::from_utf8(bytes)
            .map_err(|error| Error::usage(format!("cannot read {}", neutral_path(path))).cause(error))?;
        Policy::parse(&text, &neutral_path(path))?;
        if text == carried {
            return Ok(Vec::new());
        }
        let what = format!("{} is not the request that the component carries", neutral_path(path));
        Ok(vec![(what, "build the component again from this request")])
    }
}

/// Compiles it within the limits of a run, and compares its exports with its request.
fn compile(component: &[u8], request: &Policy, on_hang: HangHandler) -> Result<()> {
    let granting = BoundPolicy {
        policy: request.clone(),
        digest: Digest::of(component),
        grants: Digest::of(&[]),
        origin: Origin::Bundled,
        component: Cow::Owned(component.to_owned()),
        precompiled: None,
    };
    let overdue = move |what| {
        (on_hang.0)(&Error::refused(format!("{what} did not finish in time")).state("nothing of the component was run"))
    };
    Component::load_in_time(&granting, None, overdue).map(drop)
}
