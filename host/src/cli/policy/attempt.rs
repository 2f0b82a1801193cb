//! What an operator tries to accept, and the record of a refusal.

use crate::{context::Context, pipeline};
use warded_lib::{
    error::{Exit, Result},
    name::Name,
};

/// What an operator wants to accept: the command, and the file or reference that is named.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) capability: &'a str,
    pub(super) from: &'a str,
    /// It is only a plan, which leaves nothing behind.
    pub(super) is_plan: bool,
}

impl Attempt<'_> {
    /// Does a part of it, for one policy if it is known which, and has the logs say so where a component is refused: an
    /// update that nobody watches is refused without a reader, too.
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
