//! `warded policy test`: runs a component on the machines that its author described. Needs neither root nor a CA; this
//! machine's sshd judges the results, if there is one.

use crate::{
    assessment::{self, Suggestion, Usages},
    cli::output::{Output, Style},
    components,
    context::Options,
    sandbox::granting::BoundPolicy,
    trial::{self, Outcome, Scenario, Trial, Verdict},
};
use clap::Args;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};
use toml_edit::DocumentMut;
use warded_artifact::read;
use warded_lib::{
    audit::Record,
    change_set::review,
    error::{Error, Exit, Result},
    machine::{files, named_file, sshd::Sshd},
    text::{count, neutral, neutral_path},
};

/// The position of a table that comes after all others in a file.
const LAST: isize = 1000;

#[derive(Debug, Args)]
pub(in crate::cli) struct Test {
    /// A policy's folder: its component, and scenarios/*.toml
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// The component, if it is not in that folder
    #[arg(long, value_name = "FILE.wasm")]
    component: Option<PathBuf>,
    /// Grant only what this policy file says, not all that the component requests
    #[arg(long, value_name = "FILE.toml", conflicts_with = "bless")]
    grants: Option<PathBuf>,
    /// Run only this scenario: its file's name without .toml
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Write each scenario's result into its file, as the expected result
    #[arg(long)]
    bless: bool,
    /// Print the smallest policy file that covers what the scenarios used, and what else is needed
    #[arg(long, conflicts_with_all = ["bless", "scenario"])]
    suggest: bool,
}

/// The result of a scenario.
struct Tried {
    /// The result for `--json`.
    result: Value,
    passed: bool,
    not_judged: bool,
    /// What the component asked the host for.
    records: Vec<Record>,
}

impl Test {
    pub(super) fn run(&self, options: &Options, output: Output) -> Result<Exit> {
        Sshd::named(options.sshd.as_deref())?;
        let (granting, text) = self.granting()?;
        let (mut results, mut records, mut failed, mut not_judged) = (Vec::new(), Vec::new(), 0, 0);
        for path in self.scenarios()? {
            let tried = self.one(&granting, &path, options, output)?;
            results.push(tried.result);
            records.extend(tried.records);
            failed += usize::from(!tried.passed);
            not_judged += usize::from(tried.not_judged);
        }
        let all = count(results.len(), "scenario");
        // It is not known what a failing scenario would have needed.
        let suggestion = if self.suggest && failed == 0 { Some(suggestion(&granting, &text, &records)?) } else { None };
        let unjudged = if not_judged > 0 { format!("; {not_judged} not judged by sshd") } else { String::new() };
        match &suggestion {
            Some(suggestion) => output.line(suggestion.told(&title(&granting), &format!("by {all}")))?,
            None if failed == 0 => output.line(format!("{all}, all as expected{unjudged}."))?,
            None => output.line(format!("{all}, {failed} not as expected{unjudged}."))?,
        }
        output.object(&json!({
            "schema": "warded.policy-test/1", "policy": granting.policy.name.as_str(),
            "component": granting.digest.to_string(), "scenarios": results, "suggestion": suggestion,
            "not_judged": not_judged,
        }))?;
        Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
    }

    /// The policy, and its text.
    fn granting(&self) -> Result<(BoundPolicy, String)> {
        let file = match &self.component {
            Some(file) => file.clone(),
            None => only_component(&self.directory)?,
        };
        let (component, request) = read::component(&file)?;
        let (chosen, origin) = match &self.grants {
            Some(grants) => (text_of(grants)?, grants),
            None => (request, &file),
        };
        let text = components::accepted::for_component(&chosen, &component);
        Ok((components::bind_file(&text, origin, component)?, text))
    }

    fn scenarios(&self) -> Result<Vec<PathBuf>> {
        let directory = self.directory.join("scenarios");
        let cannot =
            |error: std::io::Error| Error::failed(format!("cannot read {}", neutral_path(&directory))).cause(error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&directory).map_err(cannot)? {
            let path = entry.map_err(cannot)?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let is_wanted = self.scenario.as_ref().is_none_or(|wanted| wanted == name);
            if path.extension().is_some_and(|ending| ending == "toml") && is_wanted {
                found.push(path);
            }
        }
        found.sort();
        if found.is_empty() {
            let which = self
                .scenario
                .as_ref()
                .map_or_else(|| "no scenario".to_owned(), |name| format!("no scenario {}", neutral(name)));
            return Err(Error::usage(format!("there is {which} in {}", neutral_path(&directory)))
                .next("docs/TESTING-A-POLICY.md shows one"));
        }
        Ok(found)
    }

    fn one(&self, granting: &BoundPolicy, path: &Path, options: &Options, output: Output) -> Result<Tried> {
        let name = path.file_stem().map(|stem| neutral(&stem.to_string_lossy())).unwrap_or_default();
        let text = text_of(path)?;
        let scenario = Scenario::parse(&text, &neutral_path(path))?;
        let trial = trial::run(granting, &scenario, options.sshd.as_deref(), options.on_hang)?;
        let Trial { outcome, broken, verdict, records } = trial;
        let (judged, cause, wrong) = match verdict {
            None => (false, None, Vec::new()),
            Some(Verdict::Judged(wrong)) => (true, None, wrong),
            Some(Verdict::NotJudged(cause)) => (false, Some(neutral(&cause)), Vec::new()),
        };
        let broken = [broken, wrong].concat();
        let differs = if self.bless { Vec::new() } else { difference(&scenario.expect, &outcome)? };
        if self.bless && outcome != scenario.expect {
            bless(path, &text, &outcome)?;
        }
        let passed = differs.is_empty() && broken.is_empty();
        let mark = if passed { output.paint(Style::Dim, "ok    ") } else { output.paint(Style::Yellow, "FAILED") };
        // The output of `--suggest` is to be a policy file and nothing else.
        if !(passed && self.suggest) {
            output.line(format!("{mark} {name}: {}", neutral(&scenario.summary)))?;
        }
        if !differs.is_empty() {
            output.line(format!("       {}: expected -, got +", neutral_path(path)))?;
        }
        for line in &differs {
            output.line(format!("       {}", neutral(line)))?;
        }
        for what in &broken {
            output.line(format!("       {}", neutral(what)))?;
        }
        if let Some(cause) = &cause
            && !(passed && self.suggest)
        {
            output.line(format!("       not judged by sshd: {cause}"))?;
        }
        let result = json!({
            "scenario": name, "passed": passed, "got": outcome, "difference": differs, "broken": broken,
            "judged": judged, "not_judged": cause,
        });
        Ok(Tried { result, passed, not_judged: cause.is_some(), records })
    }
}

fn title(granting: &BoundPolicy) -> String {
    format!("{} {}", granting.policy.name, neutral(&granting.policy.version))
}

fn suggestion(granting: &BoundPolicy, text: &str, records: &[Record]) -> Result<Suggestion> {
    let BoundPolicy { policy, component, .. } = granting;
    let usages = Usages::read(policy.name.as_str(), records);
    assessment::assess(component, Some(policy), Some(policy), &usages)?.suggestion(text)
}

fn text_of(path: &Path) -> Result<String> {
    String::from_utf8(read::any(path, files::MAX_BYTES)?)
        .map_err(|error| Error::usage(format!("{} is not text", neutral_path(path))).cause(error))
}

/// The only component in a folder.
fn only_component(directory: &Path) -> Result<PathBuf> {
    let cannot = |error: std::io::Error| Error::failed(format!("cannot read {}", neutral_path(directory))).cause(error);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        if path.extension().is_some_and(|ending| ending == "wasm") {
            found.push(path);
        }
    }
    match <[PathBuf; 1]>::try_from(found) {
        Ok([path]) => Ok(path),
        Err(found) => Err(Error::usage(format!(
            "one component is expected in {}, and there are {}",
            neutral_path(directory),
            found.len()
        ))
        .next("build it, or name it with --component FILE.wasm")),
    }
}

fn difference(expected: &Outcome, got: &Outcome) -> Result<Vec<String>> {
    if expected == got {
        return Ok(Vec::new());
    }
    Ok(review::lines(written(expected)?.as_bytes(), written(got)?.as_bytes()))
}

fn written(outcome: &Outcome) -> Result<String> {
    toml::to_string_pretty(outcome).map_err(|error| Error::failed("cannot write an outcome as TOML").cause(error))
}

/// Writes an outcome into a scenario's file; the rest of the file does not change.
fn bless(path: &Path, text: &str, outcome: &Outcome) -> Result<()> {
    let cannot = |why: &dyn std::fmt::Display| Error::failed(format!("cannot write {}", neutral_path(path))).cause(why);
    let parsed = |text: &str| text.parse::<DocumentMut>().map_err(|error| cannot(&error.message()));
    let (mut scenario, outcome) = (parsed(text)?, parsed(&written(outcome)?)?);
    // The outcome comes after everything else in the file.
    let mut expect = outcome.as_table().clone();
    expect.set_position(Some(LAST));
    for (_, item) in expect.iter_mut() {
        if let Some(table) = item.as_table_mut() {
            table.set_position(Some(LAST + 1));
        }
    }
    scenario.insert("expect", toml_edit::Item::Table(expect));
    named_file::replace(path, scenario.to_string().as_bytes(), 0o644)
}
