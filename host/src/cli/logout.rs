//! `warded logout`.

#[cfg(feature = "sso")]
use super::login::end_session;
use super::{
    login::{Files, Place, agent_for, known_signers, parse_host, told},
    output::Output,
};
use crate::context::Context;
use clap::Args;
use serde::Serialize;
use ssh_key::PublicKey;
use std::path::PathBuf;
use warded_lib::{
    agent::{Agent, Chosen, Identity, chosen},
    ca::{Certificate, Kind, verify},
    error::{Error, Exit, Result},
    text::{count, neutral},
};

#[derive(Debug, Args)]
pub(super) struct Logout {
    /// A host that you log in to, where your ssh_config names another agent for it
    #[arg(long, value_name = "HOST", value_parser = parse_host)]
    host: Option<String>,
    /// Also remove the files that `warded login --out FILE` wrote
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct LogoutObject {
    schema: &'static str,
    /// How many certificates the agent gave up.
    identities: usize,
    files: Vec<String>,
    /// The CAs that could not be asked for their keys: a certificate of theirs may still be in the agent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_asked: Vec<String>,
}

/// Whose certificates are removed.
struct Signers {
    keys: Vec<PublicKey>,
    /// The CAs whose keys are not known, each with the reason.
    not_asked: Vec<(String, Error)>,
}

impl Logout {
    /// Without the CA, where an earlier login left a certificate: so it works on a journey, too. Without `--ca` it is
    /// about the logins with every CA.
    pub(super) fn run(&self, context: &Context, output: Output) -> Result<Exit> {
        let places = match context.options.ca {
            Some(_) => vec![Place::of(context.ca_name.as_ref())?],
            None => Place::all()?,
        };
        let named = self.out.as_deref().map(Files::at).transpose()?;
        let files: Vec<Files> = named.into_iter().chain(places.iter().flat_map(Files::all)).collect();
        let known = known_signers(&files);
        let asked = if known.is_empty() { Some(asked_signers(context)?) } else { None };
        let agent = match chosen(self.host.as_deref())? {
            Chosen::Socket { .. } => Some(agent_for(self.host.as_deref())?),
            Chosen::None(_) => None,
        };
        let signers = match asked {
            Some(keys) => Signers { keys, not_asked: Vec::new() },
            None => completed(context, known, agent.as_ref())?,
        };
        let mut removed = Vec::new();
        for files in &files {
            removed.extend(files.remove()?.into_iter().map(|path| path.display().to_string()));
        }
        let identities = match &agent {
            Some(agent) => emptied(agent, &signers.keys).map_err(|error| error.state(state(&removed)))?,
            None => 0,
        };
        if identities == 0 && removed.is_empty() {
            output.line("There is no login of Warded's here.")?;
        } else {
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
        for (ca, why) in &signers.not_asked {
            output.note(format!(
                "note: {ca} could not be asked for its keys ({}): a certificate of it may still be in the agent",
                why.message()
            ));
        }
        let exit = if signers.not_asked.is_empty() { Exit::Done } else { Exit::Degraded };
        let not_asked = signers.not_asked.into_iter().map(|(ca, _)| ca).collect();
        output.object(&LogoutObject { schema: "warded.logout/1", identities, files: removed, not_asked })?;
        Ok(exit)
    }
}

/// The keys of the CAs that this is about.
fn asked_signers(context: &Context) -> Result<Vec<PublicKey>> {
    let all = context.authorities();
    if all.is_empty() {
        context.authority.open()?;
    }
    let mut signers = Vec::new();
    for (_, authority) in all {
        signers.extend(authority.open()?.roots(Kind::User)?);
    }
    Ok(signers)
}

/// These keys, and those of the CAs of which no login left a certificate, where the agent has a certificate of another
/// signer: the file may be gone. Else no CA is asked, so it works on a journey.
fn completed(context: &Context, mut keys: Vec<PublicKey>, agent: Option<&Agent>) -> Result<Signers> {
    let mut not_asked = Vec::new();
    let held = agent.map(user_certificates).transpose()?.unwrap_or_default();
    if held.iter().all(|one| verify::signed_by(one, &keys).is_ok()) {
        return Ok(Signers { keys, not_asked });
    }
    for (name, authority) in context.authorities() {
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
    Ok(Signers { keys, not_asked })
}

/// The certificates in the agent that are for people.
fn user_certificates(agent: &Agent) -> Result<Vec<Certificate>> {
    let held = agent.list().map_err(|error| told(agent.socket(), &error))?;
    Ok(held.iter().filter_map(Identity::certificate).filter(|one| one.kind() == Kind::User).collect())
}

fn state(removed: &[String]) -> String {
    if removed.is_empty() { "no file was removed".to_owned() } else { format!("removed: {}", removed.join(", ")) }
}

/// Removes the certificates of these CAs from the agent; how many.
fn emptied(agent: &Agent, signers: &[PublicKey]) -> Result<usize> {
    let ours = |agent: &Agent| -> Result<Vec<Certificate>> {
        let held = user_certificates(agent)?.into_iter();
        Ok(held.filter(|one| verify::signed_by(one, signers).is_ok()).collect())
    };
    let before = ours(agent)?;
    for certificate in &before {
        agent.remove(certificate).map_err(|error| told(agent.socket(), &error))?;
    }
    match ours(agent)?.first() {
        None => Ok(before.len()),
        Some(left) => Err(Error::failed(format!(
            "the agent at {} still has the certificate of {}",
            agent.socket().display(),
            neutral(left.key_id())
        ))
        .cause("it said that it had removed it")
        .next("end that agent")),
    }
}
