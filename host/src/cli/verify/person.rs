//! Whether a person's login works with the certificate in the agent: by `ssh`, which is what the person will use.

use super::{
    super::{
        login::{agent_for, told},
        output::{Output, Style},
    },
    client,
};
use serde::Serialize;
use ssh_key::PublicKey;
use std::path::Path;
use warded_lib::{
    agent::{Agent, Identity},
    ca::{self, Certificate, Kind, verify},
    error::{Error, Exit, Result},
    guard::known_hosts::revoking_lines,
    machine::{
        exec::{self, Program},
        scratch::Scratch,
    },
    probe::Place,
    text::neutral_lines,
};

/// The words by which `ssh -v` says that a login worked (`ssh_userauth2` in sshconnect2.c).
const AUTHENTICATED: &str = "Authenticated to ";

#[derive(Serialize)]
struct LoginsObject {
    schema: &'static str,
    healthy: bool,
    user: String,
    hosts: Vec<HostObject>,
}

#[derive(Serialize)]
struct HostObject {
    name: String,
    port: u16,
    logged_in: bool,
    cause: Option<String>,
}

/// Tries to log in everywhere, with nothing but the certificate, trusting nothing but the CA, and that only for keys that
/// this user's ssh does not take for revoked.
pub(super) fn run(output: Output, user: &str, places: &[Place], roots: &[PublicKey]) -> Result<Exit> {
    let ssh = exec::find("ssh").ok_or_else(|| Error::failed("there is no ssh on this machine to log in with"))?;
    let scratch = Scratch::private()?;
    let mut hosts = Vec::new();
    for place in places {
        let agent = agent_for(Some(&place.name))?;
        let certificate = scratch.write("login-cert.pub", certificate_in(&agent, user)?.to_file().as_bytes(), 0o600)?;
        let mut known = revoking_lines(&client::host(place))?;
        for root in roots {
            let bare = PublicKey::new(root.key_data().clone(), "").to_openssh();
            let bare = bare.map_err(|error| Error::failed("cannot write a key of the CA").cause(error))?;
            known.extend_from_slice(["@cert-authority ", &place.name, " ", &bare, "\n"].concat().as_bytes());
        }
        let known = scratch.write("known_hosts", &known, 0o600)?;
        let program = command(&ssh, user, place, &certificate, &known).env("SSH_AUTH_SOCK", agent.socket());
        let ended = program.run()?;
        let logged_in = ended.stderr.lines().any(|line| line.starts_with(AUTHENTICATED));
        let said = ended.stderr.lines().filter(|line| !line.starts_with("debug1: ") && !line.starts_with("OpenSSH_"));
        let said = neutral_lines(said.collect::<Vec<_>>().join("\n").trim());
        let cause = (!logged_in).then(|| if said.is_empty() { ended.ending() } else { said });
        hosts.push(HostObject { name: place.name.clone(), port: place.port, logged_in, cause });
    }
    for host in &hosts {
        let state = if host.logged_in { output.paint(Style::Green, "in ") } else { output.paint(Style::Red, "not") };
        let cause = host.cause.as_deref().unwrap_or("by the certificate in the agent, trusting the CA alone");
        output.line(format!("{state}  {user}@{}  {}", host.name, cause.replace('\n', "\n     ")))?;
    }
    let healthy = hosts.iter().all(|host| host.logged_in);
    output.object(&LoginsObject { schema: "warded.verify-login/1", healthy, user: user.to_owned(), hosts })?;
    Ok(if healthy { Exit::Done } else { Exit::Degraded })
}

fn command(ssh: &Path, user: &str, place: &Place, certificate: &Path, known: &Path) -> Program {
    let options = [
        "BatchMode=yes".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        format!("UserKnownHostsFile={}", known.display()),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        // No session that is open already proves anything.
        "ControlPath=none".to_owned(),
        "IdentityAgent=SSH_AUTH_SOCK".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        format!("IdentityFile={}", certificate.display()),
        "PreferredAuthentications=publickey".to_owned(),
        "ForwardAgent=no".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        "ConnectTimeout=10".to_owned(),
    ];
    let options = options.into_iter().flat_map(|option| ["-o".to_owned(), option]);
    let port = place.port.to_string();
    let program = Program::new(ssh).args(["-v", "-T", "-p", &port, "-l", user]).args(options);
    // The name is what the certificate has to be for; another address is only where the machine listens.
    let program = if place.address == place.name {
        program
    } else {
        program.args(["-o", &format!("HostName={}", place.address), "-o", &format!("HostKeyAlias={}", place.name)])
    };
    program.args(["--", &place.name, "exit"])
}

/// The certificate in the agent that a login of this user would use.
fn certificate_in(agent: &Agent, user: &str) -> Result<Certificate> {
    let held = agent.list().map_err(|error| told(agent.socket(), &error))?;
    let is_good =
        |one: &Certificate| verify::problem(one, Kind::User, std::slice::from_ref(one.key()), ca::now()).is_none();
    let mut good: Vec<Certificate> = held.iter().filter_map(Identity::certificate).filter(is_good).collect();
    // One that holds for that name goes first; a server may map others to it.
    good.sort_by_key(|one| !one.principals().iter().any(|name| name == user));
    good.into_iter().next().ok_or_else(|| {
        Error::failed(format!("the agent at {} has no certificate that holds", agent.socket().display()))
            .next(format!("warded login {user}"))
    })
}
