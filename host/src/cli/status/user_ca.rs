//! Whether sshd takes the certificates that the CA gives people, where `trust-user-ca` has it do so.

use crate::{cli::outlook::Problem, context::Context};
use serde::Serialize;
use ssh_key::{HashAlg, PublicKey, public::KeyData};
use sshd_config::trusted_keys::{self, FILE_NAME};
use std::{fs, io, path::Path};
use warded_lib::{ca::Kind, machine::sshd::Effective, text::neutral};

const APPLY: &str = "warded apply trust-user-ca";

/// Whether a file is Warded's own list.
pub(in crate::cli) fn is_own(path: &str) -> bool {
    Path::new(path).file_name().is_some_and(|name| name == FILE_NAME)
}

/// A key by whose certificates people log in.
#[derive(Debug, Serialize)]
pub(super) struct UserCa {
    pub(super) fingerprint: String,
    pub(super) algorithm: String,
    /// Warded's list, which sshd reads.
    pub(super) file: String,
}

/// The list that sshd reads: its keys, what is wrong with it, and what could not be found out.
#[derive(Default)]
pub(super) struct UserCas {
    pub(super) keys: Vec<UserCa>,
    pub(super) problems: Vec<Problem>,
    pub(super) unknown: Vec<String>,
}

/// Looks at the list that sshd reads, where it is Warded's own.
pub(super) fn look(context: &Context, effective: &Effective) -> UserCas {
    let Some(path) = effective.values("trustedusercakeys").first().filter(|path| is_own(path)) else {
        return UserCas::default();
    };
    let shown = neutral(path);
    let nobody = "nobody logs in by a certificate";
    let contents = match fs::read(path) {
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
        // `apply` does not write over what others wrote.
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
