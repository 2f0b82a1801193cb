//! `warded policy add --lock`: adds all policies of a lock file.

use super::{
    attempt::Attempt,
    source::{LocatedComponent, Reach, Source},
    terms::{Judgement, Terms, plan_record},
};
use crate::{
    cli::output::{Output, confirm},
    components,
    context::Context,
    publishing::pinned,
};
use serde_json::{Value, json};
use std::path::Path;
use warded_artifact::lock::{Entry, Place};
use warded_lib::{
    error::{Error, Exit, Result},
    name::Name,
    text::{neutral, neutral_path},
};

/// A policy of a lock file.
pub(super) enum LockedPolicy {
    /// It is on this machine as the lock file describes it; with its name and entry.
    There(Name, Entry),
    New(Box<Judgement>),
}

pub(super) fn policies(number: usize) -> String {
    if number == 1 { "1 policy".to_owned() } else { format!("{number} policies") }
}

/// Reads a lock file, fetches the policies that are not on this machine, and verifies them. Nothing is changed.
pub(super) fn judge(
    context: &Context,
    attempt: Attempt<'_>,
    (lock, from): (&Path, &Path),
    (terms, reach): (&Terms, &Reach),
    output: Output,
) -> Result<Vec<LockedPolicy>> {
    if lock.symlink_metadata().is_err() {
        return Err(Error::usage(format!("there is no {}", neutral_path(lock))));
    }
    let lock = pinned::load(lock)?;
    let find = |entry: &Entry| {
        let source = match entry.place().map_err(Error::refused)? {
            Place::Registry(reference) => Source::Registry(reference),
            Place::File(name) => Source::File(from.join(name)),
        };
        source.find(reach, output)
    };
    let judge = |(name, entry): (&Name, &Entry)| {
        attempt.of(context, Some(name), |context| judge_entry(context, attempt, (name, entry), find, terms, output))
    };
    lock.entries().map(judge).collect()
}

/// The same for one of its policies. `find` fetches it if it is not on this machine.
pub(super) fn judge_entry(
    context: &Context,
    attempt: Attempt<'_>,
    (name, entry): (&Name, &Entry),
    find: impl FnOnce(&Entry) -> Result<LocatedComponent>,
    terms: &Terms,
    output: Output,
) -> Result<LockedPolicy> {
    let there = components::load(&context.policies)?.into_iter().find(|there| there.policy.name == *name);
    let is_whole = there.as_ref().map_or(Ok(false), pinned::is_whole)?;
    let there = there.as_ref().map(pinned::entry).transpose()?.flatten();
    if is_whole && there.is_some_and(|there| there.is_same(entry)) {
        output.line(format!("{name} {} is there already.", entry.version))?;
        return Ok(LockedPolicy::There(name.clone(), entry.clone()));
    }
    let named = |error: Error| error.seen(format!("policy {name} of the lock file"));
    let found = find(entry).map_err(named)?;
    // The lock file decides what is added, wherever the component was fetched from.
    let found = LocatedComponent { source: Some(entry.source.clone()), pinned: entry.artifact, ..found };
    let grants = entry.grants.as_deref().map(|text| (text, Path::new("the grants in the lock file")));
    let judged = terms.judge(context, attempt, found, (Some(&entry.component), grants), output).map_err(named)?;
    let wrong = |field: &str, is: &str, says: &str| {
        Error::refused(format!("the lock file does not fit the component of policy {name}"))
            .cause(format!("its {field} is {}, and the lock file says {}", neutral(is), neutral(says)))
            .unchanged()
    };
    let policy = &judged.offer.granting.policy;
    if policy.name != *name {
        return Err(wrong("name", policy.name.as_str(), name.as_str()));
    }
    if policy.version != entry.version {
        return Err(wrong("version", &policy.version, &entry.version));
    }
    let publisher = judged.offer.publisher.as_ref().map(|publisher| publisher.name.as_str());
    if publisher != entry.publisher.as_deref() {
        let shown = |name: Option<&str>| name.unwrap_or("nobody").to_owned();
        return Err(wrong("publisher", &shown(publisher), &shown(entry.publisher.as_deref())));
    }
    Ok(LockedPolicy::New(Box::new(judged)))
}

impl LockedPolicy {
    fn is_new(&self) -> bool {
        matches!(self, Self::New(judged) if !judged.is_there())
    }
}

/// One of them as JSON.
fn object(locked: &LockedPolicy, changed: bool) -> Value {
    let mut object = match locked {
        LockedPolicy::There(name, entry) => {
            json!({ "name": name.as_str(), "version": entry.version, "component": entry.component })
        }
        LockedPolicy::New(judged) => judged.object(),
    };
    if let Some(fields) = object.as_object_mut() {
        fields.insert("changed".to_owned(), changed.into());
    }
    object
}

/// Shows which policies are missing, and adds nothing.
pub(super) fn plan(context: &Context, all: &[LockedPolicy], output: Output) -> Result<Exit> {
    let mut pending = false;
    for locked in all {
        pending |= match locked {
            LockedPolicy::There(name, _) => plan_record(context, name, output)?,
            LockedPolicy::New(judged) => judged.plan(context, output)?,
        };
    }
    let objects: Vec<Value> = all.iter().map(|locked| object(locked, false)).collect();
    output.object(&json!({
        "schema": "warded.policy-load/1", "changed": false, "pending": pending, "policies": objects,
    }))?;
    Ok(if pending { Exit::Pending } else { Exit::Done })
}

/// Adds the missing policies, after one question.
pub(super) fn accept(
    context: &Context,
    attempt: Attempt<'_>,
    all: &[LockedPolicy],
    yes: bool,
    output: Output,
) -> Result<Exit> {
    let new = all.iter().filter(|locked| locked.is_new()).count();
    if new > 0 && !yes && !confirm(&format!("Add {}?", policies(new)))? {
        return Err(output.declined());
    }
    let (mut added, mut any_changed, mut objects) = (Vec::new(), false, Vec::<Value>::new());
    for locked in all {
        let told =
            |error: Error| if added.is_empty() { error } else { error.after(format!("added: {}", added.join(", "))) };
        let (name, changed, object) = match locked {
            LockedPolicy::There(name, _) => {
                let record = |context: &Context| {
                    let change = pinned::Change::begin(&context.state, &context.policies).map_err(told)?;
                    change.record(name).map_err(told)
                };
                let changed = attempt.of(context, Some(name), record)?;
                (name, changed, object(locked, changed))
            }
            LockedPolicy::New(judged) => {
                let accept = |context: &Context| judged.accept(context, output).map_err(told);
                let changed = attempt.of(context, Some(judged.name()), accept)?;
                (judged.name(), changed, object(locked, changed))
            }
        };
        any_changed |= changed;
        if changed {
            added.push(name.to_string());
        }
        objects.push(object);
    }
    output.object(&json!({ "schema": "warded.policy-load/1", "changed": any_changed, "policies": objects }))?;
    Ok(Exit::Done)
}
