//! The guard, as a run uses it: whatever the policy says, nobody is locked out.

mod watched;

use super::{Work, known_hosts};
use crate::{
    context::Context,
    enrolment::{Enrolment, Enrolments},
    outcomes::{LastProof, Outcome as _},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::SystemTime,
};
use warded_lib::{
    ca::{Certificate, Principal, placeholder},
    error::{Error, Result},
    guard::{
        Certificates, FormerKey, LiveReport, MayChange, Proof,
        bystanders::{self, FileRole},
        config_digest, no_sshd,
    },
    machine::{
        facts::Init,
        path::AbsolutePath,
        service::ServiceOperation,
        services,
        sshd::{
            Sshd, UnknownListener,
            listener::{self, OtherSshds},
        },
    },
    transaction::{Reload, SshdBefore},
};
use watched::Role;
pub use watched::WatchedSshd;

/// The guard of one run.
#[derive(Debug)]
pub struct Guard {
    config: AbsolutePath,
    /// `None` without an sshd: then its configuration, if there is one, stays as it is. `None`, too, if the run does
    /// not concern sshd.
    subject: Option<WatchedSshd>,
    /// Whether the run concerns sshd.
    concerned: bool,
    /// The other sshds that read what the run changes.
    bystanders: Vec<WatchedSshd>,
    /// The reasons why some of them could not be examined, one sentence each.
    unwatched: Vec<String>,
}

/// What a plan says about the proof.
#[derive(Debug, Default)]
pub struct Forecast {
    /// What a run would leave unproved.
    pub not_proved: Vec<String>,
    /// Effects of the change that its lines do not show, one sentence each.
    pub effects: Vec<String>,
    /// The users whom sshd would let in by certificates of a CA that it does not trust yet.
    pub users: Certificates,
    /// Whether clients that have pinned a single key would be refused.
    pub loses_pins: bool,
}

impl Guard {
    /// Looks at sshd as it is, and at the other sshds that read what the work changes.
    ///
    /// # Errors
    /// Refused: a host key would be lost that the operator did not give up, the configuration is broken or has changed
    /// since the procedure read it, or it is not known what sshd offers.
    pub fn baseline(context: &Context, work: &Work) -> Result<Self> {
        work.refuse_unaccepted()?;
        let systemd = context.facts.init == Init::Systemd;
        for restart in work.reloads.iter().filter(|reload| reload.operation == ServiceOperation::Restart) {
            services::refuse_restart(&restart.name, &restart.service, systemd)?;
        }
        let config = context.places.sshd_config.clone();
        known_hosts::check(context, work)?;
        let (bystanders, unwatched) = (Vec::new(), Vec::new());
        if !work.concerns_sshd() {
            return Ok(Self { config, subject: None, concerned: false, bystanders, unwatched });
        }
        let sshd = context.sshd()?;
        let proof = LastProof::load(&context.state);
        let subject = sshd.map(|sshd| WatchedSshd::take(sshd, Role::Subject, work)).transpose()?;
        let subject = match proof {
            Some(proof) => subject.map(|subject| subject.read_at(proof.read_at.map(SystemTime::from), proof.host_keys)),
            None => subject,
        };
        if let (Some(read), Some(subject)) = (&work.configuration, &subject)
            && let Some(path) = config_digest::difference(read, &subject.baseline.files())
        {
            return Err(Error::refused(format!("{} was changed since the plan was made", path.display()))
                .cause("the plan was made with sshd's configuration as it was before")
                .next("run this again"));
        }
        let mut guard = Self { config, subject, concerned: true, bystanders, unwatched };
        guard.look_beside(context, work)?;
        Ok(guard)
    }

    /// Finds the sshds, running or enrolled, that read what the work changes.
    fn look_beside(&mut self, context: &Context, work: &Work) -> Result<()> {
        let changed = work.result(|request| placeholder::host_certificate(&request.public, &request.principals))?;
        if changed.is_empty() {
            return Ok(());
        }
        let OtherSshds { configured: mut others, unknown } = listener::others(self.config.as_path())?;
        self.unwatched.extend(unknown.iter().map(|(pid, why)| {
            format!(
                "process {pid} is an sshd, too; it is not known whether it reads files that this run changes: it {why}"
            )
        }));
        for enrolled in Enrolments::load(&context.state)?.beside(&self.config) {
            refuse_lost_names(work, enrolled)?;
            let config = enrolled.sshd_config.as_path();
            let real = config.canonicalize().unwrap_or_else(|_| config.to_owned());
            if !others.iter().any(|(known, _)| *known == real) {
                others.push((real, Vec::new()));
            }
        }
        for (config, arguments) in others {
            let Some(reads) = bystanders::reads(&config, &arguments, &changed) else { continue };
            match watch(&config, work) {
                Ok(bystander) => {
                    if bystander.as_ref().is_some_and(|bystander| bystander.keeps_what_it_read(work)) {
                        self.unwatched.push(format!(
                            "the sshd of {} reads files that this run changes, but this policy does not reload it: it \
                             keeps what it has read until you reload it",
                            config.display()
                        ));
                    }
                    if let Some(unseen) = bystander.as_ref().and_then(|bystander| bystander.baseline.unseen.as_ref()) {
                        self.unwatched.push(format!(
                            "the sshd of {} reads files that this run changes, and is not seen live: {}",
                            config.display(),
                            unseen.message()
                        ));
                    }
                    self.bystanders.extend(bystander);
                }
                Err(error) if reads == FileRole::Configuration && matches!(work.may_change(), MayChange::Only(_)) => {
                    return Err(error.cause(format!(
                        "the sshd of {} reads configuration files that this run changes, too",
                        config.display()
                    )));
                }
                Err(error) => self.unwatched.push(format!(
                    "the sshd of {} reads files that this run changes, and Warded does not reload it: {}",
                    config.display(),
                    error.message()
                )),
            }
        }
        Ok(())
    }

    /// Asks each watched sshd, and returns the answers in one list.
    fn each(&self, ask: impl Fn(&WatchedSshd) -> Result<Vec<String>>) -> Result<Vec<String>> {
        let answers: Vec<Vec<String>> = self.all().map(ask).collect::<Result<_>>()?;
        Ok(answers.concat())
    }

    fn all(&self) -> impl Iterator<Item = &WatchedSshd> {
        self.subject.iter().chain(&self.bystanders)
    }

    /// The sshd that the run is for.
    #[must_use]
    pub fn sshd(&self) -> Option<&Sshd> {
        self.subject.as_ref().map(WatchedSshd::sshd)
    }

    /// The other sshds that read what the run changes.
    #[must_use]
    pub fn bystanders(&self) -> &[WatchedSshd] {
        &self.bystanders
    }

    /// The reasons why some of them could not be examined, one sentence each.
    #[must_use]
    pub fn unwatched(&self) -> &[String] {
        &self.unwatched
    }

    /// Removes from the work the reloads that would make the run's sshd stop offering a key.
    pub fn spare(&self, work: &mut Work) {
        let spared = |reload: &Reload| self.subject.as_ref().is_some_and(|subject| subject.is_spared_by(reload));
        work.reloads.retain(|reload| !spared(reload));
    }

    /// The keys that the watched sshds offer, and would stop offering if they read their files.
    #[must_use]
    pub fn former(&self) -> Vec<FormerKey> {
        self.all().flat_map(|watched| watched.baseline.former.clone()).collect()
    }

    /// The unknown program that listens in sshd's place, if any.
    #[must_use]
    pub fn unknown(&self) -> Option<&UnknownListener> {
        self.subject.as_ref()?.unknown.as_ref()
    }

    /// Whether the run's sshd has read what is on disk, once these reloads have been verified: it was seen to serve
    /// that, or it reopened its sockets.
    #[must_use]
    pub fn has_read(&self, reloads: &[Reload]) -> bool {
        self.subject.as_ref().is_some_and(|subject| subject.has_read(reloads))
    }

    /// The files of the host keys of the run's sshd.
    #[must_use]
    pub fn host_keys(&self) -> Vec<PathBuf> {
        let keys = self.subject.iter().flat_map(|subject| &subject.baseline.host_keys);
        keys.map(|(path, _)| path.clone()).collect()
    }

    /// Why the run's sshd cannot be asked what it offers, if that is so.
    #[must_use]
    pub fn unseen(&self) -> Option<&Error> {
        self.subject.as_ref()?.baseline.unseen.as_ref()
    }

    /// Checks the result before the CA is asked, with a stand-in for each certificate. Returns what is not proved.
    ///
    /// # Errors
    /// Refused: the result would be wrong.
    pub fn check(&self, work: &Work) -> Result<Vec<String>> {
        if !self.concerned {
            return Ok(Vec::new());
        }
        let result = work.result(|request| placeholder::host_certificate(&request.public, &request.principals))?;
        if self.subject.is_none() {
            no_sshd::refuse(self.config.as_path(), &result, work.may_change())?;
        }
        self.each(|watched| watched.check(work, &result))
    }

    /// Proves the result with stand-ins for the certificates: finds what a run would be refused for, without making
    /// one.
    ///
    /// # Errors
    /// Refused: the result would be wrong.
    pub fn foresee(&self, work: &Work) -> Result<Forecast> {
        known_hosts::prove(work)?;
        let mut foreseen = Forecast { not_proved: self.check(work)?, ..Forecast::default() };
        for watched in self.all() {
            let Forecast { not_proved, effects, users, loses_pins } = watched.foresee(work)?;
            foreseen.not_proved.extend(not_proved);
            foreseen.effects.extend(effects);
            foreseen.loses_pins |= loses_pins;
            if watched.is_subject() {
                foreseen.users = users;
            }
        }
        Ok(foreseen)
    }

    /// Proves the result, certificates and all, by handshakes with a private sshd that serves nobody else. Returns what
    /// was proved of the run's sshd.
    ///
    /// # Errors
    /// Refused: who could not connect, and why.
    pub fn prove(&mut self, work: &Work, certificates: &[Certificate]) -> Result<Option<Proof>> {
        let result = work.result(|_| Err(Error::failed("a certificate was not issued")))?;
        let mut prove = |watched: &mut WatchedSshd| watched.prove(work, &result, certificates);
        let proof = self.subject.as_mut().map(&mut prove).transpose()?;
        self.bystanders.iter_mut().try_for_each(|bystander| prove(bystander).map(drop))?;
        Ok(proof)
    }

    /// Checks that nobody has edited sshd's configuration since the guard first read it.
    ///
    /// # Errors
    /// Refused: it was edited.
    pub fn still_holds(&self) -> Result<()> {
        self.all().try_for_each(WatchedSshd::still_holds)
    }

    /// Checks that the configuration of the run's sshd is the one that was proved, byte by byte. Called just before
    /// sshd is told to read it.
    ///
    /// # Errors
    /// Refused: it was edited.
    pub fn is_as_proved(&self) -> Result<()> {
        self.subject.as_ref().map_or(Ok(()), WatchedSshd::is_as_proved)
    }

    /// The same for every sshd that reads a file of the run. Called after programs have run, which may write any of
    /// these files.
    ///
    /// # Errors
    /// Refused: one was edited.
    pub fn all_are_as_proved(&self) -> Result<()> {
        self.all().try_for_each(WatchedSshd::is_as_proved)
    }

    /// Asks each sshd what it serves, once it has been reloaded. Returns what the run's sshd served.
    ///
    /// # Errors
    /// Something that was served before is not served now, or a served certificate is not the one on disk.
    pub fn verify(&self, work: &Work) -> Result<Option<LiveReport>> {
        let verified = self.subject.as_ref().map(|subject| subject.verify(work)).transpose()?;
        // An sshd that this run does not reload keeps its old configuration.
        let is_told = |bystander: &&WatchedSshd| work.reloads.iter().any(|reload| bystander.is_told_by(reload));
        self.bystanders.iter().filter(is_told).try_for_each(|bystander| bystander.verify(work).map(drop))?;
        Ok(verified)
    }

    /// What must be so again if the run is rolled back: of the run's sshd, and of the others.
    #[must_use]
    pub fn before(&self, context: &Context) -> (Option<SshdBefore>, Vec<SshdBefore>) {
        let subject = self.subject.as_ref().map(|subject| subject.before(context.sshd_binary.as_deref()));
        (subject, self.bystanders.iter().map(|bystander| bystander.before(None)).collect())
    }
}

/// A certificate that another sshd also serves must contain the names of both.
fn refuse_lost_names(work: &Work, enrolled: &Enrolment) -> Result<()> {
    for (path, request) in work.certificate_files() {
        let is_named = |name: &String| request.principals.iter().any(|requested| requested.as_str() == name);
        let config = enrolled.sshd_config.as_path();
        let changed = [(path.clone(), None)].into();
        if enrolled.principals.iter().all(is_named) || bystanders::reads(config, &[], &changed).is_none() {
            continue;
        }
        let names: BTreeSet<&str> = enrolled
            .principals
            .iter()
            .map(String::as_str)
            .chain(request.principals.iter().map(Principal::as_str))
            .collect();
        let all: Vec<String> = names.into_iter().map(|name| format!("--set principal={name}")).collect();
        let own: Vec<&str> = enrolled.principals.iter().map(String::as_str).collect();
        return Err(Error::refused(format!("{} would lose names that another sshd is enrolled for", path.display()))
            .cause(format!("the sshd of {} serves the same certificate, for {}", config.display(), own.join(" ")))
            .seen(format!("asked for: {}", request.principals))
            .next(format!("give the names of both: {}; or give one of them host keys of its own", all.join(" "))));
    }
    Ok(())
}

/// Looks at an sshd that the run is not for; `None` if there is no such sshd.
fn watch(config: &Path, work: &Work) -> Result<Option<WatchedSshd>> {
    let config = AbsolutePath::try_from(config)
        .map_err(|why| Error::failed(format!("{} cannot be used as a path", config.display())).cause(why))?;
    let sshd = Sshd::find(&config, None)?;
    sshd.map(|sshd| WatchedSshd::take(sshd, Role::Bystander, work)).transpose()
}
