//! Asks sshd whether it would accept a key of a user, by the query without a signature (RFC 4252, section 7).

use crate::{
    error::Result,
    guard::client::bench::{Bench, Connection},
    handshake::{HostKeyAlgorithm, Query, Verdict},
    machine::sshd::tree::{Line, Tree},
    text::neutral,
};
use ssh_key::PublicKey;

/// Whether a query would run a program: no command line option overrides such a line in a `Match`.
pub(super) fn runs_programs(tree: &Tree) -> Result<bool> {
    let is_command = |keyword: &str| ["authorizedkeyscommand", "authorizedprincipalscommand"].contains(&keyword);
    let runs = |line: &Line<'_>| !line.within.is_empty() && is_command(&line.directive.keyword);
    Ok(tree.lines()?.iter().any(runs))
}

/// Whether sshd would accept a key of a user, or why that is not known.
pub(super) fn takes(bench: &Bench, user: &str, key: &PublicKey) -> Result<Result<bool, String>> {
    let Connection { mut session, service } = match bench.open()? {
        Ok(connection) => connection,
        Err((fault, said)) => return Ok(Err(format!("{fault} {}", neutral(said.trim())))),
    };
    let algorithm = HostKeyAlgorithm::all().find(|one| session.server().offers(*one));
    let Some(algorithm) = algorithm else { return Ok(Err("no host key that can be asked for".to_owned())) };
    let asked = session.exchange(algorithm).and_then(|_| session.query(user, key));
    drop(session);
    drop(service);
    Ok(match asked {
        Ok(Query::Acceptable) => Ok(true),
        Ok(Query::Refused(_)) => Ok(false),
        // sshd ends the connection of a user whom it allows no method.
        Err(fault) if fault.verdict() == Verdict::Unknown => Ok(false),
        Err(fault) => Err(fault.to_string()),
    })
}
