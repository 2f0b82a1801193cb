//! `warded login --on-demand`, which ssh_config's `Match exec` runs before each connection: it never keeps `ssh` from going
//! on, and never keeps it long. ssh runs it twice for a name that it canonicalises, and once for each hop.

use super::{super::output::say, Files, Login, Place};
use rustix::termios::isatty;
use std::{
    env, io, process, thread,
    time::{Duration, Instant, SystemTime},
};
use warded_lib::{
    agent::{Agent, AgentChoice, chosen},
    ca,
    error::{Error, Exit, Result},
    machine::{exec::NO_LOGIN, private::StateDir},
    name::Name,
};

/// For all of it. The same for who waits while another one logs in.
const LIMIT: Duration = Duration::from_secs(60);
/// So long after a login that failed nobody is asked again.
const REST: Duration = Duration::from_secs(60);
/// How often it is looked whether another login has ended.
const TICK: Duration = Duration::from_millis(50);
/// The file whose time says when a login failed.
const FAILED: &str = "failed";

/// Logs in where it is needed and a person can be asked. There is always time for `ssh` to go on.
pub(in crate::cli) fn run(login: &Login, ca: Option<&Name>, log_in: impl FnOnce() -> Result<Exit>) -> Exit {
    // `ssh -G`, which a login runs itself, runs this again.
    if env::var_os(NO_LOGIN).is_some() {
        return Exit::Done;
    }
    let (Ok(user), Ok(place)) = (login.user(), Place::of(ca)) else { return Exit::Done };
    let files = Files::of(&place, &user);
    if is_there(&files) {
        return Exit::Done;
    }
    let Ok(turns) = place.state() else {
        say("warded: ~/.ssh/warded-login cannot be used, so there is no login on demand");
        return Exit::Done;
    };
    if has_just_failed(&turns) {
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
    if !is_there(&files) && !has_just_failed(&turns) {
        match log_in() {
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

/// Ends this process with success: `ssh` is to go on, whatever hangs.
fn end_after(limit: Duration, turns: StateDir) {
    let ending = thread::Builder::new().spawn(move || {
        thread::sleep(limit);
        drop(turns.write(FAILED, b"", 0o600));
        say("warded: the login took too long; ssh goes on without it. Later: warded login");
        process::exit(0);
    });
    if let Err(error) = ending {
        say(&format!("warded: no login, since its time cannot be limited ({error}); ssh goes on without it"));
        process::exit(0);
    }
}

/// Whether the last login's certificate holds, and the agent has it. Without asking the CA, and first without `ssh`.
fn is_there(files: &Files) -> bool {
    let Some(certificate) = files.certificate() else { return false };
    if certificate.valid_before().saturating_sub(ca::now()) < 60 {
        return false;
    }
    let has_it = |agent: &Agent| agent.list().is_ok_and(|held| held.iter().any(|one| one.blob == certificate.bytes()));
    let usual = env::var_os("SSH_AUTH_SOCK").and_then(|socket| Agent::open(socket.as_ref()).ok());
    usual.as_ref().is_some_and(has_it)
        || matches!(chosen(None), Ok(AgentChoice::Socket { path, .. }) if Agent::open(&path).is_ok_and(|agent| has_it(&agent)))
}

/// Whether there is a terminal, or a screen with a browser.
fn can_ask() -> bool {
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER"]
        .into_iter()
        .any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
    has_screen || isatty(io::stderr())
}
