//! `warded policy save` and `warded policy load`: all policies of the lock file in one file, for machines without network.

use super::{locked, source::Found, terms::Terms};
use crate::{
    cli::output::Output,
    components::{
        self, accepted,
        read::{self, there},
    },
    context::Context,
    publishing::{
        archive::{self, Archive},
        pinned,
    },
    sandbox::granting::Origin,
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use warded_lib::{
    digest::Digest,
    error::{Error, Exit, Result},
    machine::durable,
    registry::Artifact,
    text::neutral_path,
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
    /// Do not ask; needs --digest
    #[arg(long, short, requires = "digest")]
    yes: bool,
    /// Take this file and no other
    #[arg(long, value_name = "sha256:HEX")]
    digest: Option<Digest>,
    #[command(flatten)]
    terms: Terms,
}

impl Save {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let lock = pinned::load(&pinned::file(&context.policies))?;
        let mut all = Vec::new();
        for (name, entry) in lock.entries() {
            let granting = components::find(&context.policies, name)?;
            if pinned::entry(&granting)?.is_none_or(|there| !there.is_same(entry)) {
                return Err(Error::refused(format!("policies.lock does not name what is here of policy {name}"))
                    .state("nothing was written")
                    .next("warded policy add --lock, with that file, adds what it names"));
            }
            let signed = match &granting.origin {
                Origin::File(file) => accepted::signed(file, &granting.digest)?,
                Origin::Bundled => None,
            };
            if signed.is_none() && entry.publisher.is_some() {
                return Err(Error::refused(format!("the signature of policy {name} is not on this machine"))
                    .state("nothing was written")
                    .next("take the policy out and add it again: warded policy remove, warded policy add"));
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
            return Err(Error::refused(format!("{} is there, and holds something else", neutral_path(&self.file)))
                .state("nothing was written")
                .next("name another file, or remove this one"));
        }
        if changed {
            durable::replace(&self.file, &bytes, 0o644)
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

impl Load {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let bytes = read::any(&self.file, archive::MAX_BYTES)?;
        let digest = Digest::of(&bytes);
        if let Some(expected) = self.digest.filter(|expected| *expected != digest) {
            return Err(Error::refused("this is another file than the one that was named")
                .cause(format!("named: {expected}\nthere is: {digest}"))
                .state("nothing was changed"));
        }
        let policies = Archive::parse(&bytes)?;
        let judge = |(name, entry, artifact)| {
            let found = Found { artifact, place: self.file.clone(), source: None, pinned: None };
            locked::judge_entry(context, (&name, &entry), |_| Ok(found), &self.terms, output)
        };
        let judged = policies.into_iter().map(judge).collect::<Result<Vec<_>>>()?;
        locked::accept(context, &judged, self.yes, output)
    }
}
