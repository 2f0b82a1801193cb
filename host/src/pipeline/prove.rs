//! The guard, as a run uses it: nobody is locked out, whatever the policy says.

use super::{Work, known_hosts};
use crate::context::Context;
use ssh_key::PublicKey;
use std::cell::RefCell;
use warded_lib::{
    ca::{Certificate, placeholder},
    error::{Error, Result},
    guard::{
        Baseline, Candidate, Offered, Proof, Verified, live, unasked,
        unchanged::{self, Digests},
    },
    machine::{
        facts,
        path::AbsolutePath,
        services,
        sshd::{Listener, Sshd, Unknown},
    },
    transaction::SshdBefore,
};

/// The guard of one run.
#[derive(Debug)]
pub struct Guard {
    config: AbsolutePath,
    /// None without an sshd: then its configuration, if there is one, stays as it is. None, too, where the run has
    /// nothing to do with it.
    watched: Option<Watched>,
    /// Whether the run has anything to do with sshd.
    concerned: bool,
}

#[derive(Debug)]
struct Watched {
    sshd: Sshd,
    /// What listens in its place and is not known.
    unknown: Option<Unknown>,
    /// What has to be so afterwards: as before, but for the keys that are replaced.
    baseline: Baseline,
    /// The fingerprints of the keys that are offered now; none without a listener.
    offered: Option<Vec<String>>,
    /// The files of the configuration that was proved.
    proved: Option<Digests>,
}

impl Guard {
    /// Looks at sshd as it is.
    ///
    /// # Errors
    /// A host key would end that the operator did not give up; its configuration is broken already, was changed since the procedure asked about it, or what
    /// it offers cannot be told: refused.
    pub fn baseline(context: &Context, work: &Work) -> Result<Self> {
        work.refuse_unaccepted()?;
        let config = context.places.sshd_config.clone();
        known_hosts::check(context, work)?;
        if !work.concerns_sshd() {
            return Ok(Self { config, watched: None, concerned: false });
        }
        let Some(sshd) = Sshd::find(&config, context.sshd_binary.as_deref())? else {
            return Ok(Self { config, watched: None, concerned: true });
        };
        let mut baseline = Baseline::take(&sshd)?;
        let unknown = sshd.unknown_listener()?;
        if let Some(read) = &work.configuration
            && let Some(path) = unchanged::difference(read, &baseline.files())
        {
            return Err(Error::refused(format!("{} was changed since the plan was made", path.display()))
                .cause("the plan depends on what sshd said of its configuration before that")
                .state("nothing was changed")
                .next("run this again"));
        }
        let prints = |offered: &Offered| offered.keys.iter().map(|key| key.fingerprint.clone()).collect();
        let offered = baseline.offered.as_ref().map(prints);
        baseline.replace_keys(&work.replaced());
        let watched = Some(Watched { sshd, unknown, baseline, offered, proved: None });
        Ok(Self { config, watched, concerned: true })
    }

    /// The sshd that is watched.
    #[must_use]
    pub fn sshd(&self) -> Option<&Sshd> {
        self.watched.as_ref().map(|watched| &watched.sshd)
    }

    /// What listens in sshd's place and is not known.
    #[must_use]
    pub fn unknown(&self) -> Option<&Unknown> {
        self.watched.as_ref()?.unknown.as_ref()
    }

    /// Checks the result before the CA is asked: a stand-in is in each certificate's place. Returns what is not proved.
    ///
    /// # Errors
    /// Refused: what would be wrong with it.
    pub fn check(&self, work: &Work) -> Result<Vec<String>> {
        if !self.concerned {
            return Ok(Vec::new());
        }
        let result = work.result(|request| placeholder::host_certificate(&request.public, &request.principals))?;
        let Some(Watched { sshd, unknown, baseline, .. }) = &self.watched else {
            return unasked::refuse(self.config.as_path(), &result, work.may_change()).map(|()| Vec::new());
        };
        let candidate = Candidate::build(sshd, &result)?.by(&work.authorship).accepting(work.login_risks);
        let checked = candidate
            .check(baseline, work.may_change())
            .and_then(|()| candidate.keeps_logins(baseline, work.may_change()))
            .and_then(|logins| {
                refuse_untold(sshd, unknown.as_ref(), work, baseline, &candidate)?;
                Ok(logins.not_proved)
            });
        checked.map_err(|error| somebodys(error, sshd, baseline))
    }

    /// Proves the result with stand-ins for the certificates: what a run would be refused for, without one. Returns
    /// what is not proved.
    ///
    /// # Errors
    /// Refused: what would be wrong with it.
    pub fn foresee(&self, work: &Work) -> Result<Vec<String>> {
        known_hosts::prove(work)?;
        let mut not_proved = self.check(work)?;
        let Some(Watched { sshd, baseline, .. }) = &self.watched else { return Ok(not_proved) };
        let stand_ins = RefCell::new(Vec::new());
        let result = work.result(|request| {
            let certificate = placeholder::host_certificate(&request.public, &request.principals)?;
            stand_ins.borrow_mut().push(certificate.clone());
            Ok(certificate)
        })?;
        let candidate = Candidate::build(sshd, &result)?;
        not_proved.extend(candidate.prove(baseline, &plain(&stand_ins.into_inner())?, &[])?.not_proved);
        Ok(not_proved)
    }

    /// Proves the result, certificates and all, by handshakes with an sshd that serves nobody else.
    ///
    /// # Errors
    /// Refused: who could not connect, and why.
    pub fn prove(&mut self, work: &Work, certificates: &[Certificate]) -> Result<Option<Proof>> {
        let Some(Watched { sshd, baseline, proved, .. }) = &mut self.watched else { return Ok(None) };
        let result = work.result(|_| Err(Error::failed("a certificate was not issued")))?;
        let candidate = Candidate::build(sshd, &result)?.by(&work.authorship).accepting(work.login_risks);
        // The lines of the configuration come with the first certificates; later, certificates alone change.
        let is_first = unchanged::difference(&baseline.files(), &candidate.files()).is_some();
        let candidate = candidate.with_second_opinion(is_first);
        // What the CA returned has not been checked in its place yet.
        let (certificates, signers) = (plain(certificates)?, signers(certificates));
        let proved_now = candidate
            .check(baseline, work.may_change())
            .and_then(|()| candidate.keeps_logins(baseline, work.may_change()))
            .and_then(|logins| {
                let mut proof = candidate.prove(baseline, &certificates, &signers)?;
                proof.logins = logins.proved;
                proof.not_proved.extend(logins.not_proved);
                Ok(proof)
            });
        let proof = proved_now.map_err(|error| somebodys(error, sshd, baseline))?;
        *proved = Some(candidate.files());
        Ok(Some(proof))
    }

    /// Sees that nobody has edited sshd's configuration since it was looked at.
    ///
    /// # Errors
    /// Refused: somebody has.
    pub fn still_holds(&self) -> Result<()> {
        let Some(Watched { sshd, baseline, .. }) = &self.watched else { return Ok(()) };
        baseline.still_holds(sshd)
    }

    /// Sees that sshd's configuration is the one that was proved, byte by byte: for the moment before
    /// sshd is told to read it.
    ///
    /// # Errors
    /// Refused: somebody has edited it.
    pub fn is_as_proved(&self) -> Result<()> {
        let Some(Watched { proved: Some(proved), .. }) = &self.watched else { return Ok(()) };
        match unchanged::difference(proved, &unchanged::now(self.config.as_path())?) {
            None => Ok(()),
            Some(path) => Err(Error::refused(format!("{} was changed while this ran", path.display()))
                .cause("sshd was not told to reload: it would read what was not proved")
                .next("run this again when nobody else is editing sshd's configuration")),
        }
    }

    /// Sees what is served, once sshd has been told.
    ///
    /// # Errors
    /// Something that was served before is not, or a certificate is not the one on disk.
    pub fn verify(&self, certificates: &[Certificate]) -> Result<Option<Verified>> {
        let Some(Watched { sshd, baseline, .. }) = &self.watched else { return Ok(None) };
        let verified = live::verify(sshd, baseline, &plain(certificates)?);
        // It may have read the half of an edit.
        let meanwhile = |error: Error| match self.is_as_proved() {
            Ok(()) => error,
            Err(edit) => error.cause(edit.message()),
        };
        verified.map(Some).map_err(meanwhile)
    }

    /// What has to be so again if the run is taken back.
    #[must_use]
    pub fn before(&self, context: &Context) -> Option<SshdBefore> {
        let Watched { sshd, baseline, offered, .. } = self.watched.as_ref()?;
        Some(SshdBefore {
            config: sshd.config.clone(),
            binary: context.sshd_binary.clone(),
            offered: offered.clone(),
            files: baseline.files(),
            reading: sshd.listener.as_ref().and_then(Listener::reading),
            boot: facts::boot(),
        })
    }
}

/// What is wrong with a result may be the work of somebody who edits sshd's configuration just now: then that
/// is what has to be known.
fn somebodys(error: Error, sshd: &Sshd, baseline: &Baseline) -> Error {
    baseline.still_holds(sshd).err().unwrap_or(error)
}

/// A running sshd has to be told of its new configuration. It would go on with the old one, and read files
/// at each login that only the old one names: those are not held against anything any more.
fn refuse_untold(
    sshd: &Sshd,
    unknown: Option<&Unknown>,
    work: &Work,
    baseline: &Baseline,
    candidate: &Candidate,
) -> Result<()> {
    let files = candidate.files();
    let changed = unchanged::difference(&baseline.files(), &files).map(ToOwned::to_owned);
    let Some(listener) = &sshd.listener else {
        return match (unknown, changed) {
            (Some(unknown), Some(path)) if !work.may_leave_unknown => Err(untold(unknown, &path)),
            _ => Ok(()),
        };
    };
    for reload in &work.reloads {
        services::refuse_untellable(&reload.name, &reload.service, listener)
            .map_err(|error| error.state("nothing was changed"))?;
    }
    let Some(path) = changed else { return Ok(()) };
    if work.reloads.iter().any(|reload| services::is_sshd(&reload.service, listener)) {
        return Ok(());
    }
    Err(Error::refused(format!("{} would change, and sshd is not told", path.display()))
        .cause("what a running sshd has read, and what is on disk, would be two different configurations")
        .state("nothing was changed")
        .next("the procedure has to reload sshd"))
}

/// What listens may read that configuration, and could neither be told of it nor be asked what it serves.
fn untold(unknown: &Unknown, path: &std::path::Path) -> Error {
    Error::refused(format!("{} would change, and what listens is not known", path.display()))
        .cause(unknown)
        .state("nothing was changed")
        .next(unknown.next())
        .next("to go on without it: --accept-risk=unknown-listener")
}

/// The certificates in the form that the guard compares.
fn plain(certificates: &[Certificate]) -> Result<Vec<ssh_key::Certificate>> {
    let unreadable = |error| Error::failed("a certificate cannot be compared with what sshd serves").cause(error);
    certificates
        .iter()
        .map(|certificate| ssh_key::Certificate::from_bytes(certificate.bytes()).map_err(unreadable))
        .collect()
}

fn signers(certificates: &[Certificate]) -> Vec<PublicKey> {
    let mut signers: Vec<PublicKey> = Vec::new();
    for certificate in certificates {
        if !signers.iter().any(|known| known.key_data() == certificate.signer().key_data()) {
            signers.push(certificate.signer().clone());
        }
    }
    signers
}
