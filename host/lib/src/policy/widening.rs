//! Whether a policy lets a procedure do more than an accepted policy did.

use super::{
    condition::Condition,
    file::{Policy, Procedure, WriteGrant},
    lines::{self, Key, Line},
    setting::Declaration,
};
use crate::{
    machine::{
        action::Action,
        schedule::Schedulers,
        service::{Service, SignalTarget},
    },
    name::{Name, UnitName},
};
use std::collections::{BTreeMap, BTreeSet};

/// Everything in which a policy goes beyond the accepted one: grants of any procedure, settings, the machines that it
/// is for, and the policies that it replaces. Each is written as in a policy.
#[must_use]
pub fn wider(accepted: &Policy, now: &Policy) -> Vec<String> {
    let mut found = Vec::new();
    for (name, procedure) in &now.procedures {
        let Some(accepted_procedure) = accepted.procedures.get(name) else {
            found.push(format!("[procedure.{name}]"));
            continue;
        };
        let of_procedure = |what: String| format!("{what} (of {name})");
        found.extend(beyond(accepted, now, name).into_iter().map(of_procedure));
        found.extend(settings(accepted_procedure, procedure).into_iter().map(of_procedure));
        if let Some(renewal) = procedure.renewal.as_ref().filter(|_| procedure.renewal != accepted_procedure.renewal) {
            found.push(of_procedure(format!("renewal {renewal}")));
        }
    }
    let narrower = |condition: &&Condition| accepted.when.iter().any(|accepted| condition.implies(accepted));
    if !accepted.when.is_empty() && (now.when.is_empty() || !now.when.iter().all(|condition| narrower(&condition))) {
        found.push("when".to_owned());
    }
    if !accepted.unless.iter().all(|condition| now.unless.contains(condition)) {
        found.push("unless".to_owned());
    }
    let replaced = now.instead_of.iter().filter(|name| !accepted.instead_of.contains(name));
    found.extend(replaced.map(|name| format!("instead-of {name}")));
    found
}

/// The grants of a procedure that go beyond the accepted ones, each written as in a policy.
#[must_use]
pub fn beyond(accepted: &Policy, now: &Policy, procedure: &Name) -> Vec<String> {
    let of = |policy: &Policy| policy.procedures.get(procedure).map(lines::of).unwrap_or_default();
    let accepted_lines = of(accepted);
    let mut found = Vec::new();
    for line in of(now) {
        if !accepted_lines.iter().any(|accepted| line == *accepted || is_within(&line, accepted)) {
            found.push(line.to_string());
        } else if line.key == Key::WriteFiles
            && let Some(lost) =
                no_longer_forbidden(accepted.procedures.get(procedure), now.procedures.get(procedure), &line)
        {
            found.push(format!("{line}: {lost:?} was forbidden there"));
        } else if matches!(line.key, Key::Reload | Key::Restart) {
            let known = ways(accepted, &line.value);
            let new = ways(now, &line.value).into_iter().filter(|way| !known.contains(way));
            found.extend(new.map(|way| format!("{line}: {way}")));
        } else if line.key == Key::Action {
            let known = programs(accepted, &line.value);
            // `yields` only restricts an action.
            let same = |known: &Action, action: &Action| *known == Action { yields: known.yields, ..action.clone() };
            let is_known = |name: &Name, action: &Action| {
                known.get(name).is_some_and(|known| {
                    same(known, action) && (known.yields.is_none() || known.yields == action.yields)
                })
            };
            let new = programs(now, &line.value).into_iter().filter(|(name, action)| !is_known(name, action));
            found.extend(new.map(|(name, action)| format!("{line}: {name} {action}")));
        } else if line.key == Key::Schedule {
            let known = schedulers(accepted);
            let new = schedulers(now).into_iter().filter(|scheduler| !known.contains(scheduler));
            found.extend(new.map(|scheduler| format!("{line}: {scheduler}")));
        }
    }
    found
}

/// Whether a grant of paths allows nothing beyond an accepted one. A grant to write includes reading.
#[must_use]
pub fn is_within(line: &Line, accepted: &Line) -> bool {
    let same_kind = line.key == accepted.key || (line.key == Key::ReadFiles && accepted.key == Key::WriteFiles);
    let (Some(narrow), Some(wide)) = (line.paths(), accepted.paths()) else { return false };
    same_kind && if line.key == Key::WriteFiles { narrow.is_within(&wide) } else { narrow.path.is_within(&wide.path) }
}

/// The characters that an accepted grant forbade in some of this grant's files, and that no grant forbids there now. If
/// several grants cover a file, the characters that any of them forbids are forbidden (`authorize.rs`).
fn no_longer_forbidden(accepted: Option<&Procedure>, now: Option<&Procedure>, line: &Line) -> Option<String> {
    let (grant, now) = (line.paths()?, &now?.files.write);
    let forbids = |of: &WriteGrant, character| {
        now.iter().any(|other| of.path.is_within(&other.path) && other.forbid.contains(character))
    };
    let is_kept = |one: &WriteGrant| one.forbid.chars().all(|character| forbids(one, character));
    let lost = accepted?.files.write.iter().filter(|one| one.path.may_overlap(&grant.path) && !is_kept(one));
    let lost: BTreeSet<char> =
        lost.flat_map(|one| one.forbid.chars()).filter(|character| !forbids(&grant, *character)).collect();
    (!lost.is_empty()).then(|| lost.into_iter().collect())
}

/// Settings that were not accepted, or that now allow more values.
fn settings(accepted: &Procedure, now: &Procedure) -> Vec<String> {
    let takes_more = |accepted: &Declaration, now: &Declaration| {
        let more_values = !now.values.iter().all(|value| accepted.values.contains(value));
        now.kind != accepted.kind || (now.many && !accepted.many) || more_values
    };
    let new = now.settings.iter().filter(|(name, declaration)| {
        accepted.settings.get(name).is_none_or(|accepted| takes_more(accepted, declaration))
    });
    new.map(|(name, _)| format!("settings.{name}")).collect()
}

/// An action, with the actions that it refers to. Compared as a whole, since a policy can make any program run under an
/// accepted name.
fn programs<'a>(policy: &'a Policy, action: &str) -> BTreeMap<&'a Name, &'a Action> {
    let mut found = BTreeMap::new();
    let mut open = vec![action];
    while let Some(name) = open.pop() {
        let Some((name, action)) = policy.actions.iter().find(|(known, _)| known.as_str() == name) else { continue };
        if found.insert(name, action).is_none() {
            open.extend(action.state.iter().map(|state| state.query.as_str()));
            open.extend(action.undo.iter().map(|undo| undo.action.as_str()));
        }
    }
    found
}

/// The files of which a policy's schedule consists.
fn schedulers(policy: &Policy) -> Vec<String> {
    policy.schedule.iter().flat_map(Schedulers::all).flat_map(|scheduler| scheduler.paths()).collect()
}

/// How the policy reaches a service with this name.
fn ways(policy: &Policy, service: &str) -> Vec<String> {
    let named = policy.services.iter().find(|(name, _)| name.as_str() == service);
    named.map(|(_, service)| ways_of(service)).unwrap_or_default()
}

/// How a service is reached. Compared, since a policy can have any service reloaded or restarted under an accepted
/// name.
fn ways_of(service: &Service) -> Vec<String> {
    let units = service.systemd.iter().map(UnitName::as_str).map(str::to_owned);
    let direct = service.direct.map(|SignalTarget::Sshd| "SIGHUP to sshd".to_owned());
    units.chain(direct).collect()
}

#[cfg(test)]
mod tests;
