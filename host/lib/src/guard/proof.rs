//! Proves the candidate before anything is touched: an sshd that serves a single connection runs it, and clients make
//! real handshakes with that sshd. This needs no listener and no network.

use super::{
    baseline::{self, Baseline, is_offered},
    candidate::Candidate,
    client::{
        Question,
        bench::{Bench, addresses, command, login_options},
        hosts::{self, Guest, ProofMethod},
        known_hosts::{self, ClientKnowledge},
        program::Route,
        transcript::{End, Transcript},
    },
    logins::Certificates,
};
use crate::{
    ca,
    error::{Error, Result},
    machine::{
        scratch::Scratch,
        sshd::{
            Effective, Sshd, host_key,
            tree::{Overlay, Tree},
        },
    },
};
use ssh_key::{Algorithm, Certificate, HashAlg, PrivateKey, PublicKey};
use std::path::Path;

/// What was proved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Serial numbers of the certificates with which a client that knows only the CA was able to connect.
    pub certificates: Vec<u64>,
    /// Types of the plain host keys with which a client that knows only that key was able to connect.
    pub keys: Vec<String>,
    /// Users whom sshd would still let in by public key; only where a change decides about logins.
    pub logins: Vec<String>,
    /// Users and types of host keys for which nothing is proved, and why.
    pub not_proved: Vec<String>,
    /// Whom sshd lets in by certificates of a CA that it does not trust yet.
    pub users: Certificates,
    /// How the host keys were proved.
    pub way: ProofMethod,
    /// Whether some exchange was possible only with the `ssh` program.
    pub by_program: bool,
}

impl Candidate {
    /// Proves the candidate. It serves every certificate in `expect`, and a client that knows only `authorities`
    /// (none: each certificate's own signer) trusts it. It still offers every plain host key that is offered now.
    ///
    /// # Errors
    /// With the first of these that does not hold, and why.
    pub fn prove(&self, baseline: &Baseline, expect: &[Certificate], authorities: &[PublicKey]) -> Result<Proof> {
        self.proved(baseline, expect, authorities).map_err(|error| error.reworded(|text| self.real_names(text)))
    }

    fn proved(&self, baseline: &Baseline, expect: &[Certificate], authorities: &[PublicKey]) -> Result<Proof> {
        let _held = self.original.hold()?;
        let effective = &self.view()?.effective;
        let stage = Stage::new(self, baseline, effective)?;
        stage.refuse_filtered(expect)?;
        let keys = baseline::public_keys(effective, Overlay(&self.staged));
        let single = |key: &PublicKey| keys.iter().filter(|one| one.algorithm() == key.algorithm()).count() == 1;
        // A signature by a certificate's key proves the plain key as well: if sshd has only one key of that type, it
        // offers that one.
        let by_certificate =
            |key: &PublicKey| expect.iter().any(|one| one.public_key() == key.key_data()) && single(key);
        let plain: Vec<&PublicKey> =
            keys.iter().filter(|key| is_offered(key, baseline) && !by_certificate(key)).collect();
        let mut questions = Vec::new();
        let signers: Vec<_> = expect.iter().map(|one| [PublicKey::new(one.signature_key().clone(), "")]).collect();
        for (certificate, signer) in expect.iter().zip(&signers) {
            let known = if authorities.is_empty() { signer } else { authorities };
            questions.push(certificate_question(certificate, ClientKnowledge::Authorities(known)));
        }
        questions.extend(plain.iter().map(|key| key_question(key)));
        let (answers, way) = hosts::ask(&stage.candidate, &baseline.client, stage.guest(), &questions)?;
        let (certified, pinned) = answers.split_at(expect.len().min(answers.len()));
        let mut proof = Proof { way, ..Proof::default() };
        for (certificate, seen) in expect.iter().zip(certified) {
            stage.refuse_certificate(certificate, seen)?;
            proof.certificates.push(certificate.serial());
        }
        for (key, seen) in plain.iter().zip(pinned) {
            stage.judge_key(key, seen, &mut proof)?;
        }
        let named = keys.iter().filter(|key| is_offered(key, baseline) && by_certificate(key));
        proof.keys.extend(named.map(|key| type_of(key).to_owned()));
        for exposed in self.exposed(baseline)? {
            proof.keys.retain(|key_type| key_type != exposed);
            proof.not_proved.push(format!(
                "clients that know only the {exposed} host key: it has no certificate, and they take that of another key \
                 for a changed host key"
            ));
        }
        if self.with_second_opinion {
            proof.not_proved.extend(stage.second_opinion(&questions)?);
        }
        proof.by_program = baseline.client.needed_program();
        Ok(proof)
    }
}

fn certificate_question<'a>(certificate: &'a Certificate, knows: ClientKnowledge<'a>) -> Question<'a> {
    let name = certificate.valid_principals().first().map_or("", String::as_str);
    Question { knows, key_type: type_name(&certificate.algorithm()), certificate: true, name }
}

fn key_question(key: &PublicKey) -> Question<'_> {
    Question {
        knows: ClientKnowledge::Keys(std::slice::from_ref(key)),
        key_type: type_of(key),
        certificate: false,
        name: "proof",
    }
}

/// What all exchanges of a proof share: the sshd as it is now, the candidate, and a throw-away key.
struct Stage<'a> {
    baseline: &'a Baseline,
    original: &'a Sshd,
    tree: &'a Tree,
    overlay: Overlay<'a>,
    effective: &'a Effective,
    candidate: Bench,
    today: Bench,
    key: Option<PrivateKey>,
    _passable: Scratch,
}

impl<'a> Stage<'a> {
    fn new(candidate: &'a Candidate, baseline: &'a Baseline, effective: &'a Effective) -> Result<Self> {
        let passable = Scratch::passable()?;
        let (key, _) = host_key::throw_away()?;
        // sshd reads this file as the user who logs in. It holds only a public key, and no sshd but those started
        // here knows of it.
        let line = known_hosts::line_of(key.public_key().key_data())?;
        let authorized = passable.write("authorized_keys", line.as_bytes(), 0o644)?;
        let addresses = addresses(&candidate.original);
        let bench = |sshd: &Sshd, config: &Path| {
            Bench::new(command(sshd, config, &host_key_options(&authorized)), addresses.clone())
        };
        Ok(Self {
            baseline,
            original: &candidate.original,
            tree: &candidate.tree,
            overlay: Overlay(&candidate.staged),
            effective,
            candidate: bench(&candidate.sshd, candidate.config()),
            today: bench(&candidate.original, candidate.original.config.as_path()),
            key: (!runs_programs(&candidate.tree)).then_some(key),
            _passable: passable,
        })
    }

    fn guest(&self) -> Guest<'_> {
        Guest { user: self.baseline.user(), key: self.key.as_ref() }
    }

    /// Refuses certificates of types that sshd does not offer. The error names all of these types.
    fn refuse_filtered(&self, expect: &[Certificate]) -> Result<()> {
        let lists = self.effective.values("hostkeyalgorithms");
        let lacking = |one: &Certificate| {
            let algorithm = one.algorithm();
            Some((type_name(&algorithm), known_hosts::lacking(lists, algorithm.as_str())?))
        };
        let (filtered, missing): (Vec<&str>, Vec<String>) = expect.iter().filter_map(lacking).unzip();
        if filtered.is_empty() {
            return Ok(());
        }
        let by_argument = |argument: &String| argument.to_lowercase().contains("hostkeyalgorithms");
        let place = match self.tree.place_of("HostKeyAlgorithms") {
            _ if self.original.arguments.iter().any(by_argument) => "sshd's command line".to_owned(),
            Some(place) => place,
            None => "no line of its configuration: sshd's own default, or the system's crypto policy".to_owned(),
        };
        Err(Error::refused("sshd would not serve these certificates")
            .cause(format!("HostKeyAlgorithms ({place}) does not list their types"))
            .seen(format!("types: {}", filtered.join(", ")))
            .next(format!("add {} to that list, or remove it", missing.join(","))))
    }

    fn refuse_certificate(&self, certificate: &Certificate, seen: &Transcript) -> Result<()> {
        let key_type = type_name(&certificate.algorithm());
        let served = seen.certificate.as_ref().filter(|one| one.serial == certificate.serial());
        if served.is_some() && seen.by_certificate && seen.is_past_host_key() {
            return Ok(());
        }
        let own = PublicKey::new(certificate.public_key().clone(), "").fingerprint(HashAlg::Sha256).to_string();
        let error = match &seen.certificate {
            Some(other) if other.key != own => {
                let error = Error::refused(format!("sshd would not serve the certificate of this {key_type} key"))
                    .cause(format!(
                        "another {key_type} host key comes first, and sshd offers one of a type: {}",
                        other.key
                    ))
                    .seen(format!("the certificate is for {own}"));
                self.with_place(error, "hostkey", "remove the HostKey line of the key that is not needed any more")
            }
            Some(other) if other.serial != certificate.serial() => {
                let error = Error::refused(format!("sshd would serve another certificate for its {key_type} key"))
                    .cause(format!("serial {} of the CA key {}", other.serial, other.signer))
                    .seen(format!("expected serial {}", certificate.serial()));
                match self.winner(certificate) {
                    Some(winner) => winner.told(error),
                    None => error,
                }
            }
            Some(_) => {
                let name = certificate.valid_principals().first().map_or("", String::as_str);
                Error::refused(format!("a client that trusts the CA would not accept sshd as {name:?}"))
                    .cause(seen.said())
            }
            None => {
                let error = Error::refused(format!("sshd would not serve the certificate of its {key_type} key"));
                match (seen.end, self.winner(certificate)) {
                    (End::NotOffered, None) => error
                        .cause("no HostCertificate line of sshd's configuration names it")
                        .next("warded apply certify-host puts its line back"),
                    (End::NotOffered, Some(_)) => error
                        .cause("sshd does not offer it")
                        .seen(format!("offered: {}", crate::text::neutral(&seen.offer.join(",")))),
                    // The certificate cannot be read, so only its file shows which one it is.
                    (_, Some(winner)) if winner.serial != certificate.serial() => winner.told(error.cause(seen.said())),
                    (End::Incomplete | End::HostKeyRefused | End::NotLoggedIn | End::LoggedIn, _) => {
                        error.cause(seen.said())
                    }
                }
            }
        };
        Err(error.or_next(AGAIN))
    }

    /// The last certificate that sshd reads for the same key: that is the one it serves.
    fn winner(&self, certificate: &Certificate) -> Option<Winner> {
        let paths = self.effective.values("hostcertificate");
        let of_key = |path: &String| {
            let other = ca::certificate::parse(&self.overlay.read(Path::new(path)).ok()?).ok()?;
            (other.key().key_data() == certificate.public_key()).then(|| (path.clone(), other.serial()))
        };
        let (path, serial) = paths.iter().rev().find_map(of_key)?;
        let (file, line, _) = self.tree.directives().find(|(_, _, directive)| {
            directive.keyword == "hostcertificate" && directive.arguments.iter().any(|one| one.text == path)
        })?;
        Some(Winner { place: format!("{} line {line}", file.display()), path, serial })
    }

    fn with_place(&self, error: Error, keyword: &str, next: &str) -> Error {
        let places = self.tree.directives().filter(|(_, _, directive)| directive.keyword == keyword);
        let places: Vec<_> = places.map(|(file, line, _)| format!("{} line {line}", file.display())).collect();
        let error = error.next(next);
        if places.is_empty() { error } else { error.seen(format!("{keyword}: {}", places.join(", "))) }
    }

    fn judge_key(&self, key: &PublicKey, seen: &Transcript, proof: &mut Proof) -> Result<()> {
        let key_type = type_of(key).to_owned();
        if seen.is_past_host_key() {
            proof.keys.push(key_type);
            return Ok(());
        }
        if self.baseline.offered.is_none() {
            // Without a listener nobody has seen this key: perhaps sshd does not offer it today either.
            let (today, _) = hosts::ask(&self.today, &self.baseline.client, self.guest(), &[key_question(key)])?;
            if today.iter().all(|one| !one.is_past_host_key()) {
                proof.not_proved.push(format!("the {key_type} host key: sshd does not offer it now either"));
                return Ok(());
            }
        }
        Err(Error::refused(format!("a client that knows sshd's {key_type} host key could not connect any more"))
            .cause(seen.said())
            .next("make such a change yourself, once no client needs that key any more"))
    }

    /// Asks the same questions with the `ssh` program, if the machine has one. Returns what it could not tell.
    fn second_opinion(&self, questions: &[Question<'_>]) -> Result<Vec<String>> {
        let mut open = Vec::new();
        let Ok(program) = self.baseline.client.program() else { return Ok(open) };
        for question in questions {
            let route = Route::Pipe(self.candidate.words().to_vec());
            let user = self.baseline.user();
            let mut seen = self.baseline.client.ask_program(question, &route, user)?;
            if seen.end == End::Incomplete {
                seen = self.baseline.client.ask_program(question, &route, user)?;
            }
            if seen.is_past_host_key() {
                continue;
            }
            // An old client may not know the algorithms that this sshd allows: that is not sshd's fault.
            if seen.end != End::Incomplete && program.version >= known_hosts::MODERN {
                return Err(Error::refused(format!(
                    "the `ssh` program of this machine could not connect by the {} host key",
                    question.key_type
                ))
                .cause(seen.said())
                .next(AGAIN));
            }
            let (what, said) = (if question.certificate { "certificate" } else { "host key" }, seen.said());
            let key_type = question.key_type;
            open.push(format!("the {key_type} {what} by the `ssh` program as well, which did not get so far: {said}"));
        }
        Ok(open)
    }
}

/// The certificate that sshd serves for a key, whatever other certificates it reads for that key.
struct Winner {
    path: String,
    serial: u64,
    /// The file and number of its line.
    place: String,
}

impl Winner {
    /// Adds to an error that sshd serves this certificate instead of another one of the same key.
    fn told(&self, error: Error) -> Error {
        let Self { path, place, .. } = self;
        error
            .cause(format!("{path} is read later, and sshd takes the last one of a key ({place})"))
            .next(format!("remove the line HostCertificate {path} if that certificate is not needed any more"))
    }
}

/// What to do where nothing better is known: sshd was as it should be when the run first looked.
const AGAIN: &str = "run this again: somebody may have changed a host key or sshd's configuration meanwhile; if it \
                     fails again, see which keys sshd has (sshd -T)";

/// The name of a key type as the guard uses it; empty for a type that cannot be asked for.
fn type_name(algorithm: &Algorithm) -> &'static str {
    known_hosts::type_of(algorithm.as_str()).map_or("", |(key_type, _)| key_type)
}

fn type_of(key: &PublicKey) -> &'static str {
    type_name(&key.algorithm())
}

/// Whether a login would run a program: sshd runs `AuthorizedKeysCommand`, and no command line option overrides one
/// in a `Match`.
fn runs_programs(tree: &Tree) -> bool {
    tree.directives().any(|(_, _, directive)| directive.keyword.starts_with("authorizedkeyscommand"))
}

/// Options that let a user with a throw-away key in and run no program. All of them concern logins only, so they do
/// not weaken the proof of a host key.
fn host_key_options(authorized: &Path) -> Vec<String> {
    let mut options = login_options(authorized);
    for option in [
        "UsePAM=no",
        "PermitRootLogin=yes",
        "AuthenticationMethods=any",
        "PubkeyAuthentication=yes",
        // The name before 8.5, which later releases still know.
        "PubkeyAcceptedKeyTypes=ssh-ed25519",
    ] {
        options.push(option.to_owned());
    }
    options
}
