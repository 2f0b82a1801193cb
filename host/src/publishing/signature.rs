//! Signatures of manifests: OpenSSH's own, made and verified by `ssh-keygen -Y`. So every key that can log in by SSH
//! can sign, whether it is in a file, an agent or a token. `allowed_signers` (ssh-keygen(1)) says who may be a
//! publisher.

use jiff::{Timestamp, tz::TimeZone};
use std::{
    fs,
    path::{Path, PathBuf},
};
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

/// The namespace of the signatures: a signature that was made for another purpose does not count for a policy.
pub const NAMESPACE: &str = "warded-policy";

/// What to install to verify signatures: `-Y` came with 8.1, `valid-before` and `valid-after` with 8.7.
const INSTALL: &str = "install OpenSSH's client: 8.1 or later verifies signatures, and 8.7 or later knows valid-before in allowed_signers";

/// No list of signers is valid for as long as this.
const YEAR_2200: i64 = 7_258_118_400;

/// Who is trusted to publish policies on this machine: a file beside the directory of policies.
#[must_use]
pub fn default_allowed_signers(policies: &Path) -> PathBuf {
    policies.parent().unwrap_or(Path::new("/")).join("allowed_signers")
}

/// Which keys and certificates may no longer sign: a file beside the list of allowed signers, in OpenSSH's format.
#[must_use]
pub fn revoked_signers(allowed: &Path) -> PathBuf {
    allowed.with_file_name("revoked_signers")
}

/// What ssh-keygen says of a valid signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedSignature {
    /// The key, as ssh-keygen names it.
    pub key: String,
    /// Until when the key may sign, by `allowed_signers` and by its certificate; `None` if no end is known.
    pub until: Option<Timestamp>,
}

/// Verifies the signature of a manifest.
///
/// The signature must be valid now, since nobody says reliably when it was made.
///
/// # Errors
/// Refused: it is not a signature of this manifest, or not by a key that may sign for its publisher. Failed: there is
/// no ssh-keygen that verifies signatures.
pub fn verify(
    manifest: &Manifest,
    (text, signature): (&[u8], &[u8]),
    signers: &[u8],
    revoked: Option<&[u8]>,
) -> Result<VerifiedSignature> {
    refuse_everybody(signers)?;
    let question = Question::new((NAMESPACE, &manifest.publisher), (text, signature), signers, revoked)?;
    let key = question.ask(None)?.map_err(|why| {
        Error::refused(format!("the signature is not one that {} may make on this machine", manifest.publisher))
            .cause(why)
            .next(
                "see that allowed_signers has the publisher's key, with the namespace warded-policy and valid today, and \
                 that revoked_signers does not have it",
            )
    })?;
    let until = question.until(Timestamp::now())?;
    Ok(VerifiedSignature { key, until })
}

/// Asks ssh-keygen whether this is a signature of this text that `identity` may make according to `signers`, with a key
/// that is not in `revoked`. Returns what ssh-keygen says of the key, or why the signature does not count.
///
/// # Errors
/// There is no ssh-keygen that verifies signatures, or it cannot be run.
pub fn check(
    claim: (&str, &str),
    signed: (&[u8], &[u8]),
    signers: &[u8],
    revoked: Option<&[u8]>,
) -> Result<std::result::Result<String, String>> {
    Question::new(claim, signed, signers, revoked)?.ask(None)
}

/// The files for a question to ssh-keygen.
struct Question {
    program: Program,
    _files: Scratch,
}

impl Question {
    fn new(
        (namespace, identity): (&str, &str),
        (text, signature): (&[u8], &[u8]),
        signers: &[u8],
        revoked: Option<&[u8]>,
    ) -> Result<Self> {
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
        Ok(Self { program, _files: scratch })
    }

    /// Asks ssh-keygen, as of now or of another time: what it says of the key, or why the signature does not count.
    fn ask(&self, at: Option<Timestamp>) -> Result<std::result::Result<String, String>> {
        let program = self.program.clone();
        let output = match at {
            None => program,
            Some(at) => {
                let at = at.to_zoned(local_zone());
                program.arg("-O").arg(format!("verify-time={}", at.strftime("%Y%m%d%H%M%S")))
            }
        }
        .run()?;
        let said = neutral(output.stdout.trim().lines().last().unwrap_or_default());
        if output.succeeded() {
            return Ok(Ok(said.rsplit_once(" with ").map_or(said.clone(), |(_, key)| key.to_owned())));
        }
        refuse_too_old(&output.stderr)?;
        let why = neutral(output.stderr.trim().lines().last().unwrap_or_default());
        let reason = [said, why].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        Ok(Err(if reason.is_empty() { output.ending() } else { format!("ssh-keygen: {reason}") }))
    }

    /// Until when the signature is valid. Only ssh-keygen knows how `valid-before`, several lines for a key and the
    /// life of a certificate combine, so it is asked about other times (since OpenSSH 8.7; earlier versions report no
    /// end).
    fn until(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let at = |second: i64| Timestamp::from_second(second).unwrap_or(now);
        let holds = |second: i64| Ok::<_, Error>(self.ask(Some(at(second)))?.is_ok());
        let (mut valid, mut invalid) = (now.as_second(), YEAR_2200);
        if holds(invalid)? || !holds(valid)? {
            return Ok(None);
        }
        while invalid - valid > 1 {
            let between = i64::midpoint(valid, invalid);
            if holds(between)? { valid = between } else { invalid = between }
        }
        Ok(Some(at(invalid)))
    }
}

/// The time zone in which ssh-keygen reads times, unless the environment names another one. Naming UTC works only since
/// 9.1.
fn local_zone() -> TimeZone {
    let zone = fs::read("/etc/localtime").ok().and_then(|zone| TimeZone::tzif("", &zone).ok());
    zone.unwrap_or(TimeZone::UTC)
}

/// Refuses an ssh-keygen that printed its usage because it does not know the options: it has verified nothing.
fn refuse_too_old(stderr: &str) -> Result<()> {
    if !stderr.contains("usage: ssh-keygen") {
        return Ok(());
    }
    Err(Error::failed("the ssh-keygen of this machine does not support signatures")
        .cause(neutral(stderr.trim().lines().next().unwrap_or_default()))
        .next(INSTALL))
}

/// Signs a text with a key that ssh-keygen can use: the file of a private key, or of a public key whose private half is
/// in an agent.
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
        refuse_too_old(&output.stderr)?;
        return Err(cannot()
            .cause(format!("ssh-keygen: {}", neutral(output.stderr.trim())))
            .next("for a key with a passphrase: add it to an agent (ssh-add), and name its public key file"));
    }
    let mut signature = manifest.into_os_string();
    signature.push(".sig");
    read::any(Path::new(&signature), MAX_BYTES)
}

fn ssh_keygen() -> Result<PathBuf> {
    exec::find("ssh-keygen").ok_or_else(|| Error::failed("there is no ssh-keygen on this machine").next(INSTALL))
}
