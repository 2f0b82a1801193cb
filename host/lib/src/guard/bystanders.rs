//! The other sshds of this machine: a run that changes a file which one of them reads as well changes that sshd too.

use crate::machine::sshd::{
    host_key::DEFAULT_KEYS,
    tree::{Overlay, StagedFiles, Tree},
};
use sshd_config::principals::directory_of;
use std::path::Path;

/// The use that an sshd makes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileRole {
    /// As a part of its configuration, as it is or as it would be.
    Configuration,
    /// As a key, a certificate or a list, which a line of its configuration or an argument names.
    Named,
}

/// How this sshd uses a file that would change (as configuration, or by name), if it uses one at all. A configuration
/// that cannot be read names nothing.
#[must_use]
pub fn reads(config: &Path, arguments: &[String], changed: &StagedFiles) -> Option<FileRole> {
    let (nothing, overlay) = (StagedFiles::new(), Overlay(changed));
    let is_changed = |path: &Path| path.is_absolute() && overlay.staged(path).is_some();
    let is_named_by = |text: &str| {
        let has_changed = |directory: &str| !overlay.staged_in(Path::new(directory)).is_empty();
        is_changed(Path::new(text)) || directory_of(text).is_some_and(has_changed)
    };
    let named = |text: &str| {
        let value = text.split_once(['=', ' ']).map_or(text, |(_, value)| value);
        is_changed(Path::new(text)) || is_changed(Path::new(value.trim()))
    };
    let trees = [Overlay(&nothing), overlay].map(|overlay| Tree::read(config, overlay).ok());
    if trees.iter().flatten().flat_map(|tree| &tree.files).any(|file| is_changed(&file.path)) {
        return Some(FileRole::Configuration);
    }
    let has_key = |text: &String| text == "-h" || text.to_lowercase().starts_with("hostkey");
    let is_named = trees.iter().flatten().any(|tree| {
        let has_keys = arguments.iter().any(has_key) || tree.directives().any(|(_, _, line)| line.keyword == "hostkey");
        tree.directives().any(|(_, _, line)| line.arguments.iter().any(|one| is_named_by(&one.text)))
            || !has_keys && DEFAULT_KEYS.iter().any(|key| is_changed(Path::new(key)))
    });
    (is_named || arguments.iter().any(|argument| named(argument))).then_some(FileRole::Named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_sshd_reads_what_its_configuration_is_and_names() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().canonicalize().unwrap().join(name);
        let shown = |name: &str| at(name).display().to_string();
        fs::create_dir(at("d")).unwrap();
        let lines = [
            format!("Include {}/*.conf", shown("d")),
            format!("HostKey {}", shown("link")),
            format!("AuthorizedPrincipalsFile {}/%u", shown("people")),
        ];
        fs::write(at("main"), lines.join("\n")).unwrap();
        for name in ["key", "d/a.conf", "cert"] {
            fs::write(at(name), "").unwrap();
        }
        std::os::unix::fs::symlink(at("key"), at("link")).unwrap();
        let with_argument = [format!("HostCertificate={}", shown("cert"))];
        for (changed, contents, arguments, expected) in [
            ("main", Some(""), &[][..], Some(FileRole::Configuration)),
            ("d/a.conf", None, &[], Some(FileRole::Configuration)),
            // One that would be included.
            ("d/b.conf", Some("Port 22\n"), &[], Some(FileRole::Configuration)),
            // Through a link.
            ("key", Some("x"), &[], Some(FileRole::Named)),
            ("cert", Some("x"), &[], None),
            ("cert", Some("x"), &with_argument, Some(FileRole::Named)),
            ("d/b.txt", Some("x"), &[], None),
            // By the name of a user.
            ("people/ann", Some("x"), &[], Some(FileRole::Named)),
            ("others/ann", Some("x"), &[], None),
        ] {
            let staged = StagedFiles::from([(at(changed), contents.map(|text| text.as_bytes().to_vec()))]);
            assert_eq!(reads(&at("main"), arguments, &staged), expected, "{changed} {arguments:?}");
            assert_eq!(reads(&at("none"), &[], &staged), None, "{changed}");
        }
        let default = StagedFiles::from([("/etc/ssh/ssh_host_rsa_key".into(), None)]);
        assert_eq!(reads(&at("main"), &[], &default), None);
        fs::write(at("main"), "Port 22\n").unwrap();
        assert_eq!(reads(&at("main"), &[], &default), Some(FileRole::Named));
        assert_eq!(reads(&at("main"), &["-h".to_owned(), shown("key")], &default), None);
    }
}
