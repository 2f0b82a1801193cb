//! `warded policy add` and `warded policy update`.

use super::offer::{Offer, Standing};
use crate::{
    cli::output::{Output, confirm},
    context::Context,
};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::PathBuf;
use warded_lib::{
    digest::Digest,
    error::{Error, Exit, Result},
};

/// What an operator may take upon himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Risk {
    /// Nobody vouches for the component
    UnsignedPolicy,
    /// Somebody else than before vouches for it
    OtherPublisher,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Add {
    /// The component; its signature is looked for in FILE.wasm.manifest and FILE.wasm.manifest.sig
    #[arg(value_name = "FILE.wasm")]
    component: PathBuf,
    /// Grant what this policy file says, and not all that the component asks for
    #[arg(long, value_name = "FILE.toml")]
    grants: Option<PathBuf>,
    /// Who may publish policies, instead of /etc/warded/allowed_signers
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,
    /// Do not ask; needs --digest
    #[arg(long, short, requires = "digest")]
    yes: bool,
    /// Take this component and no other
    #[arg(long, value_name = "sha256:HEX")]
    digest: Option<Digest>,
    /// Do it although it is refused for this risk
    #[arg(long, value_name = "RISK")]
    accept_risk: Vec<Risk>,
    /// Take a version that is not higher than the one that is there
    #[arg(long)]
    allow_downgrade: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Update {
    /// The component; its signature is looked for in FILE.wasm.manifest and FILE.wasm.manifest.sig
    #[arg(value_name = "FILE.wasm")]
    component: PathBuf,
    /// Who may publish policies, instead of /etc/warded/allowed_signers
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,
}

impl Add {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let offer = Offer::read(context, &self.component, self.grants.as_deref(), self.allowed_signers.as_deref())?;
        if let Some(expected) = self.digest.filter(|expected| *expected != offer.granting.digest) {
            return Err(Error::refused("this is another component than the one that was named")
                .cause(format!("named: {expected}\nthere is: {}", offer.granting.digest)));
        }
        let standing = offer.standing(context)?;
        if let Some(Standing { is_same: true, .. }) = standing {
            return unchanged(&offer, output);
        }
        offer.show(output)?;
        if let Some(standing) = &standing {
            self.replaces(standing, output)?;
        }
        if offer.publisher.is_none() && !self.accept_risk.contains(&Risk::UnsignedPolicy) {
            return Err(Error::refused("nobody has signed this component").state("nothing was changed").next(
                "have its publisher sign it, or accept that nobody vouches for it: --accept-risk=unsigned-policy",
            ));
        }
        if !self.yes && !confirm("Add this policy?")? {
            output.note("Nothing was changed.");
            return Err(Error::quiet(Exit::Failed));
        }
        added(context, &offer, standing.as_ref(), output)
    }

    fn replaces(&self, standing: &Standing, output: Output) -> Result<()> {
        output.line(format!("It takes the place of version {}.", standing.version))?;
        for what in &standing.wider {
            output.line(format!("  + {what}"))?;
        }
        if !standing.is_newer && !standing.same_component && !self.allow_downgrade {
            return Err(Error::refused(format!("version {} is there, and this one is not higher", standing.version))
                .state("nothing was changed")
                .next("if it is to take its place: --allow-downgrade"));
        }
        if !standing.same_publisher && !self.accept_risk.contains(&Risk::OtherPublisher) {
            return Err(Error::refused("another publisher vouches for this component than for the one that is there")
                .state("nothing was changed")
                .next("if that is right: --accept-risk=other-publisher"));
        }
        Ok(())
    }
}

impl Update {
    /// Takes what needs no decision: a higher version by the same publisher that asks for nothing more.
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let offer = Offer::read(context, &self.component, None, self.allowed_signers.as_deref())?;
        let name = &offer.granting.policy.name;
        let by_hand = |error: Error| {
            error.state("nothing was changed").next("to decide on it: warded policy add, with the same file")
        };
        let Some(standing) = offer.standing(context)? else {
            return Err(by_hand(Error::refused(format!("there is no policy {name} that could be updated"))));
        };
        if standing.is_same {
            return unchanged(&offer, output);
        }
        let mut causes = standing.wider.iter().map(|what| format!("it asks for more: {what}")).collect::<Vec<_>>();
        if offer.publisher.is_none() {
            causes.push("nobody has signed it".to_owned());
        } else if !standing.same_publisher {
            causes.push("another publisher signed the one that is there".to_owned());
        }
        if !standing.is_newer {
            causes.push(format!("version {} is there, and this one is not higher", standing.version));
        }
        if !causes.is_empty() {
            return Err(by_hand(
                Error::refused(format!("policy {name} is not updated by itself")).cause(causes.join("\n")),
            ));
        }
        added(context, &offer, Some(&standing), output)
    }
}

fn unchanged(offer: &Offer, output: Output) -> Result<Exit> {
    let policy = &offer.granting.policy;
    output.line(format!("{} {} is there already.", policy.name, policy.version))?;
    object(offer, None, false, output)
}

fn added(context: &Context, offer: &Offer, before: Option<&Standing>, output: Output) -> Result<Exit> {
    offer.accept(context)?;
    let policy = &offer.granting.policy;
    let place = before.map_or_else(String::new, |before| format!(" in place of {}", before.version));
    output.line(format!(
        "Added {} {}{place}. It changes nothing until a procedure is applied:",
        policy.name, policy.version
    ))?;
    for (name, procedure) in &policy.procedures {
        output.line(format!("  warded plan {name}  {}", procedure.summary))?;
    }
    object(offer, before, true, output)
}

fn object(offer: &Offer, before: Option<&Standing>, changed: bool, output: Output) -> Result<Exit> {
    let policy = &offer.granting.policy;
    output.object(&json!({
        "schema": "warded.policy-add/1", "name": policy.name.as_str(), "version": policy.version,
        "component": offer.granting.digest.to_string(), "changed": changed,
        "replaces": before.map(|before| before.version.clone()), "publisher": offer.publisher,
    }))?;
    Ok(Exit::Done)
}
