//! Whether sshd accepts the certificates that the CA issues to people, if `trust-user-ca` configured that.

use crate::{cli::outlook::Problem, context::Context};
use serde::Serialize;
use ssh_key::{HashAlg, PublicKey, public::KeyData};
use sshd_config::trusted_keys::{self, FILE_NAME};
use std::{io, path::Path};
use warded_lib::{
    ca::Kind,
    error::Result,
    machine::{
        bounded,
        sshd::{
            Effective,
            tree::{Line, Tree},
        },
    },
    text::neutral,
    transaction,
};

const APPLY: &str = "warded apply trust-user-ca";

/// Whether a file is Warded's own list.
pub(in crate::cli) fn is_own(path: &str) -> bool {
    Path::new(path).file_name().is_some_and(|name| name == FILE_NAME)
}

/// A CA key whose certificates let people log in.
#[derive(Debug, Serialize)]
pub(super) struct UserCa {
    pub(super) fingerprint: String,
    pub(super) algorithm: String,
    /// Warded's list, if sshd reads it.
    pub(super) file: String,
}

/// The list that sshd reads: its keys, what is wrong with it, and what could not be found out.
#[derive(Default)]
pub(super) struct UserCas {
    pub(super) keys: Vec<UserCa>,
    pub(super) problems: Vec<Problem>,
    pub(super) unknown: Vec<String>,
}

/// Checks the list that sshd reads, if it is Warded's own; otherwise whether it should be.
///
/// # Errors
/// The journals cannot be read.
pub(super) fn look(context: &Context, effective: &Effective, tree: Option<&Tree>) -> Result<UserCas> {
    let first = effective.values("trustedusercakeys").first();
    let Some(path) = first.filter(|path| is_own(path)) else {
        let other = first.map_or("none", String::as_str);
        let lost = tree.filter(|_| other == "none").map(|tree| lost(context, tree)).transpose()?.flatten();
        let problem = lost.or_else(|| tree.and_then(|tree| hidden(tree, other)));
        return Ok(UserCas { problems: problem.into_iter().collect(), ..UserCas::default() });
    };
    Ok(read(context, path))
}

/// The problem if a run made this sshd read Warded's list, and no line of its configuration names that list any more:
/// an upgrade may have replaced the configuration.
fn lost(context: &Context, tree: &Tree) -> Result<Option<Problem>> {
    let named = |list: &str| tree.directives().any(|(_, _, line)| line.arguments.iter().any(|one| one.text == list));
    let list = transaction::list_left(&context.state, &context.places.sshd_config, FILE_NAME)?;
    let Some(list) = list.filter(|list| !named(list.as_str())) else { return Ok(None) };
    let is_gone = if list.as_path().exists() { "" } else { ", which is gone, too" };
    let seen = format!(
        "no TrustedUserCAKeys line of sshd's configuration names the list of the CA's user keys {}{is_gone}: nobody \
         logs in by a certificate",
        neutral(list.as_str())
    );
    Ok(Some(Problem::of_drift(seen, format!("{APPLY} puts it back"))))
}

/// Checks Warded's list, which sshd reads.
fn read(context: &Context, path: &str) -> UserCas {
    let shown = neutral(path);
    let nobody = "nobody logs in by a certificate";
    let contents = match bounded::read(Path::new(path)) {
        Ok(contents) => contents,
        Err(error) => {
            let is_gone = error.kind() == io::ErrorKind::NotFound;
            let why = if is_gone { "is gone".to_owned() } else { format!("cannot be read ({error})") };
            let seen = format!("the list of the CA's user keys {shown} {why}: {nobody}");
            return UserCas { problems: vec![Problem::with(seen, APPLY)], ..UserCas::default() };
        }
    };
    let (mut problems, mut unknown, mut next) = (Vec::new(), Vec::new(), APPLY.to_owned());
    if let Err(fault) = trusted_keys::read(&contents) {
        // `apply` does not overwrite a file that others wrote.
        next = format!("mv {shown} {shown}.old; {APPLY}");
        let effect = if fault.kind.is_harmless() { "it was edited" } else { nobody };
        let seen = format!("the list of the CA's user keys {shown} {fault}: {effect}");
        problems.push(Problem::with(seen, &*next));
        if !fault.kind.is_harmless() {
            return UserCas { problems, ..UserCas::default() };
        }
    }
    let listed = listed(&contents);
    match context.authority.open().and_then(|authority| authority.roots(Kind::User)) {
        Ok(roots) => problems.extend(differences(&shown, &listed, &roots, &next)),
        Err(error) => unknown.push(format!("whether {shown} has the CA's user keys is not known: {error}")),
    }
    let of = |key: &PublicKey| UserCa {
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        algorithm: key.algorithm().to_string(),
        file: shown.clone(),
    };
    UserCas { keys: listed.iter().map(of).collect(), problems, unknown }
}

/// The problem if a line names Warded's list and sshd uses `other`, which an earlier line names, unless both lists have
/// the same keys.
fn hidden(tree: &Tree, other: &str) -> Option<Problem> {
    let lines = tree.lines().ok()?;
    let of_all = lines.iter().filter(|line| line.within.is_empty() && line.directive.keyword == "trustedusercakeys");
    let mut named = of_all.flat_map(|line| line.directive.arguments.iter().map(move |one| (line, one.text.as_str())));
    let (ours, own) = named.clone().find(|(_, path)| is_own(path))?;
    let keys = |path: &str| bounded::read(Path::new(path)).map(|contents| listed(&contents)).unwrap_or_default();
    let (own_keys, other_keys) = (keys(own), keys(other));
    let is_there = |key: &PublicKey| other_keys.iter().any(|one| one.key_data() == key.key_data());
    if !own_keys.is_empty() && own_keys.iter().all(is_there) {
        return None;
    }
    let place = |line: &Line<'_>| format!("{} line {}", neutral(&line.file.to_string_lossy()), line.number);
    let before = named.find(|(_, path)| *path == other).map(|(line, _)| format!(" by {}", place(line)));
    let (own, other) = (neutral(own), neutral(other));
    let seen = format!(
        "sshd takes the keys of user CAs from {other}{}, so the list of the CA's user keys {own} in {} does not count: \
         nobody logs in by a certificate of this CA",
        before.unwrap_or_default(),
        place(ours)
    );
    let next = if other == "none" {
        format!("take the line TrustedUserCAKeys {other} out, and reload sshd")
    } else {
        format!("take the line TrustedUserCAKeys {other} out, or add the keys in {own} to that file; and reload sshd")
    };
    Some(Problem::with(seen, next))
}

fn listed(contents: &[u8]) -> Vec<PublicKey> {
    String::from_utf8_lossy(contents).lines().filter_map(|line| PublicKey::from_openssh(line.trim()).ok()).collect()
}

fn differences(path: &str, listed: &[PublicKey], roots: &[PublicKey], next: &str) -> Vec<Problem> {
    let has = |keys: &[PublicKey], key: &KeyData| keys.iter().any(|one| one.key_data() == key);
    let print = |key: &PublicKey| key.fingerprint(HashAlg::Sha256);
    let new = roots.iter().filter(|key| !has(listed, key.key_data())).map(|key| {
        let seen =
            format!("{path} does not have the CA's user key {} yet: sshd refuses certificates by it", print(key));
        Problem::with(seen, next)
    });
    let dropped = listed.iter().filter(|key| !has(roots, key.key_data())).map(|key| {
        let seen = format!(
            "{path} still has the user key {}, which the CA dropped: sshd takes certificates by it",
            print(key)
        );
        Problem::with(seen, next)
    });
    new.chain(dropped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use warded_lib::machine::sshd::tree::{Overlay, StagedFiles};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAGiDyzJIiWShLoxq5O5Vv6laeDBK30EKRadV1y3p0N7";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPH3c9DTyl8MdWATPlxF4MdMK1VWyvoOEJoCOi3gnpZO";

    #[test]
    fn a_list_that_another_line_hides_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
        let (main, own, other) = (at("sshd_config"), at(FILE_NAME), at("other.pub"));
        fs::write(&own, format!("{KEY}\n")).unwrap();
        let first = format!("TrustedUserCAKeys {other}\n");
        let ours = format!("TrustedUserCAKeys {own}\n");
        for (case, lines, list, takes, is_told) in [
            ("another CA's", format!("{first}{ours}"), Some(OTHER.to_owned()), other.as_str(), true),
            ("one that is gone", format!("{first}{ours}"), None, other.as_str(), true),
            ("one with ours, too", format!("{first}{ours}"), Some(format!("{OTHER}\n{KEY} ca")), other.as_str(), false),
            ("none", format!("TrustedUserCAKeys none\n{ours}"), None, "none", true),
            ("without ours", first.clone(), Some(OTHER.to_owned()), other.as_str(), false),
            ("ours for some", format!("{first}Match User x\n{ours}"), Some(OTHER.to_owned()), other.as_str(), false),
        ] {
            drop(fs::remove_file(&other));
            list.iter().for_each(|list| fs::write(&other, list).unwrap());
            fs::write(&main, lines).unwrap();
            let tree = Tree::read(Path::new(&main), Overlay(&StagedFiles::new())).unwrap();
            let told = hidden(&tree, takes).map(|problem| problem.to_string());
            assert_eq!(told.is_some(), is_told, "{case}: {told:?}");
            let places = [format!("by {main} line 1, so"), format!("{own} in {main} line 2 does not count")];
            assert!(told.is_none_or(|told| places.iter().all(|place| told.contains(place))), "{case}");
        }
    }
}
