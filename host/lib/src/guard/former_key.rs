//! Host keys that a running sshd offers although none of its files holds them any more: since OpenSSH 9.8, sshd keeps
//! the keys that it read at its start. Once sshd reads its files again, clients that know only those keys are
//! refused. So no unattended run reloads it.

use super::survey::{ListenerOffer, OfferedKey};
use crate::{
    machine::sshd::{Listener, Sshd, effective::major_minor},
    text::neutral,
};
use ssh_key::{HashAlg, PublicKey};
use std::{fmt, path::PathBuf};

/// Before this version sshd reads its certificates anew for every connection.
const KEEPS_CERTIFICATES: (u32, u32) = (9, 8);

/// Whether sshd keeps using the certificates that it has read until it is told to read them again.
#[must_use]
pub fn keeps_certificates(sshd: &Sshd) -> bool {
    major_minor(sshd.version()).is_none_or(|version| version >= KEEPS_CERTIFICATES)
}

/// A host key that a running sshd offers and that none of its files holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerKey {
    pub key: OfferedKey,
    /// The host key file with another key of that type; none: no file has one.
    pub replaced_in: Option<PathBuf>,
    /// The command that makes sshd read its files again.
    pub reload: String,
}

impl FormerKey {
    /// What an operator can do about it.
    #[must_use]
    pub fn next(&self) -> String {
        format!(
            "when no client depends on that key any more: {}; to keep it, restore its file from a backup",
            self.reload
        )
    }
}

impl fmt::Display for FormerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OfferedKey { key_type, fingerprint } = &self.key;
        write!(f, "sshd goes on offering its former {key_type} host key {fingerprint}, ")?;
        match &self.replaced_in {
            Some(path) => write!(f, "in whose place {} has another one", neutral(&path.to_string_lossy())),
            None => f.write_str("which is in none of its files"),
        }
    }
}

/// The offered keys that no file holds; `on_disk` are the keys in the files. If no file can be read, nothing is
/// known.
#[must_use]
pub fn former(offered: &ListenerOffer, on_disk: &[(PathBuf, PublicKey)], listener: &Listener) -> Vec<FormerKey> {
    let is_on_disk = |offered: &&OfferedKey| {
        on_disk.iter().any(|(_, key)| key.fingerprint(HashAlg::Sha256).to_string() == offered.fingerprint)
    };
    let reload = match &listener.unit {
        // A reload would terminate this sshd, because systemd holds its sockets.
        Some(unit) if listener.is_activated() => format!("systemctl restart {}", neutral(unit)),
        Some(unit) => format!("systemctl reload {}", neutral(unit)),
        None => format!("kill -HUP {}", listener.pid),
    };
    let of_type = |key_type: &str| on_disk.iter().find(|(_, key)| key.algorithm().as_str() == key_type);
    let gone = offered.keys.iter().filter(|key| !on_disk.is_empty() && !is_on_disk(key));
    gone.map(|key| FormerKey {
        key: key.clone(),
        replaced_in: of_type(&key.key_type).map(|(path, _)| path.clone()),
        reload: reload.clone(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::keys::generate;

    #[test]
    fn a_key_is_a_former_one_where_no_file_has_it() {
        let [old, new] = [(); 2].map(|()| generate("ssh-ed25519", "x").unwrap().public);
        let other = generate("ecdsa-sha2-nistp256", "x").unwrap().public;
        let offered = ListenerOffer {
            keys: vec![OfferedKey {
                key_type: "ssh-ed25519".to_owned(),
                fingerprint: old.fingerprint(HashAlg::Sha256).to_string(),
            }],
            ..ListenerOffer::default()
        };
        let listener = |unit: Option<&str>| Listener {
            pid: 7,
            unit: unit.map(str::to_owned),
            binary: None,
            gone: None,
            arguments: Vec::new(),
            is_completed: false,
            sockets: None,
        };
        let file = |key: &PublicKey| (PathBuf::from("/k"), key.clone());
        let place = "/k has another one";
        for (on_disk, unit, told) in [
            (vec![file(&old)], None, None),
            (vec![file(&new), file(&old)], None, None),
            (vec![], None, None),
            (vec![file(&new)], None, Some((place, "kill -HUP 7"))),
            (vec![file(&new)], Some("ssh.service"), Some((place, "systemctl reload ssh.service"))),
            (vec![file(&other)], None, Some(("in none of its files", "kill -HUP 7"))),
        ] {
            let found = former(&offered, &on_disk, &listener(unit));
            assert_eq!(found.len(), usize::from(told.is_some()), "{on_disk:?}");
            for (one, (what, next)) in found.iter().zip(told) {
                assert!(one.to_string().ends_with(what) && one.next().contains(next), "{one}; {}", one.next());
            }
        }
    }
}
