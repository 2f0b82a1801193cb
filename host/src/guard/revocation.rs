//! Lists of revoked keys that a run brings in. sshd refuses every public key where it cannot read the
//! list, and any key that the list names: so a procedure may only take certificates away, by their
//! serial numbers, never somebody's plain key. The proof, which logs in with a key of its own, would
//! not notice.

use super::{MayChange, files::is_revocation_list, includes::Staged};
use crate::{
    error::{Error, Result},
    machine::sshd::Effective,
};
use ssh_encoding::Decode as _;
use std::path::Path;

/// PROTOCOL.krl: the section of certificates. The others are of keys, plain ones too.
const CERTIFICATES: u8 = 1;

/// Refuses staged lists that are damaged, or that revoke anything else than certificates. An undo may bring
/// back whatever was there.
///
/// # Errors
/// Refused: the first such list.
pub fn refuse_lists(staged: &Staged, effective: &Effective, granted: MayChange<'_>) -> Result<()> {
    if matches!(granted, MayChange::Any) {
        return Ok(());
    }
    for (path, contents) in staged {
        let Some(contents) = contents else { continue };
        let named = effective.values("revokedkeys").iter().any(|value| Path::new(value) == path);
        let wrong = match sections(contents) {
            _ if !is_revocation_list(contents) => named.then(|| "it is a list of plain keys".to_owned()),
            Err(why) => Some(why),
            Ok(sections) => {
                let other = sections.into_iter().find(|section| *section != CERTIFICATES);
                other.map(|_| "it revokes plain keys, and not only certificates".to_owned())
            }
        };
        if let Some(wrong) = wrong {
            return Err(Error::refused(format!("the list of revoked keys {} is not put in place", path.display()))
                .cause(format!("{wrong}: somebody who needs no certificate today could be locked out by it"))
                .state("nothing was changed"));
        }
    }
    Ok(())
}

/// The types of a list's sections (PROTOCOL.krl), read to its end.
fn sections(list: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let damaged = || "it is damaged".to_owned();
    let mut rest = list.get(8..).ok_or_else(damaged)?;
    let reader = &mut rest;
    let version = u32::decode(reader).map_err(|_| damaged())?;
    for _number_date_flags in 0..3 {
        u64::decode(reader).map_err(|_| damaged())?;
    }
    for _reserved_comment in 0..2 {
        Vec::<u8>::decode(reader).map_err(|_| damaged())?;
    }
    if version != 1 {
        return Err(format!("its format is of version {version}"));
    }
    let mut sections = Vec::new();
    while !reader.is_empty() {
        sections.push(u8::decode(reader).map_err(|_| damaged())?);
        Vec::<u8>::decode(reader).map_err(|_| damaged())?;
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::testing::{TYPES, Workshop};
    use std::{collections::BTreeMap, fs, path::PathBuf};

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
        let effective = Effective::parse("revokedkeys /list\n");
        let refused = |contents: &[u8], granted| {
            let staged: BTreeMap<PathBuf, Option<Vec<u8>>> = [("/list".into(), Some(contents.to_vec()))].into();
            refuse_lists(&staged, &effective, granted).err().map(|error| error.to_string())
        };
        assert_eq!(refused(&serials, MayChange::Only(&[])), None);
        for (contents, why) in [
            (keys.as_slice(), "revokes plain keys"),
            (&prints, "revokes plain keys"),
            (key.as_bytes(), "a list of plain keys"),
            (&serials[..serials.len() - 1], "damaged"),
            (&serials[..20], "damaged"),
        ] {
            let error = refused(contents, MayChange::Only(&[])).unwrap();
            assert!(error.contains(why), "{error}");
            assert_eq!(refused(contents, MayChange::Any), None);
        }
    }
}
