//! Signatures of manifests: OpenSSH's own, made and verified by `ssh-keygen -Y`, so that any key signs that signs in
//! with SSH: in a file, an agent or a token. `allowed_signers` (ssh-keygen(1)) says who may be a publisher.

use std::path::{Path, PathBuf};
use warded_artifact::read;
use warded_artifact::{
    manifest::{MAX_BYTES, Manifest},
    signers::refuse_everybody,
};
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

/// Which keys and certificates may no longer sign, beside the list of those that may: as OpenSSH reads such lists.
#[must_use]
pub fn revoked_signers(allowed: &Path) -> PathBuf {
    allowed.with_file_name("revoked_signers")
}

/// Verifies the signature of a manifest. What comes back is what ssh-keygen says of the key.
///
/// The signature has to be valid now: nobody says reliably when it was made.
///
/// # Errors
/// Refused: it is none of this manifest, or not by a key that may sign for its publisher. Failed: there is no ssh-keygen.
pub fn verify(
    manifest: &Manifest,
    (text, signature): (&[u8], &[u8]),
    signers: &[u8],
    revoked: Option<&[u8]>,
) -> Result<String> {
    refuse_everybody(signers)?;
    check((NAMESPACE, &manifest.publisher), (text, signature), signers, revoked)?.map_err(|why| {
        Error::refused(format!("the signature is not one that {} may make on this machine", manifest.publisher))
            .cause(why)
            .next(
                "see that allowed_signers has the publisher's key, with the namespace warded-policy and valid today, and \
                 that revoked_signers does not have it",
            )
    })
}

/// Asks ssh-keygen whether a signature is one of this text that `identity` may make by `signers`, and by no key that is
/// `revoked`: what it says of the key, or why not.
///
/// # Errors
/// There is no ssh-keygen, or it cannot be run.
pub fn check(
    (namespace, identity): (&str, &str),
    (text, signature): (&[u8], &[u8]),
    signers: &[u8],
    revoked: Option<&[u8]>,
) -> Result<std::result::Result<String, String>> {
    let scratch = Scratch::private()?;
    let put = |name: &str, bytes: &[u8]| scratch.write(name, bytes, 0o600);
    let (text, signature, signers) =
        (put("manifest", text)?, put("signature", signature)?, put("allowed_signers", signers)?);
    let mut program = Program::new(ssh_keygen()?)
        .args(["-Y", "verify", "-n", namespace, "-I", identity, "-f"])
        .arg(&signers)
        .arg("-s")
        .arg(&signature)
        .input(&text);
    if let Some(revoked) = revoked {
        program = program.arg("-r").arg(put("revoked_signers", revoked)?);
    }
    let output = program.run()?;
    let said = neutral(output.stdout.trim().lines().last().unwrap_or_default());
    if output.succeeded() {
        return Ok(Ok(said.rsplit_once(" with ").map_or(said.clone(), |(_, key)| key.to_owned())));
    }
    let why = neutral(output.stderr.trim().lines().last().unwrap_or_default());
    let reason = [said, why].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    Ok(Err(if reason.is_empty() { output.ending() } else { format!("ssh-keygen: {reason}") }))
}

/// Signs a text with a key that ssh-keygen can use: a private key's file, or the public half of one in an agent.
///
/// # Errors
/// ssh-keygen does not sign.
pub fn sign(namespace: &str, text: &[u8], key: &Path) -> Result<Vec<u8>> {
    let scratch = Scratch::private()?;
    let manifest = scratch.write("manifest", text, 0o600)?;
    let mut program = Program::new(ssh_keygen()?);
    for name in ["SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY"] {
        if let Some(value) = std::env::var_os(name) {
            program = program.env(name, value);
        }
    }
    let output = program.args(["-Y", "sign", "-n", namespace, "-f"]).arg(key).arg(&manifest).run()?;
    let cannot = || Error::failed(format!("cannot sign with {}", neutral(&key.display().to_string())));
    if !output.succeeded() {
        return Err(cannot()
            .cause(format!("ssh-keygen: {}", neutral(output.stderr.trim())))
            .next("for a key with a passphrase: ssh-add it, and name its public half"));
    }
    let mut signature = manifest.into_os_string();
    signature.push(".sig");
    read::any(Path::new(&signature), MAX_BYTES)
}

fn ssh_keygen() -> Result<PathBuf> {
    exec::find("ssh-keygen").ok_or_else(|| {
        Error::failed("there is no ssh-keygen on this machine")
            .next("install OpenSSH's client (8.0 or later), which verifies signatures")
    })
}
