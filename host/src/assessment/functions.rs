//! Which grants each function of the host needs.

use warded_lib::{
    machine::action::Kind,
    policy::{
        file::Policy,
        lines::{self, Key, Line},
    },
};

/// Every function that needs grants. It needs one grant from each of its lists.
const FUNCTIONS: [(&str, &[&[Key]]); 25] = [
    ("actions.change", &[&[Key::Action]]),
    ("actions.query", &[&[Key::Action]]),
    ("authority.issue", &[&[Key::Issue]]),
    ("authority.read", &[&[Key::Certificates, Key::ReadFiles]]),
    ("authority.rekey", &[&[Key::Rekey]]),
    ("authority.renew", &[&[Key::Renew]]),
    ("authority.roots", &[&[Key::Roots]]),
    ("authority.write", &[&[Key::Certificates]]),
    ("files.list", &[&[Key::ReadFiles, Key::WriteFiles]]),
    ("files.read", &[&[Key::ReadFiles, Key::WriteFiles]]),
    ("files.remove", &[&[Key::WriteFiles]]),
    ("files.write", &[&[Key::WriteFiles]]),
    ("keys.ensure", &[&[Key::Keys]]),
    ("keys.host-keys", &[&[Key::Keys]]),
    ("keys.open", &[&[Key::Keys]]),
    ("keys.replace", &[&[Key::Keys], &[Key::Rekey]]),
    ("log.info", &[&[Key::Inform]]),
    ("log.warn", &[&[Key::Warn]]),
    ("machine.fact", &[&[Key::Facts]]),
    ("schedule.none", &[&[Key::Schedule]]),
    ("schedule.renewals", &[&[Key::Schedule]]),
    ("services.reload", &[&[Key::Reload]]),
    ("services.restart", &[&[Key::Restart]]),
    ("sshd.effective", &[&[Key::Effective]]),
    ("ssh.effective", &[&[Key::ClientEffective]]),
];

/// The grants that a policy has for a procedure.
pub(super) struct Grants<'a> {
    policy: Option<&'a Policy>,
    pub(super) lines: Vec<Line>,
}

impl<'a> Grants<'a> {
    pub(super) fn of(policy: Option<&'a Policy>, procedure: &str) -> Self {
        let named = policy.and_then(|policy| policy.procedures.iter().find(|(name, _)| name.as_str() == procedure));
        Self { policy, lines: named.map(|(_, procedure)| lines::of(procedure)).unwrap_or_default() }
    }

    /// Whether a function needs a grant at all. A method needs none, since its handle was granted.
    pub(super) fn is_bound(function: &str) -> bool {
        !needs(function).is_empty()
    }

    /// Whether everything that a function needs is granted.
    pub(super) fn allow(&self, function: &str) -> bool {
        let is_granted = |kinds: &&[Key]| {
            self.lines.iter().any(|line| kinds.contains(&line.key) && is_of_kind(function, line, self.policy))
        };
        needs(function).iter().all(is_granted)
    }

    /// Whether a function can make use of a grant.
    pub(super) fn serves(&self, line: &Line, function: &str) -> bool {
        // Keywords do not allow a call: they limit what may be written.
        let bounds = line.key == Key::Keywords && function == "files.write";
        let is_needed = needs(function).iter().any(|kinds| kinds.contains(&line.key));
        bounds || (is_needed && is_of_kind(function, line, self.policy))
    }
}

/// Whether a grant of an action fits the function: a query and a change need different functions.
fn is_of_kind(function: &str, line: &Line, policy: Option<&Policy>) -> bool {
    let wanted = match function {
        "actions.change" => Kind::Change,
        "actions.query" => Kind::Query,
        _ => return true,
    };
    let named = policy.into_iter().flat_map(|policy| &policy.actions).find(|(name, _)| name.as_str() == line.value);
    named.is_none_or(|(_, action)| action.kind == wanted)
}

fn needs(function: &str) -> &'static [&'static [Key]] {
    FUNCTIONS.iter().find(|(name, _)| *name == function).map_or(&[], |(_, needs)| needs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, path::Path};
    use wit_parser::{FunctionKind, Resolve};

    #[test]
    fn every_function_of_the_interfaces_is_listed() {
        let mut resolve = Resolve::default();
        resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).unwrap();
        let mut free = BTreeSet::new();
        for (_, interface) in resolve.interfaces.iter() {
            let name = interface.name.as_deref().unwrap();
            let of_no_handle =
                interface.functions.values().filter(|one| matches!(one.kind, FunctionKind::Freestanding));
            free.extend(of_no_handle.map(|function| format!("{name}.{}", function.name)));
        }
        let listed: BTreeSet<String> = FUNCTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(free, listed);
    }
}
