//! `warded login --on-demand`, which ssh_config's `Match exec` runs before each connection. It never stops `ssh` from
//! continuing, and never delays it for long. ssh runs it twice for a name that it canonicalises, and once for each hop.

use super::{super::output::say, Files, Place};
use rustix::termios::isatty;
use std::{
    env, io, process, thread,
    time::{Duration, Instant, SystemTime},
};
use warded_lib::{
    agent::{Agent, AgentChoice, chosen},
    ca::{self, Certificate},
    error::{Error, Exit, Result},
    machine::{exec::NO_LOGIN, private::StateDir},
    name::Name,
};

/// The time limit for everything, including the wait for another login.
const LIMIT: Duration = Duration::from_secs(60);
/// The last part of that time: if nobody took part in the login, it finds out why, and says so. This must be longer
/// than a request to the provider may take.
const TO_TELL: Duration = Duration::from_secs(14);
/// For so long after a failed login, nobody is asked again.
const REST: Duration = Duration::from_secs(60);
/// How often to check whether another login has ended.
const TICK: Duration = Duration::from_millis(50);
/// The file whose modification time says when a login failed.
const FAILED: &str = "failed";

/// Logs in if that is necessary and a person can be asked. `ssh` always continues in time. `log_in` gets the time at
/// which it has to give up.
pub(in crate::cli) fn run(ca: Option<&Name>, log_in: impl FnOnce(Instant) -> Result<Exit>) -> Exit {
    // A login itself runs `ssh -G`, which runs this command again.
    if env::var_os(NO_LOGIN).is_some() {
        return Exit::Done;
    }
    let Ok(place) = Place::of(ca) else { return Exit::Done };
    if is_at_hand(&valid(&place)) {
        return Exit::Done;
    }
    let Ok(turns) = place.state() else {
        say("warded: ~/.ssh/warded-login cannot be used, so there is no login on demand");
        return Exit::Done;
    };
    // This check comes before the one with `ssh -G`, which may take noticeably long.
    if has_just_failed(&turns) || is_elsewhere(&valid(&place)) {
        return Exit::Done;
    }
    if !can_ask() {
        let which = ca.map(|ca| format!(" --ca {ca}")).unwrap_or_default();
        say(&format!(
            "warded: there is no certificate for ssh, and nobody to ask here. To log in: warded login{which}"
        ));
        return Exit::Done;
    }
    let until = Instant::now() + LIMIT;
    end_after(LIMIT, turns.clone());
    let lock = loop {
        match turns.try_lock() {
            Ok(Some(lock)) => break lock,
            Ok(None) if Instant::now() < until => thread::sleep(TICK),
            Ok(None) | Err(_) => return Exit::Done,
        }
    };
    let held = valid(&place);
    if !is_at_hand(&held) && !has_just_failed(&turns) && !is_elsewhere(&held) {
        match log_in(until.checked_sub(TO_TELL).unwrap_or(until)) {
            Ok(_) => drop(turns.remove(FAILED)),
            Err(error) => failed(&turns, &error),
        }
    }
    drop(lock);
    Exit::Done
}

fn failed(turns: &StateDir, error: &Error) {
    drop(turns.write(FAILED, b"", 0o600));
    say(&error.to_string());
}

fn has_just_failed(turns: &StateDir) -> bool {
    let age = || turns.path().join(FAILED).metadata().ok()?.modified().ok();
    age().and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age < REST)
}

/// Ends this process with success after the limit: `ssh` must continue, whatever hangs.
fn end_after(limit: Duration, turns: StateDir) {
    let ending = thread::Builder::new().spawn(move || {
        thread::sleep(limit);
        drop(turns.write(FAILED, b"", 0o600));
        say("warded: the login took too long; ssh goes on without it. Later: warded login");
        process::exit(0);
    });
    if let Err(error) = ending {
        say(&format!("warded: no login, because its duration cannot be limited ({error}); ssh goes on without it"));
        process::exit(0);
    }
}

/// The files of the logins with this CA whose certificates stay valid for a while, whatever login name each was made
/// for. The CA is not asked.
fn valid(place: &Place) -> Vec<(Files, Certificate)> {
    let holds = |certificate: &Certificate| certificate.valid_before().saturating_sub(ca::now()) >= 60;
    let with_certificate = |files: Files| {
        let certificate = files.certificate().filter(holds)?;
        Some((files, certificate))
    };
    Files::all(place).into_iter().filter_map(with_certificate).collect()
}

/// Whether ssh can use one of them: its key is in the agent that the environment names, or in a file beside it if no
/// agent took it.
fn is_at_hand(valid: &[(Files, Certificate)]) -> bool {
    if valid.is_empty() {
        return false;
    }
    let usual = env::var_os("SSH_AUTH_SOCK").and_then(|socket| Agent::open(socket.as_ref()).ok());
    usual.is_some_and(|agent| has_one(&agent, valid)) || valid.iter().any(|(files, _)| files.usable().is_some())
}

/// Whether one of them is in the agent that ssh_config names.
fn is_elsewhere(valid: &[(Files, Certificate)]) -> bool {
    !valid.is_empty()
        && matches!(chosen(None), Ok(AgentChoice::Socket { path, .. })
            if Agent::open(&path).is_ok_and(|agent| has_one(&agent, valid)))
}

fn has_one(agent: &Agent, valid: &[(Files, Certificate)]) -> bool {
    let is_one = |blob: &[u8]| valid.iter().any(|(_, certificate)| blob == certificate.bytes());
    agent.list().is_ok_and(|held| held.iter().any(|one| is_one(&one.blob)))
}

/// Whether there is a terminal, or a screen for a browser.
fn can_ask() -> bool {
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"]
        .into_iter()
        .any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
    has_screen || isatty(io::stderr())
}
