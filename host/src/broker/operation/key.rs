//! `keys.*`: the private half never leaves the host.

use super::{Failure, Operation};
use crate::broker::{granted::Granted, session::Session};
use ssh_key::PublicKey;
use warded_lib::{
    change_set::staged::After,
    machine::{
        files::Place,
        keys::{self, NewKey},
        path::AbsolutePath,
    },
    policy::need::Need,
};

/// A key pair, as a guest holds it.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// The private key's path.
    pub path: AbsolutePath,
    /// The public half.
    pub public: PublicKey,
    /// That of the key which is there until then, where this one is staged in its place.
    pub replaces: Option<PublicKey>,
}

/// The host keys that sshd uses.
#[derive(Debug)]
pub struct HostKeys;

impl Operation for HostKeys {
    type Output = Vec<KeyPair>;

    fn need(&self) -> Need {
        Need::HostKeys
    }

    fn execute(_: &Granted<Self>, session: &mut Session) -> Result<Self::Output, Failure> {
        let paths = session.effective(&[])?.host_keys.clone();
        let mut pairs = Vec::new();
        for path in paths {
            let path = AbsolutePath::try_from(path.as_path()).map_err(|why| Failure::new("invalid-path", why))?;
            if let Some(pair) = open(session, &path, path.segments().count())? {
                pairs.push(pair);
            }
        }
        Ok(pairs)
    }
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

/// The key pair at a path, made where there is none.
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
        Ok(KeyPair { path: path.clone(), public, replaces: None })
    }
}

/// A new key pair of the same type in place of the one at a path.
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
            return Err(Failure::new("not-a-key", format!("there is no key {path} to replace")).about("path", path));
        };
        // The second to ask for it means the same new key.
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
        Ok(KeyPair { path: path.clone(), public, replaces: Some(old.public) })
    }
}

/// Stages a key pair that was made: the private half, and the public one beside it.
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

/// `KEY` with something after its name, in the same directory.
fn beside(path: &AbsolutePath, place: &Place, suffix: &str) -> Result<(AbsolutePath, Place), Failure> {
    let path = format!("{path}{suffix}").parse().map_err(|why: String| Failure::new("invalid-path", why))?;
    Ok((path, place.sibling(&format!("{}{suffix}", place.name()))))
}

fn open(session: &mut Session, path: &AbsolutePath, literal: usize) -> Result<Option<KeyPair>, Failure> {
    let Some(place) = session.place(path, literal)? else { return Ok(None) };
    // One that is still to be made: the second to ask for it means the same key.
    if let Some((public, replaces)) = session.changes.staged_key(&place) {
        return Ok(Some(KeyPair { path: path.clone(), public, replaces }));
    }
    let Some(private) = session.changes.look(&place)? else { return Ok(None) };
    let (_, public_place) = beside(path, &place, ".pub")?;
    let public = session.changes.look(&public_place)?;
    let public = keys::public_of(&private.contents, public.as_ref().map(|public| public.contents.as_slice()))
        .map_err(|error| Failure::new("not-a-key", format!("{path}: {error}")).about("path", path))?;
    session.circumstances.hold(path, literal);
    Ok(Some(KeyPair { path: path.clone(), public, replaces: None }))
}
