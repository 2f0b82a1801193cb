//! One sshd that the guard watches: the one that a run is for, or another one that reads the same files.

mod unread;

use super::{Forecast, Work};
use ssh_key::PublicKey;
use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::SystemTime,
};
use warded_lib::{
    ca::{Certificate, placeholder},
    error::{Error, Result},
    guard::{
        Baseline, Candidate, ListenerOffer, LiveReport, MayChange, Proof,
        config_digest::{self, Digests},
        former_key::keeps_certificates,
        live,
    },
    machine::{
        facts, services,
        sshd::{Listener, Sshd, UnknownListener},
    },
    transaction::{Reload, SshdBefore},
};

/// Every file as a run leaves it.
type Outcome = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// An sshd, and what must hold for it after a run.
#[derive(Debug)]
pub struct WatchedSshd {
    pub(super) sshd: Sshd,
    /// The unknown program that listens in its place, if any.
    pub(super) unknown: Option<UnknownListener>,
    role: Role,
    /// What must hold afterwards: the same as before, except for the keys that are replaced.
    pub(super) baseline: Baseline,
    /// The fingerprints of the keys that it offers now; `None` without a listener, empty if it cannot be asked.
    offered: Option<Vec<String>>,
    /// The candidate with stand-ins for the certificates, once it has been checked.
    checked: OnceCell<Candidate>,
    /// When it was last known to have read what is on disk, as far as that is recorded.
    read_at: Option<SystemTime>,
    /// The host keys that existed at that time.
    read_keys: Vec<PathBuf>,
    /// The digests of the files of the configuration that was proved.
    proved: Option<Digests>,
    /// The certificates that it was proved to serve.
    certificates: Vec<ssh_key::Certificate>,
}

/// Why a run watches an sshd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The run is for it.
    Subject,
    /// The run is for another sshd, and changes files that this one reads as well.
    Bystander,
}

impl WatchedSshd {
    /// Looks at an sshd as it is.
    pub(super) fn take(sshd: Sshd, role: Role, work: &Work) -> Result<Self> {
        let mut baseline = Baseline::take(&sshd)?;
        let unknown = sshd.unknown_listener()?;
        let prints = |offered: &ListenerOffer| offered.keys.iter().map(|key| key.fingerprint.clone()).collect();
        let offered = baseline.offered.as_ref().map(prints).or(baseline.unseen.as_ref().map(|_| Vec::new()));
        baseline.replace_keys(&work.replaced());
        if let Some(listener) = sshd.listener.as_ref().filter(|_| work.renewal.is_some()) {
            baseline.spare_former(listener);
        }
        let (checked, certificates) = (OnceCell::new(), Vec::new());
        Ok(Self {
            sshd,
            unknown,
            role,
            baseline,
            offered,
            checked,
            read_at: None,
            read_keys: Vec::new(),
            proved: None,
            certificates,
        })
    }

    /// Sets when it was last known to have read what is on disk, and the host keys that existed then.
    pub(super) fn read_at(self, read_at: Option<SystemTime>, read_keys: Vec<PathBuf>) -> Self {
        Self { read_at, read_keys, ..self }
    }

    /// Checks the result before the CA is asked. Returns what is not proved.
    pub(super) fn check(&self, work: &Work, result: &Outcome) -> Result<Vec<String>> {
        let baseline = &self.baseline;
        let candidate = self.candidate(work, result)?;
        let checked = candidate
            .check(baseline, work.may_change())
            .and_then(|()| candidate.keeps_logins(baseline, work.may_change()))
            .and_then(|logins| {
                self.refuse_untold(work, &candidate)?;
                Ok(logins.not_proved.into_iter().chain(self.unasked(work)?).collect())
            });
        let not_proved = checked.map_err(|error| self.told(error))?;
        self.checked.get_or_init(|| candidate);
        Ok(self.each_named(not_proved))
    }

    /// Proves the result with stand-ins for the certificates.
    pub(super) fn foresee(&self, work: &Work) -> Result<Forecast> {
        let stand_ins = RefCell::new(Vec::new());
        let result = work.result(|request| {
            let certificate = placeholder::host_certificate(&request.public, &request.principals)?;
            stand_ins.borrow_mut().push(certificate.clone());
            Ok(certificate)
        })?;
        let candidate = self.candidate(work, &result)?;
        let certificates = self.served(&candidate, plain(&stand_ins.into_inner())?)?;
        self.refuse_lost_pins(work, &candidate).map_err(|error| self.told(error))?;
        let proved = candidate.prove(&self.baseline, &certificates, &[]).and_then(|proof| {
            let mut users = candidate.admits_certificates(&self.baseline, work.may_change(), &work.user_authorities)?;
            let not_proved = self.each_named([proof.not_proved, std::mem::take(&mut users.not_proved)].concat());
            let effects = self.each_named(candidate.moves(&self.baseline)?);
            Ok(Forecast { not_proved, effects, users, loses_pins: candidate.keeps_pins(&self.baseline).is_err() })
        });
        proved.map_err(|error| self.told(error))
    }

    /// Proves the result by handshakes.
    pub(super) fn prove(&mut self, work: &Work, result: &Outcome, certificates: &[Certificate]) -> Result<Proof> {
        let mut candidate = self.candidate(work, result)?;
        // For a bystander, not every certificate is proved.
        if let Some(checked) = self.checked.take().filter(|_| self.is_subject()) {
            candidate = candidate.after(&checked);
        }
        // Lines of the configuration change together with the first certificates; later, only certificates change.
        let is_first = config_digest::difference(&self.baseline.files(), &candidate.files()).is_some();
        let candidate = candidate.with_second_opinion(is_first);
        // Only a stand-in has been checked so far, not what the CA returned.
        let (certificates, signers) = (self.served(&candidate, plain(certificates)?)?, signers(certificates));
        let baseline = &self.baseline;
        let proved = candidate
            .check(baseline, work.may_change())
            .and_then(|()| candidate.keeps_logins(baseline, work.may_change()))
            .and_then(|logins| {
                self.refuse_lost_pins(work, &candidate)?;
                let mut proof = candidate.prove(baseline, &certificates, &signers)?;
                proof.logins = logins.proved;
                proof.not_proved.extend(logins.not_proved.into_iter().chain(self.unasked(work)?));
                proof.users = candidate.admits_certificates(baseline, work.may_change(), &work.user_authorities)?;
                proof.not_proved.append(&mut proof.users.not_proved);
                Ok(proof)
            });
        let proof = proved.map_err(|error| self.told(error))?;
        (self.proved, self.certificates) = (Some(candidate.files()), certificates);
        Ok(proof)
    }

    fn refuse_lost_pins(&self, work: &Work, candidate: &Candidate) -> Result<()> {
        // An undo restores what let clients in before, and a renewal repeats what the operator accepted earlier.
        let is_again = work.renewal.is_some() || matches!(work.may_change(), MayChange::Any);
        if is_again || work.terms.replace_host_keys { Ok(()) } else { candidate.keeps_pins(&self.baseline) }
    }

    pub(super) fn still_holds(&self) -> Result<()> {
        self.baseline.still_holds(&self.sshd)
    }

    /// Checks that sshd's configuration is the one that was proved, byte by byte.
    pub fn is_as_proved(&self) -> Result<()> {
        let Some(proved) = &self.proved else { return Ok(()) };
        match config_digest::difference(proved, &config_digest::now(self.sshd.config.as_path())?) {
            None => Ok(()),
            Some(path) => Err(Error::refused(format!("{} was changed while this ran", path.display()))
                .cause("sshd was not told to reload: it would read a configuration that was not proved")
                .next("run this again when no person and no appliance's program is changing sshd's configuration")),
        }
    }

    /// Asks sshd what it serves, once a reload, or perhaps a program of the run, has reached it.
    pub(super) fn verify(&self, Work { reloads, steps, .. }: &Work) -> Result<LiveReport> {
        let may_reload = !reloads.is_empty() || !steps.is_empty();
        // A spared sshd keeps the certificates that it has.
        let certificates = if self.is_spared() { &[][..] } else { &self.certificates };
        let is_told = reloads.iter().any(|reload| self.is_told_by(reload));
        let verify = if may_reload { live::verify } else { live::verify_at_once };
        let reloaded = if self.baseline.unseen.is_some() && is_told { live::has_reloaded(&self.sshd) } else { Ok(()) };
        reloaded.and_then(|()| verify(&self.sshd, &self.baseline, certificates)).map_err(|error| {
            // sshd may have read a half-finished edit.
            let error = match self.is_as_proved() {
                Ok(()) => error,
                Err(edit) => error.cause(edit.message()),
            };
            self.named(error)
        })
    }

    /// Whether the run is for this sshd.
    pub(super) fn is_subject(&self) -> bool {
        self.role == Role::Subject
    }

    #[must_use]
    pub fn sshd(&self) -> &Sshd {
        &self.sshd
    }

    /// Whether the reload reaches this sshd's listener.
    #[must_use]
    pub fn is_told_by(&self, Reload { name, service, .. }: &Reload) -> bool {
        self.sshd.listener.as_ref().filter(|_| !self.is_spared()).is_some_and(|listener| {
            services::is_sshd(service, listener) && services::refuse_untellable(name, service, listener).is_ok()
        })
    }

    /// Whether it has read what is on disk, once these reloads have been verified.
    pub(super) fn has_read(&self, reloads: &[Reload]) -> bool {
        let shows_reloads = || self.sshd.listener.as_ref().is_some_and(|listener| listener.reading().is_some());
        let is_told = || reloads.iter().any(|reload| self.is_told_by(reload));
        !self.is_spared() && (self.baseline.unseen.is_none() || is_told() && shows_reloads())
    }

    /// Whether its reload is left out, because it would stop offering a key.
    pub(super) fn is_spared(&self) -> bool {
        !self.baseline.former.is_empty()
    }

    /// Whether the reload would reach a listener that is spared.
    pub(super) fn is_spared_by(&self, reload: &Reload) -> bool {
        let is_told = |listener: &Listener| services::is_sshd(&reload.service, listener);
        self.is_spared() && self.sshd.listener.as_ref().is_some_and(is_told)
    }

    /// Whether it keeps the certificates that it has read, because no reload of the work reaches it.
    pub(super) fn keeps_what_it_read(&self, work: &Work) -> bool {
        let is_told = work.reloads.iter().any(|reload| self.is_told_by(reload));
        self.sshd.listener.is_some() && !self.is_spared() && !is_told && keeps_certificates(&self.sshd)
    }

    /// Refuses a new configuration that the running sshd cannot be told to read. It would keep the old one, and at each
    /// login read files that only the old one names, which the guard no longer checks.
    fn refuse_untold(&self, work: &Work, candidate: &Candidate) -> Result<()> {
        let files = candidate.files();
        let changed = config_digest::difference(&self.baseline.files(), &files).map(ToOwned::to_owned);
        self.refuse_unseen(work, changed.as_deref())?;
        let Some(listener) = &self.sshd.listener else {
            return match (&self.unknown, changed) {
                (Some(unknown), Some(path)) if !work.terms.unknown_listener => Err(untold(unknown, &path)),
                _ => Ok(()),
            };
        };
        if self.role == Role::Bystander && changed.is_none() {
            return Ok(());
        }
        for reload in &work.reloads {
            services::refuse_untellable(&reload.name, &reload.service, listener)?;
        }
        let Some(path) = changed else { return Ok(()) };
        let is_told = work.reloads.iter().any(|reload| services::is_sshd(&reload.service, listener));
        if is_told {
            return Ok(());
        }
        Err(Error::refused(format!("{} would change, but the procedure does not reload sshd", path.display()))
            .cause("the running sshd would keep its configuration, which then differs from the one on disk")
            .next("the procedure has to reload sshd"))
    }

    pub(super) fn before(&self, binary: Option<&Path>) -> SshdBefore {
        SshdBefore {
            config: self.sshd.config.clone(),
            binary: binary.map(Path::to_owned),
            offered: self.offered.clone(),
            served: self
                .baseline
                .offered
                .iter()
                .flat_map(|offered| &offered.certificates)
                .map(|certificate| certificate.seen.serial)
                .collect(),
            files: self.baseline.files(),
            reading: self.sshd.listener.as_ref().and_then(Listener::reading),
            boot: facts::boot(),
            unit: self.sshd.listener.as_ref().and_then(|listener| listener.unit.clone()),
        }
    }

    fn candidate(&self, work: &Work, result: &Outcome) -> Result<Candidate> {
        let candidate = Candidate::build(&self.sshd, result)?
            .by(&work.authorship)
            .accepting(work.terms.logins)
            .mapping(work.principals.clone())
            .restoring_expired(work.restores_expired);
        Ok(match self.role {
            Role::Subject => candidate,
            Role::Bystander => candidate.of_bystander(),
        })
    }

    /// The certificates that this sshd has to serve.
    fn served(
        &self,
        candidate: &Candidate,
        certificates: Vec<ssh_key::Certificate>,
    ) -> Result<Vec<ssh_key::Certificate>> {
        match self.role {
            Role::Subject => Ok(certificates),
            Role::Bystander => candidate.serves(&certificates),
        }
    }

    /// If somebody edited the configuration meanwhile, that edit may be the cause, so it is reported instead.
    fn told(&self, error: Error) -> Error {
        self.named(self.baseline.still_holds(&self.sshd).err().unwrap_or(error))
    }

    /// Adds which sshd a message is about, if the run is not for that sshd.
    fn each_named(&self, texts: Vec<String>) -> Vec<String> {
        match self.role {
            Role::Subject => texts,
            Role::Bystander => {
                texts.into_iter().map(|text| format!("of the sshd of {}: {text}", self.sshd.config)).collect()
            }
        }
    }

    fn named(&self, error: Error) -> Error {
        match self.role {
            Role::Subject => error,
            Role::Bystander => error.cause(format!(
                "this is about the sshd of {}, which reads files that this run changes",
                self.sshd.config
            )),
        }
    }
}

/// The refusal for an unknown listener that may use this configuration, and can be neither reloaded nor asked.
fn untold(unknown: &UnknownListener, path: &Path) -> Error {
    Error::refused(format!("{} would change, and what listens is not known", path.display()))
        .cause(unknown)
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
