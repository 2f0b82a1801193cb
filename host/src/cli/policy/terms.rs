//! The terms on which a policy is accepted, which `add`, `load` and lock files share.

use super::{
    attempt::Attempt,
    offer::{Offer, Standing},
    source::LocatedComponent,
};
use crate::{cli::output::Output, context::Context, publishing::pinned};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use warded_lib::{
    digest::Digest,
    error::{Error, Result},
    name::Name,
};

/// What an operator may take upon himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Risk {
    /// Nobody vouches for the component
    UnsignedPolicy,
    /// Another publisher than before vouches for it
    OtherPublisher,
}

#[derive(Debug, Args)]
pub(super) struct Terms {
    /// Who may publish policies, instead of /etc/warded/allowed_signers
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,
    /// Accept a risk for which Warded would otherwise refuse
    #[arg(long, value_name = "RISK")]
    accept_risk: Vec<Risk>,
    /// Accept a version that is not higher than the present one
    #[arg(long)]
    allow_downgrade: bool,
}

/// An offer that may be accepted.
pub(super) struct Judgement {
    pub(super) offer: Offer,
    pub(super) before: Option<Standing>,
}

impl Terms {
    /// Verifies a component and shows what it would be granted. Nothing is changed.
    ///
    /// # Errors
    /// Refused: it is not the expected component, or these terms do not cover it.
    pub(super) fn judge(
        &self,
        context: &Context,
        attempt: Attempt<'_>,
        found: LocatedComponent,
        (expected, grants): (Option<&Digest>, Option<(&str, &Path)>),
        output: Output,
    ) -> Result<Judgement> {
        let digest = Digest::of(&found.artifact.component);
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(Error::refused("this component is not the one that was named")
                .cause(format!("named: {expected}\nthere is: {digest}")));
        }
        let offer = Offer::of(context, attempt, found, grants, self.allowed_signers.as_deref())?;
        let before = offer.standing(context)?;
        let judged = Judgement { offer, before };
        if judged.is_there() {
            return Ok(judged);
        }
        judged.offer.show(output)?;
        if let Some(before) = &judged.before {
            self.replaces(before, output)?;
        }
        if judged.offer.publisher.is_none() && !self.accept_risk.contains(&Risk::UnsignedPolicy) {
            return Err(Error::refused("nobody has signed this component").unchanged().next(
                "have its publisher sign it, or accept that nobody vouches for it: --accept-risk=unsigned-policy",
            ));
        }
        Ok(judged)
    }

    fn replaces(&self, standing: &Standing, output: Output) -> Result<()> {
        output.line(format!("It replaces version {}.", standing.version))?;
        for what in standing.moved.iter().chain(&standing.wider) {
            output.line(format!("  + {what}"))?;
        }
        if !standing.is_newer && !standing.same_component && !self.allow_downgrade {
            return Err(Error::refused(format!("version {} is there, and this one is not higher", standing.version))
                .unchanged()
                .next("to replace it all the same: --allow-downgrade"));
        }
        // A signature on a component that was already accepted changes nothing that runs.
        let is_now_signed = standing.same_component && standing.publisher.is_none();
        if !standing.same_publisher && !is_now_signed && !self.accept_risk.contains(&Risk::OtherPublisher) {
            let why = match &standing.publisher {
                Some(_) => "another publisher vouches for this component than for the one that is there",
                None => "nobody vouches for the component that is there, and this one has a publisher",
            };
            return Err(Error::refused(why).unchanged().next("if that is right: --accept-risk=other-publisher"));
        }
        Ok(())
    }
}

/// Says whether an existing policy would be added to policies.lock, and returns that.
pub(super) fn plan_record(context: &Context, name: &Name, output: Output) -> Result<bool> {
    let pending = pinned::would_record(&context.policies, name)?;
    if pending {
        output.line(format!("Would write policy {name} into policies.lock. Nothing has been changed."))?;
    }
    Ok(pending)
}

impl Judgement {
    /// Whether there is nothing to store.
    pub(super) fn is_there(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.is_same)
    }

    /// Says what would be stored. Returns whether anything would be written.
    pub(super) fn plan(&self, context: &Context, output: Output) -> Result<bool> {
        let policy = &self.offer.granting.policy;
        if self.is_there() {
            output.line(format!("{} {} is there already.", policy.name, policy.version))?;
            return plan_record(context, &policy.name, output);
        }
        let place = self.place();
        output.line(format!("Would add {} {}{place}. Nothing has been changed.", policy.name, policy.version))?;
        Ok(true)
    }

    /// Which version it would replace, in words.
    fn place(&self) -> String {
        self.before.as_ref().map_or_else(String::new, |before| format!(" in place of {}", before.version))
    }

    /// Stores it, unless it is there already. Returns whether anything was written.
    pub(super) fn accept(&self, context: &Context, output: Output) -> Result<bool> {
        let policy = &self.offer.granting.policy;
        if self.is_there() {
            output.line(format!("{} {} is there already.", policy.name, policy.version))?;
            // An earlier command may have ended before it wrote the lock file.
            return pinned::Change::begin(&context.state, &context.policies)?.record(&policy.name);
        }
        self.offer.accept(context, self.before.as_ref())?;
        let place = self.place();
        output.line(format!(
            "Added {} {}{place}. It changes nothing until a procedure is applied:",
            policy.name, policy.version
        ))?;
        for (name, procedure) in &policy.procedures {
            output.line(format!("  warded plan {name}  {}", procedure.summary))?;
        }
        Ok(true)
    }

    /// The policy's name.
    pub(super) fn name(&self) -> &Name {
        &self.offer.granting.policy.name
    }

    /// The judgement as JSON.
    pub(super) fn object(&self) -> Value {
        let policy = &self.offer.granting.policy;
        let before = self.before.as_ref().filter(|before| !before.is_same);
        let there = self.before.as_ref().filter(|before| before.is_same);
        let publisher = there.map_or(&self.offer.publisher, |there| &there.publisher);
        json!({
            "name": policy.name.as_str(), "version": policy.version,
            "component": self.offer.granting.digest.to_string(),
            "replaces": before.map(|before| before.version.clone()), "publisher": publisher,
        })
    }
}
