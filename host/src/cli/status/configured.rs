//! What `status` reads of sshd's configuration. If sshd does not accept it, what its lines name.

use super::{
    principals, strict_modes, unenrolled,
    user_ca::{self, UserCa},
};
use crate::{
    cli::outlook::{self, Problem},
    context::Context,
    enrolment::Enrolment,
};
use warded_lib::{
    error::{Error, Exit, Label, Result},
    guard::check,
    machine::sshd::{
        HostKey, Sshd, host_key,
        tree::{Overlay, StagedFiles, Tree},
    },
};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct ConfigFindings {
    pub(super) keys: Vec<HostKey>,
    /// The files that `HostCertificate` lines name.
    pub(super) named: Vec<String>,
    /// The values of `HostKeyAlgorithms`.
    pub(super) algorithms: Vec<String>,
    pub(super) user_cas: Vec<UserCa>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) notes: Vec<String>,
    /// Whether sshd does not accept it, so that nobody knows which keys sshd would have.
    pub(super) is_broken: bool,
}

/// Reads the configuration of an sshd.
///
/// # Errors
/// sshd cannot be run, or something of Warded's own cannot be read.
pub(super) fn look(context: &Context, sshd: &Sshd, enrolled: Option<&Enrolment>) -> Result<ConfigFindings> {
    let config = context.places.sshd_config.as_path();
    let tree = Tree::read(config, Overlay(&StagedFiles::new()));
    let tree = tree.as_ref().ok();
    let effective = match sshd.for_nobody() {
        Ok(effective) => effective,
        Err(error) if error.exit() == Exit::Refused => return Ok(broken(sshd, tree, &error)),
        Err(error) => return Err(error),
    };
    let values = |keyword| effective.values(keyword).to_vec();
    let (named, algorithms) = (values("hostcertificate"), values("hostkeyalgorithms"));
    let mut found = ConfigFindings { named, algorithms, ..ConfigFindings::default() };
    let unknown = sshd.unknown_listener()?.into_iter().chain(sshd.unknown_beside(&effective)?);
    found.problems.extend(unknown.map(|unknown| Problem::with(unknown.to_string(), unknown.next())));
    if enrolled.is_some()
        && let Err(error) = check::keeps_addresses(sshd, &effective)
    {
        found.problems.push(Problem::of_error("renew would be refused", &error));
    }
    let lists = outlook::lists(&effective, tree);
    found.problems.extend(lists.problems);
    found.warnings.extend(lists.warnings);
    found.warnings.extend(strict_modes::look(&effective));
    found
        .problems
        .extend(tree.filter(|_| enrolled.is_none()).map(|tree| unenrolled::look(context, tree)).transpose()?.flatten());
    let user_cas = user_ca::look(context, &effective, tree)?;
    found.problems.extend(user_cas.problems);
    found.problems.extend(principals::look(context, &effective)?);
    found.notes = user_cas.unknown;
    found.user_cas = user_cas.keys;
    found.keys = sshd.host_keys()?;
    Ok(found)
}

/// For a configuration that sshd does not accept: the place of the fault, in sshd's words, and what the files show all
/// the same.
fn broken(sshd: &Sshd, tree: Option<&Tree>, error: &Error) -> ConfigFindings {
    let words: Vec<&str> = error.notes_of(Label::Cause).flat_map(str::lines).collect();
    let seen = format!("{}: {}", error.message(), words.join("; "));
    let correct = || format!("correct it until `{} -t` is silent: a reload would end sshd", sshd.binary.display());
    let next = error.notes_of(Label::Next).next().map_or_else(correct, str::to_owned);
    ConfigFindings {
        keys: tree.map(host_key::on_disk).unwrap_or_default(),
        named: tree.map(|tree| host_key::named(tree, "hostcertificate")).unwrap_or_default(),
        problems: vec![Problem::with(seen, next)],
        is_broken: true,
        ..ConfigFindings::default()
    }
}
