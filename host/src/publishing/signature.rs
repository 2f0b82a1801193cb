//! Signatures of manifests: OpenSSH's own, made and verified by `ssh-keygen -Y`, so that any key signs that signs in
//! with SSH: in a file, an agent or a token. `allowed_signers` (ssh-keygen(1)) says who may be a publisher.

use super::{MAX_BYTES, Manifest};
use crate::components;
use std::path::{Path, PathBuf};
use warded_lib::{
    error::{Error, Result},
    machine::{
        exec::{self, Program},
        scratch::Scratch,
    },
    text::neutral,
};

/// What a signature is for, so that one of another kind of text is none of a policy.
pub const NAMESPACE: &str = "warded-policy";

/// Who is trusted to publish policies on this machine: a file beside the directory of policies.
#[must_use]
pub fn default_allowed_signers(policies: &Path) -> PathBuf {
    policies.parent().unwrap_or(Path::new("/")).join("allowed_signers")
}

/// Verifies the signature of a manifest. What comes back is what ssh-keygen says of the key.
///
/// The signature has to be valid now: nobody says reliably when it was made.
///
/// # Errors
/// Refused: it is none of this manifest, or not by a key that may sign for its publisher. Failed: there is no ssh-keygen.
pub fn verify(manifest: &Manifest, text: &[u8], signature: &[u8], signers: &[u8]) -> Result<String> {
    refuse_everybody(signers)?;
    let scratch = Scratch::private()?;
    let put = |name: &str, bytes: &[u8]| scratch.write(name, bytes, 0o600);
    let (text, signature, signers) =
        (put("manifest", text)?, put("signature", signature)?, put("allowed_signers", signers)?);
    let output = Program::new(ssh_keygen()?)
        .args(["-Y", "verify", "-n", NAMESPACE, "-I", &manifest.publisher, "-f"])
        .arg(&signers)
        .arg("-s")
        .arg(&signature)
        .input(&text)
        .run()?;
    let said = neutral(output.stdout.trim().lines().last().unwrap_or_default());
    if output.succeeded() {
        return Ok(said.rsplit_once(" with ").map_or(said.clone(), |(_, key)| key.to_owned()));
    }
    let why = neutral(output.stderr.trim().lines().last().unwrap_or_default());
    let reason = [said, why].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    Err(Error::refused(format!("the signature is not one that {} may make on this machine", manifest.publisher))
        .cause(if reason.is_empty() { output.ending() } else { format!("ssh-keygen: {reason}") })
        .next("see that allowed_signers has the publisher's key, with the namespace warded-policy and valid today"))
}

/// Signs a manifest with a key that ssh-keygen can use: a private key's file, or the public half of one in an agent.
///
/// # Errors
/// ssh-keygen does not sign.
pub fn sign(text: &[u8], key: &Path) -> Result<Vec<u8>> {
    let scratch = Scratch::private()?;
    let manifest = scratch.write("manifest", text, 0o600)?;
    let mut program = Program::new(ssh_keygen()?);
    for name in ["SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY"] {
        if let Some(value) = std::env::var_os(name) {
            program = program.env(name, value);
        }
    }
    let output = program.args(["-Y", "sign", "-n", NAMESPACE, "-f"]).arg(key).arg(&manifest).run()?;
    let cannot = || Error::failed(format!("cannot sign with {}", neutral(&key.display().to_string())));
    if !output.succeeded() {
        return Err(cannot()
            .cause(format!("ssh-keygen: {}", neutral(output.stderr.trim())))
            .next("for a key with a passphrase: ssh-add it, and name its public half"));
    }
    let mut signature = manifest.into_os_string();
    signature.push(".sig");
    components::read_any(Path::new(&signature), MAX_BYTES)
}

fn ssh_keygen() -> Result<PathBuf> {
    exec::find("ssh-keygen").ok_or_else(|| {
        Error::failed("there is no ssh-keygen on this machine")
            .next("install OpenSSH's client (8.0 or later), which verifies signatures")
    })
}

/// Refuses a list in which a certificate authority may vouch for any publisher: whoever has a certificate to log in
/// would be a publisher of what root runs.
fn refuse_everybody(signers: &[u8]) -> Result<()> {
    for (number, line) in (1..).zip(String::from_utf8_lossy(signers).lines()) {
        let line = line.trim_start();
        let Some((principals, rest)) = line.split_once([' ', '\t']).filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let is_everybody = |pattern: &str| !pattern.is_empty() && pattern.chars().all(|one| matches!(one, '*' | '?'));
        let principals = principals.trim_matches('"');
        if principals.split(',').any(is_everybody) && has_option(rest, "cert-authority") {
            return Err(Error::refused(format!("line {number} of allowed_signers lets everybody publish policies"))
                .cause("it is a cert-authority for the principals *: whoever has a certificate could sign for any publisher")
                .next("name the publishers whose certificates count"));
        }
    }
    Ok(())
}

/// Whether the options before a key have one of this name: `a,b="c,d",e ssh-ed25519 …`.
fn has_option(rest: &str, name: &str) -> bool {
    let (mut quoted, mut start) = (false, 0);
    let rest = rest.trim_start();
    for (at, character) in rest.char_indices() {
        match character {
            '"' => quoted = !quoted,
            ',' | ' ' | '\t' if !quoted => {
                if rest.get(start..at).is_some_and(|option| option.eq_ignore_ascii_case(name)) {
                    return true;
                }
                start = at + 1;
                if character != ',' {
                    return false;
                }
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_makes_everybody_a_publisher_is_refused() {
        const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7";
        for (line, refused) in [
            (format!("* cert-authority {KEY}"), true),
            (format!("\t* namespaces=\"a,b\",cert-authority {KEY}"), true),
            (format!("\"*\" CERT-AUTHORITY,valid-after=\"2020\" {KEY}"), true),
            (format!("ops@example.org,* cert-authority {KEY}"), true),
            (format!("?* cert-authority {KEY}"), true),
            (format!("* {KEY}"), false),
            (format!("* namespaces=\"cert-authority\" {KEY}"), false),
            (format!("*@example.org cert-authority {KEY}"), false),
            (format!("# * cert-authority {KEY}"), false),
            (format!("* {KEY} cert-authority"), false),
        ] {
            let list = format!("a@example.org {KEY}\n{line}\n");
            let found = refuse_everybody(list.as_bytes());
            assert_eq!(found.is_err(), refused, "{line}");
            assert!(found.err().is_none_or(|error| error.message().starts_with("line 2 ")), "{line}");
        }
    }
}
