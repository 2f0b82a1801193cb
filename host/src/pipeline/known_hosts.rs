//! The guard of ssh's known_hosts files, as a run uses it: it proves how ssh reads them before they change. No sshd is
//! involved, except one that relies on such a file for host-based authentication.

use super::Work;
use crate::context::Context;
use sshd_config::known_hosts::Wide;
use warded_lib::{
    config::is_root,
    error::{Error, Result},
    guard::known_hosts::{Change, Proof},
    machine::sshd::tree::{Overlay, StagedFiles, Tree},
    text::neutral,
};

const KEYWORD: &str = "hostbasedauthentication";

/// Refuses what the operator did not accept, before anything is proved.
///
/// # Errors
/// Refused: the error names the risk to accept.
pub fn check(context: &Context, work: &Work) -> Result<()> {
    let changes = work.known_hosts();
    if changes.is_empty() {
        return Ok(());
    }
    refuse_wide(work, &changes)?;
    refuse_hostbased(context, work, &changes)
}

/// Proves each known_hosts file that changes; empty if none does.
///
/// # Errors
/// Refused: ssh would not behave as it should.
pub fn prove(work: &Work) -> Result<Vec<Proof>> {
    work.known_hosts().iter().map(Change::prove).collect()
}

/// Whether the CA would be trusted for hosts of more than one domain.
///
/// # Errors
/// A line has patterns that cannot be read.
pub fn is_wide(work: &Work) -> Result<bool> {
    Ok(!wide(&work.known_hosts())?.is_empty())
}

fn wide(changes: &[Change]) -> Result<Vec<Wide>> {
    let all = changes.iter().map(Change::wide).collect::<Result<Vec<_>>>()?;
    Ok(all.into_iter().flatten().collect())
}

/// A CA that is trusted for names of every domain could stand in for every other host.
fn refuse_wide(work: &Work, changes: &[Change]) -> Result<()> {
    match wide(changes)?.first() {
        Some(Wide { pattern, covers }) if !work.terms.any_host => {
            Err(Error::refused(format!("the CA would be trusted for {pattern}, which is not limited to one domain"))
                .cause(format!(
                    "whoever holds the CA's key could impersonate every host that the pattern covers, such as {covers}"
                ))
                .next("name your own domain: --set domain='*.example.org'; list IP addresses one by one")
                .next("if you want that, run it again with --accept-risk=any-host"))
        }
        _ => Ok(()),
    }
}

/// With HostbasedAuthentication sshd takes known_hosts as proof of which host a user comes from.
fn refuse_hostbased(context: &Context, work: &Work, changes: &[Change]) -> Result<()> {
    if !changes.iter().any(Change::adds) || work.terms.logins.admit {
        return Ok(());
    }
    let Some(seen) = hostbased(context)? else { return Ok(()) };
    Err(Error::refused("sshd of this machine accepts logins on the word of the host that a user comes from")
        .cause(
            "with HostbasedAuthentication yes, sshd trusts the hosts in this file, and a CA in it can vouch for any \
             host",
        )
        .seen(seen)
        .next("if that is what you want, run it again with --accept-risk=admit-logins"))
}

/// The line that makes sshd accept host-based logins, or `None`. A `Match` may set it for some users only, so every
/// line counts; sshd adds what its command line says.
fn hostbased(context: &Context) -> Result<Option<String>> {
    let config = context.places.sshd_config.as_path();
    if !config.is_file() {
        return Ok(None);
    }
    let tree = match Tree::read(config, Overlay(&StagedFiles::new())) {
        // A file of an ordinary user concerns only that user's logins, and not every user may read sshd's
        // configuration.
        Err(_) if !is_root() => return Ok(None),
        tree => tree?,
    };
    let is_on = |value: &str| !["no", "false"].iter().any(|no| value.eq_ignore_ascii_case(no));
    let line = tree.directives().find(|(_, _, directive)| {
        directive.keyword == KEYWORD && directive.arguments.first().is_some_and(|value| is_on(&value.text))
    });
    if let Some((file, number, _)) = line {
        return Ok(Some(format!("{} line {number}", neutral(&file.to_string_lossy()))));
    }
    if !is_root() {
        return Ok(None);
    }
    let Some(sshd) = context.sshd()? else { return Ok(None) };
    // If sshd does not accept its configuration, the lines above are all that can be checked.
    let Ok(effective) = sshd.for_nobody() else { return Ok(None) };
    let is_on = effective.values(KEYWORD).iter().any(|value| is_on(value));
    Ok(is_on.then(|| format!("{KEYWORD} yes (sshd -T)")))
}
