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
        let mut signers = known_signers(&files);
        if signers.is_empty() {
            signers = asked_signers(context)?;
        }
        let agent = match chosen(self.host.as_deref())? {
            Chosen::Socket { .. } => Some(agent_for(self.host.as_deref())?),
            Chosen::None(_) => None,
        };
        let mut removed = Vec::new();
        for files in &files {
            removed.extend(files.remove()?.into_iter().map(|path| path.display().to_string()));
        }
        let identities = match &agent {
            Some(agent) => emptied(agent, &signers).map_err(|error| error.state(state(&removed)))?,
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
        output.object(&LogoutObject { schema: "warded.logout/1", identities, files: removed })?;
        Ok(Exit::Done)
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

fn state(removed: &[String]) -> String {
    if removed.is_empty() { "no file was removed".to_owned() } else { format!("removed: {}", removed.join(", ")) }
}

/// Removes the certificates of these CAs from the agent; how many.
fn emptied(agent: &Agent, signers: &[PublicKey]) -> Result<usize> {
    let ours = |agent: &Agent| -> Result<Vec<Certificate>> {
        let held = agent.list().map_err(|error| told(agent.socket(), &error))?;
        let is_ours = |one: &Certificate| one.kind() == Kind::User && verify::signed_by(one, signers).is_ok();
        Ok(held.iter().filter_map(Identity::certificate).filter(is_ours).collect())
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
