//! Which grants each function of the host needs.

use warded_lib::policy::lines::Key;

/// Every function that needs a grant, with the kinds of which one allows it. `keys.replace` needs both of its kinds.
const FUNCTIONS: [(&str, &[Key]); 25] = [
    ("actions.change", &[Key::Action]),
    ("actions.query", &[Key::Action]),
    ("authority.issue", &[Key::Issue]),
    ("authority.read", &[Key::Certificates, Key::ReadFiles]),
    ("authority.rekey", &[Key::Rekey]),
    ("authority.renew", &[Key::Renew]),
    ("authority.roots", &[Key::Roots]),
    ("authority.write", &[Key::Certificates]),
    ("files.list", &[Key::ReadFiles, Key::WriteFiles]),
    ("files.read", &[Key::ReadFiles, Key::WriteFiles]),
    ("files.remove", &[Key::WriteFiles]),
    // Keywords bound what may be written.
    ("files.write", &[Key::WriteFiles, Key::Keywords]),
    ("keys.ensure", &[Key::Keys]),
    ("keys.host-keys", &[Key::Keys]),
    ("keys.open", &[Key::Keys]),
    ("keys.replace", &[Key::Keys, Key::Rekey]),
    ("log.info", &[Key::Inform]),
    ("log.warn", &[Key::Warn]),
    ("machine.fact", &[Key::Facts]),
    ("schedule.none", &[Key::Schedule]),
    ("schedule.renewals", &[Key::Schedule]),
    ("services.reload", &[Key::Reload]),
    ("services.restart", &[Key::Restart]),
    ("sshd.effective", &[Key::Effective]),
    ("ssh.effective", &[Key::ClientEffective]),
];

/// The kinds of grants that a function needs; none for what a handle allows whoever has it.
pub(super) fn needs(function: &str) -> &'static [Key] {
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
