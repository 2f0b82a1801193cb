//! `keys.*`: the private half of a key never leaves the host.

use super::{Failure, Operation};
use crate::broker::{
    granted::Granted,
    session::{Level, Session},
};
use serde_json::{Value, json};
use ssh_key::PublicKey;
use std::path::{Path, PathBuf};
use warded_lib::{
    agent,
    change_set::staged::After,
    error::Label,
    machine::{
        files::Place,
        keys::{self, NewKey},
        path::AbsolutePath,
        sshd::host_key::{HostKey, IgnoredReason, Standing, UncertifiedReason},
    },
    policy::need::Need,
    text::neutral,
};

/// A key pair, as a guest holds it.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// The private key's path.
    pub path: AbsolutePath,
    /// The socket of the agent that has the private half; `None` if it is in that file.
    pub agent: Option<PathBuf>,
    /// The public half.
    pub public: PublicKey,
    /// The public half of the key that this one replaces, if it is staged as a replacement.
    pub replaces: Option<PublicKey>,
}

/// The host keys that sshd offers and that can be certified. The operator gets a message about each of the others.
#[derive(Debug)]
pub struct HostKeys;

impl Operation for HostKeys {
    type Output = Vec<KeyPair>;

    fn need(&self) -> Need {
        Need::HostKeys
    }

    fn execute(_: &Granted<Self>, session: &mut Session) -> Result<Self::Output, Failure> {
        let (mut pairs, mut left_alone, mut unusable) = (Vec::new(), Vec::new(), Vec::new());
        for key in session.host_keys()? {
            match key.certifiable() {
                Ok(_) if let Some(lost) = agent::lost(&key) => {
                    let path = neutral(&key.path.to_string_lossy());
                    let message = format!("{path}: {}; {}", lost.because(), lost.next());
                    unusable.push(Failure::new("not-a-key", message));
                }
                Ok(_) => match host_key_pair(session, &key) {
                    Ok(pair) => pairs.push(pair),
                    Err(failure) => unusable.push(failure),
                },
                Err(why) => left_alone.push((key, why)),
            }
        }
        // An unusable key must not keep the others from getting certificates.
        for failure in unusable {
            if pairs.is_empty() {
                return Err(failure);
            }
            let steps = failure.details.iter().filter(|(label, _)| label == Label::Next.as_str());
            let next: String = steps.map(|(_, step)| format!(" To change that: {step}.")).collect();
            session.tell(Level::Warn, format!("A host key gets no certificate: {}.{next}", failure.message));
        }
        // If there is no host key file at all, a procedure may make some.
        let is_there = |why: &UncertifiedReason| !matches!(why, UncertifiedReason::Ignored(IgnoredReason::Missing));
        if pairs.is_empty() && left_alone.iter().any(|(_, why)| is_there(why)) {
            return Err(none_certifiable(&left_alone));
        }
        for (key, why) in left_alone {
            session.tell(level(&key, &why, !pairs.is_empty()), told(&key.path, &why));
        }
        Ok(pairs)
    }
}

/// The level of the message about a key that gets no certificate. `has_others`: sshd has other keys, so no procedure
/// makes this one anew.
fn level(key: &HostKey, why: &UncertifiedReason, has_others: bool) -> Level {
    if has_others && has_lost_one(key, why) { Level::Warn } else { Level::Info }
}

/// Whether a host key had a certificate and gets no new one, because sshd no longer offers the key.
fn has_lost_one(key: &HostKey, why: &UncertifiedReason) -> bool {
    let UncertifiedReason::Ignored(ignored) = why else { return false };
    let mut certificate = key.private_path().into_os_string();
    certificate.push("-cert.pub");
    // If another key of the same type comes first, that key has taken its place.
    !matches!(ignored, IgnoredReason::SecondOfItsType(_)) && Path::new(&certificate).exists()
}

/// Which host key gets no certificate, and why, in a sentence or two.
fn told(path: &Path, why: &UncertifiedReason) -> String {
    let next = why.next(path).map(|next| format!(" To change that: {next}.")).unwrap_or_default();
    format!("{} gets no certificate: {}.{next}", neutral(&path.to_string_lossy()), why.because())
}

fn none_certifiable(left_alone: &[(HostKey, UncertifiedReason)]) -> Failure {
    let mut failure = Failure::new("no-host-key", "sshd has host keys, and none of them can be certified");
    for (key, why) in left_alone {
        failure = failure.about(&neutral(&key.path.to_string_lossy()), why.because());
    }
    match left_alone.iter().find_map(|(key, why)| why.next(&key.path)) {
        Some(next) => failure.about("next", next),
        None => failure,
    }
}

/// A host key in the form that a guest holds.
fn host_key_pair(session: &mut Session, key: &HostKey) -> Result<KeyPair, Failure> {
    let path = AbsolutePath::spelled(&key.private_path()).map_err(|why| Failure::new("invalid-path", why))?;
    let literal = path.segments().count();
    let unusable = || {
        Failure::new("not-a-key", format!("{path} was changed while it was being read"))
            .about("path", &path)
            .about("next", "run this again")
    };
    if let Standing::InAgent { socket } = &key.standing {
        let public = key.certifiable().map_err(|_| unusable())?;
        session.circumstances.hold(&path, literal);
        return Ok(KeyPair { path, agent: Some(socket.clone()), public, replaces: None });
    }
    open(session, &path, literal)?.ok_or_else(unusable)
}

/// The key pair at a path.
#[derive(Debug)]
pub struct Open(pub AbsolutePath);

impl Operation for Open {
    type Output = Option<KeyPair>;

    fn need(&self) -> Need {
        Need::OpenKey(self.0.clone())
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<Self::Output, Failure> {
        open(session, &granted.operation().0, granted.literal())
    }
}

/// The key pair at a path. It is made if there is no file.
#[derive(Debug)]
pub struct Ensure {
    /// The private key's path.
    pub path: AbsolutePath,
    /// The algorithm's name in SSH.
    pub algorithm: String,
}

impl Operation for Ensure {
    type Output = KeyPair;

    fn need(&self) -> Need {
        Need::EnsureKey(self.path.clone())
    }

    fn arguments(&self) -> Value {
        json!({ "algorithm": self.algorithm })
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<KeyPair, Failure> {
        let Self { path, algorithm } = granted.operation();
        let wrong = |message: String| Failure::new("algorithm", message).about("path", path);
        if let Some(pair) = open(session, path, granted.literal())? {
            let there = pair.public.algorithm();
            return if there.as_str() == algorithm.as_str() {
                Ok(pair)
            } else {
                Err(wrong(format!("{path} is a key of the algorithm {there}")))
            };
        }
        // The comment that `ssh-keygen -A` writes.
        let comment = format!("root@{}", session.facts.hostname);
        let made = keys::generate(algorithm, &comment).map_err(|error| wrong(error.to_string()))?;
        let place = session.existing_place(path, granted.literal())?;
        let public = stage(session, path, &place, made, granted, Some(0o644))?;
        Ok(KeyPair { path: path.clone(), agent: None, public, replaces: None })
    }
}

/// Makes a new key pair of the same type in place of the one at a path.
#[derive(Debug)]
pub struct Replace(pub AbsolutePath);

impl Operation for Replace {
    type Output = KeyPair;

    fn need(&self) -> Need {
        Need::ReplaceKey(self.0.clone())
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<KeyPair, Failure> {
        let path = &granted.operation().0;
        let Some(old) = open(session, path, granted.literal())? else {
            return Err(
                Failure::new("not-a-key", format!("there is no private key in {path} to replace")).about("path", path)
            );
        };
        // A second request for the same path returns the same new key.
        if old.replaces.is_some() {
            return Ok(old);
        }
        let comment = match old.public.comment() {
            "" => format!("root@{}", session.facts.hostname),
            comment => comment.to_owned(),
        };
        let made = keys::generate_like(&old.public, &comment)
            .map_err(|error| Failure::new(error.code(), format!("{path}: {error}")).about("path", path))?;
        let place = session.existing_place(path, granted.literal())?;
        let public = stage(session, path, &place, made, granted, None)?;
        Ok(KeyPair { path: path.clone(), agent: None, public, replaces: Some(old.public) })
    }
}

/// Stages a new key pair: the private half, and the public half beside it.
fn stage<O>(
    session: &mut Session,
    path: &AbsolutePath,
    place: &Place,
    made: NewKey,
    granted: &Granted<O>,
    public_mode: Option<u32>,
) -> Result<PublicKey, Failure> {
    let line = made.public_file().map_err(|error| Failure::new(error.code(), error.to_string()).about("path", path))?;
    let NewKey { private, public } = made;
    let after = After::PrivateKey { text: private, public: public.clone() };
    session.changes.stage(path.clone(), place.clone(), after, granted.grant().to_owned())?;
    let (public_path, public_place) = beside(path, place, ".pub")?;
    let after = After::Bytes { contents: line.into_bytes(), mode: public_mode };
    session.changes.stage(public_path, public_place, after, granted.grant().to_owned())?;
    session.circumstances.hold(path, granted.literal());
    Ok(public)
}

/// The path `KEY` with a suffix, in the same directory.
fn beside(path: &AbsolutePath, place: &Place, suffix: &str) -> Result<(AbsolutePath, Place), Failure> {
    let path = format!("{path}{suffix}").parse().map_err(|why: String| Failure::new("invalid-path", why))?;
    Ok((path, place.sibling(&format!("{}{suffix}", place.name()))))
}

fn open(session: &mut Session, path: &AbsolutePath, literal: usize) -> Result<Option<KeyPair>, Failure> {
    let Some(place) = session.place(path, literal)? else { return Ok(None) };
    // The key is staged already: a second request for it returns the same key.
    if let Some((public, replaces)) = session.changes.staged_key(&place) {
        return Ok(Some(KeyPair { path: path.clone(), agent: None, public, replaces }));
    }
    let Some(private) = session.changes.look(&place)? else { return Ok(None) };
    let (_, public_place) = beside(path, &place, ".pub")?;
    let public = session.changes.look(&public_place)?;
    let public = keys::public_of(&private.contents, public.as_ref().map(|public| public.contents.as_slice())).map_err(
        |error| {
            let next = "restore it from a backup, or take its HostKey line out of sshd's configuration";
            Failure::new("not-a-key", format!("{path}: {error}")).about("path", path).about("next", next)
        },
    )?;
    session.circumstances.hold(path, literal);
    Ok(Some(KeyPair { path: path.clone(), agent: None, public, replaces: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_certificate_is_a_warning_unless_its_key_may_be_made_anew() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("key");
        let level_of = |ignored: IgnoredReason, has_others| {
            let standing = Standing::Ignored(ignored.clone());
            let key = HostKey { path: path.clone(), public: None, standing, release: None };
            level(&key, &UncertifiedReason::Ignored(ignored), has_others)
        };
        assert_eq!(level_of(IgnoredReason::Missing, true), Level::Info);
        std::fs::write(scratch.path().join("key-cert.pub"), "").unwrap();
        assert_eq!(level_of(IgnoredReason::Missing, true), Level::Warn);
        assert_eq!(level_of(IgnoredReason::Missing, false), Level::Info);
        assert_eq!(level_of(IgnoredReason::NoPrivateKey, true), Level::Warn);
        assert_eq!(level_of(IgnoredReason::SecondOfItsType(path.clone()), true), Level::Info);
    }
}
