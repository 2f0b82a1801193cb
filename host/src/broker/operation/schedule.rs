//! `schedule.*`: staged like any other file. The init system adopts it after the files are in place.

mod program;

use super::{Failure, Operation, managed::Maker};
use crate::broker::{
    granted::Granted,
    session::{Level, Session},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};
use warded_lib::{
    change_set::staged::After,
    config,
    error::Error,
    machine::{
        facts::Init,
        files::Place,
        path::AbsolutePath,
        schedule::{self, Command, File, Installation, Schedule as Found, Schedulers, Started, Starter, is_ours},
        services,
        sshd::Sshd,
    },
    name::UnitName,
    policy::need::Need,
    text::neutral,
};

pub(super) use program::unsafe_program;
use program::{concern, is_unsafe};

/// The path of this binary on a machine that is only described.
pub const DESCRIBED: &str = "/usr/bin/warded";

/// What the schedule of a run depends on, besides the machine.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The directory that stands for `/`.
    pub root: PathBuf,
    /// The names that the policy gives; `None` if the policy has no schedule.
    pub schedulers: Option<Schedulers>,
    pub program: PathBuf,
    /// The options for the files that are not in their default places.
    pub options: Vec<(&'static str, PathBuf)>,
    pub state: PathBuf,
    /// The directory of the public status.
    pub status: PathBuf,
    /// The configuration files of the enrolled sshds; one `warded renew` is for all of them.
    pub sshds: Vec<AbsolutePath>,
    /// The files that a schedule needs in order to run `warded renew`.
    pub installation: Installation,
}

impl Terms {
    /// The real path that a path leads to.
    fn real(&self, path: &Path) -> Option<PathBuf> {
        let root = self.root.canonicalize().ok()?;
        let real = root.join(path.strip_prefix("/").ok()?).canonicalize().ok()?;
        real.strip_prefix(root).ok().map(|below| Path::new("/").join(below))
    }
}

/// Stages that `warded renew` runs by the clock, or that it does not.
#[derive(Debug)]
pub struct Schedule {
    /// Whether it runs.
    pub renews: bool,
}

impl Operation for Schedule {
    type Output = bool;

    fn need(&self) -> Need {
        Need::Schedule(self.renews)
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<bool, Failure> {
        let terms = session.schedule.clone().ok_or_else(|| no_scheduler("nothing can be scheduled here"))?;
        let missing = || no_scheduler("the policy names no scheduler");
        let schedulers = terms.schedulers.clone().ok_or_else(missing)?;
        let renews = granted.operation().renews;
        let found = renews.then(|| Found::find(&terms.root, session.facts.init == Init::Systemd, &terms.installation));
        if let Some(other) =
            found.as_ref().filter(|found| found.is_there() == Some(true) && !found.is_ours(&terms.root))
        {
            let other = neutral(&other.to_string());
            let text =
                format!("{other} runs `warded renew` already, and Warded did not write that: it stays as it is.");
            session.tell(Level::Info, text);
            return Ok(false);
        }
        check(session, &terms)?;
        let init = session.facts.init;
        let scheduler = schedulers.running(&terms.root, init).filter(|_| renews);
        let starter = Starter::of(&terms.root, init).filter(|_| renews);
        let mut staging =
            Staging { session, grant: granted.grant(), terms: &terms, started: Vec::new(), differs: false };
        let mut wanted = Vec::new();
        if scheduler.is_some() || starter.is_some() {
            // On a machine that is only described, nothing runs it.
            let concern = if staging.session.is_described() { None } else { concern(&terms.program) };
            if concern.is_some() && is_unsafe(&terms.program) {
                let why = concern.unwrap_or_default();
                return Err(no_scheduler(why.trim_end_matches('.')));
            }
            let command = command(staging.session, &terms)?;
            let refused = |error: Error| Failure::because("no-scheduler", &error);
            if let Some(scheduler) = &scheduler {
                wanted.extend(scheduler.files(&command, starter.is_some()).map_err(refused)?);
            }
            if let Some(starter) = starter {
                wanted.push(starter.file(&command).map_err(refused)?);
            }
            if let Some(concern) = concern {
                staging.session.tell(Level::Warn, concern);
            }
        }
        for file in &wanted {
            staging.refuse_foreign(file)?;
        }
        let kept: Vec<String> = wanted.iter().map(|file| file.path.clone()).collect();
        for file in wanted {
            staging.write(file)?;
        }
        let all = schedulers.all().flat_map(|other| other.paths()).chain(Starter::ALL.map(Starter::path));
        // A cron daemon that is stopped only for now keeps its table.
        let is_out = |path: &String| !kept.contains(path) && (scheduler.is_some() || !renews);
        let others: BTreeSet<String> = all.filter(is_out).collect();
        for path in others {
            staging.remove(&path, renews)?;
        }
        let Staging { started, differs, .. } = staging;
        // systemd is told only of what has changed.
        if let Some(Found::DisabledTimer(name)) = found.filter(|_| !differs) {
            let name = neutral(&name);
            session.tell(
                Level::Warn,
                format!(
                    "{name} is not enabled, so nothing renews the certificates automatically. To enable it: systemctl \
                     enable --now {name}"
                ),
            );
        }
        session.changes.reconcile(if differs { started } else { Vec::new() });
        // The recovery at boot is staged in any case: it is useful without a scheduler, too.
        if renews && scheduler.is_none() { Err(none_runs()) } else { Ok(differs) }
    }
}

/// Checks that this machine's own sshd is enrolled, or about to be: the schedule is for it and for all others that are
/// enrolled.
fn check(session: &Session, terms: &Terms) -> Result<(), Failure> {
    let config_file = &session.circumstances.places.sshd_config;
    if !session.is_described() && !config::is_root() {
        return Err(no_scheduler("Warded schedules renewals only as root"));
    }
    if !terms.sshds.iter().chain([config_file]).any(|config| schedule::is_of_machine(config.as_path())) {
        return Err(no_scheduler(&format!("{config_file} is not the configuration of this machine's own sshd")));
    }
    Ok(())
}

fn none_runs() -> Failure {
    no_scheduler(
        "neither systemd is process 1 here, nor does a cron daemon run that reads /etc/cron.d or /etc/periodic",
    )
}

fn no_scheduler(why: &str) -> Failure {
    let message = format!(
        "Nothing runs `warded renew` automatically: {why}. Run it every hour from cron or a systemd timer (docs/RENEWAL.md)."
    );
    Failure::new("no-scheduler", message)
}

/// The command that the schedule runs, with the directories that it writes to.
fn command(session: &mut Session, terms: &Terms) -> Result<Command, Failure> {
    let path = |path: &Path| {
        AbsolutePath::try_from(path).map_err(|why| no_scheduler(&format!("a path cannot stand in a schedule: {why}")))
    };
    let config_file = session.circumstances.places.sshd_config.clone();
    let own = [&terms.state, &terms.status].map(|directory| directory.join("file"));
    let mut written = Vec::from(own);
    written.push(config_file.as_path().to_owned());
    let mut keys = session.host_keys()?;
    for other in terms.sshds.iter().filter(|other| **other != config_file) {
        written.push(other.as_path().to_owned());
        // An sshd that is gone, or cannot be started now, has no keys to renew.
        let others = Sshd::find(other, None).ok().flatten().and_then(|sshd| sshd.host_keys().ok());
        keys.extend(others.unwrap_or_default());
    }
    for key in keys {
        let file = key.private_path();
        written.extend(terms.real(&file));
        written.push(file);
    }
    let mut writes: Vec<&Path> =
        written.iter().filter_map(|file| file.parent()).filter(|directory| is_guarded(directory)).collect();
    writes.sort_unstable();
    writes.dedup();
    Ok(Command {
        program: path(&terms.program)?,
        options: terms
            .options
            .iter()
            .map(|(option, value)| Ok((*option, path(value)?)))
            .collect::<Result<_, Failure>>()?,
        state: path(&terms.state)?,
        writes: writes.iter().map(|directory| path(directory)).collect::<Result<_, _>>()?,
        machine_id: session.facts.machine_id.clone(),
    })
}

/// Whether the schedule's service can write to this directory only if the unit names it: `ProtectSystem=full` and
/// `ProtectHome=read-only` (systemd.exec(5)).
fn is_guarded(directory: &Path) -> bool {
    const GUARDED: [&str; 7] = ["/etc", "/usr", "/boot", "/efi", "/home", "/root", "/run/user"];
    GUARDED.iter().any(|guarded| directory.starts_with(guarded))
}

/// Stages the files of a schedule.
struct Staging<'a> {
    session: &'a mut Session,
    grant: &'a str,
    terms: &'a Terms,
    /// What the init system has to adopt, if anything differs.
    started: Vec<Started>,
    differs: bool,
}

impl Staging<'_> {
    /// Checked before anything is staged: a timer without its service would be useless.
    fn refuse_foreign(&mut self, file: &File) -> Result<(), Failure> {
        let path = absolute(&file.path)?;
        let place = self.session.place(&path, path.segments().count())?;
        if place.as_ref().and_then(Maker::of) == Some(Maker::NixOs) {
            return Err(no_scheduler("NixOS makes units from its configuration (systemd.services, systemd.timers)"));
        }
        // A person who made that unit according to the documentation has what is needed.
        if !is_recovery(&path) && self.is_foreign(&path)? { Err(foreign(&path)) } else { Ok(()) }
    }

    fn write(&mut self, file: File) -> Result<(), Failure> {
        let path = absolute(&file.path)?;
        if self.is_foreign(&path)? {
            return Ok(());
        }
        let place = self.session.existing_place(&path, path.segments().count())?;
        let after = After::Bytes { contents: file.text.into_bytes(), mode: Some(file.mode) };
        self.stage(path, place, after)
    }

    /// Removes a file, if it is Warded's. `renews`: other files replace it.
    fn remove(&mut self, path: &str, renews: bool) -> Result<(), Failure> {
        let path = absolute(path)?;
        let Some(place) = self.session.place(&path, path.segments().count())? else { return Ok(()) };
        if self.is_foreign(&path)? {
            return if renews || is_recovery(&path) { Ok(()) } else { Err(foreign(&path)) };
        }
        // If the file does not exist, the init system has nothing to adopt, unless somebody deleted only the file.
        let is_gone = matches!(self.session.changes.look(&place), Ok(None));
        let systemd = self.session.facts.init == Init::Systemd;
        let is_left =
            || self.started(&path).is_some_and(|started| services::is_linked(&self.terms.root, &started, systemd));
        if is_gone && !is_left() {
            return Ok(());
        }
        self.differs |= is_gone;
        self.stage(path, place, After::Removed)
    }

    fn stage(&mut self, path: AbsolutePath, place: Place, after: After) -> Result<(), Failure> {
        self.started.extend(self.started(&path));
        self.differs |= self.session.changes.stage(path, place, after, self.grant.to_owned())?;
        Ok(())
    }

    /// What the init system starts because of this file: a timer, which starts its service, or the recovery at boot.
    fn started(&self, path: &AbsolutePath) -> Option<Started> {
        let mut of_path = Starter::ALL.into_iter().filter(|starter| starter.path() == path.as_str());
        // Two init systems have their script in the same place.
        let starter = match self.session.facts.init {
            Init::Openrc => of_path.next_back(),
            Init::Systemd | Init::Sysv | Init::Runit | Init::None => of_path.next(),
        };
        let timer = || UnitName::try_from(path.name().to_owned()).ok().filter(|_| path.name().ends_with(".timer"));
        starter.map_or_else(|| timer().map(Started::Unit), Starter::started)
    }

    /// Whether there is a file or unit of that name that is not Warded's, or belongs to another installation.
    fn is_foreign(&mut self, path: &AbsolutePath) -> Result<bool, Failure> {
        if path.as_path().starts_with(schedule::UNITS) && schedule::is_in_a_package(&self.terms.root, path.name()) {
            return Ok(true);
        }
        let Some(place) = self.session.place(path, path.segments().count())? else { return Ok(false) };
        match self.session.changes.look(&place) {
            Ok(found) => Ok(found.is_some_and(|found| {
                !is_ours(&found.contents)
                    || self.terms.installation.is_anothers(&String::from_utf8_lossy(&found.contents))
            })),
            // A link or a directory: Warded itself writes only regular files.
            Err(_) => Ok(true),
        }
    }
}

fn is_recovery(path: &AbsolutePath) -> bool {
    Starter::ALL.iter().any(|starter| starter.path() == path.as_str())
}

fn absolute(path: &str) -> Result<AbsolutePath, Failure> {
    path.parse().map_err(|why: String| Failure::new("io", why))
}

fn foreign(path: &AbsolutePath) -> Failure {
    let message = format!(
        "{path} exists, but Warded did not write it for this installation, and it does not renew this installation's \
         certificates: it stays as it is, and nothing is scheduled. Give it another name, and run this again."
    );
    Failure::new("foreign", message).about("path", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_service_could_not_write_is_named() {
        for (directory, expected) in [
            ("/etc/ssh", true),
            ("/usr/etc/ssh", true),
            ("/root/warded", true),
            ("/var/lib/warded", false),
            ("/srv/keys", false),
            ("/etcetera", false),
        ] {
            assert_eq!(is_guarded(Path::new(directory)), expected, "{directory}");
        }
    }
}
