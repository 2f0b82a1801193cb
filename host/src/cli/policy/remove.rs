//! `warded policy remove` and `warded policy rollback`.

use crate::{
    cli::{
        completions,
        output::{Output, confirm},
    },
    components::{self, accepted},
    context::Context,
    enrolment::Enrolments,
    publishing::pinned,
    sandbox::{Component, granting::BoundPolicy},
};
use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCandidates;
use serde_json::json;
use warded_lib::{
    audit::{Ending, Event, Kind},
    error::{Error, Exit, Result},
    name::Name,
};

/// What an operator may take upon himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Risk {
    /// This machine's certificates are no longer renewed
    StopRenewal,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Remove {
    /// The policy
    #[arg(add = ArgValueCandidates::new(completions::policies))]
    name: Name,
    /// Show what would be removed, and remove nothing
    #[arg(long, conflicts_with = "yes")]
    plan: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    /// Accept a risk for which Warded would otherwise refuse
    #[arg(long, value_name = "RISK")]
    accept_risk: Vec<Risk>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Rollback {
    /// The policy
    #[arg(add = ArgValueCandidates::new(completions::policies))]
    name: Name,
    /// Show which version would be restored, and restore none
    #[arg(long)]
    plan: bool,
}

/// The present version of a policy, and the previous one with its text.
struct Turn {
    there: BoundPolicy,
    text: String,
    earlier: BoundPolicy,
}

/// Checks that this program can run the component: it may have no compiler, or lack a function that the component
/// imports.
fn load(context: &Context, granting: &BoundPolicy, keeps: bool) -> Result<()> {
    let on_hang = context.on_hang;
    let overdue = move |what| (on_hang.0)(&Error::refused(format!("{what} did not finish in time")));
    let compiled = context.compiled();
    let loaded = if keeps {
        Component::load_in_time(granting, Some(&compiled), overdue)
    } else {
        Component::load_to_look(granting, &compiled, overdue)
    };
    loaded.map(drop).map_err(Error::or_unchanged)
}

/// Says for which renewals of this machine the previous version has not been accepted.
fn uncovered(context: &Context, there: &BoundPolicy, earlier: &BoundPolicy) -> Result<Vec<String>> {
    let name = &earlier.policy.name;
    let enrolments = Enrolments::load(&context.state)?;
    let of_policy = enrolments.iter().filter(|enrolment| enrolment.policy == *name);
    let uncovered =
        of_policy.filter(|one| !one.standing_after(earlier, &one.procedure, Some(there)).is_covered()).map(|one| {
            let (procedure, version) = (&one.procedure, &earlier.policy.version);
            format!("note: {procedure} does not renew this machine's certificates with {name} {version} until it is accepted for that: warded apply certify-host")
        });
    Ok(uncovered.collect())
}

impl Rollback {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        if components::is_bundled(&self.name) {
            return Err(Error::refused(format!("policy {} is part of this program", self.name)));
        }
        if self.plan {
            return self.show(context, output);
        }
        let change = pinned::Change::begin(&context.state, &context.policies)?;
        let Turn { there, text, earlier } = self.turn(context)?;
        load(context, &earlier, true)?;
        let uncovered = uncovered(context, &there, &earlier)?;
        let event = |kind| Event { policy: self.name.to_string(), ..Event::new(0, kind) }.capability("policy.rollback");
        let (before, now) = (there.policy.version, earlier.policy.version);
        context.log.append_synced(&event(Kind::Intent).detail(&before))?;
        if let Err(error) = accepted::roll_back(&context.policies, &self.name, &text) {
            context.log.conclude(&event(Kind::Failed), Ending::Failed, error.message())?;
            return Err(error);
        }
        let event = event(Kind::Result).detail(&format!("{before} to {now}"));
        let told = format!("policy {} is at {now} again, in place of {before}", self.name);
        context.log.conclude(&event, Ending::Kept, &told)?;
        change.record(&self.name)?;
        output.line(format!("Policy {} is at {now} again, in place of {before}.", self.name))?;
        uncovered.iter().for_each(|note| output.note(note));
        output.object(&json!({
            "schema": "warded.policy-rollback/1", "name": self.name.as_str(), "version": now, "replaces": before,
        }))?;
        Ok(Exit::Done)
    }

    /// Which version would replace which. Nothing is changed.
    fn turn(&self, context: &Context) -> Result<Turn> {
        let there = components::find(&context.policies, &self.name)?;
        accepted::refuse_elsewhere(&context.policies, &there)?;
        let (text, earlier) = accepted::version_before(&context.policies, &self.name).map_err(Error::or_unchanged)?;
        Ok(Turn { there, text, earlier })
    }

    fn show(&self, context: &Context, output: Output) -> Result<Exit> {
        let Turn { there, earlier, .. } = self.turn(context)?;
        load(context, &earlier, false)?;
        let uncovered = uncovered(context, &there, &earlier)?;
        let (earlier, now) = (earlier.policy.version, there.policy.version);
        output.line(format!(
            "Policy {} would be at {earlier} again, in place of {now}. Nothing has been changed.",
            self.name
        ))?;
        uncovered.iter().for_each(|note| output.note(note));
        output.object(&json!({
            "schema": "warded.policy-rollback/1", "name": self.name.as_str(), "version": earlier, "replaces": now,
            "pending": true,
        }))?;
        Ok(Exit::Pending)
    }
}

impl Remove {
    /// Refuses to remove a policy that `warded renew` needs.
    fn refuse_enrolled(&self, context: &Context) -> Result<()> {
        let enrolments = Enrolments::load(&context.state)?;
        let enrolled = enrolments.iter().find(|enrolment| enrolment.policy == self.name);
        match enrolled.filter(|_| !self.accept_risk.contains(&Risk::StopRenewal)) {
            None => Ok(()),
            Some(enrolment) => Err(Error::refused(format!("policy {} renews this machine's certificates", self.name))
                .cause(format!("{} is what `warded renew` runs here", enrolment.procedure))
                .unchanged()
                .next("apply another policy first, or let the certificates expire: --accept-risk=stop-renewal")),
        }
    }

    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let name = &self.name;
        if components::is_bundled(name) {
            return Err(Error::refused(format!("policy {name} is part of this program"))
                .next("another policy can stand in for it: instead-of, in docs/POLICIES.md"));
        }
        let granting = components::find(&context.policies, name)?;
        accepted::refuse_elsewhere(&context.policies, &granting)?;
        self.refuse_enrolled(context)?;
        if self.plan {
            let version = &granting.policy.version;
            output.line(format!("Would remove policy {name} {version}. Nothing has been changed."))?;
            let object = json!({ "schema": "warded.policy-remove/1", "name": name.as_str(), "pending": true });
            output.object(&object)?;
            return Ok(Exit::Pending);
        }
        if !self.yes && !confirm(&format!("Remove policy {name} {}?", granting.policy.version))? {
            return Err(output.declined());
        }
        let change = pinned::Change::begin(&context.state, &context.policies)?;
        // While the question was open, another command may have changed it, or enrolled the machine with it.
        let now = components::find(&context.policies, name)?;
        if (now.digest, now.grants) != (granting.digest, granting.grants) {
            return Err(Error::refused(format!("another command has changed policy {name} since this was asked"))
                .unchanged()
                .next("run this again"));
        }
        self.refuse_enrolled(context)?;
        let event = |kind| Event {
            policy: name.to_string(),
            component: Some(granting.digest),
            ..Event::new(0, kind).capability("policy.remove")
        };
        context.log.append_synced(&event(Kind::Intent))?;
        let removed = accepted::remove(&context.policies, name);
        let (kind, ending, how) = match &removed {
            Ok(()) => (Kind::Result, Ending::Kept, "removed"),
            Err(_) => (Kind::Failed, Ending::Failed, "could not be removed"),
        };
        context.log.conclude(&event(kind), ending, &format!("policy {name} {how}"))?;
        removed?;
        change.record(name)?;
        output.line(format!("Removed policy {name}. What it configured stays as it is."))?;
        output.object(&json!({ "schema": "warded.policy-remove/1", "name": name.as_str() }))?;
        Ok(Exit::Done)
    }
}
