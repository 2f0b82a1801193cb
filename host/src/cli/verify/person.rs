//! Whether a person can log in with the certificate in the agent. It uses `ssh`, because that is what the person will
//! use.

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
        ssh::{Host, Settings, Ssh, with_variables},
    },
    probe::{Place, shown},
    text::{neutral_lines, shell_word},
};

/// The words with which `ssh -v` reports a login (`ssh_userauth2` in sshconnect2.c).
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

/// Tries to log in everywhere with only the certificate, trusting only the CA, and the CA only for keys that this
/// user's ssh does not consider revoked.
pub(super) fn run(output: Output, user: &str, places: &[Place], roots: &[PublicKey]) -> Result<Exit> {
    let ssh = Ssh::find().ok_or_else(|| Error::failed("there is no ssh on this machine to log in with"))?;
    let scratch = Scratch::private()?;
    let mut hosts = Vec::new();
    for place in places {
        let agent = agent_for(Some(&place.name))?;
        let certificate = scratch.write("login-cert.pub", certificate_in(&agent, user)?.to_file().as_bytes(), 0o600)?;
        let mut known = revoking_lines(&client::host(place))?;
        for root in roots {
            let bare = PublicKey::new(root.key_data().clone(), "").to_openssh();
            let bare = bare.map_err(|error| Error::failed("cannot write a key of the CA").cause(error))?;
            // ssh's configuration decides which name ssh compares with the certificate, so the pattern allows every
            // name.
            known.extend_from_slice(["@cert-authority * ", &bare, "\n"].concat().as_bytes());
        }
        let known = scratch.write("known_hosts", &known, 0o600)?;
        let settings = ssh.settings_of_login(&Host { name: place.name.clone(), port: place.given_port }, user)?;
        let port = settings.first("port").and_then(|port| port.parse().ok()).unwrap_or(place.port());
        let options = [only(&certificate, &known, agent.socket()), way(&ssh, &settings)].concat();
        let options = options.into_iter().flat_map(|option| ["-o".to_owned(), option]);
        // Nothing else in the person's configuration may log in instead of the certificate, or vouch for the host
        // instead of the CA.
        let program = with_variables(Program::new(&ssh.program)).args(["-F", "none", "-v", "-T", "-l", user, "-p"]);
        let program = program.arg(port.to_string()).args(options).args(["--", &place.name, "exit"]);
        let cause = cause(&program.run()?);
        hosts.push(HostObject { name: place.name.clone(), port, logged_in: cause.is_none(), cause });
    }
    for host in &hosts {
        let state = if host.logged_in { output.paint(Style::Green, "in ") } else { output.paint(Style::Red, "not") };
        let cause = host.cause.as_deref().unwrap_or("by the certificate in the agent, trusting the CA alone");
        let name = shown(&host.name, host.port);
        output.line(format!("{state}  {user}@{name}  {}", cause.replace('\n', "\n     ")))?;
    }
    let healthy = hosts.iter().all(|host| host.logged_in);
    output.object(&LoginsObject { schema: "warded.verify-login/1", healthy, user: user.to_owned(), hosts })?;
    Ok(if healthy { Exit::Done } else { Exit::Degraded })
}

/// Why the certificate did not log in; `None` if it did.
fn cause(ended: &exec::Output) -> Option<String> {
    if ended.stderr.lines().any(is_by_key) {
        return None;
    }
    let said = ended.stderr.lines().filter(|line| !line.starts_with("debug1: ") && !line.starts_with("OpenSSH_"));
    let said = neutral_lines(said.collect::<Vec<_>>().join("\n").trim());
    Some(match said.as_str() {
        said if said.starts_with(AUTHENTICATED) => format!("the server asked for no key: {said}"),
        "" => ended.ending(),
        said => said.to_owned(),
    })
}

/// Whether this line of `ssh -v` says that a key opened the login (`ssh_userauth2` in sshconnect2.c; the second form is
/// from before OpenSSH 8.7).
fn is_by_key(line: &str) -> bool {
    (line.starts_with(AUTHENTICATED) && line.trim_end().ends_with("using \"publickey\"."))
        || line.trim_end() == "debug1: Authentication succeeded (publickey)."
}

/// The options with which ssh uses only this certificate, and trusts only these known hosts.
fn only(certificate: &Path, known: &Path, agent: &Path) -> Vec<String> {
    let agent = agent.display().to_string().replace('%', "%%");
    vec![
        "BatchMode=yes".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        format!("UserKnownHostsFile={}", known.display()),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "CheckHostIP=no".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        format!("IdentityAgent=\"{agent}\""),
        "IdentitiesOnly=yes".to_owned(),
        format!("IdentityFile={}", certificate.display()),
        "PreferredAuthentications=publickey".to_owned(),
        "ConnectTimeout=10".to_owned(),
    ]
}

/// The options of the person's configuration about the route to the host and the accepted algorithms: these can only
/// make a login fail.
const WAY: [&str; 14] = [
    "hostkeyalias",
    "addressfamily",
    "bindaddress",
    "bindinterface",
    "proxycommand",
    "proxyusefdpass",
    "ciphers",
    "macs",
    "kexalgorithms",
    "hostkeyalgorithms",
    "casignaturealgorithms",
    "pubkeyacceptedalgorithms",
    "pubkeyacceptedkeytypes",
    "requiredrsasize",
];

fn way(ssh: &Ssh, settings: &Settings) -> Vec<String> {
    let given = WAY.iter().filter(|keyword| settings.first(keyword).is_some());
    let mut options: Vec<String> =
        given.map(|keyword| format!("{keyword}={}", settings.values(keyword).join(" "))).collect();
    let files = settings.first("revokedhostkeys").map(|_| settings.values("revokedhostkeys").join("\" \""));
    options.extend(files.map(|files| format!("revokedhostkeys=\"{files}\"")));
    options.extend(settings.first("hostname").map(|name| format!("hostname={}", name.replace('%', "%%"))));
    options.extend(settings.first("proxyjump").map(|jump| format!("proxycommand={}", through(&ssh.program, &jump))));
    options
}

/// The command that ssh makes from a ProxyJump (`main` in ssh.c), with the person's configuration for the hosts on the
/// way.
fn through(ssh: &Path, jump: &str) -> String {
    let (before, last) = jump.rsplit_once(',').map_or((None, jump), |(before, last)| (Some(before), last));
    let (user, place) = last.rsplit_once('@').map_or((None, last), |(user, place)| (Some(user), place));
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let mut command = shell_word(&ssh.to_string_lossy());
    for (option, value) in [("-J", before), ("-l", user), ("-p", port)] {
        if let Some(value) = value {
            command.push_str(&[" ", option, " ", &shell_word(value)].concat());
        }
    }
    // A percent sign would start a token.
    format!("{} -W '[%h]:%p' -- {}", command.replace('%', "%%"), shell_word(host).replace('%', "%%"))
}

/// The certificate in the agent that a login of this user would use.
fn certificate_in(agent: &Agent, user: &str) -> Result<Certificate> {
    let held = agent.list().map_err(|error| told(agent.socket(), &error))?;
    let is_good =
        |one: &Certificate| verify::problem(one, Kind::User, std::slice::from_ref(one.key()), ca::now()).is_none();
    let mut good: Vec<Certificate> = held.iter().filter_map(Identity::certificate).filter(is_good).collect();
    // A certificate with that name comes first; a server may map other names to it.
    good.sort_by_key(|one| !one.principals().iter().any(|name| name == user));
    good.into_iter().next().ok_or_else(|| {
        Error::failed(format!("the agent at {} has no certificate that holds", agent.socket().display()))
            .next(format!("warded login {user}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_the_command_that_ssh_makes_of_it() {
        for (jump, expected) in [
            ("gate", "/bin/ssh -W '[%h]:%p' -- gate"),
            ("ann@gate:23", "/bin/ssh -l ann -p 23 -W '[%h]:%p' -- gate"),
            ("a@one:23,[fe80::1%lo]:24", "/bin/ssh -J a@one:23 -p 24 -W '[%h]:%p' -- fe80::1%%lo"),
            ("[::1]", "/bin/ssh -W '[%h]:%p' -- ::1"),
        ] {
            assert_eq!(through(Path::new("/bin/ssh"), jump), expected, "{jump}");
        }
    }

    #[test]
    fn only_a_login_by_a_key_is_one() {
        for (line, expected) in [
            ("Authenticated to web1 ([10.0.0.1]:22) using \"publickey\".", true),
            ("Authenticated to web1 (via proxy) using \"publickey\".\r", true),
            ("debug1: Authentication succeeded (publickey).", true),
            // An account with an empty password, if sshd allows that.
            ("Authenticated to web1 ([10.0.0.1]:22) using \"none\".", false),
            ("debug1: Authentication succeeded (none).", false),
            ("Authenticated to web1 ([10.0.0.1]:22).", false),
        ] {
            assert_eq!(is_by_key(line), expected, "{line}");
        }
    }
}
