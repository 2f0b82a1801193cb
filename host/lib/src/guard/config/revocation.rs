//! Lists of revoked keys that a run installs. sshd refuses every public key if it cannot read the list, and any key
//! that the list names. So a procedure may revoke only certificates, by their serial numbers, never a plain key. The
//! proof would not notice that, since it logs in with a key of its own.

use super::{
    keywords::MayChange,
    krl::{self, RevocationScope},
};
use crate::{
    error::{Error, Result},
    machine::sshd::tree::{Overlay, StagedFiles},
};
use std::path::Path;

/// Refuses staged lists that sshd would not load, or that revoke anything but certificates. `named` are the values of
/// the `RevokedKeys` lines, for any connections. An undo may bring back any list.
///
/// # Errors
/// Refused: the first such list.
pub fn refuse_lists(staged: &StagedFiles, named: &[String], granted: MayChange<'_>) -> Result<()> {
    if matches!(granted, MayChange::Any) {
        return Ok(());
    }
    let named: Vec<&Path> =
        named.iter().filter_map(|path| Overlay(staged).staged(Path::new(path))).map(|(path, _)| path).collect();
    for (path, contents) in staged {
        let Some(contents) = contents else { continue };
        let wrong = match krl::read(contents) {
            _ if !krl::is_list(contents) => {
                named.contains(&path.as_path()).then(|| "is a list of plain keys".to_owned())
            }
            Err(why) => Some(why),
            Ok(RevocationScope::Keys) => Some("revokes plain keys, and not only certificates".to_owned()),
            Ok(RevocationScope::Certificates) => None,
        };
        if let Some(wrong) = wrong {
            return Err(Error::refused(format!("the list of revoked keys {} is not installed", path.display()))
                .cause(format!("it {wrong}: it could lock out a user who needs no certificate today")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::keys::testing::{TYPES, Workshop};
    use std::fs;

    #[test]
    fn only_certificates_are_taken_away() {
        let workshop = Workshop::new();
        workshop.key("ca", TYPES[0]);
        workshop.key("key", TYPES[0]);
        let list = |spec: &str, name: &str| {
            fs::write(workshop.path("spec"), spec).unwrap();
            workshop.keygen(&["-q", "-k", "-f", name, "-s", "ca.pub", "spec"]);
            fs::read(workshop.path(name)).unwrap()
        };
        let key = fs::read_to_string(workshop.path("key.pub")).unwrap();
        let serials = list("serial: 7\nserial: 9-12\nid: somebody\n", "serials");
        let keys = list(&format!("serial: 7\nkey: {key}"), "keys");
        let prints = list(&format!("sha256: {key}"), "prints");
        let refused = |path: &str, contents: Option<&[u8]>, granted| {
            let staged: StagedFiles = [(path.into(), contents.map(<[u8]>::to_vec))].into();
            refuse_lists(&staged, &["/list".to_owned()], granted).err().map(|error| error.to_string())
        };
        let only = MayChange::Only(&[]);
        assert_eq!(refused("/list", Some(&serials), only), None);
        // A file that no line names may hold anything, but if it holds a revocation list, the list is checked.
        for (path, contents, why) in [
            ("/list", keys.as_slice(), Some("revokes plain keys")),
            ("/list", &prints, Some("revokes plain keys")),
            ("/list", key.as_bytes(), Some("a list of plain keys")),
            ("/list", b"", Some("a list of plain keys")),
            ("/list", &serials[..serials.len() - 1], Some("cut off")),
            ("/list", &serials[..20], Some("cut off")),
            ("/other", &keys, Some("revokes plain keys")),
            ("/other", &serials[..20], Some("cut off")),
            ("/other", key.as_bytes(), None),
            ("/other", b"", None),
        ] {
            let error = refused(path, Some(contents), only);
            assert_eq!(error.is_some(), why.is_some(), "{path}: {error:?}");
            assert!(error.unwrap_or_default().contains(why.unwrap_or_default()), "{path}: {why:?}");
            assert_eq!(refused(path, Some(contents), MayChange::Any), None);
            assert_eq!(refused(path, None, only), None);
        }
    }

    #[test]
    fn a_list_is_known_behind_a_link() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path().canonicalize().unwrap();
        std::os::unix::fs::symlink("real", at.join("link")).unwrap();
        let staged: StagedFiles = [(at.join("real"), Some(b"ssh-ed25519 AAAA\n".to_vec()))].into();
        let refused =
            |name: &str| refuse_lists(&staged, &[at.join(name).display().to_string()], MayChange::Only(&[])).is_err();
        assert_eq!(["real", "link", "other"].map(refused), [true, true, false]);
    }
}
