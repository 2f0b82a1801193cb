//! Puts a certificate into an agent, and handles the ways in which agents refuse it.

use ssh_key::{PrivateKey, PublicKey};
use std::path::Path;
use warded_lib::{
    agent::{Agent, AgentChoice, AgentError, Constraints, Identity, NoAgentReason, chosen},
    ca::{self, Certificate, Kind, verify},
    error::{Error, Result},
};

const OUT: &str = "for a key in files: warded login --out FILE";
/// How to name an agent's socket.
pub(crate) const NAMED: &str = "name the agent's socket: SSH_AUTH_SOCK, or IdentityAgent in ssh_config";
pub(crate) const UNLOCK: &str = "unlock it: ssh-add -X";
const START: &str = "start OpenSSH's agent, in this shell: eval \"$(ssh-agent)\"";

/// How long an agent keeps a certificate.
pub(super) struct AgentLifetime {
    /// Whether the agent removes the certificate when it expires.
    pub(super) is_limited: bool,
}

/// The agent that `ssh` uses.
pub(crate) fn agent_for(host: Option<&str>) -> Result<Agent> {
    match chosen(host)? {
        AgentChoice::Socket { path, .. } => Agent::open(&path).map_err(|error| told(&path, &error)),
        AgentChoice::None(why) => {
            let next = match &why {
                NoAgentReason::Unset(_) => format!("{START}; {OUT}"),
                NoAgentReason::SwitchedOff | NoAgentReason::Unclear(_) => OUT.to_owned(),
            };
            Err(Error::failed("ssh uses no agent, so there is none to put a certificate into")
                .cause(why)
                .state("no certificate was asked for")
                .next(next))
        }
    }
}

/// The identities in an agent, read before the CA is asked for anything.
pub(super) fn checked(agent: &Agent) -> Result<Vec<Identity>> {
    let socket = agent.socket();
    if agent.peer().is_gpg_agent() {
        return Err(Error::refused("gpg-agent does not keep certificates")
            .cause(format!(
                "{} belongs to gpg-agent, which reports that it took a certificate, but keeps only the key, \
                 permanently",
                socket.display()
            ))
            .next(format!("{START}; {OUT}")));
    }
    agent.list().map_err(|error| told(socket, &error))
}

/// Adds the certificate, and checks that the agent lists it.
pub(super) fn add(agent: &Agent, key: &PrivateKey, certificate: &Certificate, confirm: bool) -> Result<AgentLifetime> {
    let told = |error: &AgentError| told(agent.socket(), error);
    let left = certificate.valid_before().saturating_sub(ca::now());
    let limited = Constraints { lifetime: Some(u32::try_from(left).unwrap_or(u32::MAX)), confirm };
    let unlimited = Constraints { lifetime: None, confirm };
    let is_limited = match agent.add(certificate, key, limited) {
        Ok(()) => true,
        // Some agents do not support lifetimes (Windows' OpenSSH, ssh-agent-mux).
        Err(AgentError::Refused) => match agent.add(certificate, key, unlimited) {
            Ok(()) => false,
            Err(AgentError::Refused) => return Err(refused(agent, confirm)),
            Err(error) => return Err(told(&error)),
        },
        Err(AgentError::Closed) => {
            return Err(told(&AgentError::Closed)
                .seen("it answered before, but ends the connection when it is given a certificate"));
        }
        Err(error) => return Err(told(&error)),
    };
    let held = agent.list().map_err(|error| told(&error))?;
    if held.iter().any(|one| one.blob == certificate.bytes()) {
        return Ok(AgentLifetime { is_limited });
    }
    Err(not_kept(agent, key, &held))
}

/// Removes this CA's certificates of earlier logins, and returns what the agent holds then. sshd ends a connection
/// after a few keys that do not fit, so expired certificates could keep ssh from offering the good one.
pub(super) fn remove(
    agent: &Agent,
    roots: &[PublicKey],
    is_needless: impl Fn(&Certificate) -> bool,
) -> Result<Vec<Identity>> {
    let told = |error: AgentError| told(agent.socket(), &error);
    let held = agent.list().map_err(told)?;
    let old = of_earlier_logins(&held, roots, is_needless);
    if old.is_empty() {
        return Ok(held);
    }
    for certificate in &old {
        // If the agent keeps it, the list still shows it, and the user is warned of too many identities.
        drop(agent.remove(certificate));
    }
    agent.list().map_err(told)
}

/// The certificates of this CA among these identities that are no longer needed.
pub(super) fn of_earlier_logins(
    held: &[Identity],
    roots: &[PublicKey],
    is_needless: impl Fn(&Certificate) -> bool,
) -> Vec<Certificate> {
    let is_old =
        |one: &Certificate| one.kind() == Kind::User && verify::signed_by(one, roots).is_ok() && is_needless(one);
    held.iter().filter_map(Identity::certificate).filter(is_old).collect()
}

/// The error for an agent's failure.
pub(crate) fn told(socket: &Path, error: &AgentError) -> Error {
    let said = Error::failed(format!("the agent at {} {error}", socket.display()));
    match error {
        AgentError::NotThere | AgentError::NotListening => said.next(format!("{START}; {OUT}")),
        AgentError::NotASocket => said.next(format!("{NAMED}; {OUT}")),
        AgentError::Locked => said.next(format!("{UNLOCK}; {OUT}")),
        AgentError::Silent => said.next(format!("check whether it is waiting for your answer, or restart it; {OUT}")),
        AgentError::Denied
        | AgentError::OtherUser { .. }
        | AgentError::Io(_)
        | AgentError::Closed
        | AgentError::Oversized { .. }
        | AgentError::Malformed
        | AgentError::Unexpected { .. }
        | AgentError::Refused
        | AgentError::Unlisted
        | AgentError::Unsigned
        | AgentError::WrongSignature
        | AgentError::NotEncodable => said.next(OUT),
    }
}

/// The error for an agent that refuses the certificate, with and without a lifetime.
fn refused(agent: &Agent, confirm: bool) -> Error {
    let said = Error::failed(format!("the agent at {} refused the certificate", agent.socket().display()));
    let is_empty = agent.list().is_ok_and(|held| held.is_empty());
    if confirm {
        return said
            .cause("it was asked to confirm each use with you, and agents do not say why they refuse")
            .next(format!("warded login without --confirm; {OUT}"));
    }
    if is_empty && agent.peer().is_ssh_agent() {
        return said
            .cause("it is locked: OpenSSH's ssh-agent then lists no identities and accepts none")
            .next("ssh-add -X unlocks it; then warded login --force");
    }
    said.cause("it takes no identity from other programs, with or without a lifetime, and does not say why").next(OUT)
}

/// The error for an agent that reported success and does not list the certificate.
fn not_kept(agent: &Agent, key: &PrivateKey, held: &[Identity]) -> Error {
    let said = Error::failed(format!(
        "the agent at {} said that it took the certificate, but does not list it",
        agent.socket().display()
    ));
    let bare = key.public_key().to_bytes().unwrap_or_default();
    if !held.iter().any(|one| one.blob == bare) {
        return said.cause("the agent lists neither the certificate nor its key").next(OUT);
    }
    let removed = agent.remove_key(key.public_key());
    let is_gone = removed.is_ok() && agent.list().is_ok_and(|held| held.iter().all(|one| one.blob != bare));
    let then = if is_gone { "that key was removed from the agent again" } else { "the agent did not remove that key" };
    said.cause("it kept the key without its certificate, and no server accepts the bare key").seen(then).next(OUT)
}
