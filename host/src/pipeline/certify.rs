//! Asks the CA: after the review, and after everything local that could fail.

mod ready;
mod refusal;
mod successors;

use super::{
    Work, issued, rotation,
    vouch::{
        Voucher,
        certified::{self, CertifiedKeys},
    },
};
use crate::{broker::Identity, context::Context};
pub use ready::ready;
pub use refusal::Refusal;
use ssh_key::PublicKey;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::Path,
};
pub use successors::renew_where_possible;
use warded_lib::{
    agent::AgentKey,
    audit::Kind as EventKind,
    ca::{self, CaError, Certificate, HeldKey, IssueRequest, Kind, rotation::NewSigner, verify},
    change_set::{Request, RequestId},
    error::{Error, Result},
    machine::{keys::signing::SigningKey, path::AbsolutePath},
    text,
};

/// The certificates that the CA issued to a run, and those that it refused.
#[derive(Debug, Default)]
pub struct IssuedCertificates {
    /// The certificates to install.
    pub certificates: Vec<Certificate>,
    /// The keys that were certified on the word of another key: one sentence for each.
    pub vouched: Vec<String>,
    /// What the CA refused.
    pub refused: Vec<Refusal>,
    /// The new keys of the CA that the operator accepts.
    pub accepted: Vec<NewSigner>,
    /// The new keys of the CA for which certificates were put off.
    pub put_off: Vec<NewSigner>,
    /// Why Warded could not record that these keys have certificates, and what follows from that.
    pub unrecorded: Option<String>,
}

/// Asks for every certificate that the work waits for, checks each, and fills it in. In a renewal, a certificate that
/// the CA refuses is left out with its file, and the others are installed.
///
/// # Errors
/// The CA cannot be reached, refuses, answers with something else than was asked for, or signs with a new key. In a
/// renewal a refusal or a new key is an error only if nothing else is left to do.
pub fn fill_in(context: &Context, identity: &Identity, work: &mut Work) -> Result<IssuedCertificates> {
    let mut filling = Issuance {
        context,
        identity,
        filled: IssuedCertificates::default(),
        certified: CertifiedKeys::load(&context.state),
        given: BTreeMap::new(),
        new: Vec::new(),
        left: Vec::new(),
    };
    let vouched = std::mem::take(&mut work.vouched);
    let mut roots = BTreeMap::new();
    let (mut asked, mut on_word) = (Vec::new(), Vec::new());
    for (id, request) in work.requests() {
        if let Entry::Vacant(unknown) = roots.entry(request.kind) {
            unknown.insert(context.authority.open()?.roots(request.kind)?);
        }
        match vouched.get(&id) {
            None => asked.push((id, request)),
            Some(vouchers) => on_word.push((id, request, vouchers)),
        }
    }
    let requests = asked.iter().map(|(_, request)| request).chain(on_word.iter().map(|(_, request, _)| request));
    let keys: Vec<&str> = requests.map(|request| request.key.as_str()).collect();
    if !keys.is_empty() {
        // One sync to disk for all of the requests.
        let detail = format!("ask the CA for {}: {}", text::count(keys.len(), "certificate"), keys.join(" "));
        context.log.append_synced(&identity.event(EventKind::Intent).detail(&detail))?;
    }
    let roots = |request: &Request| roots.get(&request.kind).map_or(&[][..], Vec::as_slice);
    // A key that needs a token of its own comes last: the others are certified before it, on the word of one of them.
    let takes_own = |request: &Request| -> Result<bool> {
        let is_new = request.current.is_none() && filling.certified.had(&request.public);
        Ok(is_new && issued::find(context, &wanted(request), None, roots(request))?.is_none())
    };
    let takes_own =
        asked.iter().map(|(id, request)| Ok((*id, takes_own(request)?))).collect::<Result<BTreeMap<_, _>>>()?;
    asked.sort_by_key(|(id, _)| takes_own.get(id).copied());
    for (id, request) in asked {
        let answer = filling.obtain(work, &request, roots(&request))?;
        filling.take(work, (id, &request), roots(&request), answer)?;
    }
    // This comes after the renewals: a key whose own renewal was refused vouches for no other key.
    for (id, request, vouchers) in on_word {
        let answer = filling.obtain_on_word(&request, vouchers, roots(&request))?;
        filling.take(work, (id, &request), roots(&request), answer)?;
    }
    filling.finish(work)
}

/// The certificates that the CA has issued so far.
struct Issuance<'a> {
    context: &'a Context,
    identity: &'a Identity,
    filled: IssuedCertificates,
    /// The keys that had certificates before this run.
    certified: CertifiedKeys,
    /// The certificates that were filled in, by the path of their key.
    given: BTreeMap<AbsolutePath, Certificate>,
    /// The certificates of keys that had none before.
    new: Vec<Voucher>,
    /// The requests whose files stay as they are.
    left: Vec<RequestId>,
}

impl Issuance<'_> {
    /// Obtains one certificate: one that an earlier run was given and did not install, or else a new one.
    fn obtain(&self, work: &Work, request: &Request, roots: &[PublicKey]) -> Result<Result<Certificate, CaError>> {
        // An operator who accepts a new key of the CA wants what the CA signs now, and nothing that its former key signed for
        // a run that was interrupted.
        let signer = request.current.as_ref().map(Certificate::signer).filter(|_| work.terms.new_ca_key);
        if let Some(known) = self.known(request, roots, |found| signer != Some(found.signer()))? {
            return Ok(Ok(known));
        }
        let authority = self.context.authority.open()?;
        if let Some(answer) = self.on_word_of_first(work, request, roots)? {
            return Ok(Ok(answer));
        }
        let (action, detail) = (action(request), authority.describe());
        self.ask(request, roots, (action, &detail), || match &request.current {
            // The file still holds the old key: nothing has been changed yet.
            Some(current) if request.is_rekey() => holding((&request.key, request.agent.as_deref()), current, |key| {
                authority.rekey(current, key, &request.public)
            }),
            Some(current) => {
                holding((&request.key, request.agent.as_deref()), current, |key| authority.renew(current, key))
            }
            None => authority.issue(&wanted(request)),
        })
    }

    /// Obtains a certificate that uses up no further token: on the word of a key that was certified in this run. `None`
    /// if that way is not open, as for a key that had a certificate before, or if the CA refuses it and a token is
    /// left.
    fn on_word_of_first(&self, work: &Work, request: &Request, roots: &[PublicKey]) -> Result<Option<Certificate>> {
        let authority = self.context.authority.open()?;
        let wanted = wanted(request);
        let speaks = |word: &&Voucher| request.kind == Kind::Host && word.has_names(&wanted.principals);
        let may_go_by_word = request.current.is_none() && !self.certified.had(&request.public);
        let word = self.new.iter().find(speaks).filter(|_| may_go_by_word && authority.goes_by_word());
        let Some(Voucher { key, agent, certificate }) = word else { return Ok(None) };
        let detail = format!("{}, on the word of {key}", authority.describe());
        // A key that this run makes is not in a file yet.
        let made = work.made_key(key).and_then(|text| SigningKey::parse(text.as_bytes()).ok());
        let answer = self.ask(request, roots, ("authority.rekey", &detail), || match &made {
            Some(made) => {
                let held = HeldKey { path: key.as_path(), signer: Some(made) };
                authority.rekey(certificate, held, &request.public)
            }
            None => {
                holding((key, agent.as_deref()), certificate, |key| authority.rekey(certificate, key, &request.public))
            }
        })?;
        match answer {
            Ok(certificate) => Ok(Some(certificate)),
            Err(error) if error.is_about_one() && authority.ready(&[wanted]).is_ok() => Ok(None),
            Err(error) => Err(told(error, request)),
        }
    }

    /// Obtains a certificate for a key that was made anew, on the word of the first key that the CA accepts.
    fn obtain_on_word(
        &mut self,
        request: &Request,
        vouchers: &[Voucher],
        roots: &[PublicKey],
    ) -> Result<Result<Certificate, CaError>> {
        if let Some(known) = self.known(request, roots, |_| true)? {
            return Ok(Ok(known));
        }
        let authority = self.context.authority.open()?;
        let mut refused = None;
        for Voucher { key, agent, certificate } in vouchers {
            if self.filled.refused.iter().any(|refusal| refusal.key == *key) {
                continue;
            }
            let certificate = self.given.get(key).unwrap_or(certificate);
            let word = format!("on the word of {key} with its certificate {}", certificate.serial());
            let detail = format!("{}, {word}", authority.describe());
            let answer = self.ask(request, roots, ("authority.rekey", &detail), || {
                holding((key, agent.as_deref()), certificate, |key| authority.rekey(certificate, key, &request.public))
            })?;
            match answer {
                Ok(certificate) => {
                    self.filled.vouched.push(format!("{} was replaced, and is certified {word}.", request.key));
                    return Ok(Ok(certificate));
                }
                Err(error) if error.is_about_one() => refused = Some(error),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Err(refused.unwrap_or_else(|| CaError::Refused {
            ca: authority.describe(),
            cause: "no other host key can vouch for it: their own certificates could not be renewed".to_owned(),
            next: "see what is reported about each of those keys".to_owned(),
        })))
    }

    fn known(
        &self,
        request: &Request,
        roots: &[PublicKey],
        may_serve: impl Fn(&Certificate) -> bool,
    ) -> Result<Option<Certificate>> {
        let found = issued::find(self.context, &wanted(request), request.current.as_ref(), roots)?.filter(may_serve);
        if let Some(certificate) = &found {
            let detail = format!("serial {}, which an earlier run obtained", certificate.serial());
            self.record(request, EventKind::Result, action(request), &detail)?;
        }
        Ok(found)
    }

    fn ask(
        &self,
        request: &Request,
        roots: &[PublicKey],
        (action, detail): (&'static str, &str),
        ask: impl FnOnce() -> Result<Certificate, CaError>,
    ) -> Result<Result<Certificate, CaError>> {
        self.record(request, EventKind::Intent, action, detail)?;
        // The host checks the certificate itself, whatever the CA says it checked.
        let answer = ask().and_then(|certificate| {
            verify::check(&certificate, &wanted(request), roots, ca::now())?;
            Ok(certificate)
        });
        match &answer {
            Ok(certificate) => {
                // The next run makes another key, for which this certificate would be of no use.
                if !request.is_rekey() {
                    issued::remember(self.context, certificate, request.current.is_some());
                }
                let detail = format!("serial {}, signed by {}", certificate.serial(), certificate.signer_fingerprint());
                self.record(request, EventKind::Result, action, &detail)?;
            }
            Err(error) => self.record(request, EventKind::Failed, action, &error.to_string())?,
        }
        Ok(answer)
    }

    /// Fills an answer in, or leaves its request out.
    fn take(
        &mut self,
        work: &mut Work,
        (id, request): (RequestId, &Request),
        roots: &[PublicKey],
        answer: Result<Certificate, CaError>,
    ) -> Result<()> {
        let certificate = match answer {
            Ok(certificate) => certificate,
            Err(error) => {
                // A key that this run makes must not be left without the certificate that belongs to it.
                let may_be_left =
                    work.renewal.is_some() && error.is_about_one() && work.made_key(&request.key).is_none();
                let is_refusal = error.is_about_one();
                let error = told(error, request);
                if is_refusal && work.succeeded.contains(&id) {
                    return Err(error.next("to request a new certificate instead, repeat the command with --force"));
                }
                if !may_be_left {
                    return Err(error);
                }
                let refusal = Refusal { key: request.key.clone(), error };
                self.record(request, EventKind::Result, action(request), &refusal.to_string())?;
                self.filled.refused.push(refusal);
                self.left.push(id);
                return Ok(());
            }
        };
        if request.kind == Kind::Host
            && let Err(error) = certified::note(&self.context.state, [(&request.key, &request.public)])
        {
            self.filled.unrecorded = Some(certified::warning(&error));
        }
        let change = rotation::of_request(self.context, work, (id, request), (certificate.signer(), roots));
        let is_put_off = change.is_some() && !work.terms.new_ca_key;
        if let Some(change) = change {
            let (what, told) = if is_put_off {
                ("put off", &mut self.filled.put_off)
            } else {
                ("accepted", &mut self.filled.accepted)
            };
            if !told.contains(&change) {
                told.push(change.clone());
            }
            self.record(request, EventKind::Result, action(request), &format!("{what}: {change}"))?;
        }
        if is_put_off {
            self.left.push(id);
        } else {
            work.fill(id, certificate.clone());
            if request.current.is_none() {
                self.new.push(Voucher::of(request, certificate.clone()));
            }
            self.given.insert(request.key.clone(), certificate.clone());
            self.filled.certificates.push(certificate);
        }
        Ok(())
    }

    /// Removes from the work the requests whose files stay as they are.
    fn finish(self, work: &mut Work) -> Result<IssuedCertificates> {
        if self.left.is_empty() || (work.renewal.is_some() && work.withdraw(&self.left)) {
            return Ok(self.filled);
        }
        let mut refused = self.filled.refused.into_iter();
        let Some(Refusal { error, .. }) = refused.next() else { return Err(rotation::refusal(&self.filled.put_off)) };
        Err(refused.fold(error, Error::seen))
    }

    fn record(&self, request: &Request, kind: EventKind, action: &str, detail: &str) -> Result<()> {
        let need = format!("{} certificate for {}", request.kind, request.principals);
        let event = self.identity.event(kind).capability(action).need(&need).detail(detail);
        // The intent is on disk already: see `fill_in`.
        self.context.log.append(&event)
    }
}

/// Calls `ask` with the key of a certificate, which is in a file or in the agent at this socket.
fn holding(
    (path, agent): (&AbsolutePath, Option<&Path>),
    certificate: &Certificate,
    ask: impl FnOnce(HeldKey<'_>) -> Result<Certificate, CaError>,
) -> Result<Certificate, CaError> {
    let path = path.as_path();
    let Some(socket) = agent else { return ask(HeldKey::in_file(path)) };
    let signer = AgentKey::new(socket, certificate.key()).map_err(|error| CaError::Credential {
        cause: format!("the host key {} cannot sign: {error}", path.display()),
        next: "use a host key of a type that Warded supports, such as ed25519".to_owned(),
    })?;
    ask(HeldKey { path, signer: Some(&signer) })
}

fn action(request: &Request) -> &'static str {
    match &request.current {
        None => "authority.issue",
        Some(_) if request.is_rekey() => "authority.rekey",
        Some(_) => "authority.renew",
    }
}

/// The error, with the key that it is about.
#[must_use]
pub fn told(error: CaError, request: &Request) -> Error {
    let CaError::Refused { ca, cause, next } = error else { return error.into() };
    let what = match &request.current {
        None => "certify",
        Some(_) if request.is_rekey() => "rekey the certificate of",
        Some(_) => "renew the certificate of",
    };
    Error::failed(format!("{ca} refused to {what} {}", request.key)).cause(cause).next(next)
}

#[must_use]
pub fn wanted(request: &Request) -> IssueRequest {
    IssueRequest {
        kind: request.kind,
        key: request.public.clone(),
        key_id: key_id(&request.principals),
        principals: request.principals.clone(),
    }
}

/// The key ID of a certificate, which servers and clients log: its first name, as step-ca does it.
fn key_id(principals: &ca::Principals) -> String {
    principals.iter().next().map(ToString::to_string).unwrap_or_default()
}
