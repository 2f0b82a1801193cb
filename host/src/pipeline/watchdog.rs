//! A second process that rolls the run back if the run does not complete: it was killed, hangs, or was not confirmed in
//! time. It has a session of its own, and the journal. The run sends it lines; if its input ends without the line that
//! releases it, the run is gone.
//!
//! The run does not depend on the watchdog once that has started: if the watchdog dies, the next `warded recover` does
//! its work.
//!
//! The process starts while the CA is asked, and does nothing until the run has its journal and tells it to begin.

use super::{
    announce::announce,
    roll_back::{self, Recovery, has_ended},
};
use crate::{
    context::{Context, Options},
    outcomes::RollbackReason,
};
use jiff::Timestamp;
use std::{
    env,
    ffi::OsString,
    io::{BufRead as _, Write as _},
    path::{Path, absolute},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};
use warded_lib::{
    audit::{Ending, Kind, Log},
    config,
    error::{Error, Exit, Result},
    machine::{
        action::Step,
        exec::{self, Companion, Parent, StartingCompanion},
        facts::{Facts, Init},
        files::Root,
        private::StateDir,
        services,
        signals::{self, Shield},
    },
    transaction::{self, Journal, State},
};

/// How long a stage of a run may take before the run counts as hung.
const STAGE: Duration = Duration::from_secs(120);
/// A lower limit for tests, in seconds. The environment cannot set a higher one.
const STAGE_LIMIT: &str = "WARDED_TEST_STAGE_LIMIT";
/// How long the watchdog may take to start.
const START: Duration = Duration::from_secs(10);
/// How often it checks whether a run was confirmed.
const LOOK: Duration = Duration::from_millis(200);
/// How often it asks after a SIGTERM whether the machine is shutting down: that may not be known at once.
const QUESTIONS: u8 = 5;
/// How long it keeps trying to roll a run back.
const TRY: Duration = Duration::from_secs(300);

/// How long it may take to end.
const END: Duration = Duration::from_millis(100);

const BEGIN: &str = "begin";
const STAGE_BEGINS: &str = "stage";
const AWAIT: &str = "await";
const ENDED: &str = "ended";

/// The run's side of the watchdog.
#[derive(Debug)]
pub struct Watchdog(Companion);

/// A watchdog of a run that has no journal yet: it watches nothing, and ends with the run.
#[derive(Debug)]
pub struct IdleWatchdog(Option<StartingCompanion>);

impl IdleWatchdog {
    /// Starts it without waiting. If it cannot be started now, it is started when it is needed.
    #[must_use]
    pub fn start(context: &Context, run: u64) -> Self {
        let arguments = arguments(context, run).map(|words| words.into_iter().chain(["--when-told".into()]));
        Self(arguments.and_then(Companion::begin).ok())
    }

    /// Tells it to begin; `None` if it is gone.
    fn begin(mut self) -> Option<Companion> {
        let mut idle = self.0.take()?;
        idle.tell(BEGIN).ok()?;
        idle.ready(START).ok()
    }
}

impl Drop for IdleWatchdog {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|idle| idle.release(END));
    }
}

impl Watchdog {
    /// Starts the watchdog of a run that has a journal and has changed nothing yet, or tells an `idle` one to begin.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(context: &Context, run: u64, idle: IdleWatchdog) -> Result<Self> {
        transaction::prepare_watch(&context.state, run)?;
        if let Some(begun) = idle.begin() {
            return Ok(Self(begun));
        }
        Companion::start(arguments(context, run)?, START).map(Self)
    }

    /// The same for a change that waits for a confirmation, under systemd: the watchdog outlives the login session.
    ///
    /// # Errors
    /// As [`Watchdog::start`].
    pub fn start_in_scope(context: &Context, run: u64) -> Result<Self> {
        transaction::prepare_watch(&context.state, run)?;
        let arguments = arguments(context, run)?;
        let description = format!("Warded's run {run}, which waits to be confirmed");
        let started = Companion::start_in_scope(&description, &arguments, START);
        started.or_else(|_| Companion::start(arguments, START)).map(Self)
    }

    /// Tells the watchdog that a stage begins. If the watchdog is gone, the run continues.
    pub fn stage(&mut self) {
        drop(self.0.tell(STAGE_BEGINS));
    }

    /// From now on the watchdog waits for a confirmation, and this process may end.
    ///
    /// # Errors
    /// The watchdog is gone: then nobody would roll the run back.
    pub fn hand_over(&mut self) -> Result<()> {
        self.0
            .tell(AWAIT)
            .map_err(|error| Error::failed("the watchdog has ended, so nobody could roll this back").cause(error))
    }

    /// Ends the watchdog: the run has ended, whatever its result.
    pub fn release(mut self) {
        drop(self.0.tell(ENDED));
        self.0.release(END);
    }

    /// Leaves the watchdog running.
    pub fn leave(self) {
        self.0.release(Duration::ZERO);
    }
}

/// The command line of the watchdog of a run.
fn arguments(context: &Context, run: u64) -> Result<Vec<OsString>> {
    let Options { config, sshd_config, sshd, ca, .. } = &context.options;
    let state = Some(context.state.path().to_owned());
    let mut arguments = Vec::new();
    for (option, path) in
        [("--state", &state), ("--config", config), ("--sshd-config", sshd_config), ("--sshd", sshd), ("--ca", ca)]
    {
        if let Some(path) = path {
            let path = absolute(path).map_err(|error| Error::failed("cannot start the watchdog").cause(error))?;
            arguments.extend([option.into(), path.into_os_string()]);
        }
    }
    arguments.extend(["watchdog".into(), run.to_string().into()]);
    arguments.extend(env::var_os(STAGE_LIMIT).into_iter().flat_map(|limit| ["--stage-limit".into(), limit]));
    Ok(arguments)
}

/// The watchdog itself: runs until the run has ended, or has been rolled back.
///
/// `when_told`: the run has no journal yet, and will say when it has one.
///
/// # Errors
/// There is no such run, or it could not be rolled back.
pub fn watch(options: &Options, number: u64, stage_limit: Option<u64>, when_told: bool) -> Result<Exit> {
    let limit = stage_limit.map_or(STAGE, |seconds| Duration::from_secs(seconds).min(STAGE));
    let parent = Parent::now();
    let _shield = Shield::up()?;
    let terminated = signals::termination()?;
    exec::leave_session();
    let none = || Error::failed(format!("there is no run {number}"));
    let state = options.state.clone().unwrap_or_else(config::default_state);
    let state = StateDir::find(&state)?.ok_or_else(none)?;
    let log = Log::open(&state.path().join("audit"))?;
    let root = Root::ambient().map_err(|error| Error::failed("cannot open the root directory").cause(error))?;
    if when_told && !is_told_to_begin() {
        // The run has ended without a journal, or before it changed anything.
        return Ok(Exit::Done);
    }
    let _watched = transaction::watch(&state, number)?;
    let journal = transaction::look(&state, number)?.ok_or_else(none)?;
    writeln!(std::io::stdout(), "ready").map_err(|error| Error::failed("the run is gone").cause(error))?;

    let why = match listen(&lines()?, limit) {
        End::Ended => return Ok(Exit::Done),
        End::Gone => RollbackReason::Died,
        End::Hung => {
            parent.kill();
            RollbackReason::Hung
        }
        End::Await => match wait(&state, number, &journal, &terminated) {
            WaitEnd::Ended => return Ok(Exit::Done),
            WaitEnd::TimeIsOver => RollbackReason::Unconfirmed,
            WaitEnd::GoingDown => {
                // What fails now is done at the next start of the machine, or by the next command.
                Recovery::new(&state, &root, &log).files_of_one(number, RollbackReason::ShutDown)?;
                drop(announce(options));
                return Ok(Exit::Done);
            }
        },
    };
    if is_kept(&state, number) {
        let detail = format!("kept, although {why}");
        log.conclude(&roll_back::event(&journal.run, Kind::Ended).detail(&detail), Ending::Kept, &detail)?;
        return Ok(Exit::Done);
    }
    let recovery = Recovery::new(&state, &root, &log).patient(TRY);
    give_up_on(&recovery, number, why, patience(&journal.steps)).inspect_err(|error| {
        let detail = format!("could not be rolled back: {}", error.message());
        let event = roll_back::event(&journal.run, Kind::Failed).detail(&detail);
        drop(log.conclude(&event, Ending::Failed, &format!("{detail}; next: warded recover")));
    })?;
    drop(announce(options));
    Ok(Exit::Done)
}

/// Whether the run was kept, although it could not say so any more.
fn is_kept(state: &StateDir, number: u64) -> bool {
    transaction::look(state, number).is_ok_and(|now| now.is_some_and(|journal| journal.state == State::Kept))
}

/// How the watched run ended, as far as its watchdog can tell.
enum End {
    Ended,
    Await,
    Gone,
    Hung,
}

fn listen(lines: &Receiver<String>, limit: Duration) -> End {
    loop {
        match lines.recv_timeout(limit).as_deref() {
            Ok(ENDED) => return End::Ended,
            Ok(AWAIT) => return End::Await,
            // Any other line, such as from a later version, shows that the run is alive.
            Ok(_) => {}
            Err(RecvTimeoutError::Disconnected) => return End::Gone,
            Err(RecvTimeoutError::Timeout) => return End::Hung,
        }
    }
}

/// Waits for the run's first line. Input that was read ahead stays buffered for [`lines`].
fn is_told_to_begin() -> bool {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).is_ok() && line.trim_end() == BEGIN
}

/// Reads the lines of the input in a thread of their own, since reading a line has no timeout.
fn lines() -> Result<Receiver<String>> {
    let (sender, receiver) = channel();
    let reading = thread::Builder::new().spawn(move || {
        let whole = std::io::stdin().lock().lines().map_while(Result::ok);
        for line in whole {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    reading.map_err(|error| exec::caused(Error::failed("the watchdog cannot follow the run"), &error))?;
    Ok(receiver)
}

/// How the wait for a confirmation ended.
enum WaitEnd {
    Ended,
    TimeIsOver,
    GoingDown,
}

/// Waits until the run was confirmed, or its time is over by either clock: one clock may be set, the other stands still
/// while the machine sleeps. Also stops when the machine shuts down: every process gets SIGTERM then, but may get it at
/// other times, too.
fn wait(state: &StateDir, number: u64, journal: &Journal, terminated: &AtomicBool) -> WaitEnd {
    let Some(confirm) = &journal.confirm else { return WaitEnd::TimeIsOver };
    let systemd = Facts::read(Path::new("/")).init == Init::Systemd;
    let left = Duration::try_from(confirm.until - Timestamp::now()).unwrap_or_default();
    let deadline = Instant::now() + left;
    let mut questions = 0;
    while Instant::now() < deadline && Timestamp::now() < confirm.until {
        if has_ended(state, number).unwrap_or_default() {
            return WaitEnd::Ended;
        }
        if terminated.swap(false, Ordering::Relaxed) {
            questions = QUESTIONS;
        }
        if questions > 0 && services::is_going_down(systemd) {
            return WaitEnd::GoingDown;
        }
        questions = questions.saturating_sub(1);
        thread::sleep(LOOK);
    }
    WaitEnd::TimeIsOver
}

/// How long to keep trying to roll back a run of these programs: twice as long as they may take.
fn patience(steps: &[Step]) -> Duration {
    let programs: Duration = steps.iter().map(Step::limit).sum();
    TRY.max(programs * 2)
}

/// Rolls the run back. Its process may still be ending, or another process may be rolling it back.
fn give_up_on(recovery: &Recovery<'_>, number: u64, why: RollbackReason, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(20);
    loop {
        match recovery.one(number, why) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warded_lib::{machine::action::Invocation, name::Name};

    #[test]
    fn a_run_of_many_programs_is_rolled_back_as_long_as_they_may_take() {
        let name: Name = "once".parse().unwrap();
        let action = toml::from_str("kind = 'change'\nargv = ['/t']\nirreversible = true\ntimeout = 90").unwrap();
        let change = Invocation::new(&name, &action, [], "").unwrap();
        let step = Step { after_reloads: 0, change, seen: None };
        assert_eq!(step.limit(), Duration::from_secs(90));
        let seconds = |programs| patience(&vec![step.clone(); programs]).as_secs();
        assert_eq!([seconds(0), seconds(1), seconds(2), seconds(7)], [300, 300, 360, 1260]);
    }
}
