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

/// Lists the names in a directory that the procedure may read.
#[derive(Debug)]
pub struct List {
    pub directory: AbsolutePath,
    /// The patterns that the procedure may read: only matching names are listed.
    pub readable: Vec<Pattern>,
}

impl Operation for List {
    type Output = Option<Vec<String>>;

    fn need(&self) -> Need {
        Need::ListDirectory(self.directory.clone())
    }

    fn execute(granted: &Granted<Self>, session: &mut Session) -> Result<Self::Output, Failure> {
        let Self { directory: path, readable } = granted.operation();
        // A place is a directory and a name in it, so any name serves to find the directory.
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
    /// Permission bits; `None` keeps the present ones.
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
                return wrong("the grant has no `forbid`");
            }
            // The grants for that directory are checked against the path as it was written.
            if !session.is_copied_by_name(path) {
                return wrong("the path leads there by another name");
            }
        }
        if let Some(mode) = mode
            && mode & WRITABLE_BY_OTHERS != 0
            && session.changes.look(&place)?.is_none_or(|before| before.mode != *mode)
        {
            return Err(Failure::new("unsafe-mode", format!("{path}: its mode may not let others write it"))
                .about("path", path));
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

/// The mode of a new file if the procedure names none and it is not [`DEFAULT_MODE`]: a file that sshd's configuration
/// includes is no more readable than the main file.
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

/// Refuses contents or a name with a character that the grant forbids: the program that reads the file may take it for
/// code. An unterminated last line would run on into the next fragment.
fn only_allowed(path: &AbsolutePath, contents: &[u8], forbid: &str) -> Result<(), Failure> {
    if forbid.is_empty() {
        return Ok(());
    }
    let found = path.as_str().bytes().chain(contents.iter().copied()).find(|byte| forbid.as_bytes().contains(byte));
    let what = match found {
        Some(byte) => format!("{:?}, which the grant forbids, is in its contents or its name", char::from(byte)),
        None if contents.last().is_some_and(|last| *last != b'\n') => {
            "its last line does not end with a newline".to_owned()
        }
        None => return Ok(()),
    };
    Err(Failure::new("forbidden-content", format!("{path}: {what}")).about("path", path))
}

/// Write permission for group or others: whoever can write a file of sshd's can become root.
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

/// The main configuration file of sshd may change only inside Warded's marked block.
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
            format!("{path} changed since it was read: somebody is editing it. Run this again."),
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
