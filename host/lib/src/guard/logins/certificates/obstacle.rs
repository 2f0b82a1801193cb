//! Why sshd would let a user in by no certificate of the CA: the line of its configuration that prevents it.

use super::{
    User, is_own,
    mapping::{file, is_own_file},
};
use crate::{
    error::{Error, Result},
    machine::sshd::{Effective, tree::Overlay},
    text::neutral,
};
use ssh_key::PublicKey;
use sshd_config::principals;
use std::io;

/// The type of the certificates that people get. One type is enough for sshd to accept certificates at all.
const CERTIFICATE: &str = "ssh-ed25519-cert-v01@openssh.com";

/// The values of `PermitRootLogin` with which root is not let in by a key without a forced command.
pub(super) const KEEP_ROOT_OUT: [&str; 2] = ["no", "forced-commands-only"];

/// At most this many names from a file are tried.
const MAX_NAMES: usize = 8;

/// Refuses a configuration with which sshd would silently accept nobody's certificates.
pub(super) fn refuse_algorithms(effective: &Effective, key: &PublicKey) -> Result<()> {
    let Some(MissingWord { keyword, word }) = missing(effective, key) else { return Ok(()) };
    Err(Error::refused(format!("sshd would take no certificate of this CA: {keyword} has no {word}"))
        .seen(neutral(&effective.values(&keyword.to_lowercase()).join(",")))
        .next(format!("add {word} to {keyword}, then run this again")))
}

/// A word that a list lacks.
struct MissingWord {
    keyword: &'static str,
    word: String,
}

fn missing(effective: &Effective, key: &PublicKey) -> Option<MissingWord> {
    let list = |keyword: &str| -> Vec<String> {
        effective.values(keyword).iter().flat_map(|value| value.split(',')).map(str::to_owned).collect()
    };
    let accepted = list("pubkeyacceptedalgorithms");
    if !accepted.is_empty() && !accepted.iter().any(|name| name.contains("-cert-v0")) {
        // sshd before 8.5 knows only the former name.
        let former = "PubkeyAcceptedKeyTypes";
        let keyword = if effective.prints(former) { former } else { "PubkeyAcceptedAlgorithms" };
        return Some(MissingWord { keyword, word: CERTIFICATE.to_owned() });
    }
    let (signs, algorithm) = (list("casignaturealgorithms"), key.algorithm());
    let own = [algorithm.as_str()];
    let words: &[&str] = if own == ["ssh-rsa"] { &["rsa-sha2-512", "rsa-sha2-256"] } else { &own };
    if !signs.is_empty() && !signs.iter().any(|one| words.contains(&one.as_str())) {
        return Some(MissingWord { keyword: "CASignatureAlgorithms", word: words.first()?.to_string() });
    }
    None
}

/// Which list lacks a word that the CA's certificates need, in a user's own configuration.
pub(super) fn algorithms(own: &Effective, key: &PublicKey) -> Option<String> {
    missing(own, key).map(|MissingWord { keyword, word }| format!("{keyword} has no {word}"))
}

/// A list of users that depends on an address: what sshd answers to this machine says nothing about others.
pub(super) fn by_address(own: &Effective) -> Option<String> {
    ["AllowUsers", "DenyUsers"].into_iter().find_map(|keyword| {
        let pattern = own.values(&keyword.to_lowercase()).iter().find(|pattern| pattern.contains('@'))?;
        Some(format!("{keyword} {}", neutral(pattern)))
    })
}

/// What in a user's own configuration rules out every certificate; none if nothing does.
pub(super) fn of(own: &Effective) -> Option<String> {
    let first = |keyword: &str| own.values(keyword).first().map(String::as_str);
    if first("pubkeyauthentication") == Some("no") {
        return Some("PubkeyAuthentication no".to_owned());
    }
    if let Some(file) = own.values("trustedusercakeys").first().filter(|file| !is_own(file.as_ref())) {
        return Some(format!("a Match has TrustedUserCAKeys {} for this user", neutral(file)));
    }
    let lists = own.values("authenticationmethods").iter().flat_map(|list| list.split_whitespace());
    let methods: Vec<&str> = lists.collect();
    let starts = |list: &&str| *list == "any" || list.split(',').any(|method| method == "publickey");
    if !methods.is_empty() && !methods.iter().any(starts) {
        return Some(format!("AuthenticationMethods {}", neutral(&methods.join(" "))));
    }
    None
}

/// Whether root is kept out whatever the key is: the query for a key does not show that.
pub(super) fn keeps_root_out(own: &Effective) -> Option<String> {
    let value = own.values("permitrootlogin").first()?;
    // The certificates that people get have no forced command.
    KEEP_ROOT_OUT.contains(&value.as_str()).then(|| format!("PermitRootLogin {value}"))
}

/// The names of which one has to be among a certificate's principals, or why there are none.
pub(super) fn names(user: &User, own: &Effective, overlay: Overlay<'_>) -> Result<Vec<String>, String> {
    let Some(pattern) = file(own) else { return Ok(vec![user.name.clone()]) };
    let Some(path) =
        super::super::methods::files(user, "authorizedprincipalsfile", std::slice::from_ref(pattern)).pop()
    else {
        return Err(format!("AuthorizedPrincipalsFile {} cannot be found for this user", neutral(pattern)));
    };
    let shown = neutral(&path.display().to_string());
    let text = overlay.read(&path).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound && is_own_file(&path) {
            format!("{shown} is not there, so no principal logs in")
        } else {
            format!("AuthorizedPrincipalsFile {shown}: {error}")
        }
    })?;
    let names: Vec<String> = principals::named(&text).into_iter().take(MAX_NAMES).collect();
    if names.is_empty() { Err(format!("AuthorizedPrincipalsFile {shown} has no name in it")) } else { Ok(names) }
}
