//! `warded confirm`: keeps what `apply --confirm-within` has changed.

use super::{output::Output, recover, status::last_roll_back};
use crate::{
    context::Context, enrolment::Enrolments, outcomes::RollbackReason, pipeline::roll_back::event,
    public_status::PublicStatus,
};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use warded_lib::{
    audit::{Ending, Kind},
    error::{Error, Exit, Result, UNCHANGED},
    machine::{control_group, facts::Init, login, private::StateDir, services},
    moment,
    text::{count, neutral},
    transaction::{self, Journal, State},
};

/// What happened to the newest run, if it was not confirmed in time.
fn late(context: &Context) -> Result<Option<String>> {
    if let Some(last) = last_roll_back(context)?.filter(|last| last.why == RollbackReason::Unconfirmed) {
        return Ok(Some(last.to_string()));
    }
    let newest = transaction::newest(&context.state)?;
    let rolled_back_now = newest.filter(|journal| {
        let is_late = journal.confirm.as_ref().is_some_and(|confirm| confirm.until < Timestamp::now());
        journal.state == State::RollingBack && is_late
    });
    Ok(rolled_back_now.map(|journal| format!("{} was not confirmed in time and is being rolled back", journal.run)))
}

/// The machine's state if nothing was confirmed.
fn state(runs: &StateDir) -> String {
    let waiting = transaction::unconfirmed(runs).ok().flatten();
    waiting.map_or_else(
        || UNCHANGED.to_owned(),
        |journal| format!("{} is rolled back unless it is confirmed ({})", journal.run, journal.until()),
    )
}

/// The end of the command if no run waits.
fn nothing(context: &Context, output: Output) -> Result<Exit> {
    if let Some(late) = late(context).map_err(Error::or_unchanged)? {
        return Err(Error::refused(late)
            .state("this command changed nothing")
            .next("apply it again, and confirm it in time"));
    }
    output.line("There is nothing to confirm.")?;
    output.object(&serde_json::json!({ "schema": "warded.confirm/1", "run": null, "files": [] }))?;
    Ok(Exit::Done)
}

/// The files that a run changed.
fn files(journal: &Journal) -> Vec<String> {
    journal.entries.iter().map(|entry| entry.path.to_string()).collect()
}

#[derive(Debug, Args)]
pub(super) struct Confirm {
    /// Confirm from any login, even one that is older than the change or does not use SSH; this proves nothing
    #[arg(long)]
    same_login: bool,
    /// Show which changes would stay, and confirm nothing
    #[arg(long)]
    plan: bool,
}

/// For the commands whose changes can be confirmed.
#[derive(Clone, Debug, Args)]
pub(super) struct ConfirmWithin {
    /// Roll the change back automatically unless `warded confirm` is run from a new login within this time (5s to 24h,
    /// such as 10m)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(super) confirm_within: Option<SignedDuration>,
}

/// The unit that rolls interrupted runs back at boot (docs/RECOVERY.md).
pub(super) const RECOVER: &str = "warded-recover.service";

impl ConfirmWithin {
    /// Checks first whether the process that would roll the change back can live that long.
    ///
    /// # Errors
    /// Refused: systemd would end it.
    pub(super) fn check(&self, context: &Context, output: Output) -> Result<()> {
        if self.confirm_within.is_none() || context.facts.init != Init::Systemd {
            return Ok(());
        }
        if let Some(service) = control_group::service().filter(|service| !services::spares_processes(service)) {
            return Err(Error::refused("--confirm-within does not work in a systemd service")
                .cause(format!(
                    "this runs in {}: systemd would end the watchdog with it, and nothing would roll the change back",
                    neutral(&service)
                ))
                .unchanged()
                .next("run it in a separate scope: systemd-run --scope warded …"));
        }
        if !services::is_enabled(RECOVER) {
            output.note(format!(
                "note: {RECOVER} is not enabled: if the machine stops before this is confirmed, it is rolled back by \
                 the next command that changes something, not at boot"
            ));
        }
        Ok(())
    }
}

/// Parses a duration within limits: a run that changes sshd alone takes seconds, and a day later nobody remembers the
/// change.
fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    moment::duration_within(text, &(SignedDuration::from_secs(5)..=SignedDuration::from_hours(24)), "from 5s to 24h")
}

impl Confirm {
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        context.has_runs("confirm")?;
        if self.plan {
            return self.show(context, output);
        }
        let confirmed = transaction::confirm(&context.state, &context.root, |journal, is_watched| {
            self.check(journal, is_watched)?;
            // If the confirmation cannot be recorded, it does not happen.
            context.log.append_synced(&event(&journal.run, Kind::Intent).detail("confirm"))
        });
        let confirmed = confirmed.map_err(|error| error.or_state(state(&context.state)))?;
        let Some((journal, left)) = confirmed else { return nothing(context, output) };
        // The change is kept by now, so nothing may fail any more.
        let files = files(&journal);
        let ended = event(&journal.run, Kind::Ended).detail("confirmed, kept");
        let told = format!("confirmed, {} stay as changed", count(files.len(), "file"));
        drop(context.log.conclude(&ended, Ending::Confirmed, &told));
        recover::forget_recovery(context, |kind| event(&journal.run, kind), output);
        // If Warded has been removed from a machine, there is nothing more to publish about it.
        let is_left = Enrolments::load(&context.state).is_ok_and(|enrolled| enrolled.iter().next().is_none());
        if journal.run.undoes.is_some() && is_left {
            PublicStatus::remove(context.state.path());
        }
        // The change is confirmed, whether or not that can be printed.
        drop(output.line(format!("Confirmed {}: {} stay as changed.", journal.run, count(files.len(), "file"))));
        for left in left {
            drop(output.line(format!("! {}   left alone: {}", left.path, left.why)));
        }
        drop(
            output.object(&serde_json::json!({ "schema": "warded.confirm/1", "run": journal.run.run, "files": files })),
        );
        Ok(Exit::Done)
    }

    /// Shows what a confirmation would keep, and whether this login could confirm it.
    fn show(&self, context: &Context, output: Output) -> Result<Exit> {
        let Some((journal, is_watched)) = transaction::to_confirm(&context.state)? else {
            return nothing(context, output);
        };
        self.check(&journal, is_watched).map_err(|error| error.or_state(state(&context.state)))?;
        output.line(format!("{} would be confirmed; these files would stay as changed:", journal.run))?;
        let files = files(&journal);
        files.iter().try_for_each(|path| output.line(format!("~ {}", neutral(path))))?;
        output.line(format!(
            "Nothing has been confirmed. The run is rolled back unless it is confirmed ({}).",
            journal.until()
        ))?;
        output.object(&serde_json::json!({
            "schema": "warded.confirm/1", "run": null, "would_confirm": journal.run.run, "files": files,
        }))?;
        Ok(Exit::Pending)
    }

    fn check(&self, journal: &Journal, is_watched: bool) -> Result<()> {
        let Some(confirm) = &journal.confirm else { return Ok(()) };
        if Timestamp::now() > confirm.until {
            let (state, next) = if is_watched {
                ("it is being rolled back", "warded recover, which waits for that, then apply it again")
            } else {
                let state = "the process that was to roll it back has ended, so the run's changes are still in place";
                (state, "warded recover, which rolls it back, then apply it again")
            };
            return Err(Error::refused(format!("{} was not confirmed in time", journal.run))
                .cause(format!("the time for it ended: {}", journal.until()))
                .state(state)
                .next(next));
        }
        let why = match (login::opened(), confirm.since) {
            _ if self.same_login => return Ok(()),
            (Some(opened), Some(since)) if opened > since => return Ok(()),
            (Some(_), _) => {
                "this login was opened before the change was made, so it does not show whether new logins work"
            }
            (None, _) => {
                "no sshd is among the processes that started this one: a console, a script, tmux or screen does not \
                 show whether new logins work"
            }
        };
        Err(Error::refused(format!("{} has to be confirmed from a new login", journal.run)).cause(why).next(
            "open a new login by SSH and run `warded confirm` in its own shell; or take the risk: warded confirm \
             --same-login",
        ))
    }
}
