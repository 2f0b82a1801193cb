//! `warded unenrol`.

use super::{
    output::{Output, confirm},
    recover, status,
};
use crate::{context::Context, enrolment::Enrolments};
use clap::Args;
use warded_lib::{
    audit::{Ending, Event, Kind},
    error::{Error, Exit, Result},
};

#[derive(Debug, Args)]
pub(super) struct Unenrol {
    /// Show what would change, and change nothing
    #[arg(long, conflicts_with = "yes")]
    plan: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

impl Unenrol {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        if self.plan {
            recover::report(context, output)?;
        } else {
            context.may_change("unenrol")?;
            recover::first(context, output)?;
        }
        let config = &context.places.sshd_config;
        let enrolments = Enrolments::load(&context.state)?;
        match enrolments.of(config) {
            Some(enrolment) => output.line(format!("- {config}: {enrolment}"))?,
            // The enrolment's record is lost; from now on it is recorded that none is wanted.
            None if status::has_lost_enrolment(context)? => {
                output.line(format!("- {config}: no enrolment is known"))?;
            }
            None => {
                let known: Vec<&str> = enrolments.iter().map(|enrolment| enrolment.sshd_config.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Error::usage(format!("the sshd of {config} is not enrolled"))
                    .seen(format!("enrolled: {known}"))
                    .next("warded --sshd-config FILE unenrol"));
            }
        }
        output.line("  Its certificates and its configuration stay as they are; nothing renews the certificates.")?;
        let object =
            |done: bool| serde_json::json!({ "schema": "warded.unenrol/1", "sshd_config": config, "unenrolled": done });
        if self.plan {
            output.line("Nothing has been changed.")?;
            output.object(&object(false))?;
            return Ok(Exit::Pending);
        }
        if !self.yes && !confirm("Renew the certificates of this sshd no more?")? {
            return Err(output.declined());
        }
        let _nobody_else_enrols = Enrolments::lock(&context.state)?;
        let event = |kind| Event::new(0, kind).capability("enrolment").need(&format!("none for {config}"));
        context.log.append_synced(&event(Kind::Intent))?;
        Enrolments::load(&context.state)?.without(config).save_ended(&context.state)?;
        context.log.conclude(&event(Kind::Result), Ending::Kept, &format!("{config} is not enrolled any more"))?;
        output.line("Not enrolled any more.")?;
        output.object(&object(true))?;
        Ok(Exit::Done)
    }
}
