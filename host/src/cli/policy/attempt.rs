//! What an operator tries to accept, and the record of a refusal.

use crate::{context::Context, pipeline};
use warded_lib::{
    error::{Exit, Result},
    name::Name,
};

/// What an operator wants to accept: the command, and the file or reference that the operator named.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) capability: &'a str,
    pub(super) from: &'a str,
    /// Whether it is only a plan, which leaves no record.
    pub(super) is_plan: bool,
}

impl Attempt<'_> {
    /// Runs a part of the attempt, for one policy if it is known which. If a component is refused, the logs record it,
    /// since nobody may be reading the output of an unattended update.
    pub(super) fn of<T>(
        self,
        context: &Context,
        policy: Option<&Name>,
        part: impl FnOnce(&Context) -> Result<T>,
    ) -> Result<T> {
        let concluded = context.log.concluded();
        let ended = part(context);
        if let Err(error) = &ended
            && !self.is_plan
            && error.exit() == Exit::Refused
            && context.log.concluded() == concluded
        {
            pipeline::not_accepted(context, self.capability, (policy, self.from), error);
        }
        ended
    }
}
