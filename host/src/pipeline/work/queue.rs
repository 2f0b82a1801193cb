//! The queue that follows the files, in the order in which the procedure asked for it; and the answers that programs
//! gave the procedure.

use super::{Source, Work};
use warded_lib::{
    error::{Error, Result},
    machine::{
        action::{Runner, Step},
        files::Root,
    },
    transaction::Reload,
};

#[derive(Clone, Copy, Debug)]
pub enum QueueItem<'a> {
    /// A program, with its place among all programs.
    Program(usize, &'a Step),
    Reload(&'a Reload),
}

impl Work {
    #[must_use]
    pub fn queue(&self) -> Vec<QueueItem<'_>> {
        let programs = |at: Option<usize>| {
            let is_here =
                move |step: &Step| at.map_or(step.after_reloads >= self.reloads.len(), |at| step.after_reloads == at);
            let all = self.steps.iter().enumerate();
            all.filter(move |(_, step)| is_here(step)).map(|(index, step)| QueueItem::Program(index, step))
        };
        let mut queue = Vec::new();
        for (index, reload) in self.reloads.iter().enumerate() {
            queue.extend(programs(Some(index)));
            queue.push(QueueItem::Reload(reload));
        }
        queue.extend(programs(None));
        queue
    }

    /// Asks every query again that the procedure asked. `begins` is called before each.
    ///
    /// # Errors
    /// Refused: a query now gives another answer. Failed: it gives none.
    pub fn ask_again(&self, runner: &dyn Runner, root: &Root, begins: &mut dyn FnMut()) -> Result<()> {
        let Source::Staged(changes) = &self.source else { return Ok(()) };
        for asked in changes.asked() {
            begins();
            let query = &asked.query;
            if asked.again(runner, root)?.digest() != asked.shown.digest() {
                return Err(Error::refused(format!("{} gives another answer than when this was planned", query.name))
                    .cause("something changed what it reports after the plan was made")
                    .next("look at it, then run this again: it starts from what is there then"));
            }
        }
        Ok(())
    }
}
