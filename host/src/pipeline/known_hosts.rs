//! The guard of ssh's known_hosts files, as a run uses it: what ssh makes of them is proved before they change. No
//! sshd takes part, but for one that takes such a file's word for hosts that log in.

use super::Work;
use crate::context::Context;
use warded_lib::{
    config::is_root,
    error::{Error, Result},
    guard::known_hosts::{Change, Proof},
    machine::sshd::Sshd,
};

/// Refuses what the operator did not accept, before anything is proved.
///
/// # Errors
/// Refused: with the risk to accept.
pub fn check(context: &Context, work: &Work) -> Result<()> {
    let changes = work.known_hosts();
    if changes.is_empty() {
        return Ok(());
    }
    refuse_wide(work, &changes)?;
    refuse_hostbased(context, work, &changes)
}

/// Proves each file; none where no such file changes.
///
/// # Errors
/// Refused: what ssh would not do as it should.
pub fn prove(work: &Work) -> Result<Vec<Proof>> {
    work.known_hosts().iter().map(Change::prove).collect()
}

/// A CA that is trusted for names of every domain could stand in for every other host.
fn refuse_wide(work: &Work, changes: &[Change]) -> Result<()> {
    let mut wide = Vec::new();
    for change in changes {
        wide.extend(change.wide()?);
    }
    match wide.first() {
        Some(pattern) if !work.may_trust_widely => Err(Error::refused(format!(
            "the CA would be trusted for {pattern}: for hosts of other people's domains, too"
        ))
        .cause("whoever has its key could pass for any host that the pattern covers, github.com for one")
        .state("nothing was changed")
        .next("name your own domain: --set domain='*.example.org'")
        .next("if you want that, run it again with --accept-risk=any-host")),
        _ => Ok(()),
    }
}

/// With HostbasedAuthentication sshd takes known_hosts as proof of which host a user comes from.
fn refuse_hostbased(context: &Context, work: &Work, changes: &[Change]) -> Result<()> {
    let adds = changes.iter().any(Change::adds);
    if !adds || !is_root() || work.login_risks.admit {
        return Ok(());
    }
    let Some(sshd) = Sshd::find(&context.places.sshd_config, context.sshd_binary.as_deref())? else { return Ok(()) };
    let effective = sshd.effective(sshd.config.as_path(), &[])?;
    if effective.values("hostbasedauthentication").iter().any(|value| value == "yes") {
        return Err(Error::refused("sshd of this machine lets users in by the key of the host that they come from")
            .cause("with HostbasedAuthentication yes it takes the hosts of this file, and a CA in it speaks for all")
            .state("nothing was changed")
            .next("if that is what you want, run it again with --accept-risk=admit-logins"));
    }
    Ok(())
}
