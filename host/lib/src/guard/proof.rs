//! The candidate proved before anything is touched: `sshd -i` runs it at the end of a pipe, and
//! real clients make real handshakes with it. No port, no listener, no network.

use super::{
    Candidate,
    baseline::{self, Baseline},
    includes::{Overlay, Tree},
    known_hosts::{self, Knows},
    on_two_threads,
    probe::{Attempt, Route},
    transcript::{End, Transcript},
};
use crate::{
    error::{Error, Result},
    machine::{
        scratch::Scratch,
        sshd::{Effective, Sshd, host_key},
    },
    text,
};
use ssh_key::{Certificate, HashAlg, PublicKey};
use std::path::{Path, PathBuf};

/// What was proved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Serial numbers of the certificates with which a client that knows only the CA got in.
    pub certificates: Vec<u64>,
    /// Types of the plain host keys with which a client that knows only that key got in.
    pub keys: Vec<String>,
    /// Users who logged in.
    pub logins: Vec<String>,
    /// Users who cannot log in with a key of their own today either, so that nothing is proved of them.
    pub not_proved: Vec<String>,
}

/// What a login asks for: sshd serves it by itself. A command would be run by the user's shell, and
/// with it whatever the user's start-up files do: as root, before anything has been agreed to.
const SUBSYSTEM: &str = "warded-proof";

/// How far a login came: the further, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Login {
    Denied,
    /// The user was let in, but did not get his command.
    LetIn,
    Works,
}

/// One exchange to be made.
enum Task<'a> {
    Certificate(&'a Certificate),
    Key(&'a PublicKey),
    Login(&'a str),
}

/// What one exchange proved.
enum Proved {
    Certificate(u64),
    Key(String),
    Login(String),
    Nothing(String),
}

impl Candidate {
    /// Proves the candidate: every certificate of `expect` is served and trusted by a client that
    /// knows only `authorities` (none: each certificate's own signer), every plain host key that is
    /// offered now still is, and whoever can log in with a key today still can.
    ///
    /// # Errors
    /// With the first of these that does not hold, and why.
    pub fn prove(&self, baseline: &Baseline, expect: &[Certificate], authorities: &[PublicKey]) -> Result<Proof> {
        let _held = self.original.hold()?;
        let effective = self.effective(&[])?;
        let keys = baseline::public_keys(&effective, Overlay(&self.staged));
        let keys: Vec<_> = keys.into_iter().filter(|key| is_needed(key, baseline)).collect();
        let stage = Stage::new(self, baseline, &effective, authorities)?;
        // The logins first: they take longest.
        let tasks: Vec<_> = baseline
            .users
            .iter()
            .map(|user| Task::Login(user))
            .chain(expect.iter().map(Task::Certificate))
            .chain(keys.iter().map(Task::Key))
            .collect();
        let mut proof = Proof::default();
        for proved in on_two_threads(&tasks, |task| stage.perform(task))? {
            match proved {
                Proved::Certificate(serial) => proof.certificates.push(serial),
                Proved::Key(key_type) => proof.keys.push(key_type),
                Proved::Login(user) => proof.logins.push(user),
                Proved::Nothing(user) => proof.not_proved.push(user),
            }
        }
        Ok(proof)
    }
}

/// Whether a plain key has to be offered: it is now, or, without a listener, it is on disk now.
fn is_needed(key: &PublicKey, baseline: &Baseline) -> bool {
    let print = key.fingerprint(HashAlg::Sha256).to_string();
    match &baseline.offered {
        Some(offered) => offered.keys.iter().any(|one| one.fingerprint == print),
        None => baseline.host_keys.iter().any(|(_, one)| one.key_data() == key.key_data()),
    }
}

/// What all the exchanges have in common.
struct Stage<'a> {
    baseline: &'a Baseline,
    tree: &'a Tree,
    effective: &'a Effective,
    authorities: &'a [PublicKey],
    candidate: Vec<String>,
    today: Vec<String>,
    may_lose_logins: bool,
    /// The key that logs in, and the command that shows it.
    identity: PathBuf,
    _private: Scratch,
    _passable: Scratch,
}

impl<'a> Stage<'a> {
    fn new(
        candidate: &'a Candidate,
        baseline: &'a Baseline,
        effective: &'a Effective,
        authorities: &'a [PublicKey],
    ) -> Result<Self> {
        let (private, passable) = (Scratch::private()?, Scratch::passable()?);
        let (key, text) = host_key::throw_away()?;
        let identity = private.write("id", &text, 0o600)?;
        // sshd reads this one as the user who logs in. It holds only a public key, which no sshd but
        // the ones started here is told of.
        let line = known_hosts::line_of(key.public_key().key_data())?;
        let authorized = passable.write("authorized_keys", line.as_bytes(), 0o644)?;
        Ok(Self {
            baseline,
            tree: &candidate.tree,
            effective,
            authorities,
            candidate: command(&candidate.sshd, candidate.config(), &authorized),
            today: command(&candidate.original, candidate.original.config.as_path(), &authorized),
            may_lose_logins: candidate.may_lose_logins,
            identity,
            _private: private,
            _passable: passable,
        })
    }

    fn perform(&self, task: &Task<'_>) -> Result<Proved> {
        match task {
            Task::Certificate(certificate) => self.certificate(certificate),
            Task::Key(key) => self.key(key),
            Task::Login(user) => self.login(user),
        }
    }

    fn certificate(&self, certificate: &Certificate) -> Result<Proved> {
        let signer = [PublicKey::new(certificate.signature_key().clone(), "")];
        let authorities = if self.authorities.is_empty() { &signer[..] } else { self.authorities };
        let algorithm = certificate.algorithm();
        let key_type = type_name(algorithm.as_str());
        let name = certificate.valid_principals().first().map_or("", String::as_str);
        let algorithms = known_hosts::algorithms(key_type, true, self.baseline.client.version);
        let seen = self.exchange(&self.candidate, Knows::Authorities(authorities), algorithms, name)?;
        let served = seen.certificate.as_ref().is_some_and(|one| one.serial == certificate.serial());
        if served && seen.by_certificate && seen.is_past_host_key() {
            return Ok(Proved::Certificate(certificate.serial()));
        }
        Err(self.certificate_fault(certificate, key_type, name, &seen))
    }

    fn certificate_fault(&self, certificate: &Certificate, key_type: &str, name: &str, seen: &Transcript) -> Error {
        let state = "nothing was changed";
        if let Some(other) = seen.certificate.as_ref().filter(|one| one.serial != certificate.serial()) {
            return Error::refused(format!("sshd would serve another certificate for its {key_type} key"))
                .cause(format!("another HostCertificate line for the same key wins: serial {}", other.serial))
                .seen(format!("expected serial {}", certificate.serial()))
                .state(state);
        }
        if seen.certificate.is_some() {
            return Error::refused(format!("a client that trusts the CA would not accept sshd as {name:?}"))
                .cause(seen.said())
                .state(state);
        }
        let error = Error::refused(format!("sshd would not serve the certificate of its {key_type} key")).state(state);
        let listed = self.effective.values("hostkeyalgorithms").iter().flat_map(|list| list.split(','));
        let mut types = listed.filter_map(known_hosts::type_of);
        if types.any(|(one, is_certificate)| is_certificate && one == key_type) {
            return match seen.end {
                End::Incomplete => error.cause(seen.said()),
                End::NotOffered | End::HostKeyRefused | End::NotLoggedIn | End::LoggedIn => error
                    .cause("no HostCertificate line leads to it")
                    .seen(format!("offered: {}", seen.offer.join(","))),
            };
        }
        let place = self.tree.place_of("HostKeyAlgorithms").unwrap_or_else(|| "sshd's command line".to_owned());
        let missing = known_hosts::algorithms(key_type, true, self.baseline.client.version);
        error
            .cause(format!("HostKeyAlgorithms ({place}) does not list its type"))
            .next(format!("add {missing} to that list, or remove the line"))
    }

    fn key(&self, key: &PublicKey) -> Result<Proved> {
        let algorithm = key.algorithm();
        let key_type = type_name(algorithm.as_str());
        let algorithms = known_hosts::algorithms(key_type, false, self.baseline.client.version);
        let known = std::slice::from_ref(key);
        let seen = self.exchange(&self.candidate, Knows::Keys(known), algorithms.clone(), "proof")?;
        if seen.is_past_host_key() {
            return Ok(Proved::Key(key_type.to_owned()));
        }
        // Without a listener nobody has seen this key: perhaps it is not offered today either.
        let today = self.exchange(&self.today, Knows::Keys(known), algorithms, "proof")?;
        if self.baseline.offered.is_none() && !today.is_past_host_key() {
            return Ok(Proved::Nothing(key_type.to_owned()));
        }
        Err(Error::refused(format!("a client that knows sshd's {key_type} host key could not connect any more"))
            .cause(seen.said())
            .state("nothing was changed"))
    }

    fn login(&self, user: &str) -> Result<Proved> {
        let (after, seen) = self.try_login(&self.candidate, user)?;
        if after == Login::Works {
            return Ok(Proved::Login(user.to_owned()));
        }
        let (before, _) = self.try_login(&self.today, user)?;
        if before <= after || self.may_lose_logins {
            return Ok(Proved::Nothing(user.to_owned()));
        }
        let what = if after == Login::Denied { "log in any more" } else { "run a command any more" };
        Err(Error::refused(format!("{} could not {what}", text::neutral(user)))
            .cause(seen.said())
            .seen("the same login works with the configuration as it is")
            .state("nothing was changed"))
    }

    fn try_login(&self, sshd: &[String], user: &str) -> Result<(Login, Transcript)> {
        let keys = self.baseline.public_keys();
        let mut algorithms: Vec<_> = known_hosts::TYPES.to_vec();
        algorithms.retain(|one| keys.iter().any(|key| type_name(key.algorithm().as_str()) == *one));
        let version = self.baseline.client.version;
        let algorithms: Vec<_> = algorithms.iter().map(|one| known_hosts::algorithms(one, false, version)).collect();
        let attempt = Attempt {
            knows: Knows::Keys(&keys),
            algorithms: algorithms.join(","),
            name: "proof",
            user,
            login: Some((&self.identity, SUBSYSTEM)),
        };
        let (seen, status) = self.completed(sshd, &attempt)?;
        let login = match seen.end {
            End::LoggedIn if status == Some(0) => Login::Works,
            End::LoggedIn => Login::LetIn,
            End::NotLoggedIn | End::HostKeyRefused | End::NotOffered | End::Incomplete => Login::Denied,
        };
        Ok((login, seen))
    }

    /// One exchange without a login.
    fn exchange(&self, sshd: &[String], knows: Knows<'_>, algorithms: String, name: &str) -> Result<Transcript> {
        let attempt = Attempt { knows, algorithms, name, user: self.baseline.user(), login: None };
        Ok(self.completed(sshd, &attempt)?.0)
    }

    /// One exchange; once more if it did not complete, which on a pipe only a very busy machine
    /// brings about.
    fn completed(&self, sshd: &[String], attempt: &Attempt<'_>) -> Result<(Transcript, Option<i32>)> {
        let route = Route::Pipe(sshd.to_vec());
        let first = self.baseline.client.exchange(&route, attempt)?;
        if first.0.end == End::Incomplete { self.baseline.client.exchange(&route, attempt) } else { Ok(first) }
    }
}

/// A key type's name as it is used here; others as they are.
fn type_name(name: &str) -> &str {
    known_hosts::type_of(name).map_or(name, |(key_type, _)| key_type)
}

/// The sshd at the end of the pipe. What stands first on its command line wins over everything
/// later, so ours does.
fn command(sshd: &Sshd, config: &Path, authorized: &Path) -> Vec<String> {
    let mut words: Vec<String> = vec![sshd.binary.display().to_string(), "-i".into(), "-e".into(), "-f".into()];
    words.push(config.display().to_string());
    let keys = format!("AuthorizedKeysFile={}", authorized.display());
    let subsystem = format!("Subsystem={SUBSYSTEM} internal-sftp");
    for option in [keys.as_str(), &subsystem, "StrictModes=no", "LogLevel=INFO"] {
        words.extend(["-o".to_owned(), option.to_owned()]);
    }
    words.extend(sshd.arguments.iter().cloned());
    words
}
