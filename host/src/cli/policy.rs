//! `warded policy`: one file per subcommand; `list` and `show` are in this one.

mod add;
mod attempt;
mod build;
mod check;
mod compile;
mod locked;
mod new;
mod offer;
mod registry;
mod remove;
mod replay;
mod save;
mod sign;
mod source;
mod terms;
mod test;
mod words;

use super::{
    completions,
    output::{Output, Style},
};
use crate::{
    components::{
        self,
        accepted::{self, Publisher},
    },
    context::{self, Context, HangHandler, Options},
    publishing::offered::{self, NewerVersion},
    sandbox::{
        Component,
        compiled::CompiledCache,
        granting::{BoundPolicy, Origin},
    },
};
use attempt::Attempt;
use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use serde::Serialize;
use std::{fmt, path::PathBuf};
use warded_lib::{
    config,
    error::{Error, Exit, Result},
    machine::{
        action::{Action, Kind},
        facts::Facts,
    },
    name::Name,
    policy::file::{CertificateGrant, KeyGrant, Policy, Procedure},
};

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// List the policies and their procedures
    List,
    /// Show what each procedure of a policy may do
    Show(Show),
    /// Compile a guest into the component to ship: with its request, and without names, versions and paths
    Build(build::Build),
    /// Check that a component requests what it can call, and nothing else
    Check(check::Check),
    /// Run a component on the machines that its scenarios describe
    Test(test::Test),
    /// Run another build of a component against a recording of `plan` or `apply`, and show what it does differently
    Replay(replay::Replay),
    /// Make a folder for a new policy, with a guest that builds unchanged
    New(new::New),
    /// Write the interfaces that this program offers to guests
    Wit(new::Wit),
    /// Write the machine code of a component, for programs that were built without a compiler
    Compile(compile::Compile),
    /// Sign a component for the people who add it
    Sign(sign::Sign),
    /// Store a signed component in an OCI registry
    Push(registry::Push),
    /// Fetch a component and its signature from an OCI registry into files
    Pull(registry::Pull),
    /// Show who signed a component and what it would be granted, then add it
    Add(add::Add),
    /// Add a higher version by the same publisher that requests nothing more, without asking
    Update(add::Update),
    /// Write all policies that were added, with their signatures, into one file, for a machine without network
    Save(save::Save),
    /// Show the policies in a file that `save` wrote, then add them
    Load(save::Load),
    /// Return to the version of a policy before the last one
    Rollback(remove::Rollback),
    /// Remove a policy
    Remove(remove::Remove),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The policy
    #[arg(add = ArgValueCandidates::new(completions::policies))]
    name: Name,
}

#[derive(Serialize)]
struct PolicyObject<'a> {
    name: &'a str,
    version: &'a str,
    summary: &'a str,
    component: String,
    origin: String,
    applies: bool,
    /// Why the policy does not fit this machine.
    unfit: Option<String>,
    /// Why its component can never run.
    broken: Option<String>,
    instead_of: Vec<&'a str>,
    /// Who signed it.
    publisher: Option<Publisher>,
    /// The policy that stands in for it on this machine.
    replaced_by: Option<&'a str>,
    /// A higher version that a package offers.
    offered: Option<NewerVersion>,
    procedures: Vec<ProcedureObject<'a>>,
}

#[derive(Serialize)]
struct ProcedureObject<'a> {
    name: &'a str,
    summary: &'a str,
    settings: Vec<SettingObject<'a>>,
    grants: Vec<String>,
}

#[derive(Serialize)]
struct SettingObject<'a> {
    name: &'a str,
    help: &'a str,
    many: bool,
    required: bool,
}

/// The setting as it is given on the command line, with its description.
impl fmt::Display for SettingObject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needed = if self.required { ", needed" } else { "" };
        let many = if self.many { ", may be repeated" } else { "" };
        write!(f, "--set {}=…  {}{needed}{many}", self.name, self.help)
    }
}

impl PolicyCommand {
    /// Whether the command loads a component for more than listing it.
    pub(super) fn is_with_memory(&self) -> bool {
        matches!(
            self,
            Self::Check(_)
                | Self::Test(_)
                | Self::Replay(_)
                | Self::Add(_)
                | Self::Update(_)
                | Self::Load(_)
                | Self::Rollback(_)
        )
    }

    /// `open` opens this machine's state. Commands that concern only a file do not call it.
    pub(super) fn run(
        &self,
        open: impl FnOnce() -> Result<Context>,
        options: &Options,
        output: Output,
    ) -> Result<Exit> {
        match self {
            Self::List => list(&PolicyContext::of(open(), options)?, output),
            Self::Show(show) => show.run(&PolicyContext::of(open(), options)?, output),
            Self::Build(build) => build.run(output),
            Self::Check(check) => check.run(options.on_hang, output),
            Self::Test(test) => test.run(options, output),
            Self::Replay(replay) => replay.run(options.on_hang, output),
            Self::New(new) => new.run(output),
            Self::Wit(wit) => wit.run(output),
            Self::Compile(compile) => compile.run(output),
            Self::Sign(sign) => sign.run(output),
            Self::Push(push) => push.run(output),
            Self::Pull(pull) => pull.run(output),
            Self::Add(add) => {
                let attempt = Attempt { capability: "policy.add", from: &add.from(), is_plan: add.plan };
                attempt.of(&open()?, None, |context| add.run(context, output))
            }
            Self::Update(update) => {
                let attempt = Attempt { capability: "policy.update", from: &update.from(), is_plan: update.plan };
                attempt.of(&open()?, None, |context| update.run(context, output))
            }
            Self::Save(save) => save.run(&open()?, output),
            Self::Load(load) => {
                let attempt = Attempt { capability: "policy.load", from: &load.from(), is_plan: load.plan };
                attempt.of(&open()?, None, |context| load.run(context, attempt, output))
            }
            Self::Rollback(rollback) => rollback.run(&open()?, output),
            Self::Remove(remove) => remove.run(&open()?, output),
        }
    }
}

/// What the commands that list policies read.
struct PolicyContext {
    policies: Vec<BoundPolicy>,
    machine: Facts,
    /// The directory in which packages offer components.
    offered: PathBuf,
    /// The cache of compiled components; `None` if this user has none.
    compiled: Option<CompiledCache>,
    on_hang: HangHandler,
}

impl PolicyContext {
    fn of(context: Result<Context>, options: &Options) -> Result<Self> {
        let on_hang = options.on_hang;
        match context {
            Ok(context) => {
                let (policies, compiled) = (context.policies()?, Some(context.compiled()));
                Ok(Self { policies, machine: context.facts, offered: context.offered, compiled, on_hang })
            }
            // To look only, this user needs no state directory.
            Err(_) if !config::is_root() => {
                let (policies, machine, offered) = context::policies_only(options)?;
                Ok(Self { policies, machine, offered, compiled: None, on_hang })
            }
            Err(error) => Err(error),
        }
    }

    /// Why a component can never run.
    fn broken(&self, granting: &BoundPolicy) -> Option<String> {
        let on_hang = self.on_hang;
        let overdue = move |what| (on_hang.0)(&Error::refused(format!("{what} did not finish in time")));
        let error = Component::load_in_time(granting, self.compiled.as_ref(), overdue).err()?;
        Some(error.message().to_owned())
    }
}

fn list(known: &PolicyContext, output: Output) -> Result<Exit> {
    let objects: Vec<PolicyObject<'_>> = known.policies.iter().map(|granting| object(known, granting)).collect();
    for policy in &objects {
        let here = match (&policy.broken, policy.replaced_by) {
            (Some(why), _) => format!("cannot be run: {why}"),
            (None, Some(other)) => format!("{other} stands in for it here"),
            (None, None) => policy.unfit.clone().unwrap_or_else(|| "for this machine".to_owned()),
        };
        let instead = if policy.instead_of.is_empty() {
            String::new()
        } else {
            format!(" · instead of {}", policy.instead_of.join(", "))
        };
        let about = format!("{} · {here}{instead}", policy.origin);
        output.line(format!("{} {}  {}", policy.name, policy.version, output.paint(Style::Dim, &about)))?;
        for procedure in &policy.procedures {
            output.line(format!("  {:16} {}", procedure.name, procedure.summary))?;
        }
        if let Some(newer) = &policy.offered {
            output.line(format!("  note: {newer}"))?;
        }
    }
    output.object(&serde_json::json!({ "schema": "warded.policy-list/1", "policies": objects }))?;
    Ok(Exit::Done)
}

impl Show {
    fn run(&self, known: &PolicyContext, output: Output) -> Result<Exit> {
        let granting = known.policies.iter().find(|granting| granting.policy.name == self.name).ok_or_else(|| {
            Error::usage(format!("there is no policy {}", self.name)).next("`warded policy list` shows those there are")
        })?;
        let policy = object(known, granting);
        output.line(format!("{} {} · {} · {}", policy.name, policy.version, policy.component, policy.origin))?;
        if let Some(why) = &policy.broken {
            output.line(format!("cannot be run: {why}"))?;
        }
        if let Some(publisher) = &policy.publisher {
            output.line(publisher.to_string())?;
        }
        output.line(policy.summary)?;
        for procedure in &policy.procedures {
            output.line("")?;
            output.line(format!("{}: {}", procedure.name, procedure.summary))?;
            for setting in &procedure.settings {
                output.line(format!("  {setting}"))?;
            }
            for grant in &procedure.grants {
                output.line(format!("  may  {grant}"))?;
            }
        }
        output.object(&serde_json::json!({ "schema": "warded.policy-show/1", "policy": policy }))?;
        Ok(Exit::Done)
    }
}

fn object<'a>(known: &'a PolicyContext, granting: &'a BoundPolicy) -> PolicyObject<'a> {
    let policy = &granting.policy;
    let PolicyContext { policies, machine, offered, .. } = known;
    let procedures = policy.procedures.iter().map(|(name, procedure)| ProcedureObject {
        name: name.as_str(),
        summary: &procedure.summary,
        settings: settings(procedure),
        grants: grants(procedure, policy),
    });
    PolicyObject {
        name: policy.name.as_str(),
        version: &policy.version,
        summary: &policy.summary,
        component: granting.digest.to_string(),
        origin: granting.origin.to_string(),
        applies: policy.applies(machine),
        unfit: policy.unfit(machine),
        broken: known.broken(granting),
        instead_of: policy.instead_of.iter().map(Name::as_str).collect(),
        publisher: match &granting.origin {
            Origin::File(file) => accepted::provenance(file, &granting.digest).and_then(|one| one.publisher),
            Origin::Bundled => None,
        },
        replaced_by: components::replacement(policies, &policy.name, machine).map(|other| other.policy.name.as_str()),
        offered: offered::newer(offered, granting),
        procedures: procedures.collect(),
    }
}

fn settings(procedure: &Procedure) -> Vec<SettingObject<'_>> {
    procedure
        .settings
        .iter()
        .map(|(name, declared)| SettingObject {
            name: name.as_str(),
            help: &declared.help,
            many: declared.many,
            required: declared.required,
        })
        .collect()
}

/// Every grant in a few words; those that cannot be undone come first.
fn grants(procedure: &Procedure, policy: &Policy) -> Vec<String> {
    let Policy { services, actions, .. } = policy;
    let granted = actions.iter().filter(|(name, _)| procedure.actions.contains(name));
    let (irreversible, programs): (Vec<_>, Vec<_>) = granted.partition(|(_, action)| action.irreversible);
    let mut all: Vec<String> = irreversible.into_iter().map(program).collect();
    let mut add = |what: &str, list: Vec<String>| {
        if !list.is_empty() {
            all.push(format!("{what}: {}", list.join(", ")));
        }
    };
    add("know facts", procedure.facts.clone());
    add("read files", procedure.files.read.iter().map(ToString::to_string).collect());
    add("write files", procedure.files.write.iter().map(ToString::to_string).collect());
    let keys = procedure.keys.iter().map(|grant| match grant {
        KeyGrant::SshdHostKeys => "whatever host keys sshd uses".to_owned(),
        KeyGrant::At(pattern) => pattern.to_string(),
    });
    add("use keys, never see them", keys.collect());
    let certificates = procedure.certificates.iter().map(|grant| match grant {
        CertificateGrant::BesideKey => "beside those keys".to_owned(),
        CertificateGrant::At(pattern) => pattern.to_string(),
    });
    add("write certificates", certificates.collect());
    add("ask the CA, for names that you confirm", procedure.authority.iter().map(ToString::to_string).collect());
    if procedure.sshd.effective {
        all.push("read sshd's effective configuration".to_owned());
    }
    if procedure.ssh.effective {
        all.push("read ssh's effective configuration".to_owned());
    }
    let keywords: Vec<String> = procedure.sshd.keywords.iter().map(|keyword| keyword.as_str().to_owned()).collect();
    if !keywords.is_empty() {
        all.push(format!("change these keywords of sshd: {}", keywords.join(", ")));
    }
    // A policy can reload or restart any unit under the name that it gives a service.
    for (name, operations) in &procedure.services {
        for (operation, service) in operations.iter().filter_map(|one| Some((one, services.get(name)?))) {
            all.push(format!("have a service {operation}ed: {name} ({service})"));
        }
    }
    all.extend(programs.into_iter().map(program));
    if !procedure.schedule.is_empty() {
        all.push("have `warded renew` run every hour".to_owned());
    }
    if !procedure.log.is_empty() {
        all.push("tell you something".to_owned());
    }
    all
}

fn program((name, action): (&Name, &Action)) -> String {
    let what = match action.kind {
        Kind::Query => "ask by a program, as the user who runs it",
        Kind::Change => "CHANGE SOMETHING BY A PROGRAM, as the user who runs it",
    };
    format!("{what}: {name} {action}")
}
