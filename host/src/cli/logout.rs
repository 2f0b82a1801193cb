//! `warded logout`.

#[cfg(feature = "sso")]
use super::login::end_session;
use super::{
    login::{Files, NAMED, Place, UNLOCK, known_signers, parse_host},
    output::Output,
};
use crate::context::Context;
use clap::Args;
use serde::Serialize;
use ssh_key::PublicKey;
use std::path::{Path, PathBuf};
use warded_lib::{
    agent::{Agent, AgentChoice, AgentError, Identity, chosen},
    ca::{Certificate, Kind, verify},
    error::{Error, Exit, Result},
    text::{count, neutral},
};

/// How to empty an agent that does not remove certificates.
const END: &str = "end that agent, or empty it: ssh-add -D";

#[derive(Debug, Args)]
pub(super) struct Logout {
    /// A host that you log in to, if your ssh_config names another agent for it
    #[arg(long, value_name = "HOST", value_parser = parse_host)]
    host: Option<String>,
    /// Also remove the files that `warded login --out FILE` wrote
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    plan: bool,
    /// Whether only CAs count with which a login on this machine left a certificate.
    #[arg(skip)]
    is_local: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct LogoutObject {
    schema: &'static str,
    /// How many certificates the agent removed.
    pub(super) identities: usize,
    pub(super) files: Vec<String>,
    /// Whether this is a plan, and nothing was removed.
    planned: bool,
    /// The CAs that could not be asked for their keys: their certificates may still be in the agent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_asked: Vec<String>,
}

impl LogoutObject {
    fn of(identities: usize, files: Vec<String>, signers: Signers) -> Self {
        let not_asked = signers.not_asked.into_iter().map(|(ca, _)| ca).collect();
        Self { schema: "warded.logout/1", identities, files, planned: false, not_asked }
    }

    fn exit(&self) -> Exit {
        if self.planned && (self.identities > 0 || !self.files.is_empty()) {
            return Exit::Pending;
        }
        if self.not_asked.is_empty() { Exit::Done } else { Exit::Degraded }
    }
}

/// The CAs whose certificates are removed.
struct Signers {
    keys: Vec<PublicKey>,
    /// The CAs whose keys are not known, each with the reason.
    not_asked: Vec<(String, Error)>,
}

impl Signers {
    fn note(&self, output: Output) {
        for (ca, why) in &self.not_asked {
            output.note(format!(
                "note: {ca} could not be asked for its keys ({}): a certificate of it may still be in the agent",
                why.message()
            ));
        }
    }
}

impl Logout {
    /// A logout from the logins that the caller made on this machine. The agent may be a forwarded one that also holds
    /// certificates for other machines, so no CA is asked for its keys.
    pub(super) fn of_caller() -> Self {
        Self { host: None, out: None, plan: false, is_local: true }
    }

    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let object = self.carry_out(context, output)?;
        if object.identities == 0 && object.files.is_empty() {
            output.line("There is no login of Warded's here.")?;
        }
        output.object(&object)?;
        Ok(object.exit())
    }

    /// If earlier logins left their certificates, the CA is not asked, so this works without a network. Without `--ca`,
    /// it ends the logins with every CA.
    pub(super) fn carry_out(&self, context: &Context, output: Output) -> Result<LogoutObject> {
        let places = match context.options.ca {
            Some(_) => vec![Place::of(context.ca_name.as_ref())?],
            None => Place::all()?,
        };
        let named = self.out.as_deref().map(Files::at).transpose()?;
        let files: Vec<Files> = named.into_iter().chain(places.iter().flat_map(Files::all)).collect();
        let known = known_signers(&files);
        // Even if the agent does not answer, private keys in files are removed.
        let held = self.held();
        let signers = match &held {
            Ok(held) if !self.is_local => completed(context, known, held.as_ref())?,
            Ok(_) | Err(_) => Signers { keys: known, not_asked: Vec::new() },
        };
        if self.plan {
            return planned((&places, &files), held, signers, output);
        }
        let mut removed = Vec::new();
        for files in &files {
            removed.extend(files.remove()?.into_iter().map(|path| path.display().to_string()));
        }
        let emptied = held.and_then(|held| held.map_or(Ok(0), |held| held.emptied(&signers.keys)));
        let identities = emptied.map_err(|error| error.state(state(&removed)))?;
        if identities > 0 || !removed.is_empty() {
            let from = format!("{} from the agent", count(identities, "certificate"));
            output.line(format!("Removed: {}", [vec![from], removed.clone()].concat().join(", ")))?;
        }
        for place in &places {
            #[cfg(feature = "sso")]
            if let Some(said) = end_session(place) {
                output.line(said)?;
            }
            #[cfg(not(feature = "sso"))]
            drop(place.leave(""));
        }
        signers.note(output);
        Ok(LogoutObject::of(identities, removed, signers))
    }
}

/// Shows what would be removed.
fn planned(
    (places, files): (&[Place], &[Files]),
    held: Result<Option<AgentCertificates>>,
    signers: Signers,
    output: Output,
) -> Result<LogoutObject> {
    let held = held.map_err(Error::or_unchanged)?;
    let identities = held.map_or(0, |held| of_signers(&held.certificates, &signers.keys).len());
    let paths = files.iter().flat_map(Files::removable).map(|path| path.display().to_string());
    signers.note(output);
    let object = LogoutObject { planned: true, ..LogoutObject::of(identities, paths.collect(), signers) };
    if object.identities > 0 || !object.files.is_empty() {
        let from = format!("{} from the agent", count(identities, "certificate"));
        output.line(format!("Would remove: {}", [vec![from], object.files.clone()].concat().join(", ")))?;
        if places.iter().any(Place::has_session) {
            output.line("Would end your session with the single sign-on's provider, in the browser.")?;
        }
        output.line("Nothing has been changed.")?;
    }
    Ok(object)
}

/// Adds the keys of the CAs for which no login left a certificate, but only if the agent has a certificate of an
/// unknown signer: the login's file may be gone. Otherwise no CA is asked, so this works without a network.
///
/// # Errors
/// No key is known, and no CA returns its keys.
fn completed(context: &Context, mut keys: Vec<PublicKey>, held: Option<&AgentCertificates>) -> Result<Signers> {
    let mut not_asked: Vec<(String, Error)> = Vec::new();
    if held.is_none_or(|held| held.certificates.iter().all(|one| verify::signed_by(one, &keys).is_ok())) {
        return Ok(Signers { keys, not_asked });
    }
    let all = context.authorities();
    if all.is_empty() && keys.is_empty() {
        context.authority.open()?;
    }
    for (name, authority) in all {
        if !known_signers(&Files::all(&Place::of(name.as_ref())?)).is_empty() {
            continue;
        }
        let asked = || -> Result<Vec<PublicKey>> { Ok(authority.open()?.roots(Kind::User)?) };
        match asked() {
            Ok(roots) => keys.extend(roots),
            Err(why) => {
                let ca = name.map_or_else(|| "the CA without a name".to_owned(), |name| format!("the CA {name}"));
                not_asked.push((ca, why));
            }
        }
    }
    if keys.is_empty()
        && let Some((_, why)) = not_asked.pop()
    {
        return Err(why);
    }
    Ok(Signers { keys, not_asked })
}

/// An agent, and the user certificates in it.
struct AgentCertificates {
    agent: Agent,
    certificates: Vec<Certificate>,
}

impl Logout {
    /// `None` if `ssh` uses no agent, or one that has ended and therefore holds nothing.
    fn held(&self) -> Result<Option<AgentCertificates>> {
        let AgentChoice::Socket { path, .. } = chosen(self.host.as_deref())? else { return Ok(None) };
        let agent = match Agent::open(&path) {
            Err(AgentError::NotThere | AgentError::NotListening) => return Ok(None),
            opened => opened.map_err(|error| left_in(&path, &error))?,
        };
        let held = agent.list().map_err(|error| left_in(&path, &error))?;
        // A locked agent lists nothing, whatever it holds.
        if agent.is_locked(&held).map_err(|error| left_in(&path, &error))? {
            return Err(left_in(&path, &AgentError::Locked));
        }
        let certificates = user_certificates(&held);
        Ok(Some(AgentCertificates { agent, certificates }))
    }
}

/// The certificates that one of these keys signed.
fn of_signers<'a>(certificates: &'a [Certificate], signers: &[PublicKey]) -> Vec<&'a Certificate> {
    certificates.iter().filter(|one| verify::signed_by(one, signers).is_ok()).collect()
}

impl AgentCertificates {
    /// Removes the certificates of these CAs from the agent, and returns how many. The agent's answer proves nothing,
    /// so its list is read again.
    fn emptied(self, signers: &[PublicKey]) -> Result<usize> {
        let ours = of_signers(&self.certificates, signers);
        let mut has_refused = false;
        for certificate in &ours {
            match self.agent.remove(certificate) {
                Ok(()) => {}
                Err(AgentError::Refused) => has_refused = true,
                Err(error) => return Err(left_in(self.agent.socket(), &error)),
            }
        }
        let listed = || self.agent.list().map_err(|error| left_in(self.agent.socket(), &error));
        let left = if ours.is_empty() { Vec::new() } else { user_certificates(&listed()?) };
        match of_signers(&left, signers).first() {
            None => Ok(ours.len()),
            Some(left) => Err(Error::failed(format!(
                "the agent at {} still has the certificate of {}",
                self.agent.socket().display(),
                neutral(left.key_id())
            ))
            .cause(if has_refused { "it refused to remove it" } else { "it said that it had removed it" })
            .next(END)),
        }
    }
}

/// The user certificates in the agent.
fn user_certificates(held: &[Identity]) -> Vec<Certificate> {
    held.iter().filter_map(Identity::certificate).filter(|one| one.kind() == Kind::User).collect()
}

/// The error for an agent that may still hold a certificate.
fn left_in(socket: &Path, error: &AgentError) -> Error {
    let next = if matches!(error, AgentError::Locked) {
        format!("{UNLOCK}; then again: warded logout")
    } else if matches!(error, AgentError::NotASocket) {
        NAMED.to_owned()
    } else {
        END.to_owned()
    };
    Error::failed(format!("the agent at {} {error}", socket.display())).next(next)
}

fn state(removed: &[String]) -> String {
    if removed.is_empty() { "no file was removed".to_owned() } else { format!("removed: {}", removed.join(", ")) }
}
