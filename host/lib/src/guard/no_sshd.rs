//! For a machine that has an sshd configuration, but no sshd that could be asked about it: the program is outside the
//! usual directories, or is just being upgraded. What cannot be checked is not changed.

use super::config::{keywords::MayChange, structure};
use crate::{
    error::{Error, Result},
    machine::sshd::tree::{Overlay, StagedFiles, Tree},
};
use std::{collections::BTreeSet, path::Path};

/// Checks that no staged file is part of the configuration, as it is or as it would be.
///
/// # Errors
/// Refused: a staged file is part of it; with the first line that is not `granted`, if there is one.
pub fn refuse(config: &Path, staged: &StagedFiles, granted: MayChange<'_>) -> Result<()> {
    let nothing = StagedFiles::new();
    let read = |overlay: Overlay<'_>| match overlay.exists(config) {
        true => Tree::read(config, overlay),
        false => Ok(Tree { files: Vec::new() }),
    };
    let (before, after) = (read(Overlay(&nothing))?, read(Overlay(staged))?);
    let parts: BTreeSet<&Path> = structure::parts(staged, before.files.iter().chain(&after.files));
    structure::refuse_bytes(staged, &parts, granted)?;
    structure::difference(&before, &after, granted, None)?.refuse(granted)?;
    let Some(path) = parts.first() else { return Ok(()) };
    Err(Error::refused(format!("{} cannot be checked: there is no sshd here", path.display()))
        .cause(format!("it is part of sshd's configuration {}, and a wrong line locks people out", config.display()))
        .next("name sshd's program with --sshd FILE; if it is being upgraded, wait until that is done"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::PathBuf};

    #[test]
    fn only_what_is_part_of_a_configuration_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path().canonicalize().unwrap();
        let main = at.join("sshd_config");
        let with = |path: PathBuf, contents: Option<&str>| {
            let staged = StagedFiles::from([(path, contents.map(|text| text.as_bytes().to_vec()))]);
            refuse(&main, &staged, MayChange::Only(&["LoginGraceTime".to_owned()])).map_err(|error| error.to_string())
        };
        let (used, unused) = (at.join("d.conf"), at.join("other"));
        // First without any configuration, then with one that is about to be written.
        assert_eq!(with(used.clone(), Some("DenyUsers *\n")), Ok(()));
        assert!(with(main.clone(), Some("LoginGraceTime 7\n")).unwrap_err().contains("there is no sshd here"));
        fs::write(&main, format!("Include {}/*.conf\n", at.display())).unwrap();
        assert_eq!(with(unused.clone(), Some("DenyUsers *\n")), Ok(()));
        let said = with(used.clone(), Some("DenyUsers *\n")).unwrap_err();
        assert!(said.contains("d.conf line 1") && said.contains("not granted"), "{said}");
        let said = with(used.clone(), Some("LoginGraceTime 7\n")).unwrap_err();
        assert!(said.contains("there is no sshd here") && said.contains("--sshd"), "{said}");
        fs::write(&used, "LoginGraceTime 7\n").unwrap();
        assert!(with(used, None).unwrap_err().contains("there is no sshd here"));
    }
}
