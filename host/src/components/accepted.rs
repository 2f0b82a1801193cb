//! What `warded policy add` puts into the directory of policies: the policy file, and, in files named by the
//! component's digest, the component, its signature, a copy of the policy file, and where they came from. The policy
//! file is replaced last and atomically, so an interruption leaves either the old policy or the new one. The previous
//! version stays beside it, for `warded policy rollback`. The texts of all accepted versions stay, so that a machine
//! that was enrolled with one of them can still renew; an earlier text for the same component has the text's digest in
//! its name, too.

#[cfg(test)]
mod tests;

use crate::{
    components,
    sandbox::granting::{BoundPolicy, Origin},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fmt::{self, Display},
    fs, io,
    path::{Path, PathBuf},
};
use warded_artifact::read;
use warded_lib::{
    digest::Digest,
    error::{Error, Result},
    machine::{durable, files},
    name::Name,
    policy::file::Policy,
    registry::SignedManifest,
    text::{neutral, neutral_path},
};

/// The number of hexadecimal digits of a digest in a file's name: enough to tell one policy's components apart. What
/// counts is the digest in the policy file.
const DIGITS: usize = 16;

/// Where an added policy came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Who signed it; `None` if nobody did.
    pub publisher: Option<Publisher>,
    /// When it was added.
    pub added: Timestamp,
    /// A reference to an artifact, or the name of a file; `None` if it is not known.
    #[serde(default)]
    pub source: Option<String>,
    /// The digest of the artifact in the registry.
    #[serde(default)]
    pub artifact: Option<Digest>,
}

/// Who signed a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publisher {
    /// A principal of `allowed_signers`.
    pub name: String,
    /// The key, as ssh-keygen names it.
    pub key: String,
    /// Until when that key may sign, as known when the policy was added; `None` if no end was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Publisher {
    /// Whether the same publisher signed with the same key.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.name, &self.key) == (&other.name, &other.key)
    }
}

/// The text is made safe to print on a terminal.
impl Display for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signed by {} ({}", neutral(&self.name), self.key)?;
        match self.until {
            Some(until) => write!(f, ", who may sign until {})", until.strftime("%F %H:%M UTC")),
            None => f.write_str(")"),
        }
    }
}

/// Turns a request into a policy for a component: puts the component's digest first.
#[must_use]
pub fn for_component(text: &str, component: &[u8]) -> String {
    let digest = Digest::of(component);
    let is_digest = |line: &&str| line.split('=').next().is_some_and(|key| key.trim() == "component");
    let (mut kept, mut in_tables) = (String::new(), false);
    for line in text.lines() {
        in_tables |= line.trim_start().starts_with('[');
        if in_tables || !is_digest(&line) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    format!("component = \"{digest}\"\n{kept}")
}

/// The path of the component of an added policy file.
#[must_use]
pub fn component_of(policy: &Path, digest: &Digest) -> PathBuf {
    named(policy, digest, "wasm")
}

/// Checks that a policy is in the file where `warded policy add` puts it: two files with the same policy name would
/// stop every command.
///
/// # Errors
/// It is in another file, which the administrator put there.
pub fn refuse_elsewhere(directory: &Path, granting: &BoundPolicy) -> Result<()> {
    let name = &granting.policy.name;
    match &granting.origin {
        Origin::File(file) if *file != directory.join(format!("{name}.toml")) => {
            Err(Error::refused(format!("policy {name} is in {}", granting.origin))
                .cause(format!("`warded policy` keeps it in {name}.toml"))
                .unchanged()
                .next("rename that file and the component beside it, or take both out"))
        }
        Origin::File(_) | Origin::Bundled => Ok(()),
    }
}

/// Where an added policy came from; `None` for a policy that the administrator put there.
#[must_use]
pub fn provenance(policy: &Path, digest: &Digest) -> Option<Provenance> {
    provenance_in(&named(policy, digest, "origin"))
}

fn provenance_in(file: &Path) -> Option<Provenance> {
    let bytes = files::read_ours(file, files::MAX_BYTES, |why| Error::failed(why.to_string()));
    serde_json::from_slice(&bytes.ok()??).ok()
}

/// The signed manifest of an added policy; `None` if nobody signed it.
///
/// # Errors
/// It cannot be read.
pub fn signed(policy: &Path, digest: &Digest) -> Result<Option<SignedManifest>> {
    let text = |ending| {
        let file = named(policy, digest, ending);
        let failed = |why: &dyn Display| Error::failed(format!("cannot read {}", neutral_path(&file))).cause(why);
        let bytes = files::read_ours(&file, files::MAX_BYTES, failed)?;
        bytes.map(|bytes| String::from_utf8(bytes).map_err(|error| failed(&error))).transpose()
    };
    Ok(text("manifest")?.zip(text("signature")?).map(|(manifest, signature)| SignedManifest { manifest, signature }))
}

/// Stores a policy in place of the one with this name.
///
/// # Errors
/// The directory cannot be written, or belongs to another user; the policy is unchanged.
pub fn store(
    directory: &Path,
    (name, text): (&Name, &str),
    component: &[u8],
    signed: Option<&SignedManifest>,
    provenance: &Provenance,
) -> Result<()> {
    let shown = neutral(&directory.display().to_string());
    let failed = |error: io::Error| Error::failed(format!("cannot write a policy into {shown}")).cause(error);
    durable::directory(directory).map_err(failed)?;
    let file = directory.join(format!("{name}.toml"));
    refuse_writable(directory)?;
    let digest = Digest::of(component);
    let origin = serde_json::to_vec_pretty(provenance).map_err(|error| failed(error.into()))?;
    let before = text_in(&file).map(|(before, _)| digits(&before));
    keep_in_force(&file, Some(&digest)).map_err(failed)?;
    keep_by_text(&file, &named(&file, &digest, "grants")).map_err(failed)?;
    let signature = |part: fn(&SignedManifest) -> &String| signed.map(|signed| part(signed).as_bytes());
    for (ending, bytes) in [
        ("wasm", Some(component)),
        ("origin", Some(origin.as_slice())),
        ("grants", Some(text.as_bytes())),
        ("manifest", signature(|signed| &signed.manifest)),
        ("signature", signature(|signed| &signed.signature)),
    ] {
        let path = named(&file, &digest, ending);
        match bytes {
            Some(bytes) => durable::replace(&path, bytes, 0o644).map_err(failed)?,
            None if path.exists() => durable::remove(&path).map_err(failed)?,
            None => {}
        }
    }
    durable::replace(&file, text.as_bytes(), 0o644).map_err(failed)?;
    let now = digits(&digest);
    let mut kept: Vec<String> = before.iter().cloned().chain([now.clone()]).collect();
    if before == Some(now) {
        // Only the grants differ: a rollback still goes to the version before.
        kept.extend(stored(directory, name).map_err(failed)?.into_iter().map(|(_, digits)| digits));
    }
    tidy(directory, name, &kept).map_err(failed)
}

/// Refuses a directory in which others can change the policies.
fn refuse_writable(directory: &Path) -> Result<()> {
    files::refuse_others(directory).map_err(|error| {
        let next = error.next.clone();
        let refused = Error::refused(format!("others could change what is in {}", neutral_path(directory)));
        next.into_iter().fold(refused.cause(error), Error::next)
    })
}

/// The previous version, with its text: bound to its component, as if it were in force.
///
/// # Errors
/// There is no such policy, others could have written its files, or it grants what its component does not ask for.
pub fn version_before(directory: &Path, name: &Name) -> Result<(String, BoundPolicy)> {
    let file = before(directory, name)?;
    let read = |what: &Path, limit| {
        let unreadable = |why: &dyn Display| Error::failed(format!("cannot read {}", neutral_path(what))).cause(why);
        files::read_ours(what, limit, unreadable)?.ok_or_else(|| unreadable(&"there is no such file"))
    };
    let text = String::from_utf8(read(&file, files::MAX_BYTES)?);
    let text = text.map_err(|error| Error::failed(format!("{} is not text", neutral_path(&file))).cause(error))?;
    let component = read(&file.with_extension("wasm"), read::MAX_COMPONENT_BYTES)?;
    let granting = components::bind_file(&text, &directory.join(format!("{name}.toml")), component)?;
    Ok((text, granting))
}

/// The path of the policy file's previous text.
fn before(directory: &Path, name: &Name) -> Result<PathBuf> {
    let file = directory.join(format!("{name}.toml"));
    let now = text_in(&file).map(|(now, _)| digits(&now));
    // Among the earlier accepted texts, the one whose component still exists.
    let is_whole = |path: &Path| is_grants(path) && path.with_extension("wasm").exists();
    let all = stored(directory, name);
    let all = all.map_err(|error| Error::failed(format!("cannot read policy {name}")).cause(error))?.into_iter();
    let others = all.filter(|(path, digits)| is_whole(path) && Some(digits) != now.as_ref());
    // There may be more than one if `store` was interrupted before it tidied up.
    let added = |path: &Path| provenance_in(&path.with_extension("origin")).map(|provenance| provenance.added);
    others.map(|(path, _)| path).max_by_key(|path| added(path)).ok_or_else(|| {
        Error::refused(format!("there is no earlier version of policy {name} on this machine"))
            .next("add it again from its file: warded policy add --allow-downgrade")
    })
}

/// Restores the text of [`version_before`].
///
/// # Errors
/// It cannot be written.
pub fn roll_back(directory: &Path, name: &Name, text: &str) -> Result<()> {
    let file = directory.join(format!("{name}.toml"));
    let failed = |error: io::Error| Error::failed(format!("cannot write policy {name}")).cause(error);
    refuse_writable(directory)?;
    keep_in_force(&file, None).map_err(failed)?;
    durable::replace(&file, text.as_bytes(), 0o644).map_err(failed)
}

/// Keeps the text in force, which is about to be replaced: a machine may have been enrolled with it. An administrator
/// may have narrowed the policy file by hand, so this text becomes the newest one of its component, to which a rollback
/// goes. If the `next` component is the same, the new text is its newest one.
fn keep_in_force(policy: &Path, next: Option<&Digest>) -> io::Result<()> {
    let Some((component, text)) = text_in(policy) else { return Ok(()) };
    if next == Some(&component) {
        return keep_by_text(policy, policy);
    }
    let newest = named(policy, &component, "grants");
    if text_in(&newest).is_some_and(|(_, kept)| kept == text) {
        return Ok(());
    }
    keep_by_text(policy, &newest)?;
    durable::replace(&newest, text.as_bytes(), 0o644)
}

/// Keeps a text under its own digest, so that a machine that was enrolled with it can still renew.
fn keep_by_text(policy: &Path, replaced: &Path) -> io::Result<()> {
    let Some((component, text)) = text_in(replaced) else { return Ok(()) };
    let kept = named_by_text(policy, &component, &text);
    if kept.exists() { Ok(()) } else { durable::replace(&kept, text.as_bytes(), 0o644) }
}

/// The text of a policy file, and the component that it grants to; `None` if it cannot grant anything.
fn text_in(file: &Path) -> Option<(Digest, String)> {
    let bytes = files::read_ours(file, files::MAX_BYTES, |why| Error::failed(why.to_string())).ok()??;
    let text = String::from_utf8(bytes).ok()?;
    let component = Policy::parse(&text, "a policy").ok()?.component?;
    Some((component, text))
}

/// The policy files that `warded policy add` has stored for this policy, each with the digest of its text.
#[must_use]
pub fn earlier(file: &Path, name: &Name) -> Vec<(Digest, Policy)> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    let read = |(path, _): (PathBuf, String)| {
        let bytes = files::read_ours(&path, files::MAX_BYTES, |why| Error::failed(why.to_string())).ok()??;
        let text = String::from_utf8(bytes).ok()?;
        Some((Digest::of(text.as_bytes()), Policy::parse(&text, "an accepted policy").ok()?))
    };
    let grants = stored(directory, name).unwrap_or_default().into_iter();
    grants.filter(|(path, _)| is_grants(path)).filter_map(read).collect()
}

/// Removes a policy.
///
/// # Errors
/// It cannot be removed.
pub fn remove(directory: &Path, name: &Name) -> Result<()> {
    let file = directory.join(format!("{name}.toml"));
    let failed = |error: io::Error| Error::failed(format!("cannot remove policy {name}")).cause(error);
    durable::remove(&file).map_err(failed)?;
    for (path, _) in stored(directory, name).map_err(failed)? {
        durable::remove(&path).map_err(failed)?;
    }
    tidy(directory, name, &[]).map_err(failed)
}

/// Removes the policy's other components, and a component that the administrator put beside the policy file.
fn tidy(directory: &Path, name: &Name, kept: &[String]) -> io::Result<()> {
    for (path, digits) in stored(directory, name)? {
        if !kept.contains(&digits) && !is_grants(&path) {
            durable::remove(&path)?;
        }
    }
    let beside = directory.join(format!("{name}.wasm"));
    if beside.exists() { durable::remove(&beside) } else { Ok(()) }
}

fn is_grants(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "grants")
}

/// Every file of this policy whose name contains a digest, sorted by name, with the digits.
fn stored(directory: &Path, name: &Name) -> io::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        let is_ours = matches!(ending, Some("wasm" | "origin" | "grants" | "manifest" | "signature"));
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let digits = stem.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
        let (digits, of_text) = match digits.split_once('.') {
            Some((digits, of_text)) => (digits, Some(of_text)),
            None => (digits, None),
        };
        if is_ours && is_digits(digits) && of_text.is_none_or(|of_text| is_digits(of_text) && is_grants(&path)) {
            let digits = digits.to_owned();
            found.push((path, digits));
        }
    }
    found.sort();
    Ok(found)
}

fn named(policy: &Path, digest: &Digest, ending: &str) -> PathBuf {
    let stem = policy.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    policy.with_file_name(format!("{stem}-{}.{ending}", digits(digest)))
}

/// The path for an earlier text of a component. Policy names contain no dot, so this cannot be another policy's file.
fn named_by_text(policy: &Path, component: &Digest, text: &str) -> PathBuf {
    named(policy, component, &format!("{}.grants", digits(&Digest::of(text.as_bytes()))))
}

fn is_digits(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn digits(digest: &Digest) -> String {
    digest.to_string().trim_start_matches("sha256:").chars().take(DIGITS).collect()
}
