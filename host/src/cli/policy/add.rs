//! `warded policy add` and `warded policy update`.

use super::{
    attempt::Attempt,
    locked,
    source::{LocatedComponent, Reach, Source},
    terms::{Judgement, Terms},
};
use crate::{
    cli::{
        completions,
        output::{Output, confirm},
        policy::offer::Offer,
    },
    components,
    context::Context,
    publishing::{offered, pinned},
};
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    str::FromStr,
};
use warded_artifact::read;
use warded_lib::{
    digest::Digest,
    error::{Error, Exit, Result},
    machine::files,
    name::Name,
    text::neutral_path,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Add {
    /// The component: a file, with its signature in FILE.wasm.manifest and FILE.wasm.manifest.sig; an artifact in a
    /// registry, oci://HOST[:PORT]/NAME:TAG or …@sha256:HEX; or - for standard input
    #[arg(value_name = "FILE.wasm|oci://…|-", required_unless_present = "lock")]
    component: Option<Source>,
    /// Add all policies of this lock file, each with the digest that is given there
    #[arg(long, value_name = "FILE", conflicts_with_all = ["component", "grants", "digest"])]
    lock: Option<PathBuf>,
    /// The directory of the lock file's components, instead of /usr/share/warded/policies
    #[arg(long, value_name = "DIR", requires = "lock")]
    from: Option<PathBuf>,
    /// Grant only what this policy file says, not all that the component requests
    #[arg(long, value_name = "FILE.toml")]
    grants: Option<PathBuf>,
    /// Show what would be added, and add nothing
    #[arg(long, conflicts_with = "yes")]
    pub(super) plan: bool,
    /// Do not ask for confirmation; needs --digest or --lock
    #[arg(long, short)]
    yes: bool,
    /// Accept only the component with this digest
    #[arg(long, value_name = "sha256:HEX")]
    digest: Option<Digest>,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Update {
    /// The policy, if a package offers a higher version (a policy from a registry is only compared with what its
    /// reference names now); or the component: a file, with its signature in FILE.wasm.manifest and
    /// FILE.wasm.manifest.sig, or an artifact in a registry, oci://HOST[:PORT]/NAME@sha256:HEX or a tag that was not
    /// used before
    #[arg(value_name = "NAME|FILE.wasm|oci://…", add = ArgValueCandidates::new(completions::policies))]
    component: UpdateSource,
    /// Show what would be updated, and update nothing
    #[arg(long)]
    pub(super) plan: bool,
    /// Who may publish policies, instead of /etc/warded/allowed_signers
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

impl Add {
    /// The argument on the command line.
    pub(super) fn from(&self) -> String {
        let lock = self.lock.as_deref().map(neutral_path);
        lock.or_else(|| self.component.as_ref().map(Source::to_string)).unwrap_or_default()
    }

    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let from = self.from();
        let attempt = Attempt { capability: "policy.add", from: &from, is_plan: self.plan };
        if let Some(lock) = &self.lock {
            let from = self.from.as_ref().unwrap_or(&context.offered);
            let judged = locked::judge(context, attempt, (lock, from), (&self.terms, &self.reach), output)?;
            return if self.plan {
                locked::plan(context, &judged, output)
            } else {
                locked::accept(context, attempt, &judged, self.yes, output)
            };
        }
        if self.yes && self.digest.is_none() {
            return Err(
                Error::usage("--yes needs --digest").next("look at the policy first: warded policy add, without --yes")
            );
        }
        let Some(source) = &self.component else { return Err(Error::usage("no component is named")) };
        let grants = self.grants.as_deref().map(text).transpose()?;
        let grants = grants.as_deref().zip(self.grants.as_deref());
        let found = source.find(&self.reach, output)?;
        let policy = found.policy();
        attempt.of(context, policy.as_ref(), |context| {
            let judged = self.terms.judge(context, attempt, found, (self.digest.as_ref(), grants), output)?;
            if self.plan {
                return plan(context, &judged, output);
            }
            if !judged.is_there() && !self.yes && !confirm("Add this policy?")? {
                return Err(output.declined());
            }
            let changed = judged.accept(context, output)?;
            done(&judged, changed, output)
        })
    }
}

fn text(path: &Path) -> Result<String> {
    String::from_utf8(read::any(path, files::MAX_BYTES)?)
        .map_err(|error| Error::usage(format!("{} is not text", neutral_path(path))).cause(error))
}

/// Where a newer version comes from.
#[derive(Clone, Debug)]
enum UpdateSource {
    /// Wherever the policy's present component came from.
    Of(Name),
    At(Source),
}

impl FromStr for UpdateSource {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        text.parse().map(Self::Of).or_else(|_| text.parse().map(Self::At))
    }
}

impl UpdateSource {
    fn source(&self, context: &Context) -> Result<Source> {
        let name = match self {
            Self::At(source) => return Ok(source.clone()),
            Self::Of(name) => name,
        };
        if components::is_bundled(name) {
            return Err(Error::refused(format!("policy {name} is part of this program"))
                .unchanged()
                .next("a newer Warded brings a newer one"));
        }
        let there = components::find(&context.policies, name)?;
        let Some(entry) = pinned::entry(&there)? else {
            return Err(Error::refused(format!("policy {name} was not added by `warded policy`"))
                .unchanged()
                .next("name the component: warded policy update FILE.wasm"));
        };
        // A version that is on this machine already needs no network.
        if let Some(newer) = offered::newer(&context.offered, &there) {
            return Ok(Source::File(newer.path));
        }
        if entry.artifact.is_some() {
            return entry.source.parse().map(Source::Registry).map_err(Error::refused);
        }
        let file = context.offered.join(&entry.source);
        let unreadable =
            |why: &dyn std::fmt::Display| Error::failed(format!("cannot read {}", neutral_path(&file))).cause(why);
        if files::read_ours(&file, read::MAX_COMPONENT_BYTES, unreadable)?.is_some() {
            return Ok(Source::File(file));
        }
        Err(Error::refused(format!("nothing is offered of policy {name} on this machine"))
            .cause(format!("there is no {}", neutral_path(&file)))
            .unchanged()
            .next("name the component: warded policy update FILE.wasm"))
    }
}

impl Update {
    /// The argument on the command line.
    pub(super) fn from(&self) -> String {
        match &self.component {
            UpdateSource::Of(name) => name.to_string(),
            UpdateSource::At(source) => source.to_string(),
        }
    }

    /// Accepts without a question what needs no decision: a higher version by the same publisher that asks for nothing
    /// more.
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let found = self.component.source(context)?.find(&self.reach, output)?;
        let policy = found.policy();
        let attempt = Attempt { capability: "policy.update", from: &self.from(), is_plan: self.plan };
        attempt.of(context, policy.as_ref(), |context| self.take(context, attempt, found, output))
    }

    fn take(&self, context: &Context, attempt: Attempt<'_>, found: LocatedComponent, output: Output) -> Result<Exit> {
        let offer = Offer::of(context, attempt, found, None, self.allowed_signers.as_deref())?;
        let name = &offer.granting.policy.name;
        let by_hand =
            |error: Error| error.unchanged().next("to decide on it: warded policy add, with the same component");
        if let UpdateSource::Of(asked) = &self.component
            && asked != name
        {
            return Err(by_hand(Error::refused(format!("the component for policy {asked} is one of policy {name}"))));
        }
        let Some(standing) = offer.standing(context)? else {
            return Err(by_hand(Error::refused(format!("there is no policy {name} that could be updated"))));
        };
        if !standing.is_same {
            let mut causes = standing.moved.iter().cloned().collect::<Vec<_>>();
            causes.extend(standing.wider.iter().map(|what| format!("it asks for more: {what}")));
            if offer.publisher.is_none() {
                causes.push("nobody has signed it".to_owned());
            } else if !standing.same_publisher {
                let who = if standing.publisher.is_some() { "another publisher" } else { "nobody" };
                causes.push(format!("{who} signed the one that is there"));
            }
            if !standing.is_newer && !standing.same_component {
                causes.push(format!("version {} is there, and this one is not higher", standing.version));
            }
            if !causes.is_empty() {
                return Err(by_hand(
                    Error::refused(format!("policy {name} is not updated by itself")).cause(causes.join("\n")),
                ));
            }
        }
        let judged = Judgement { offer, before: Some(standing) };
        if self.plan {
            return plan(context, &judged, output);
        }
        let changed = judged.accept(context, output)?;
        done(&judged, changed, output)
    }
}

/// Shows what would be accepted.
fn plan(context: &Context, judged: &Judgement, output: Output) -> Result<Exit> {
    let pending = judged.plan(context, output)?;
    object(judged, [("changed", false), ("pending", pending)], output)?;
    Ok(if pending { Exit::Pending } else { Exit::Done })
}

fn done(judged: &Judgement, changed: bool, output: Output) -> Result<Exit> {
    object(judged, [("changed", changed)], output)?;
    Ok(Exit::Done)
}

fn object<const N: usize>(judged: &Judgement, more: [(&str, bool); N], output: Output) -> Result<()> {
    let mut object = judged.object();
    if let Some(fields) = object.as_object_mut() {
        fields.insert("schema".to_owned(), Value::from("warded.policy-add/1"));
        fields.extend(more.map(|(name, value)| (name.to_owned(), Value::from(value))));
    }
    output.object(&object)
}
