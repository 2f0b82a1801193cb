//! `warded policy save` and `warded policy load`: all policies of the lock file in one file, for machines without a
//! network.

use super::{attempt::Attempt, locked, source::LocatedComponent, terms::Terms};
use crate::{
    cli::output::Output,
    components::{self, accepted},
    context::Context,
    publishing::pinned,
    sandbox::granting::Origin,
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use warded_artifact::{
    archive::{self, Archive},
    lock::{Entry, Place},
    read::{self, there},
};
use warded_lib::{
    digest::Digest,
    error::{Error, Exit, Result},
    machine::durable,
    name::Name,
    registry::Artifact,
    text::{neutral_path, shell_word},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Save {
    /// The file to write
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Load {
    /// A file that `warded policy save` wrote
    file: PathBuf,
    /// Show what would be added, and add nothing
    #[arg(long, conflicts_with = "yes")]
    pub(super) plan: bool,
    /// Do not ask for confirmation; needs --digest
    #[arg(long, short, requires = "digest")]
    yes: bool,
    /// Accept only the file with this digest
    #[arg(long, value_name = "sha256:HEX")]
    digest: Option<Digest>,
    #[command(flatten)]
    terms: Terms,
}

impl Save {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let lock = pinned::load(&pinned::file(&context.policies))?;
        let mut all = Vec::new();
        for granting in &components::load(&context.policies)? {
            let name = &granting.policy.name;
            let is_named = lock.entries().any(|(named, _)| named == name);
            if let Some(entry) = pinned::entry(granting)?.filter(|_| !is_named) {
                return Err(Error::refused(format!("policies.lock does not name policy {name}, which was added here"))
                    .state("nothing was written")
                    .next(format!("write it into the lock file: {}", again(context, name, &entry))));
            }
        }
        for (name, entry) in lock.entries() {
            let granting = components::find(&context.policies, name)?;
            let there = pinned::entry(&granting)?;
            if there.as_ref().is_none_or(|there| !there.is_same(entry)) {
                let from = if entry.artifact.is_none() { " --from DIR" } else { "" };
                let file = pinned::file(&context.policies);
                let here = again(context, name, there.as_ref().unwrap_or(entry));
                return Err(Error::refused(format!("policy {name} on this machine is not the one in policies.lock"))
                    .state("nothing was written")
                    .next(format!(
                        "to have the one in the file: warded policy add --lock {}{from}; to write down the one on this machine, add it again: {here}",
                        shell_word(&file.to_string_lossy())
                    )));
            }
            let signed = match &granting.origin {
                Origin::File(file) => accepted::signed(file, &granting.digest)?,
                Origin::Bundled => None,
            };
            if signed.is_none() && entry.publisher.is_some() {
                return Err(Error::refused(format!("the signature of policy {name} is not on this machine"))
                    .state("nothing was written")
                    .next(format!("add the policy again, with its signature: {}", again(context, name, entry))));
            }
            let artifact = Artifact { component: granting.component.into_owned(), signed };
            all.push((name.clone(), entry.clone(), artifact));
        }
        if all.is_empty() {
            return Err(Error::refused("no policy was added to this machine").state("nothing was written"));
        }
        let (names, number) = (all.iter().map(|(name, ..)| name.to_string()).collect::<Vec<_>>(), all.len());
        let bytes = Archive::of(all).to_bytes()?;
        let digest = Digest::of(&bytes);
        let before = there(&self.file, archive::MAX_BYTES)?;
        let changed = before.is_none();
        if before.is_some_and(|before| before != bytes) {
            return Err(Error::refused(format!("{} exists already, with other contents", neutral_path(&self.file)))
                .state("nothing was written")
                .next("name another file, or remove this one"));
        }
        if changed {
            durable::create(&self.file, &bytes, 0o644)
                .map_err(|error| Error::failed(format!("cannot write {}", neutral_path(&self.file))).cause(error))?;
        }
        let what = if changed { "Saved" } else { "There already:" };
        output.line(format!("{what} {} in {} · {digest}", locked::policies(number), neutral_path(&self.file)))?;
        output.object(&json!({
            "schema": "warded.policy-save/1", "file": neutral_path(&self.file), "digest": digest,
            "policies": names, "changed": changed,
        }))?;
        Ok(Exit::Done)
    }
}

/// The command that adds a policy again as it is on this machine.
fn again(context: &Context, name: &Name, entry: &Entry) -> String {
    let source = match entry.place() {
        Ok(Place::Registry(reference)) => reference.to_string(),
        Ok(Place::File(file)) => file,
        Err(_) => entry.source.clone(),
    };
    let file = context.policies.join(format!("{name}.toml"));
    let grants = entry.grants.is_some().then(|| format!(" --grants {}", shell_word(&file.to_string_lossy())));
    format!("warded policy add {}{}", shell_word(&source), grants.unwrap_or_default())
}

impl Load {
    /// The argument on the command line.
    pub(super) fn from(&self) -> String {
        neutral_path(&self.file)
    }

    pub(super) fn run(&self, context: &Context, attempt: Attempt<'_>, output: Output) -> Result<Exit> {
        let bytes = read::any(&self.file, archive::MAX_BYTES)?;
        let digest = Digest::of(&bytes);
        if let Some(expected) = self.digest.filter(|expected| *expected != digest) {
            return Err(Error::refused("this file is not the one that was named")
                .cause(format!("named: {expected}\nthere is: {digest}"))
                .unchanged());
        }
        let policies = Archive::parse(&bytes)?;
        let judge = |(name, entry, artifact)| {
            let found = LocatedComponent { artifact, place: self.file.clone(), source: None, pinned: None };
            let judge = |context: &Context| {
                locked::judge_entry(context, attempt, (&name, &entry), |_| Ok(found), &self.terms, output)
            };
            attempt.of(context, Some(&name), judge)
        };
        let judged = policies.into_iter().map(judge).collect::<Result<Vec<_>>>()?;
        if self.plan {
            locked::plan(context, &judged, output)
        } else {
            locked::accept(context, attempt, &judged, self.yes, output)
        }
    }
}
