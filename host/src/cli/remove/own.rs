//! The procedure `remove` of the policies that were used here. If somebody has edited a file since, this procedure
//! knows which lines are the policy's; the records of the runs do not.

use super::{Output, Remove, recover, report};
use crate::{
    cli::apply::{Apply, ProcedureArgs},
    context::Context,
    sandbox::granting::BoundPolicy,
};
use warded_lib::{
    error::{Error, Exit, Result},
    name::Name,
    transaction::{self, Edits, UndoError, UndoScope},
};

/// The procedure's name, in every policy that has it.
pub(super) const REMOVE: &str = "remove";

impl Remove {
    /// If edits prevent the runs from being undone, runs these procedures, each as a run of its own, or shows what they
    /// would do. Returns how they ended; `None` if none was run.
    pub(super) fn by_policies(&self, context: &Context, output: Output) -> Result<Option<Exit>> {
        if !self.meets_edits(context)? {
            return Ok(None);
        }
        let policies = context.policies()?;
        let left = transaction::policies_left(&context.state)?;
        let own: Vec<&BoundPolicy> = left.iter().filter_map(|name| with_remove(&policies, name)).collect();
        if own.is_empty() {
            return Ok(None);
        }
        if self.confirm.confirm_within.is_some() {
            return Err(Error::refused("--confirm-within covers one run, and this removal needs several")
                .cause("somebody edited what Warded wrote, so the policies remove their own lines first")
                .unchanged()
                .next(format!("warded apply {REMOVE} with that option, then this again")));
        }
        let (mut ended, mut out) = (Exit::Done, Vec::new());
        // One command prints only one object.
        let words = output.of_part();
        for granting in own {
            let name = &granting.policy.name;
            words
                .line(format!("Somebody edited what Warded wrote. The policy {name} takes its own lines out first."))?;
            let procedure =
                ProcedureArgs { policy: Some(name.clone()), ..ProcedureArgs::named(REMOVE).map_err(Error::failed)? };
            if self.plan {
                let planned = procedure.plan(context, &policies, words, None)?;
                report::header(words, context, &planned)?;
                report::review(words, &planned.review())?;
                report::messages(words, &planned.session.messages)?;
            } else {
                let apply = Apply {
                    procedure,
                    yes: self.yes,
                    confirm: self.confirm.clone(),
                    risk: self.risk.clone(),
                    identification: Default::default(),
                };
                let exit = apply.run(context, words).map_err(|error| {
                    if error.is_quiet() && !out.is_empty() {
                        output.note(format!("Stopped: {}; nothing else was changed.", state(&out)));
                    }
                    told(error, &out)
                })?;
                if exit == Exit::Degraded {
                    ended = exit;
                } else if exit != Exit::Done {
                    return Err(Error::quiet(exit));
                }
                out.push(name.as_str());
                recover::first(context, output).map_err(|error| told(error, &out))?;
            }
        }
        Ok(Some(ended))
    }

    /// Whether the records of the runs do not suffice to undo them.
    fn meets_edits(&self, context: &Context) -> Result<bool> {
        let edits = if self.discard_edits { Edits::Discard } else { Edits::Refuse };
        match transaction::undo_changes(&context.state, &context.root, UndoScope::All(edits)) {
            Ok(Some(mut undo)) => match undo.look_at_states(context.runner.as_ref()) {
                Err(error) if error.exit() == Exit::Refused => Ok(true),
                looked => looked.map(|()| false),
            },
            Ok(None) => Ok(false),
            Err(UndoError::Edited { .. }) => Ok(true),
            Err(UndoError::Failed(error)) => Err(error),
        }
    }
}

/// The error for a failure after the procedures of these policies have run.
fn told(error: Error, out: &[&str]) -> Error {
    if out.is_empty() { error } else { error.after(state(out)) }
}

/// The state once only the procedures of these policies have run.
fn state(out: &[&str]) -> String {
    format!("the lines of {} are out", out.join(", "))
}

/// The policy of that name, if it has such a procedure that needs no settings.
fn with_remove<'a>(policies: &'a [BoundPolicy], name: &str) -> Option<&'a BoundPolicy> {
    policies.iter().find(|granting| granting.policy.name.as_str() == name && has_remove(granting))
}

/// Whether a policy has such a procedure that needs no settings.
pub(super) fn has_remove(granting: &BoundPolicy) -> bool {
    let procedure = REMOVE.parse::<Name>().ok().and_then(|name| granting.policy.procedures.get(&name));
    procedure.is_some_and(|procedure| !procedure.settings.values().any(|setting| setting.required))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_policys_refusal_says_what_the_first_took_out() {
        for (out, expected) in [
            (&[][..], "refused: no\nstate: nothing was changed"),
            (&["unix"], "refused: no\nstate: the lines of unix are out; nothing else was changed"),
            (&["unix", "bsd"], "refused: no\nstate: the lines of unix, bsd are out; nothing else was changed"),
        ] {
            assert_eq!(told(Error::refused("no").unchanged(), out).to_string(), expected);
        }
    }
}
