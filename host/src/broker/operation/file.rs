//! `files.*`.

use super::{
    Failure, Operation, known_hosts::only_our_lines, managed::refuse_managed, principals::only_the_named,
    trusted_keys::only_the_authoritys,
};
use crate::broker::{granted::Granted, session::Session};
use serde_json::{Value, json};
use sshd_config::block::{BEGIN, END, outside};
use std::collections::BTreeSet;
use warded_artifact::recording::bytes;
use warded_lib::{
    change_set::staged::{After, DEFAULT_MODE},
    machine::{files::Place, keys::holds_private_key, path::AbsolutePath},
    policy::{need::Need, pattern::Pattern},
};

/// Reads a file.
#[derive(Debug)]
pub struct Read(pub AbsolutePath);

impl Operation for Read {
    type Output = Option<Vec<u8>>;

    fn need(&self) -> Need {
        Need::ReadFile(self.0.clone())
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<Self::Output, Failure> {
        let path = &granted.operation().0;
        let Some(place) = session.place_to_be(path, granted.literal())? else { return Ok(None) };
        match session.changes.read(&place)? {
            Some(contents) if holds_private_key(&contents) => {
                Err(Failure::new("private-key", format!("{path} holds a private key"))
                    .about("path", path)
                    .about("next", "move it to where no program looks for other files"))
            }
            contents => Ok(contents),
        }
    }
}

/// Lists what may be read in a directory.
#[derive(Debug)]
pub struct List {
    pub directory: AbsolutePath,
    /// What the procedure may read: the names it gets to see.
    pub readable: Vec<Pattern>,
}

impl Operation for List {
    type Output = Option<Vec<String>>;

    fn need(&self) -> Need {
        Need::ListDirectory(self.directory.clone())
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<Self::Output, Failure> {
        let Self { directory: path, readable } = granted.operation();
        // A place is a directory and a name in it: any name will do.
        let inside = path.join("-").map_err(|why| Failure::new("invalid-path", why))?;
        let Some(place) = session.place_to_be(&inside, granted.literal())? else { return Ok(None) };
        let mut names: BTreeSet<String> = place.list()?.into_iter().collect();
        for (name, there) in session.changes.names_in(&place) {
            if there {
                names.insert(name.to_owned());
            } else {
                names.remove(name);
            }
        }
        if place.is_to_be() && names.is_empty() {
            return Ok(None);
        }
        names.retain(|name| {
            path.join(name).is_ok_and(|file| {
                readable.iter().any(|pattern| pattern.covers(&file, &session.circumstances.places).is_some())
            })
        });
        Ok(Some(names.into_iter().collect()))
    }
}

/// Stages a file.
#[derive(Debug)]
pub struct Write {
    pub path: AbsolutePath,
    pub contents: Vec<u8>,
    /// Permission bits; none keeps them.
    pub mode: Option<u32>,
}

impl Operation for Write {
    type Output = bool;

    fn need(&self) -> Need {
        Need::WriteFile(self.path.clone())
    }

    fn arguments(&self) -> Value {
        json!({ "contents": bytes(&self.contents), "mode": self.mode })
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<bool, Failure> {
        let Self { path, contents, mode } = granted.operation();
        if mode.is_some_and(|mode| mode & !0o777 != 0) {
            return Err(Failure::new("io", format!("{path}: a mode has permission bits only")).about("path", path));
        }
        only_allowed(path, contents, granted.forbid())?;
        let place = match session.place_to_be(path, granted.literal())? {
            Some(place) if granted.makes_directories() => place,
            Some(_) | None => session.existing_place(path, granted.literal())?,
        };
        if session.is_copied(&place)? {
            let wrong = |why: &str| {
                let message = format!("{path}: a query runs on a copy of its directory, and {why}");
                Err(Failure::new("forbidden-content", message).about("path", path))
            };
            if granted.forbid().is_empty() {
                return wrong("the grant forbids nothing");
            }
            // What the grants for that directory forbid is judged by the path as it was written.
            if !session.is_copied_by_name(path) {
                return wrong("the path leads there by another name");
            }
        }
        if let Some(mode) = mode
            && mode & WRITABLE_BY_OTHERS != 0
            && session.changes.look(&place)?.is_none_or(|before| before.mode != *mode)
        {
            return Err(
                Failure::new("unsafe-mode", format!("{path}: nobody else may be let write it")).about("path", path)
            );
        }
        only_our_block(session, path, &place, contents)?;
        only_our_lines(session, path, &place, Some(contents))?;
        refuse_managed(session, path, &place, contents)?;
        only_the_authoritys(session, path, &place, contents)?;
        only_the_named(session, path, &place, Some((contents, *mode)))?;
        let mode = match mode {
            None => mode_of_new(session, path, &place)?,
            chosen => *chosen,
        };
        let after = After::Bytes { contents: contents.clone(), mode };
        Ok(session.changes.stage(path.clone(), place, after, granted.grant().to_owned())?)
    }
}

/// The mode of a new file of which the procedure says none, if it is not [`DEFAULT_MODE`]: one that sshd's configuration includes
/// is as closed to others as the main file.
fn mode_of_new(session: &mut Session, path: &AbsolutePath, place: &Place) -> Result<Option<u32>, Failure> {
    let is_included = path.as_path().parent().is_some_and(|directory| directory.ends_with("sshd_config.d"));
    if !is_included || session.changes.look(place)?.is_some() {
        return Ok(None);
    }
    let main = &session.circumstances.places.sshd_config;
    let main = session.root.place(main, main.segments().count())?;
    let main = main.and_then(|main| main.snapshot().ok().flatten());
    Ok(main.map(|main| main.mode & DEFAULT_MODE | 0o600))
}

/// Neither contents nor name have what the grant forbids: the program that reads the file may take that for code. A
/// fragment without a line's end would go on in the next one.
fn only_allowed(path: &AbsolutePath, contents: &[u8], forbid: &str) -> Result<(), Failure> {
    if forbid.is_empty() {
        return Ok(());
    }
    let found = path.as_str().bytes().chain(contents.iter().copied()).find(|byte| forbid.as_bytes().contains(byte));
    let what = match found {
        Some(byte) => format!("{:?}, which the grant forbids, is in its contents or its name", char::from(byte)),
        None if contents.last().is_some_and(|last| *last != b'\n') => "its last line has no end".to_owned(),
        None => return Ok(()),
    };
    Err(Failure::new("forbidden-content", format!("{path}: {what}")).about("path", path))
}

/// Group and others: who can write a file of sshd's can become root.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Stages the removal of a file.
#[derive(Debug)]
pub struct Remove(pub AbsolutePath);

impl Operation for Remove {
    type Output = bool;

    fn need(&self) -> Need {
        Need::RemoveFile(self.0.clone())
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<bool, Failure> {
        let path = &granted.operation().0;
        let Some(place) = session.place_to_be(path, granted.literal())? else { return Ok(false) };
        only_our_block(session, path, &place, b"")?;
        only_our_lines(session, path, &place, None)?;
        only_the_named(session, path, &place, None)?;
        Ok(session.changes.stage(path.clone(), place, After::Removed, granted.grant().to_owned())?)
    }
}

/// The main configuration file of sshd may only change inside our marked block.
fn only_our_block(session: &mut Session, path: &AbsolutePath, place: &Place, after: &[u8]) -> Result<(), Failure> {
    let main = session.circumstances.places.sshd_config.clone();
    let is_main = match session.root.place(&main, main.segments().count())? {
        Some(main) => main.key() == place.key(),
        None => false,
    };
    if !is_main {
        return Ok(());
    }
    let before = session.changes.look(place)?.map(|snapshot| snapshot.contents.to_vec()).unwrap_or_default();
    match (outside(&before), outside(after)) {
        (Ok(before), Ok(after)) if before == after => Ok(()),
        _ if session.changes.has_changed(place)? => Err(Failure::new(
            "unmarked-change",
            format!("{path} changed since it was read: somebody edits it at this moment. Run this again."),
        )
        .about("path", path)),
        _ => Err(Failure::new(
            "unmarked-change",
            format!(
                "{path}: only what stands between `{BEGIN}` and `{END}`, or these marks of a procedure, may change"
            ),
        )
        .about("path", path)),
    }
}
