//! Taking a run back: files first, then the services, then a look whether everything is as before.
//! The same for the run itself, for its watchdog, and for whoever comes after a crash: all there is
//! to know stands in the journal.

use crate::{
    audit::{self, Event, Kind, Log},
    context::Context,
    error::{Error, Result},
    guard::{self, live, unchanged},
    machine::{
        facts::{self, Facts, Init},
        files::Root,
        private::StateDir,
        scratch,
        services::{self, Reloaded},
        sshd::Sshd,
    },
    text::{count, neutral},
    transaction::{self, Journal, Reload, RolledBack, RunIdentity, SshdBefore, State},
};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long sshd may take until it offers again what it offered before.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is needed to take runs back: nothing of the configuration, which may be what went wrong.
#[derive(Debug)]
pub struct Recovery<'a> {
    state: &'a StateDir,
    root: &'a Root,
    log: &'a Log,
    systemd: bool,
}

/// A run that was taken back.
#[derive(Debug)]
pub struct TakenBack {
    /// Which one.
    pub run: RunIdentity,
    /// Its files.
    pub files: RolledBack,
    /// Its services.
    pub aftermath: Aftermath,
}

/// What became of services and of sshd after the files were back.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// How each service was told, or why it was not.
    pub reloads: Vec<(String, Result<Reloaded>)>,
    /// What is not as before; none: it is, as far as anybody can see.
    pub fault: Option<Error>,
}

impl<'a> Recovery<'a> {
    /// For the runs of a state directory.
    #[must_use]
    pub fn new(state: &'a StateDir, root: &'a Root, log: &'a Log) -> Self {
        Self { state, root, log, systemd: Facts::read(Path::new("/")).init == Init::Systemd }
    }

    /// For the runs of the context's state directory.
    #[must_use]
    pub fn of(context: &'a Context) -> Self {
        let systemd = context.facts.init == Init::Systemd;
        Self { state: &context.state, root: &context.root, log: &context.log, systemd }
    }

    /// Takes back every run that was interrupted.
    ///
    /// # Errors
    /// When a file could not be put back, or another run has its directory.
    pub fn all(&self) -> Result<Vec<TakenBack>> {
        let mut taken_back = Vec::new();
        loop {
            let mut aftermath = Aftermath::default();
            let settle = |journal: &Journal, done: &RolledBack| self.settled(journal, done, &mut aftermath);
            match transaction::recover(self.state, self.root, settle)? {
                None => return Ok(taken_back),
                Some(recovered) => {
                    let done = TakenBack { run: recovered.run, files: recovered.rolled_back, aftermath };
                    taken_back.push(self.record(done, "it had been interrupted"));
                }
            }
        }
    }

    /// Takes one run back; none where it has ended by now.
    ///
    /// # Errors
    /// As [`Recovery::all`]; refused while the run is at work.
    pub fn one(&self, number: u64, why: &str) -> Result<Option<TakenBack>> {
        let Some(Journal { run, .. }) = transaction::look(self.state, number)? else { return Ok(None) };
        let mut aftermath = Aftermath::default();
        let settle = |journal: &Journal, done: &RolledBack| self.settled(journal, done, &mut aftermath);
        let files = transaction::roll_back_run(self.state, self.root, number, settle)?;
        Ok(files.map(|files| self.record(TakenBack { run, files, aftermath }, why)))
    }

    /// Tells the services, and looks; whether they have been told, so far as they run.
    pub fn settled(&self, journal: &Journal, done: &RolledBack, aftermath: &mut Aftermath) -> bool {
        *aftermath = self.settle(journal, done.was_told);
        aftermath.reloads.iter().all(|(_, told)| told.is_ok())
    }

    /// What fails here is told, and does not keep the rest back.
    fn settle(&self, journal: &Journal, was_told: bool) -> Aftermath {
        let before = journal.sshd.as_ref();
        let find = |before: &SshdBefore| Sshd::find(&before.config, before.binary.as_deref());
        let (sshd, fault) = match before.map(find).transpose() {
            Ok(sshd) => (sshd.flatten(), None),
            Err(error) => (None, Some(error)),
        };
        let look = || match (sshd.as_ref(), before) {
            (Some(sshd), Some(before)) => may_reload(sshd, before, was_told),
            _ => Ok(()),
        };
        let tell = |reload| self.tell(&journal.run, reload, sshd.as_ref(), &look);
        let reloads: Vec<_> = journal.reloads.iter().map(|reload| (reload.name.to_string(), tell(reload))).collect();
        let told = |(_, outcome): &(_, Result<Reloaded>)| {
            matches!(outcome, Ok(Reloaded::Unit { .. } | Reloaded::Signalled { .. }))
        };
        if let Some(sshd) = sshd.as_ref().filter(|_| reloads.iter().any(told)) {
            live::await_reload(sshd);
        }
        let fault = fault.or_else(|| as_before(sshd.as_ref()?, before?).err());
        Aftermath { reloads, fault }
    }

    /// Not recording it is no reason to leave a service with what was taken back: a full disk may
    /// be why this happens.
    fn tell(
        &self,
        run: &RunIdentity,
        reload: &Reload,
        sshd: Option<&Sshd>,
        look: &dyn Fn() -> Result<()>,
    ) -> Result<Reloaded> {
        let event = |kind| event(run, kind).capability("services.reload").need(reload.name.as_str());
        drop(self.log.append_synced(&event(Kind::Intent)));
        let outcome = services::reload(&reload.name, &reload.service, self.systemd, sshd, look);
        drop(self.log.append(&match &outcome {
            Ok(reloaded) => event(Kind::Result).detail(&reloaded.to_string()),
            Err(error) => event(Kind::Failed).detail(error.message()),
        }));
        outcome
    }

    fn record(&self, mut done: TakenBack, why: &str) -> TakenBack {
        let detail = format!("taken back ({why}): {done}");
        audit::syslog::say(&format!("run {} {detail}", done.run.run));
        let recorded = self.log.append_synced(&event(&done.run, Kind::Ended).detail(&detail));
        if let Err(error) = recorded {
            done.aftermath.fault = done.aftermath.fault.or(Some(error));
        }
        scratch::sweep();
        done
    }
}

impl TakenBack {
    /// Whether everything is as before, as far as anybody can see.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.files.left_alone.is_empty() && self.aftermath.first_failure().is_none()
    }
}

impl Aftermath {
    /// What went wrong first.
    #[must_use]
    pub fn first_failure(&self) -> Option<&Error> {
        self.reloads.iter().find_map(|(_, outcome)| outcome.as_ref().err()).or(self.fault.as_ref())
    }
}

impl std::fmt::Display for TakenBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.files, self.aftermath)
    }
}

impl std::fmt::Display for Aftermath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, outcome) in &self.reloads {
            match outcome {
                Ok(Reloaded::NotRunning) => write!(f, "; {name} is not running")?,
                Ok(_) => write!(f, "; {name} reloaded")?,
                Err(error) => write!(f, "; {}", error.message())?,
            }
        }
        match &self.fault {
            Some(fault) => write!(f, "; {}", fault.message()),
            None if self.reloads.is_empty() => Ok(()),
            None => f.write_str(", checked"),
        }
    }
}

/// An event of a run that is known from its journal.
#[must_use]
pub fn event(run: &RunIdentity, kind: Kind) -> Event {
    Event {
        policy: run.policy.clone(),
        component: Some(run.component),
        procedure: run.procedure.clone(),
        ..Event::new(run.run, kind)
    }
}

/// Whether sshd may be told to read its configuration again: if it is the one that it had before
/// the run. Somebody else's edit is theirs to switch on; unless sshd has read what is taken back, or
/// has lost something, for then whatever it accepts is better than what it has: that may keep
/// everybody out, and a look without a login does not see it.
fn may_reload(sshd: &Sshd, before: &SshdBefore, was_told: bool) -> Result<()> {
    // A journal of an older version says nothing of them.
    if was_told || before.files.is_empty() {
        return Ok(());
    }
    let now = unchanged::now(before.config.as_path())?;
    let Some(path) = unchanged::difference(&before.files, &now) else { return Ok(()) };
    if let Seen::Lost(_) = seen_now(sshd, before) {
        return Ok(());
    }
    Err(Error::refused(format!("sshd is not told to reload: {} was changed by somebody else", path.display()))
        .cause("it would read an edit that may not be finished; what it offers is as before")
        .next("when that edit is finished, reload sshd"))
}

/// Every host key that was offered is offered. Without a listener, as at boot, there is none to ask.
fn as_before(sshd: &Sshd, before: &SshdBefore) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (Seen::Lost(fault) | Seen::Unknown(fault)) = seen_now(sshd, before) else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(fault);
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// What one look at sshd says.
enum Seen {
    AsBefore,
    Lost(Error),
    /// The look did not come to its end: that says nothing of sshd.
    Unknown(Error),
}

fn seen_now(sshd: &Sshd, before: &SshdBefore) -> Seen {
    let Some(expected) = &before.offered else { return Seen::AsBefore };
    let mut now = sshd.clone();
    now.listener = sshd.listener_now();
    match guard::served(&now) {
        // At the next boot there is none yet. In this one, sshd did not survive its reload.
        Ok(None) if sshd.listener.is_none() && before.boot != facts::boot() => Seen::AsBefore,
        Ok(None) => Seen::Lost(Error::failed("sshd does not listen any more").next("start it: systemctl start ssh")),
        Ok(Some(offered)) => {
            let lost: Vec<_> = expected
                .iter()
                .filter(|print| !offered.keys.iter().any(|key| key.fingerprint == **print))
                .map(|print| neutral(print))
                .collect();
            let message = || format!("sshd does not offer {} as before", count(lost.len(), "host key"));
            if lost.is_empty() { Seen::AsBefore } else { Seen::Lost(Error::failed(message()).seen(lost.join("\n"))) }
        }
        Err(error) => Seen::Unknown(error),
    }
}

/// Whether a run's journal says that it has ended.
///
/// # Errors
/// When it cannot be read.
pub fn has_ended(state: &StateDir, number: u64) -> Result<bool> {
    Ok(transaction::look(state, number)?.is_none_or(|journal| matches!(journal.state, State::Kept | State::RolledBack)))
}
